"""`record_feedback`: what a user thought of an answer becomes a demonstration."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, messages_from_dict
from langchain_core.prompt_values import PromptValue

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.opening import open_store
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import check_text
from icdpo_chains.reasoning.thoughts import answer_alone
from langchain_icdpo.messages import to_conversation, to_messages, to_text
from langchain_icdpo.question import to_question

__all__ = ["arecord_feedback", "record_feedback"]

_INPUTS = ("messages", "input", "question", "query")
_OUTPUTS = ("messages", "output", "answer", "content", "text", "generations")


def record_feedback(
    store: DemonstrationStore | str | Path | None,
    run_or_messages: Any,
    *,
    chosen: str | None = None,
    rejected: str | None = None,
    feedback: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Demonstration:
    """Records which answer was better, as a demonstration that the next call can retrieve.

    A correction is `chosen`, and the answer that was given is then the rejected one. Praise is a `feedback`
    with a score above 0, and the answer that was given is then the chosen one; without a rejected answer it
    is found only where the scorer compares with the bare model (`against="base"`).

    Args:
        store: where it goes: a store (one that is open read-only is opened for writing meanwhile), the
            directory of one, or `None` for the user's own.
        run_or_messages: what was asked and answered: messages of which the last is the answer, an agent's
            state, or a traced run (LangChain's or LangSmith's, or its JSON) with its inputs and outputs.
        chosen: the better answer, if it is not the one that was given.
        rejected: a worse answer, if it is not the one that was given.
        feedback: LangSmith's record of a feedback: `score` (a number or a bool), `correction` (a text, or a
            mapping that holds it as `output`, `answer`, `content` or `text`), `comment`, `key`, `run_id`.
        metadata: kept with the demonstration.

    Returns:
        What was stored.

    Raises:
        InvalidInputError: no question is found, or nothing says which answer is better.
        DemonstrationError: the two answers are the same, or one is blank.
        StoreError: the store can't be written.
    """
    question, answer = _exchange(run_or_messages)
    answer, chosen, rejected = (text and answer_alone(text) for text in (answer, chosen, rejected))
    feedback = feedback or {}
    correction = feedback.get("correction")
    if chosen is None and correction is not None:
        chosen = answer_alone(_text(correction, "the correction"))
    if chosen is None:
        if not (rejected is not None or _praises(feedback)):
            raise InvalidInputError(
                "nothing says which answer is better: give chosen= (a correction), rejected= (a worse "
                "answer), or a feedback with a correction or a score above 0"
            )
        chosen = answer
    elif rejected is None and answer != chosen:
        rejected = answer
    if chosen is None:
        raise InvalidInputError(
            "the run or the messages hold no answer that could be the chosen one: give chosen="
        )
    kept = {name: feedback[name] for name in ("key", "score", "comment") if feedback.get(name) is not None}
    if feedback.get("run_id") is not None:
        kept["run_id"] = str(feedback["run_id"])
    turns = to_conversation(question)
    prompt = turns[0].content if len(turns) == 1 and turns[0].role == "user" else turns
    demonstration = Demonstration(
        prompt, chosen, rejected, {"source": "feedback", **kept, **(metadata or {})}
    )
    with _writable(store) as opened:
        opened.add([demonstration])
    return demonstration


async def arecord_feedback(
    store: DemonstrationStore | str | Path | None, run_or_messages: Any, **options: Any
) -> Demonstration:
    """`record_feedback` in a thread; the options are the same."""
    return await asyncio.to_thread(record_feedback, store, run_or_messages, **options)


@contextlib.contextmanager
def _writable(store: DemonstrationStore | str | Path | None) -> Iterator[DemonstrationStore]:
    if isinstance(store, DemonstrationStore):
        with store.writable() as opened:
            yield opened
    else:
        with open_store(store) as opened:
            yield opened


def _exchange(value: Any) -> tuple[list[BaseMessage], str | None]:
    """What was asked, and what was answered, if that is there."""
    inputs, outputs = getattr(value, "inputs", None), getattr(value, "outputs", None)
    if isinstance(value, Mapping) and "inputs" in value:
        inputs, outputs = value["inputs"], value.get("outputs")
    if inputs is None:
        messages, answer = _messages(value), None
    else:
        messages = _messages(inputs)
        answer = None if outputs is None else _text(outputs, "the run's output")
    if messages and isinstance(messages[-1], AIMessage):
        # Only the last one: what the agent said and did on the way to it stays in the prompt.
        given = to_text(messages.pop(), "the answer")
        answer = given if answer is None else answer
    if not messages:
        raise InvalidInputError("there is no question: give the messages that led to the answer, or a run")
    return messages, answer


def _messages(value: Any) -> list[BaseMessage]:
    """Messages, out of what a run has as its input, an agent as its state, or a chat as its history."""
    if isinstance(value, Mapping):
        for name in _INPUTS:
            if name in value:
                found = _messages(value[name])
                plain = not isinstance(value[name], (list, tuple))
                return to_question({**value, "input": found}) if plain else found
        raise InvalidInputError(
            f"no question is found among {', '.join(map(str, value)) or 'nothing'}: it is looked for in "
            f"{', '.join(_INPUTS)}. Give the messages themselves, or the run of the chain around this one"
        )
    if isinstance(value, (list, tuple)):
        if len(value) == 1 and isinstance(value[0], (list, tuple)):  # a run has a batch of one
            return _messages(value[0])
        return to_messages([_revived(item) for item in value])
    if isinstance(value, (str, PromptValue, BaseMessage)):
        return to_messages(value)
    raise InvalidInputError(
        f"a {type(value).__name__} is neither a run nor messages: give messages, an agent's state or a run"
    )


def _text(value: Any, what: str) -> str:
    """The answer that an output or a correction holds."""
    value = _revived(value)
    if isinstance(value, str):
        return check_text(value, what)
    if isinstance(value, BaseMessage):
        return to_text(value, what)
    if isinstance(value, (list, tuple)) and value:
        return _text(value[-1], what)
    if isinstance(value, Mapping):
        for name in ("message", *_OUTPUTS):
            if value.get(name):
                return _text(value[name], what)
    raise InvalidInputError(
        f"{what} holds no answer: {value!r:.80}; give a text, or a mapping with one of {', '.join(_OUTPUTS)}"
    )


def _revived(value: Any) -> Any:
    """A message that was serialized into a trace; only messages are made of what is read."""
    if not isinstance(value, Mapping) or "lc" not in value or "kwargs" not in value:
        return value
    kwargs = value["kwargs"]
    return messages_from_dict([{"type": kwargs.get("type", "?"), "data": kwargs}])[0]


def _praises(feedback: Mapping[str, Any]) -> bool:
    score = feedback.get("score")
    return isinstance(score, (bool, int, float)) and score > 0
