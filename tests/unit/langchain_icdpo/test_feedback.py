"""`record_feedback`: from what a user thought to what the next call is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakeEmbedder, Message
from icdpo_chains.errors import DemonstrationError, InvalidInputError
from langchain_icdpo import ChatICDPO, arecord_feedback, create_icdpo_chain, record_feedback

from ..fake_core import DEMONSTRATIONS, KIND

QUESTION, BETTER, GIVEN = "I lost my hat.", "Oh no! Which colour has it?", "Buy another."
EXCHANGE = [HumanMessage(QUESTION), AIMessage("Buy another.")]


async def test_a_correction_is_found_by_the_next_call(
    store: DemonstrationStore, core_on_store: ICDPO
) -> None:
    chat = ChatICDPO(icdpo=core_on_store)
    before = chat.invoke(QUESTION)
    recorded = record_feedback(store, [HumanMessage(QUESTION), before], chosen=BETTER)
    assert recorded == Demonstration(QUESTION, BETTER, KIND, {"source": "feedback"})
    after = chat.invoke("Have you seen my hat?")
    assert after.response_metadata["icdpo"]["demonstrations"][0] == recorded.id
    assert recorded.id not in before.response_metadata["icdpo"]["demonstrations"]
    again = await arecord_feedback(store, [HumanMessage(QUESTION), before], chosen=BETTER)
    assert again == recorded
    assert len(store) == len(DEMONSTRATIONS) + 1


@pytest.mark.parametrize(
    ("options", "chosen", "rejected"),
    [
        ({"chosen": BETTER}, BETTER, "Buy another."),
        ({"chosen": BETTER, "rejected": "So what?"}, BETTER, "So what?"),
        ({"rejected": "So what?"}, "Buy another.", "So what?"),
        ({"chosen": "Buy another."}, "Buy another.", None),
        ({"feedback": {"score": 1}}, "Buy another.", None),
        ({"feedback": {"score": True}, "rejected": "So what?"}, "Buy another.", "So what?"),
        ({"feedback": {"score": 0, "correction": BETTER}}, BETTER, "Buy another."),
        ({"feedback": {"correction": {"output": BETTER}}}, BETTER, "Buy another."),
        (
            {"feedback": {"correction": {"messages": [{"role": "ai", "content": BETTER}]}}},
            BETTER,
            "Buy another.",
        ),
    ],
    ids=str,
)
def test_what_is_better_and_what_is_worse(
    store: DemonstrationStore, options: dict[str, Any], chosen: str, rejected: str | None
) -> None:
    assert record_feedback(store, EXCHANGE, **options).id == Demonstration(QUESTION, chosen, rejected).id


def test_a_thumb_is_a_demonstration_with_one_answer(store: DemonstrationStore) -> None:
    recorded = record_feedback(store, EXCHANGE, thumb="down", comment="rude", metadata={"user": 1})
    assert recorded == Demonstration(
        QUESTION, None, GIVEN, {"source": "feedback", "comment": "rude", "user": 1, "thumb": "down"}
    )
    for i, thumb in enumerate(("up", "up", "up")):  # by one user, two, and again by the second
        recorded = record_feedback(store, EXCHANGE, thumb=thumb, metadata={"user": 2 + min(i, 1)})
    assert (recorded.chosen, recorded.rejected) == (GIVEN, None)
    assert [vote["thumb"] for vote in recorded.metadata["thumbs"]] == ["down", "up", "up"]
    pair = record_feedback(store, [*EXCHANGE[:1], AIMessage("Tough luck.")], feedback={"score": 0})
    assert pair.id == Demonstration(QUESTION, GIVEN, "Tough luck.").id
    assert len(store) == len(DEMONSTRATIONS) + 1


def test_thumbs_on_two_runs_are_two_votes(store: DemonstrationStore) -> None:
    for id_, thumb in (("a", "up"), ("b", "up"), ("b", "up"), ("c", "down")):
        run = {"id": id_, "inputs": {"question": QUESTION}, "outputs": {"answer": GIVEN}}
        recorded = record_feedback(store, run, thumb=thumb)
    assert [vote["run_id"] for vote in recorded.metadata["thumbs"]] == ["a", "b", "c"]


def test_a_thumb_down_with_a_correction_is_a_pair(store: DemonstrationStore) -> None:
    recorded = record_feedback(store, EXCHANGE, thumb="down", chosen=BETTER)
    assert recorded.id == Demonstration(QUESTION, BETTER, GIVEN).id


def test_the_record_is_kept_as_metadata(store: DemonstrationStore) -> None:
    run = uuid4()
    feedback = {
        "run_id": run,
        "key": "thumbs",
        "score": 0,
        "comment": "rude",
        "correction": BETTER,
        "value": None,
    }
    recorded = record_feedback(store, EXCHANGE, feedback=feedback, metadata={"user": 7})
    assert recorded.metadata == {
        "source": "feedback",
        "run_id": str(run),
        "key": "thumbs",
        "score": 0,
        "comment": "rude",
        "user": 7,
    }


def test_the_whole_conversation_is_the_prompt(store: DemonstrationStore) -> None:
    messages = [SystemMessage("S"), HumanMessage("a"), AIMessage("b"), HumanMessage("c"), AIMessage("d")]
    recorded = record_feedback(store, {"messages": messages}, chosen="e")
    assert recorded.messages == (
        Message("system", "S"),
        Message("user", "a"),
        Message("assistant", "b"),
        Message("user", "c"),
    )
    assert recorded.rejected == "d"
    assert len(messages) == 5


class Keeper(BaseTracer):
    """Keeps runs as LangSmith's tracer records them."""

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


@pytest.mark.parametrize("made_of", ["chat model", "prompt and chat model", "icdpo chain", "json"])
def test_a_traced_run_will_do(store: DemonstrationStore, core_on_store: ICDPO, made_of: str) -> None:
    chat = ChatICDPO(icdpo=core_on_store)
    keeper = Keeper()
    config: Any = {"callbacks": [keeper]}
    if made_of in ("chat model", "json"):
        chat.invoke(QUESTION, config)
    elif made_of == "icdpo chain":
        create_icdpo_chain(chat).invoke({"input": QUESTION}, config)
    else:
        (ChatPromptTemplate.from_template("{input}") | chat).invoke({"input": QUESTION}, config)
    run: Any = keeper.runs[0]
    if made_of == "json":
        run = {"id": str(run.id), "inputs": run.inputs, "outputs": run.outputs}
    recorded = record_feedback(store, run, chosen=BETTER)
    assert recorded.id == Demonstration(QUESTION, BETTER, KIND).id


def test_a_question_alone_and_an_answer(store: DemonstrationStore) -> None:
    assert record_feedback(store, QUESTION, chosen=BETTER).id == Demonstration(QUESTION, BETTER).id
    run = {"inputs": {"question": QUESTION}, "outputs": {"answer": "Buy another."}}
    assert record_feedback(store, run, chosen=BETTER).id == Demonstration(QUESTION, BETTER, "Buy another.").id


@pytest.mark.parametrize(
    ("value", "options", "error", "says"),
    [
        (EXCHANGE, {}, InvalidInputError, "it is not known which answer is better"),
        (
            EXCHANGE,
            {"feedback": {"score": None}},
            InvalidInputError,
            "it is not known which answer is better",
        ),
        (EXCHANGE, {"feedback": {"score": float("nan")}}, InvalidInputError, "it is not known which answer"),
        (EXCHANGE, {"thumb": "sideways"}, InvalidInputError, "must be 'up' or 'down'"),
        (EXCHANGE, {"thumb": "up", "chosen": BETTER}, InvalidInputError, "give one of them"),
        (EXCHANGE, {"thumb": "down", "rejected": BETTER}, InvalidInputError, "leave rejected= out"),
        (QUESTION, {"thumb": "up"}, InvalidInputError, "no answer for the thumb"),
        (
            EXCHANGE,
            {"feedback": {"correction": {"x": 1}}},
            InvalidInputError,
            "the correction has no answer",
        ),
        (QUESTION, {"feedback": {"score": 1}}, InvalidInputError, "have no answer"),
        ([AIMessage("Hi")], {"chosen": BETTER}, InvalidInputError, "no question"),
        (
            {"inputs": {"prompts": ["Human: Hi"]}},
            {"chosen": BETTER},
            InvalidInputError,
            "run of the enclosing chain",
        ),
        ({"inputs": {"x": 1}}, {"chosen": BETTER}, InvalidInputError, "x has no question"),
        (7, {"chosen": BETTER}, InvalidInputError, "a int is neither a run nor messages"),
        (EXCHANGE, {"chosen": BETTER, "rejected": BETTER}, DemonstrationError, "the same"),
        (EXCHANGE, {"chosen": " "}, DemonstrationError, "blank"),
    ],
    ids=str,
)
def test_bad_feedback_changes_nothing(
    store: DemonstrationStore, value: Any, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        record_feedback(store, value, **options)
    assert len(store) == len(DEMONSTRATIONS)


def test_a_store_open_for_writing_is_used_as_it_is(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
        recorded = record_feedback(store, EXCHANGE, chosen=BETTER)
        assert list(store) == [recorded]


def test_thoughts_are_not_stored(store: DemonstrationStore) -> None:
    exchange = [HumanMessage("I lost my bag."), AIMessage("<think>Hm.</think>Buy another.")]
    recorded = record_feedback(store, exchange, chosen=f"<think>Hm.</think>{BETTER}")
    assert (recorded.chosen, recorded.rejected) == (BETTER, "Buy another.")
