"""Results as HTML in which every text of a person or a model is escaped: the only place that writes HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from icdpo_chains.foundation.printable import counted, printable, rounded
from icdpo_chains.token_pieces import token_pieces
from icdpo_chains.ui.token_colours import LEGEND, colour_of

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.demonstrations.retriever import RetrievedDemonstration
    from icdpo_chains.draft import Answer
    from icdpo_chains.result import Candidate, ICDPOResult

__all__ = [
    "answer_card",
    "candidates_list",
    "card",
    "comparison",
    "demonstrations_list",
    "escaped",
    "legend",
    "notice",
    "totals",
]

_ENDED = {"length": "cut off at the length limit", "rejected": "fell behind and was dropped"}


def escaped(text: str) -> str:
    """Returns a text as HTML that shows the text, control characters included."""
    return html.escape(printable(text), quote=True)


def notice(text: str, *, error: bool = False) -> str:
    """Returns a line of the page's own, such as a status or an error."""
    kind = "error" if error else "status"
    return f'<p class="icdpo-{kind}" role="status">{escaped(text)}</p>' if text else ""


def legend(result: ICDPOResult) -> str:
    """Returns the legend of the scores and of the colours."""
    other = "the rejected answers" if result.against == "rejected" else "no demonstrations"
    whole = "the sum over its tokens" if result.aggregate == "sum" else "the mean over its tokens"
    items = "".join(
        f'<span class="icdpo-swatch"><span class="icdpo-token {name}">token</span> {escaped(meaning)}</span>'
        for name, meaning in LEGEND
    )
    return (
        '<div class="icdpo-legend"><p>The colour of a token shows how much likelier the good demonstrations '
        f"made it than {other} did. The unit is the nat: +1 means 2.7 times as likely. The score of a "
        f"candidate, {_score_name(result)}, is {whole}.</p>{items}</div>"
    )


def candidates_list(result: ICDPOResult, tokenizer: Any) -> str:
    """Returns the candidates, best first, with coloured tokens.

    Args:
        result: The result.
        tokenizer: The policy's tokenizer, which splits texts into tokens.
    """
    cards = "".join(
        f'<li class="icdpo-card{" best" if place == 1 else ""}">{_head(place, candidate)}'
        f"{_thought(candidate)}{_tokens(candidate, tokenizer)}</li>"
        for place, candidate in enumerate(result.candidates, start=1)
    )
    return f'{legend(result)}<ol class="icdpo-candidates">{cards}</ol>'


def answer_card(title: str, answer: Answer | Candidate, detail: str = "") -> str:
    """Returns one answer under a title, which says if the answer was cut off."""
    return card(title, answer.text, ", ".join(filter(None, (detail, _ended(answer)))))


def card(title: str, text: str, detail: str = "") -> str:
    """Returns one text under a title."""
    return (
        f'<div class="icdpo-card"><div class="icdpo-head"><b>{escaped(title)}</b> {escaped(detail)}</div>'
        f"{_text(text)}</div>"
    )


def comparison(before: ICDPOResult, after: ICDPOResult) -> str:
    """Returns the answers and the demonstrations of two results of one question, side by side."""
    known = {found.demonstration.id for found in before.demonstrations}
    new = [found for found in after.demonstrations if found.demonstration.id not in known]
    verdict = "The answer is the same as before." if before.text == after.text else "The answer changed."
    cards = "".join(
        answer_card(title, result.best, _score(result.best))
        for title, result in (("Before", before), ("Now", after))
    )
    fresh = (
        f'<div class="icdpo-head"><b>Shown for the first time</b></div>{demonstrations_list(new)}'
        if new
        else ""
    )
    told = notice(f"{verdict} New demonstrations: {len(new)} of {len(after.demonstrations)}.")
    return f'{told}<div class="icdpo-pair">{cards}</div>{fresh}'


def demonstrations_list(shown: Sequence[RetrievedDemonstration]) -> str:
    """Returns the demonstrations that a model was shown, nearest first, and why."""
    if not shown:
        return notice("The model was shown no demonstration.")
    items = "".join(
        f'<li class="icdpo-card"><div class="icdpo-head">{escaped(_reason(place, found))}</div>'
        f"{_demonstration(found.shown)}</li>"
        for place, found in enumerate(shown, start=1)
    )
    return f'<ol class="icdpo-demonstrations">{items}</ol>'


def totals(result: ICDPOResult) -> str:
    """Returns one line: seconds by stage, tokens, the scorer and the seed."""
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in result.timings.items())
    score = f"score {_score_name(result)} ({result.aggregate})"
    tokens = (
        f"{counted(result.usage.prompt_tokens, 'token')} read, {result.usage.completion_tokens:,} sampled"
    )
    dropped = f"; {counted(len(result.dropped), 'demonstration')} did not fit" if result.dropped else ""
    return notice(f"{seconds}; {tokens}; {score}; {result.model}, seed {result.seed}{dropped}")


def _score_name(result: ICDPOResult) -> str:
    return "S^" if result.against == "rejected" else "S"


def _ended(answer: Answer | Candidate) -> str:
    return _ENDED.get(answer.finish_reason or "", "")


def _head(place: int, candidate: Candidate) -> str:
    parts = (_score(candidate), counted(candidate.num_tokens, "token"), _ended(candidate))
    best = ' <span class="icdpo-best">the answer</span>' if place == 1 else ""
    return f'<div class="icdpo-head"><b>{place}</b>{best} {escaped(", ".join(filter(None, parts)))}</div>'


def _score(candidate: Candidate) -> str:
    return f"score {rounded(candidate.score, 2)}" if math.isfinite(candidate.score) else "can't be scored"


def _thought(candidate: Candidate) -> str:
    if not candidate.reasoning:
        return ""
    return (
        f"<details><summary>Thought ({counted(candidate.reasoning_tokens, 'token')}, not scored)</summary>"
        f"{_text(candidate.reasoning)}</details>"
    )


def _tokens(candidate: Candidate, tokenizer: Any) -> str:
    parts = [
        f'<span class="icdpo-token {colour}" title="{score:+.2f}">{escaped(piece)}</span>'
        if (colour := colour_of(score))
        else escaped(piece)
        for piece, score in token_pieces(candidate, tokenizer)
    ]
    return f'<div class="icdpo-text" dir="auto">{"".join(parts)}</div>'


def _text(text: str) -> str:
    return f'<div class="icdpo-text" dir="auto">{escaped(text)}</div>'


def _reason(place: int, found: RetrievedDemonstration) -> str:
    if found.general:
        return f"{place}. general: no demonstration is near enough to the question"
    figures = [
        f"{name} {rounded(value, 2)}"
        for name, value in (("similarity", found.similarity), ("BM25", found.bm25_score))
        if value is not None
    ]
    side = "" if found.side == "both" else f"only its {found.side} answer is shown"
    reasons = ", ".join([*figures, *([side] if side else [])])
    return f"{place}. {reasons}" if reasons else f"{place}."


def _demonstration(item: Demonstration) -> str:
    parts: Iterable[tuple[str, str | None]] = (
        *((message.role, message.text) for message in item.messages),
        ("chosen", item.chosen),
        ("rejected", item.rejected),
    )
    rows = "".join(
        f'<dt class="{name}">{escaped(name)}</dt><dd class="icdpo-text" dir="auto">{escaped(text)}</dd>'
        for name, text in parts
        if text is not None
    )
    return f"<dl>{rows}</dl>"
