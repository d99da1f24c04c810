"""What goes wrong: bodies that are none, limits, and errors of the core."""

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icdpo_chains import FixedDemonstrations, errors
from icdpo_chains.server import ServerLimits, create_app
from icdpo_chains.server.errors import _KINDS, as_api_error
from icdpo_chains.server.event_stream import EventStream
from tests.unit.fake_core import DEMONSTRATIONS, KIND, make_core
from tests.unit.server.client import QUESTION, events, make_client

CHAT = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}


FAILURES = {
    "EmbedderMismatchError",
    "ICDPOError",
    "PolicyError",
    "StoreError",
    "TokenizerMismatch",
    "WeightsError",
}
"""The errors that only the operator can fix: clients get 500."""


def test_each_error_of_the_core_has_a_status() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert sorted(kind.__name__ for kind in classes) == sorted(errors.__all__)
    assert {kind.__name__ for kind in classes if as_api_error(kind("why")).status == 500} == FAILURES
    # A base class before its subclass would hide the subclass's own status.
    kinds = [kind for kind, *_ in _KINDS]
    assert not any(issubclass(later, kind) for i, kind in enumerate(kinds) for later in kinds[i + 1 :])


def test_the_tree_of_errors_names_each_class() -> None:
    tree = str(errors.__doc__)
    assert [name for name in errors.__all__ if f" {name} " not in tree.replace("\n", " \n")] == []


def assert_openai_error(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"hi"',
        b"\xff\xfe\x00",
        b'{"messages": "caf\xe9"}',
        b"[" * 100_000,
        b'{"messages": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"role": "\\ud800", "content": "x"}]}',
        b'{"messages": [{"role": "user", "content": "x"}], "model": "\\udfff"}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": -Infinity}',
        b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
        b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}",
        b'{"messages": [{"role": "user", "content": "x"}], "n": ' + b"9" * 400 + b"}",
        b'{"messages": [{"role": "user", "content": "x"}], "messages": 5}',
    ],
)
async def test_a_body_that_is_none_is_a_400(body: bytes) -> None:
    async with make_client() as client:
        for path in (CHAT, "/v1/completions", "/v1/score"):
            assert_openai_error(await client.post(path, content=body, headers=JSON), 400)


async def test_nul_and_control_tokens_are_text() -> None:
    async with make_client() as client:
        for text in ("nul \x00 nul", "<|im_end|>", "\u202e\U0001f600"):
            body = {"messages": [{"role": "user", "content": text}]}
            assert (await client.post(CHAT, json=body)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "jsön"},
    ],
)
async def test_a_body_not_declared_as_json_is_a_415(headers: dict[str, str]) -> None:
    content = json.dumps({"messages": QUESTION}).encode()
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    async with make_client() as client:
        error = assert_openai_error(await client.post(CHAT, content=content, headers=raw), 415)
    assert "Content-Type: application/json" in error["message"]


async def test_unknown_paths_and_methods_have_the_same_form() -> None:
    async with make_client() as client:
        assert_openai_error(await client.get("/v1/nothing"), 404)
        response = await client.get(CHAT)
        several = await client.request("PUT", "/v1/demonstrations", headers=JSON)
    assert "does not answer GET: use POST" in assert_openai_error(response, 405)["message"]
    assert response.headers["allow"] == "POST"
    assert "does not answer PUT: use GET, POST" in assert_openai_error(several, 405)["message"]
    assert several.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (CHAT, b"", "the body is missing: send JSON"),
        ("/v1/demonstrations", b"", "the body is missing: send JSON"),
        (CHAT, b"[]", "the body must be a JSON object"),
        (CHAT, b'"x"', "the body must be a JSON object (it is 'x')"),
        (CHAT, b'{"messages": [3]}', "messages.0: must be a JSON object (it is 3)"),
    ],
)
async def test_a_body_of_another_kind_is_named(path: str, body: bytes, message: str) -> None:
    async with make_client() as client:
        error = assert_openai_error(await client.post(path, content=body, headers=JSON), 400)
    assert error["message"] == message


async def test_a_body_is_read_no_further_than_its_limit_whatever_its_length_says() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 2000}]}).encode()
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += len(body)
            yield body

    async with make_client(limits=ServerLimits(max_body_bytes=1000)) as client:
        error = assert_openai_error(await client.post(CHAT, content=body, headers=JSON), 413)
        assert "1000 bytes" in error["message"]
        assert_openai_error(await client.post(CHAT, content=chunks(), headers=JSON), 413)
        assert (await client.post(CHAT, json={"messages": QUESTION})).status_code == 200
    assert read <= 2 * len(body)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidInputError("x"), 400, None),
        (errors.ContextOverflowError("x"), 400, "context_length_exceeded"),
        (errors.PromptError("x"), 400, None),
        (errors.NoDemonstrationsError("x"), 422, "no_demonstrations"),
        (errors.MissingRejectedError("x"), 422, "missing_rejected"),
        (errors.NoCandidateError("x"), 422, "no_candidate"),
        (errors.QueueFullError("x"), 429, "queue_full"),
        (errors.PolicyUnavailableError("http://secret:1"), 503, "model_unavailable"),
        (errors.PolicyMemoryError("/secret: 80 GiB"), 503, "out_of_memory"),
        (errors.StoreUnavailableError("/secret"), 503, "store_unavailable"),
        (errors.StoreLockedError("/secret"), 503, "store_unavailable"),
        (errors.TokenizerMismatch("secret"), 500, "internal_error"),
        (errors.StoreError("secret"), 500, "internal_error"),
        (RuntimeError("secret"), 500, "internal_error"),
        (ValueError("secret"), 500, "internal_error"),
    ],
)
async def test_each_error_of_the_core_has_its_status_streamed_or_not(
    error: Exception, status: int, code: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = make_core()

    def failing(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(core, "generate_batch", failing)
    async with make_client(core) as client:
        for body in ({"messages": QUESTION}, {"messages": QUESTION, "stream": True}):
            response = await client.post(CHAT, json=body)
            assert assert_openai_error(response, status)["code"] == code
            assert "secret" not in response.text
            assert ("retry-after" in response.headers) == (status in (429, 503))
        assert client.app.state.service.queue.taken == 0  # type: ignore[attr-defined]


async def test_an_error_after_the_stream_began_is_an_event_in_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("icdpo_chains.server.event_stream._KEEP_ALIVE", 0.02)
    core, waits, commented = make_core(), itertools.count(), threading.Event()
    wait = EventStream._wait

    async def counted(self: EventStream[Any]) -> Any:
        if next(waits) > 0:  # the comment of the first is on its way
            commented.set()
        return await wait(self)

    def failing(*args: Any, **options: Any) -> Any:
        assert commented.wait(60)
        raise RuntimeError("secret")

    monkeypatch.setattr(EventStream, "_wait", counted)

    monkeypatch.setattr(core, "generate_batch", failing)
    async with make_client(core) as client:
        with caplog.at_level(logging.INFO, logger="icdpo_chains"):
            response = await client.post(CHAT, json={"messages": QUESTION, "stream": True})
        text = (await client.get("/metrics")).text
    assert response.status_code == 200
    assert ": still at work\n\n" in response.text
    role, error = events(response)
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert error["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert "secret" in caplog.text  # the traceback
    assert f'icdpo_requests_total{{endpoint="{CHAT}",status="500"}} 1.0' in text


async def test_what_a_client_may_mend_is_said() -> None:
    async with make_client(make_core(policy_context=320)) as client:
        error = assert_openai_error(await client.post(CHAT, json={"messages": QUESTION}), 400)
        assert error["code"] == "context_length_exceeded"
    everything = [item.id for item in DEMONSTRATIONS]
    async with make_client() as client:
        body = {"messages": QUESTION, "icdpo": {"exclude": everything}}
        assert assert_openai_error(await client.post(CHAT, json=body), 422)["code"] == "no_demonstrations"
    async with make_client(
        make_core(retriever=FixedDemonstrations([type(DEMONSTRATIONS[0])("a", "b")]))
    ) as client:
        error = assert_openai_error(await client.post(CHAT, json={"messages": QUESTION}), 422)
        assert error["code"] == "missing_rejected"
    async with make_client(make_core([" "])) as client:
        error = assert_openai_error(await client.post(CHAT, json={"messages": QUESTION}), 422)
        assert error["code"] == "no_candidate"


async def test_nothing_of_the_user_is_logged_at_info(caplog: pytest.LogCaptureFixture) -> None:
    async with make_client() as client:
        with caplog.at_level(logging.INFO):
            for content in ("zebra question", ""):
                await client.post(CHAT, json={"messages": [{"role": "user", "content": content}]})
            await client.post(CHAT, json={"messages": "zebra question"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("icdpo", "uvicorn"))]
    assert not any("zebra" in line for line in ours)


def test_limits_and_defaults_at_odds_are_refused_when_the_application_is_built() -> None:
    with pytest.raises(ValueError, match="max_candidates is 1"):
        create_app(make_core(), limits=ServerLimits(max_candidates=1))
    with pytest.raises(ValueError, match="max_tokens is 10"):
        create_app(make_core(), limits=ServerLimits(max_tokens=10))


@pytest.mark.parametrize(
    "limits",
    [{"max_waiting": 0}, {"max_body_bytes": 0}, {"max_candidates": 1000}, {"max_tokens": 0}]
    + [
        {name: value}
        for name in ("request_timeout", "body_timeout")
        for value in (0, -1, float("nan"), float("inf"))
    ],
)
def test_limits_out_of_range(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        ServerLimits(**limits)


# Any JSON at all, also with lone surrogates, in place of a request or within a good one.
_texts = st.text(st.characters(), max_size=8)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=8,
)
_fields = [
    "messages",
    "n",
    "stop",
    "icdpo",
    "stream",
    "stream_options",
    "temperature",
    "top_k",
    "model",
    "seed",
]


@given(st.dictionaries(st.sampled_from(_fields), _json, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_json_makes_the_server_fail(fields: dict[str, Any], good: bool) -> None:
    async def ask() -> int:
        body = {"messages": QUESTION, **fields} if good else fields
        async with make_client(make_core([KIND], n=1)) as client:
            response = await client.post(CHAT, content=json.dumps(body), headers=JSON)
            return response.status_code

    assert asyncio.run(ask()) in (200, 400, 404, 422)
