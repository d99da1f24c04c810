"""Texts and numbers for a terminal or a page: `printable`, `one_line`, `counted` and `rounded`."""

from __future__ import annotations

__all__ = ["counted", "one_line", "printable", "rounded"]

# Control characters could move the cursor or retitle the terminal; a model's text must not.
_PICTURES: dict[int, int | str] = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_PICTURES |= dict.fromkeys(range(0x7F, 0xA0), 0xFFFD)
# Bidirectional controls (Unicode's Bidi_Control) reorder what a reader sees: "Trojan Source", CVE-2021-42574.
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
# Invisible characters hide text from a reader: tags (U+E0000 and after) spell whole words. The joiners U+200C
# and U+200D stay: Persian, Hindi and emoji need them.
_INVISIBLE = (0x00AD, 0x180E, 0x200B, 0x2028, 0x2029, *range(0x2060, 0x2066), *range(0x206A, 0x2070), 0xFEFF)
_PICTURES |= {code: f"\\u{code:04x}" for code in (*_BIDI, *_INVISIBLE)}
_PICTURES |= {code: f"\\U{code:08x}" for code in range(0xE0000, 0xE0080)}


def printable(text: str) -> str:
    r"""Returns the text with visible control characters; line breaks and tabs stay.

    Bidirectional controls and invisible characters become escapes such as `\u202e`.
    """
    return text.translate(_PICTURES)


def one_line(text: str, width: int) -> str:
    """Returns a text as one printable line of at most `width` characters, white space as single spaces."""
    line = " ".join(printable(text[: 4 * width]).split())
    return line if len(line) <= width else line[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def counted(number: int, noun: str) -> str:
    """Returns a number with a noun, whose plural ends in s: `1 pair`, `2,000 pairs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def rounded(value: float, places: int) -> str:
    """Returns a number with so many decimals; a negative number that rounds to zero has no sign."""
    text = f"{value:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text
