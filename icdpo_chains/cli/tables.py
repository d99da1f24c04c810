"""Results as Rich tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from icdpo_chains.foundation.printable import counted, one_line, printable, rounded
from icdpo_chains.token_pieces import token_pieces

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.result import Candidate, ICDPOResult

__all__ = ["candidates_table", "demonstrations_table", "stored_table", "totals"]

# The share of the score, in nats, above (or below) which a token is coloured.
_NOTABLE, _STRONG = 0.2, 1.0

_ENDED = {"stop": "itself", "length": "cut off", "rejected": "fell behind", None: ""}


def candidates_table(result: ICDPOResult, tokenizer: Any) -> Table:
    """Returns the candidates, best first; each token of a text is coloured by its score.

    Args:
        result: the result.
        tokenizer: the policy's tokenizer, which splits texts into tokens.
    """
    from rich.table import Table

    table = Table(title=counted(len(result.candidates), "candidate"), title_justify="left", show_lines=True)
    table.add_column("score", justify="right")
    table.add_column("tokens", justify="right")
    sampled = any(candidate.finish_reason is not None for candidate in result.candidates)
    if sampled:
        table.add_column("ended")
    table.add_column("text")
    for candidate in result.candidates:
        ended = [_ENDED[candidate.finish_reason]] if sampled else []
        score, tokens = rounded(candidate.score, 3), str(candidate.num_tokens)
        table.add_row(score, tokens, *ended, coloured(candidate, tokenizer))
    return table


def demonstrations_table(result: ICDPOResult) -> Table:
    """Returns the shown demonstrations, nearest first, with the scores of both stages."""
    from rich.table import Table

    table = Table(title="Demonstrations shown", title_justify="left", show_lines=True)
    table.add_column("similarity", justify="right")
    table.add_column("BM25", justify="right")
    for name in ("prompt", "chosen", "rejected"):
        table.add_column(name, ratio=1)
    for found in result.demonstrations:
        item = found.demonstration
        table.add_row(
            "general" if found.general else "" if found.similarity is None else rounded(found.similarity, 3),
            "" if found.bm25_score is None else f"{found.bm25_score:.2f}",
            shortened(item.messages[-1].content, 160),
            shortened(item.chosen or "", 160),
            shortened(item.rejected or "", 160),
        )
    return table


def stored_table(rows: Iterable[tuple[Demonstration, float | None]]) -> Table:
    """Returns stored demonstrations, with their similarity to a query if there is one."""
    from rich.table import Table

    rows = list(rows)
    table = Table()
    table.add_column("id", no_wrap=True)
    if any(similarity is not None for _, similarity in rows):
        table.add_column("similarity", justify="right")
    table.add_column("prompt", ratio=1)
    table.add_column("chosen", ratio=1)
    for item, similarity in rows:
        scores = [] if similarity is None else [rounded(similarity, 3)]
        texts = [
            shortened(item.messages[-1].content, 100),
            shortened(item.chosen or f"(rejected) {item.rejected}", 100),
        ]
        table.add_row(item.id[:12], *scores, *texts)
    return table


def totals(result: ICDPOResult) -> str:
    """Returns one line: the scorer, tokens and seconds."""
    score = "S^" if result.against == "rejected" else "S"
    seconds = ", ".join(f"{stage} {value:.1f} s" for stage, value in result.timings.items())
    apart = "" if result.paired or result.against == "base" else ", retrieved apart from the chosen ones"
    dropped = (
        f"; {counted(len(result.dropped), 'demonstration')} dropped for lack of room"
        if result.dropped
        else ""
    )
    return (
        f"{result.model}; score {score} ({result.aggregate}, against {result.against}{apart}); "
        f"seed {result.seed}; "
        f"{result.usage.prompt_tokens} prompt and {result.usage.completion_tokens} completion tokens; "
        f"{seconds}{dropped}"
    )


def shortened(text: str, length: int) -> Text:
    """Returns the text on one line, truncated, and never as markup."""
    from rich.text import Text

    return Text(one_line(text, length))


def coloured(candidate: Candidate, tokenizer: Any) -> Text:
    """Returns a candidate's text; tokens that the demonstrations made likelier are green, others red."""
    from rich.text import Text

    text = Text()
    for piece, score in token_pieces(candidate, tokenizer):
        style = "" if abs(score) < _NOTABLE else "green" if score > 0 else "red"
        text.append(printable(piece), f"bold {style}" if abs(score) >= _STRONG else style)
    return text
