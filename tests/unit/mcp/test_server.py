"""The tools, through the SDK's own client in this process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import ClientSession
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import CallToolResult
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

import icdpo_chains
from icdpo_chains import Demonstration, DemonstrationStore, FakeEmbedder, ICDPOError, TwoStageRetriever
from icdpo_chains.errors import PolicyUnavailableError, StoreUnavailableError, WeightsError
from icdpo_chains.mcp import create_mcp_server
from icdpo_chains.mcp.results import (
    AddedDemonstration,
    AlignedAnswer,
    FoundDemonstrations,
    RankedAnswers,
)
from icdpo_chains.mcp.tools import MAX_CHARACTERS
from icdpo_chains.mcp.transports import _KeyDemanded

from ..fake_core import DEMONSTRATIONS, KIND, RUDE, make_core

QUESTION = "My dog is ill."
NUMBERS = {"aligned_answer": ["n", "k", "max_tokens", "seed"], "search_demonstrations": ["k"]}
"""The arguments of the tools that are numbers."""


@pytest.fixture
def store() -> Iterator[DemonstrationStore]:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
        yield store


def over_store(store: DemonstrationStore, **options: Any) -> Any:
    return make_core(retriever=TwoStageRetriever(store), **options)


def used(server: Any, use: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """What comes of a use of a connected client."""

    async def run() -> Any:
        async with create_connected_server_and_client_session(server) as client:
            return await use(client)

    return asyncio.run(run())


def called(server: Any, tool: str, **arguments: Any) -> CallToolResult:
    return used(server, lambda client: client.call_tool(tool, arguments))


def refusal(result: CallToolResult) -> str:
    assert result.isError
    assert result.structuredContent is None
    (content,) = result.content
    return content.text


def test_tools_say_what_they_take_and_whether_they_write(store: DemonstrationStore) -> None:
    listed = used(create_mcp_server(over_store(store), editable=True), ClientSession.list_tools).tools
    assert [(tool.name, tool.annotations.readOnlyHint) for tool in listed] == [
        ("aligned_answer", True),
        ("rank_answers", True),
        ("search_demonstrations", True),
        ("add_demonstration", False),
    ]
    for tool in listed:
        assert tool.title
        assert tool.outputSchema
        assert tool.annotations.openWorldHint is False
        assert "\n " not in tool.description
        assert all("description" in field for field in tool.inputSchema["properties"].values())
        assert tool.inputSchema["additionalProperties"] is False
        numbers = [name for name, field in tool.inputSchema["properties"].items() if "integer" in str(field)]
        assert numbers == NUMBERS.get(tool.name, [])
    assert listed[0].inputSchema["required"] == ["question"]
    without = used(create_mcp_server(over_store(store)), ClientSession.list_tools).tools
    assert [tool.name for tool in without] == [tool.name for tool in listed[:3]]


def test_the_best_candidate_is_the_answer(store: DemonstrationStore) -> None:
    core = over_store(store)
    result = called(create_mcp_server(core), "aligned_answer", question=QUESTION, n=2, seed=7)
    answer = AlignedAnswer.model_validate(result.structuredContent)
    expected = core.generate(QUESTION, n=2, seed=7)
    assert answer == AlignedAnswer(
        answer=KIND,
        score=expected.candidates[0].score,
        scores=[candidate.score for candidate in expected.candidates],
        demonstration_ids=[found.demonstration.id for found in expected.demonstrations],
        model="fake",
        seed=7,
    )


def test_each_option_reaches_the_core(store: DemonstrationStore) -> None:
    seen: list[str] = []
    core = over_store(store, responses=lambda context: seen.append(context) or ["x" * 50])
    result = called(
        create_mcp_server(core),
        "aligned_answer",
        question=QUESTION,
        system='{"a": 1}',
        n=3,
        k=1,
        max_tokens=5,
    )
    answer = AlignedAnswer.model_validate(result.structuredContent)
    assert (answer.answer, len(answer.scores), len(answer.demonstration_ids)) == ("x" * 5, 3, 1)
    assert '{"a": 1}' in seen[0]  # FastMCP would have made an object of it


def test_given_answers_are_ranked_and_a_blank_one_is_last(store: DemonstrationStore) -> None:
    result = called(
        create_mcp_server(over_store(store)), "rank_answers", question=QUESTION, answers=["", RUDE, KIND]
    )
    ranked = RankedAnswers.model_validate(result.structuredContent).answers
    assert [(item.answer, item.index, item.score is None) for item in ranked] == [
        (KIND, 2, False),
        (RUDE, 1, False),
        ("", 0, True),
    ]


def test_what_is_added_is_found_and_used(store: DemonstrationStore) -> None:
    server = create_mcp_server(over_store(store), editable=True)
    asked = {"question": "[1, 2]", "chosen": "good", "rejected": "{}"}
    first, second = (called(server, "add_demonstration", **asked) for _ in range(2))
    kept = Demonstration("[1, 2]", "good", "{}")
    assert AddedDemonstration.model_validate(first.structuredContent) == AddedDemonstration(
        id=kept.id, added=True
    )
    assert second.structuredContent == {"id": kept.id, "added": False}
    found = called(server, "search_demonstrations", query="[1, 2]", k=1)
    (hit,) = FoundDemonstrations.model_validate(found.structuredContent).demonstrations
    assert (hit.id, hit.question, hit.chosen, hit.rejected) == (kept.id, "[1, 2]", "good", "{}")
    assert hit.similarity == pytest.approx(1, abs=1e-5)
    answered = called(server, "aligned_answer", question="[1, 2]", k=1)
    assert answered.structuredContent["demonstration_ids"] == [kept.id]


def test_a_read_only_directory_is_written_where_that_is_allowed(tmp_path: Any) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder(), read_only=True) as store:
        server = create_mcp_server(over_store(store), editable=True)
        asked = {"question": "new", "chosen": "good"}
        assert called(server, "add_demonstration", **asked).structuredContent["added"] is True
        assert len(store) == len(DEMONSTRATIONS) + 1
        with DemonstrationStore(tmp_path, embedder=FakeEmbedder()):
            says = refusal(called(server, "add_demonstration", question="newer", chosen="good"))
            assert "another process writes to the demonstration store" in says
            assert str(tmp_path) not in says


def test_additions_at_the_same_time_wait_for_one_another(tmp_path: Any) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
        store.add(DEMONSTRATIONS)

    async def use(client: ClientSession) -> list[CallToolResult]:
        asked = [{"question": f"new {i}", "chosen": "good"} for i in range(5)]
        return await asyncio.gather(*(client.call_tool("add_demonstration", one) for one in asked))

    with DemonstrationStore(tmp_path, embedder=FakeEmbedder(), read_only=True) as store:
        results = used(create_mcp_server(over_store(store), editable=True), use)
        assert not any(result.isError for result in results), results
        assert len(store) == len(DEMONSTRATIONS) + 5


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("aligned_answer", {"question": " "}, "the question is blank"),
        ("aligned_answer", {"question": "\ud800"}, "unicode"),
        ("aligned_answer", {"question": "x" * (MAX_CHARACTERS + 1)}, f"at most {MAX_CHARACTERS} char"),
        ("aligned_answer", {"question": "q", "n": 33}, "less than or equal to 32"),
        ("aligned_answer", {"question": "q", "n": 0}, "greater than or equal to 1"),
        ("aligned_answer", {"question": "q", "k": 21}, "less than or equal to 20"),
        ("aligned_answer", {"question": "q", "max_tokens": 2049}, "less than or equal to 2048"),
        ("aligned_answer", {"question": "q", "seed": -1}, "greater than or equal to 0"),
        ("aligned_answer", {}, "question"),
        ("rank_answers", {"question": "q", "answers": []}, "at least 1 item"),
        ("rank_answers", {"question": "q", "answers": ["a"] * 33}, "at most 32 items"),
        ("rank_answers", {"question": "q", "answers": ["x" * (MAX_CHARACTERS + 1)]}, "at most"),
        ("search_demonstrations", {"query": " "}, "blank"),
        ("search_demonstrations", {"query": "q", "k": 101}, "less than or equal to 100"),
        ("add_demonstration", {"question": "q", "chosen": " "}, "the chosen answer is blank"),
        ("add_demonstration", {"question": "q", "chosen": "a", "rejected": "a"}, "states no preference"),
        ("aligned_answer", {"question": 5}, "question: "),
        ("aligned_answer", {"question": "q", "temperature": 2, "N": 3}, "'temperature', 'N'"),
        ("aligned_answer", {"question": "q", "temperature": 2}, "question, system, n, k, max_tokens, seed"),
        ("rank_answers", {"question": "q", "answers": ["a"], "n": 1}, "takes question, answers"),
        ("search_demonstrations", {"question": "q"}, "takes query, k"),
        ("add_demonstration", {"question": "q", "chosen": "a", "x": None}, "question, chosen, rejected"),
        ("no_such_tool", {}, "'no_such_tool'"),
        ("no_such_tool", {}, "aligned_answer, rank_answers, search_demonstrations, add_demonstration"),
        *[
            (tool, {"query" if tool.startswith("search") else "question": "q", name: value}, f"{name}: ")
            for tool, names in NUMBERS.items()
            for name in names
            for value in (True, "3", 2.0, " 4 ", [1])
        ],
    ],
)
def test_bad_input_is_a_tool_error_that_says_so(
    store: DemonstrationStore, tool: str, arguments: dict[str, Any], says: str
) -> None:
    server = create_mcp_server(over_store(store), editable=True)
    said = refusal(called(server, tool, **arguments))
    assert says in said
    assert "http" not in said  # pydantic's own messages have a URL
    assert len(store) == len(DEMONSTRATIONS)


def test_what_is_no_error_of_ours_shows_nothing_of_the_server(
    store: DemonstrationStore, caplog: pytest.LogCaptureFixture
) -> None:
    core = over_store(store)
    core.policy.sample = lambda *arguments: 1 / 0
    says = refusal(called(create_mcp_server(core), "aligned_answer", question=QUESTION))
    assert "failed inside the server" in says
    assert "division" not in says
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("error", [StoreUnavailableError, PolicyUnavailableError, WeightsError])
def test_what_only_the_operator_can_mend_names_no_path(
    store: DemonstrationStore, caplog: pytest.LogCaptureFixture, error: type[ICDPOError]
) -> None:
    core = over_store(store)

    def fails(*arguments: Any) -> Any:
        raise error("/home/somebody/model can't be read")

    core.policy.sample = fails
    says = refusal(called(create_mcp_server(core), "aligned_answer", question=QUESTION))
    assert "can't be used: the server's log has the reason" in says
    assert "/home/somebody" not in says
    assert "/home/somebody/model can't be read" in caplog.text


def test_the_version_is_ours(store: DemonstrationStore) -> None:
    async def use(client: ClientSession) -> Any:
        return (await client.initialize()).serverInfo.version

    assert used(create_mcp_server(over_store(store)), use) == icdpo_chains.__version__


def test_tools_are_listed_while_the_model_loads(store: DemonstrationStore) -> None:
    loaded = threading.Event()

    def load() -> Any:
        assert loaded.wait(30)
        return over_store(store)

    async def use(client: ClientSession) -> Any:
        asked = asyncio.create_task(client.call_tool("aligned_answer", {"question": QUESTION}))
        listed = await client.list_tools()
        assert not asked.done()
        loaded.set()
        return len(listed.tools), (await asked).structuredContent["answer"]

    assert used(create_mcp_server(load), use) == (3, KIND)


def test_a_model_that_does_not_load_is_told_at_each_call() -> None:
    def load() -> Any:
        raise ICDPOError("no such model: name another")

    server = create_mcp_server(load)
    for tool, arguments in (("aligned_answer", {"question": "q"}), ("search_demonstrations", {"query": "q"})):
        assert "no such model: name another" in refusal(called(server, tool, **arguments))


def test_a_retriever_without_a_store_is_told() -> None:
    says = refusal(called(create_mcp_server(make_core()), "search_demonstrations", query="q"))
    assert "FixedDemonstrations can't be searched" in says


def test_another_store_may_be_given(store: DemonstrationStore) -> None:
    found = called(create_mcp_server(make_core(), store=store), "search_demonstrations", query="exam", k=2)
    assert len(found.structuredContent["demonstrations"]) == 2


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=60), st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_any_text_is_ranked_or_refused(store: DemonstrationStore, question: str, answers: list[str]) -> None:
    result = called(create_mcp_server(over_store(store)), "rank_answers", question=question, answers=answers)
    if question.strip():
        ranked = RankedAnswers.model_validate(result.structuredContent).answers
        assert sorted(item.answer for item in ranked) == sorted(answers)
    else:
        assert "blank" in refusal(result)


def test_what_is_printed_goes_to_standard_error() -> None:
    # In a process of its own: pytest has put something else in the place of sys.stdout.
    program = """if True:
        import os
        from icdpo_chains.mcp.transports import protocol_output
        print("before")
        with protocol_output() as output:
            print("a library")
            os.write(1, b"one in C\\n")
            os.system("echo a process")
            output.write("the protocol \u20ac\\n")
        print("afterwards")
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert run.stdout == "before\nthe protocol \u20ac\nafterwards\n"
    assert sorted(run.stderr.splitlines()) == ["a library", "a process", "one in C"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic right"}, 401),
        ({"Authorization": "right"}, 401),
        ({"Authorization": "Bearer right"}, 200),
        ({"Authorization": "bearer right"}, 200),
    ],
)
def test_the_key_is_demanded(sent: dict[str, str], status: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer = TestClient(_KeyDemanded(app, "right")).post("/mcp", headers=sent)
    assert answer.status_code == status
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:80", None, 200),
        ("127.0.0.1", None, 200),
        ("localhost", "http://localhost", 200),
        ("[::1]", None, 200),
        ("localhost:8765", "http://localhost:3000", 200),
        ("evil.example:8765", None, 421),
        ("127.0.0.1:80", "https://evil.example", 403),
    ],
)
def test_only_loopback_names_are_answered(host: str, origin: str | None, status: int) -> None:
    app = create_mcp_server(make_core()).streamable_http_app()
    headers = {"Host": host, "Accept": "application/json, text/event-stream"}
    if origin is not None:
        headers["Origin"] = origin
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-03-26",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    with TestClient(app) as client:
        assert client.post("/mcp", json=hello, headers=headers).status_code == status


def test_a_missing_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ICDPOError, match=r"pip install .icdpo-chains\[mcp\]"):
        create_mcp_server(make_core())
