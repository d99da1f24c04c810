"""`/v1/feedback`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, TwoStageRetriever
from tests.unit.fake_core import DEMONSTRATIONS, KIND, RUDE, make_core
from tests.unit.server.client import QUESTION, events, make_client

URL = "/v1/feedback"
PROMPT = QUESTION[0]["content"]
DEEP: dict[str, Any] = {}
for _ in range(100):
    DEEP = {"a": DEEP}


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
        yield store


def client_of(store: DemonstrationStore) -> Any:
    return make_client(make_core(retriever=TwoStageRetriever(store)), demonstrations=store)


def new(store: DemonstrationStore) -> list[Demonstration]:
    return [item for item in store if item not in DEMONSTRATIONS]


async def test_a_thumb_on_an_earlier_answer(store: DemonstrationStore) -> None:
    async with client_of(store) as client:
        answer = (
            await client.post("/v1/chat/completions", json={"messages": QUESTION, "n": 2, "seed": 1})
        ).json()
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        assert set(texts) == {KIND, RUDE}
        given = {"id": answer["id"], "choice": 1, "thumb": "down", "comment": "rude", "user": "ann"}
        recorded = (await client.post(URL, json=given)).json()
        assert recorded == {
            "id": new(store)[0].id,
            "prompt": PROMPT,
            "chosen": None,
            "rejected": texts[1],
            "shown": True,
            "votes": {"up": 0, "down": 1},
        }
        assert new(store)[0].metadata == {
            "source": "feedback",
            "comment": "rude",
            "user": "ann",
            "response": f"{answer['id']}/1",
            "thumb": "down",
        }
        pair = (await client.post(URL, json={"id": answer["id"], "thumb": "up"})).json()
        assert (pair["chosen"], pair["rejected"], pair["votes"]) == (*texts, None)
        assert [item.id for item in new(store)] == [pair["id"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_each_way_to_an_answer_is_remembered(
    store: DemonstrationStore, path: str, stream: bool
) -> None:
    asked = {"messages": QUESTION} if "chat" in path else {"prompt": [PROMPT, "Second?"]}
    async with client_of(store) as client:
        response = await client.post(path, json={**asked, "stream": stream, "seed": 1})
        id_ = events(response)[0]["id"] if stream else response.json()["id"]
        last = 0 if "chat" in path else 1
        given = {"id": id_, "choice": last, "thumb": "up"}
        recorded = (await client.post(URL, json=given)).json()
        assert recorded["prompt"] == (PROMPT if last == 0 else "Second?")
        assert recorded["chosen"] in (KIND, RUDE)
        beyond = await client.post(URL, json={**given, "choice": last + 1})
        assert beyond.status_code == 400
        assert f"the response has {last + 1}, counted from 0" in beyond.json()["error"]["message"]


async def test_texts_corrections_and_contradictions(store: DemonstrationStore) -> None:
    exchange = {"prompt": [{"role": "system", "content": "Be brief."}, *QUESTION], "answer": "So what."}
    async with client_of(store) as client:
        for user, thumb, shown in (("a", "up", True), ("b", "down", False), ("b", "down", False)):
            given = {**exchange, "thumb": thumb, "user": user}
            recorded = (await client.post(URL, json=given)).json()
            assert recorded["shown"] is shown
        assert recorded["votes"] == {"up": 1, "down": 1}
        recorded = (await client.post(URL, json={**exchange, "correction": "I am sorry."})).json()
        assert (recorded["chosen"], recorded["rejected"]) == ("I am sorry.", "So what.")
        assert recorded["prompt"] == exchange["prompt"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"thumb": "up"}, 400, "give the id of a response, or prompt and answer"),
        ({"id": "chatcmpl-1", "thumb": "up"}, 404, "is unknown or forgotten: give prompt and answer"),
        ({"id": "chatcmpl-1", "prompt": "x", "thumb": "up"}, 400, "but not both"),
        ({"prompt": "x", "answer": "y"}, 400, "give a thumb or a correction"),
        ({"prompt": "x", "answer": "y", "thumb": "sideways"}, 400, "thumb"),
        ({"prompt": "x", "answer": "y", "thumb": "up", "correction": "z"}, 400, "give one of them"),
        ({"prompt": " ", "answer": "y", "thumb": "up"}, 400, "blank"),
        ({"prompt": "x", "answer": "y" * 300_000, "thumb": "up"}, 400, "300000 characters"),
        ({"prompt": "x", "answer": "y", "thumb": "up", "metadata": DEEP}, 400, "64 levels deep"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_bad_feedback_changes_nothing(
    store: DemonstrationStore, body: dict[str, Any], status: int, says: str
) -> None:
    async with client_of(store) as client:
        response = await client.post(URL, json=body)
    assert response.status_code == status
    assert says in response.json()["error"]["message"]
    assert new(store) == []


async def test_without_a_store_nothing_is_kept() -> None:
    async with make_client() as client:
        answer = (await client.post("/v1/chat/completions", json={"messages": QUESTION})).json()
        response = await client.post(URL, json={"id": answer["id"], "thumb": "up"})
        assert (response.status_code, response.json()["error"]["code"]) == (403, "demonstrations_disabled")
        assert client.app.state.service.answers.get(answer["id"]) is None
