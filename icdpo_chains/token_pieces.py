"""`token_pieces`: the text of a candidate, cut into pieces that each have a token's score."""

from __future__ import annotations

from typing import Any

from icdpo_chains.result import Candidate

__all__ = ["token_pieces"]


def token_pieces(candidate: Candidate, tokenizer: Any) -> list[tuple[str, float]]:
    """Returns the pieces of a candidate's text, each with its token's score.

    A character of several tokens is one piece, with the last token's score.
    """
    pieces: list[tuple[str, float]] = []
    decoded = ""
    for count, score in enumerate(candidate.token_scores, start=1):
        longer = tokenizer.decode(candidate.token_ids[:count], skip_special_tokens=True)
        if longer.startswith(decoded) and not longer.endswith("\ufffd"):
            pieces.append((longer[len(decoded) :], score))
            decoded = longer
    # The text may lack the prompt format's leading space, and everything from a stop string on.
    begin = decoded.find(candidate.text)
    if begin < 0:
        return [(candidate.text, 0.0)]
    end, at, kept = begin + len(candidate.text), 0, []
    for piece, score in pieces:
        inside = piece[max(begin - at, 0) : max(end - at, 0)]
        at += len(piece)
        if inside:
            kept.append((inside, score))
    return kept
