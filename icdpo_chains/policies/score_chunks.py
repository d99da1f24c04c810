"""`score_chunks`: the continuations of several contexts, in parts that a model scores together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from icdpo_chains.policies.policy import ScoreRequest

__all__ = ["score_chunks"]

Chunk = list[tuple[int, list[Sequence[int]]]]
"""The numbers of requests, each with some of its continuations."""


def score_chunks(
    requests: Sequence[ScoreRequest], most_tokens: int, *, mixed: bool = True
) -> Iterator[Chunk]:
    """Cuts requests into chunks; the continuations of a chunk are padded to the longest of them.

    Args:
        requests: the contexts and their continuations. A request without a token to score is left out.
        most_tokens: the maximum number of tokens of a chunk, with padding; one continuation may be longer.
        mixed: whether a chunk may have continuations of several requests.
    """
    chunk: Chunk = []
    rows = longest = 0
    for number, request in enumerate(requests):
        begun = False
        for ids in request.continuations if any(map(len, request.continuations)) else ():
            longer = max(longest, len(ids), 1)
            other = not mixed and chunk and chunk[-1][0] != number
            if other or (chunk and (rows + 1) * longer > most_tokens):
                yield chunk
                chunk, rows, longer, begun = [], 0, max(len(ids), 1), False
            if not begun:
                chunk.append((number, []))
                begun = True
            chunk[-1][1].append(ids)
            rows, longest = rows + 1, longer
    if chunk:
        yield chunk
