"""`record_feedback`: turns a user's opinion of an answer into a demonstration."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, messages_from_dict
from langchain_core.prompt_values import PromptValue

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.feedback import Feedback
from icdpo_chains.demonstrations.open_store import open_store
from icdpo_chains.demonstrations.pairing import Thumb
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.messages import check_text
from icdpo_chains.reasoning.thoughts import answer_alone
from langchain_icdpo.messages import to_conversation, to_messages, to_text
from langchain_icdpo.question import to_question

__all__ = ["arecord_feedback", "demonstration_of_feedback", "kept_in", "record_feedback"]

_INPUTS = ("messages", "input", "question", "query")
_OUTPUTS = ("messages", "output", "answer", "content", "text", "generations")


def record_feedback(
    store: DemonstrationStore | str | Path | None,
    run_or_messages: Any,
    *,
    chosen: str | None = None,
    rejected: str | None = None,
    thumb: Thumb | None = None,
    comment: str | None = None,
    feedback: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Demonstration:
    """Records a user's opinion of an answer as a demonstration that the next call can retrieve.

    A correction is `chosen`; the model's answer is then the rejected one. A thumb, or the score of a
    `feedback` (up if above 0), is a vote on the model's answer: see `icdpo_chains.demonstrations.pairing` for
    contradictory votes, and for an up and a down on the same question.

    Args:
        store: the target: a store (a read-only store is opened for writing meanwhile), its directory, or
            `None` for the user's own store.
        run_or_messages: question and answer: messages that end with the answer, an agent's state, or a traced
            run (LangChain's or LangSmith's, or its JSON) with inputs and outputs.
        chosen: the better answer, if it is not the model's answer.
        rejected: a worse answer, if it is not the model's answer.
        thumb: `"up"` or `"down"`: the user's vote on the model's answer.
        comment: a text to store with the demonstration.
        feedback: LangSmith's record of a feedback: `score` (a number or a bool), `correction` (a text, or a
            mapping that contains it as `output`, `answer`, `content` or `text`), `comment`, `key`, `run_id`.
        metadata: values to store with the demonstration. A user or a time distinguishes votes on the same
            answer.

    Returns:
        The demonstration in the store, or the pair that now contains it.

    Raises:
        InvalidInputError: there is no question, no argument tells which answer is better, or a thumb up and a
            correction contradict each other.
        DemonstrationError: the two answers are the same, or an answer is blank.
        StoreError: the store can't be written.
    """
    given = demonstration_of_feedback(
        run_or_messages,
        chosen=chosen,
        rejected=rejected,
        thumb=thumb,
        comment=comment,
        feedback=feedback,
        metadata=metadata,
    )
    return kept_in(store, [given])[0]


def demonstration_of_feedback(
    run_or_messages: Any,
    *,
    chosen: str | None = None,
    rejected: str | None = None,
    thumb: Thumb | None = None,
    comment: str | None = None,
    feedback: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Demonstration:
    """Returns the demonstration that `record_feedback` adds to a store, with its arguments and errors."""
    question, answer = _exchange(run_or_messages)
    answer, chosen, rejected = (text and answer_alone(text) for text in (answer, chosen, rejected))
    feedback = feedback or {}
    correction = feedback.get("correction")
    if chosen is None and correction is not None:
        chosen = answer_alone(_text(correction, "the correction"))
    given = {**feedback, **({} if comment is None else {"comment": comment})}
    kept = {name: given[name] for name in ("key", "score", "comment") if given.get(name) is not None}
    if feedback.get("run_id") is not None:
        kept["run_id"] = str(feedback["run_id"])
    kept |= metadata or {}
    turns = to_conversation(question)
    prompt = turns[0].content if len(turns) == 1 and turns[0].role == "user" else turns
    if chosen is None and rejected is None:
        thumb = thumb or _thumb(feedback)
    if thumb is None:
        chosen, rejected = _sides(answer, chosen, rejected)
        return Demonstration(prompt, chosen, rejected, {"source": "feedback", **kept})
    if rejected is not None:
        raise InvalidInputError("thumb= is a vote on the model's answer: leave rejected= out")
    if answer is None:
        raise InvalidInputError(
            "the run or the messages have no answer for the thumb: add the answer to them"
        )
    if isinstance(run_or_messages, Mapping) or hasattr(run_or_messages, "inputs"):
        kept = {**_run_id(run_or_messages), **kept}  # distinguishes votes on two runs
    return Feedback(prompt, answer, thumb, chosen, kept).demonstration()


def kept_in(
    store: DemonstrationStore | str | Path | None, items: Sequence[Demonstration]
) -> list[Demonstration]:
    """Adds demonstrations and returns each as the store now contains it; for `store`, see `record_feedback`.

    Raises:
        StoreError: the store can't be written.
    """
    with _writable(store) as opened:
        places = opened.add(items).places
        found = {item.id: item for item in opened.get([places.get(item.id, item.id) for item in items])}
    return [found.get(places.get(item.id, item.id), item) for item in items]


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
    """Returns the question, and the answer if there is one."""
    inputs, outputs = getattr(value, "inputs", None), getattr(value, "outputs", None)
    if isinstance(value, Mapping) and "inputs" in value:
        inputs, outputs = value["inputs"], value.get("outputs")
    if inputs is None:
        messages, answer = _messages(value), None
    else:
        messages = _messages(inputs)
        answer = None if outputs is None else _text(outputs, "the run's output")
    if messages and isinstance(messages[-1], AIMessage):
        # Only the last message: the agent's earlier messages stay in the prompt.
        given = to_text(messages.pop(), "the answer")
        answer = given if answer is None else answer
    if not messages:
        raise InvalidInputError("there is no question: give the messages that led to the answer, or a run")
    return messages, answer


def _messages(value: Any) -> list[BaseMessage]:
    """Returns the messages in the input of a run, the state of an agent, or the history of a chat."""
    if isinstance(value, Mapping):
        for name in _INPUTS:
            if name in value:
                found = _messages(value[name])
                plain = not isinstance(value[name], (list, tuple))
                return to_question({**value, "input": found}) if plain else found
        raise InvalidInputError(
            f"{', '.join(map(str, value)) or 'nothing'} has no question: a question is expected in "
            f"{', '.join(_INPUTS)}. Give the messages, or the run of the enclosing chain"
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
    """Returns the answer in an output or a correction."""
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
        f"{what} has no answer: {value!r:.80}; give a text, or a mapping with one of {', '.join(_OUTPUTS)}"
    )


def _revived(value: Any) -> Any:
    """Reads a message from a trace; builds nothing but messages."""
    if not isinstance(value, Mapping) or "lc" not in value or "kwargs" not in value:
        return value
    kwargs = value["kwargs"]
    return messages_from_dict([{"type": kwargs.get("type", "?"), "data": kwargs}])[0]


def _sides(answer: str | None, chosen: str | None, rejected: str | None) -> tuple[str, str | None]:
    """Returns the chosen and the rejected answer; the model's answer is the side without an argument."""
    if chosen is None:
        if rejected is None:
            raise InvalidInputError(
                "it is not known which answer is better: give chosen= (a correction), rejected= (a worse "
                'answer), thumb="up" or "down", or a feedback with a correction or a score'
            )
        chosen = answer
    elif rejected is None and answer != chosen:
        rejected = answer
    if chosen is None:
        raise InvalidInputError("the run or the messages have no answer to choose: give chosen=")
    return chosen, rejected


def _thumb(feedback: Mapping[str, Any]) -> Thumb | None:
    """Returns the vote of a score: LangSmith's thumbs are 1 and 0."""
    score = feedback.get("score")
    if not isinstance(score, (bool, int, float)) or math.isnan(score):
        return None
    return "up" if score > 0 else "down"


def _run_id(run: Any) -> dict[str, str]:
    id_ = run.get("id") if isinstance(run, Mapping) else getattr(run, "id", None)
    return {} if id_ is None else {"run_id": str(id_)}
