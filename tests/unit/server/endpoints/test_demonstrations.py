"""`/v1/demonstrations`."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import (
    Demonstration,
    DemonstrationStore,
    FakeEmbedder,
    TwoStageRetriever,
    read_demonstrations,
)
from tests.unit.fake_core import DEMONSTRATIONS, make_core
from tests.unit.server.client import make_client

URL = "/v1/demonstrations"
NEW = {
    "prompt": "My bird is ill.",
    "chosen": "I am sorry.",
    "rejected": "So what.",
    "metadata": {"a": [1, None]},
}


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
        yield store


def client_of(store: DemonstrationStore) -> Any:
    return make_client(make_core(retriever=TwoStageRetriever(store)), demonstrations=store)


async def test_what_is_added_is_found_shown_and_removed(store: DemonstrationStore) -> None:
    async with client_of(store) as client:
        report = (await client.post(URL, json=[NEW, DEMONSTRATIONS[0].to_dict()])).json()
        assert {name: report[name] for name in ("added", "updated", "unchanged")} == {
            "added": 1,
            "updated": 0,
            "unchanged": 1,
        }
        id_ = report["ids"][0]
        assert report["ids"][1] == DEMONSTRATIONS[0].id
        item = (await client.get(f"{URL}/{id_}")).json()
        assert {name: item[name] for name in NEW} == NEW
        found = (await client.get(URL, params={"query": "My bird is ill.", "k": 2})).json()
        assert found["data"][0]["id"] == id_
        assert found["data"][0]["similarity"] == pytest.approx(1)
        assert (len(found["data"]), found["total"]) == (2, 4)
        answer = await client.post("/v1/completions", json={"prompt": "My bird is ill.", "icdpo": {"k": 1}})
        assert answer.json()["icdpo"][0]["demonstrations"] == [id_]
        assert (await client.delete(f"{URL}/{id_}")).json() == {"id": id_, "deleted": True}
        for method in ("GET", "DELETE"):
            gone = await client.request(method, f"{URL}/{id_}")
            assert (gone.status_code, gone.json()["error"]["code"]) == (404, "demonstration_not_found")
    assert len(store) == 3


async def test_conversations_are_kept_as_they_are(store: DemonstrationStore) -> None:
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello {x}"}]
    async with client_of(store) as client:
        ids = (await client.post(URL, json=[{"prompt": prompt, "chosen": "Hi."}])).json()["ids"]
        assert (await client.get(f"{URL}/{ids[0]}")).json()["prompt"] == prompt
    assert ids == [Demonstration(prompt, "Hi.").id]


async def test_lists_are_paged(store: DemonstrationStore) -> None:
    async with client_of(store) as client:
        pages = [(await client.get(URL, params={"limit": 2, "offset": i})).json()["data"] for i in (0, 2, 99)]
    assert [[item["id"] for item in page] for page in pages] == [
        [item.id for item in DEMONSTRATIONS[:2]],
        [DEMONSTRATIONS[2].id],
        [],
    ]


@pytest.mark.parametrize(
    "items",
    [
        [],
        {},
        [5],
        [{"prompt": "x"}],
        [NEW, {"prompt": "x", "chosen": " "}],
        [NEW, {"prompt": " ", "chosen": "y"}],
        [NEW, {"prompt": [{"role": "assistant", "content": "x"}], "chosen": "y"}],
        [NEW, {"prompt": "x", "chosen": "y", "rejected": "y"}],
        [NEW, {"prompt": "x", "chosen": "\ud800"}],
        [NEW, {"prompt": "x", "chosen": "y", "metadata": {"\ud800": 1}}],
        [NEW, {"prompt": "x", "chosen": "y", "metadata": {"x": float("nan")}}],
        [NEW, {"prompt": "x", "chosen": "y", "metadata": []}],
    ],
)
async def test_where_one_cannot_be_used_none_is_added(store: DemonstrationStore, items: Any) -> None:
    import json

    async with client_of(store) as client:
        headers = {"Content-Type": "application/json"}
        response = await client.post(URL, content=json.dumps(items), headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert len(store) == len(DEMONSTRATIONS)


@pytest.mark.parametrize(
    "params",
    [
        {"query": " "},
        {"query": ""},
        {"query": "x", "k": 0},
        {"limit": 0},
        {"limit": 10**6},
        {"offset": -1},
        {"offset": 10**30},
    ],
)
async def test_a_search_that_cannot_be_made(store: DemonstrationStore, params: dict[str, Any]) -> None:
    async with client_of(store) as client:
        assert (await client.get(URL, params=params)).status_code == 400


async def test_an_id_that_is_none(store: DemonstrationStore) -> None:
    async with client_of(store) as client:
        assert (await client.get(f"{URL}/nonsense")).status_code == 400
        assert (await client.get(f"{URL}/{'0' * 32}")).status_code == 404


async def test_it_is_off_unless_a_store_is_given() -> None:
    id_ = "0" * 32
    async with make_client() as client:
        for method, path, body in (
            ("GET", URL, None),
            ("POST", URL, [NEW]),
            ("GET", f"{URL}/{id_}", None),
            ("DELETE", f"{URL}/{id_}", None),
        ):
            response = await client.request(method, path, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (
                403,
                "demonstrations_disabled",
            )
            assert "icdpo serve --demonstrations" in response.json()["error"]["message"]


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def nested(depth: int) -> str:
    """An object in that many levels of lists and objects, as text: no writer of JSON goes so deep."""
    return '{"a": ' + '[{"b": ' * (depth // 2) + "0" + "}]" * (depth // 2) + "}"


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.integers(0, 62))
@settings(deadline=None, max_examples=40)
async def test_what_is_accepted_can_be_read_back(metadata: dict[str, Any], depth: int) -> None:
    metadata = {**metadata, "deep": json.loads(nested(depth))}
    row = {**NEW, "metadata": metadata}
    with (
        tempfile.TemporaryDirectory() as directory,
        DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store,
        DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as again,
    ):
        async with client_of(store) as client:
            (id_,) = (await client.post(URL, json=[row])).json()["ids"]
            found = [
                (await client.get(f"{URL}/{id_}")).json(),
                (await client.get(URL)).json()["data"][0],
                (await client.get(URL, params={"query": "My bird"})).json()["data"][0],
            ]
        assert [item["metadata"] for item in found] == [metadata] * 3
        store.export(Path(directory, "all.jsonl"))
        again.add(read_demonstrations(Path(directory, "all.jsonl")))
        assert [item.to_dict() for item in again] == [{**row}]


@pytest.mark.parametrize("depth", [70, 400, 5_000, 100_000])
@pytest.mark.parametrize("place", ["metadata", "prompt", "the body"])
async def test_what_is_nested_too_deeply_is_refused(
    store: DemonstrationStore, place: str, depth: int
) -> None:
    body = nested(depth)
    if place != "the body":
        body = json.dumps([{**NEW, place: "here"}]).replace('"here"', body)
    async with client_of(store) as client:
        response = await client.post(URL, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400, response.text
        if (place, depth) == ("metadata", 70):
            assert "demonstration 0: metadata are nested more than 64 levels deep" in response.text
        listed = await client.get(URL)
        assert (listed.status_code, listed.json()["total"]) == (200, len(DEMONSTRATIONS))
