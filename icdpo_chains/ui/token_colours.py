"""The colours of tokens: how far the demonstrations raised or lowered each of them.

Blue and orange are told apart with every common kind of colour blindness. The strongest steps do not rely on
colour alone: raised tokens are bold, lowered ones are underlined. `page.css` has the colours of both themes.
"""

from __future__ import annotations

import math

__all__ = ["LEGEND", "colour_of"]

NOTABLE, STRONG = 0.2, 1.0
"""The shares of the score, in nats, from which a token is coloured, and coloured strongly."""

LEGEND = (
    ("down2", f"lowered by {STRONG:g} or more"),
    ("down1", f"lowered by {NOTABLE:g}"),
    ("", "about the same"),
    ("up1", f"raised by {NOTABLE:g}"),
    ("up2", f"raised by {STRONG:g} or more"),
)
"""The classes of tokens in the order of their scores, with their meanings."""


def colour_of(score: float) -> str:
    """Returns the class of a token; `""` for a token without a colour.

    Args:
        score: The share of the token in the score of its candidate, in nats.
    """
    if math.isnan(score) or abs(score) < NOTABLE:
        return ""
    strength = 2 if abs(score) >= STRONG else 1
    return f"{'up' if score > 0 else 'down'}{strength}"
