"""`printable`: control characters are visible."""

import math
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.foundation.printable import counted, one_line, printable, rounded


def test_bidirectional_controls_are_escapes() -> None:
    assert printable("a\u202eb\u2066c\u200fd") == "a\\u202eb\\u2066c\\u200fd"


def test_invisible_characters_are_escapes_and_joiners_stay() -> None:
    assert printable("a\U000e0041b\u200bc\u2028d\ufeffe\u2060") == (
        "a\\U000e0041b\\u200bc\\u2028d\\ufeffe\\u2060"
    )
    assert printable("\U0001f468\u200d\U0001f469 می\u200cخواهم") == "\U0001f468\u200d\U0001f469 می\u200cخواهم"


def test_control_characters_are_pictures_and_line_breaks_stay() -> None:
    assert printable("a\x1b[2Jb\r\n\tc\x9b") == "a␛[2Jb␍\n\tc�"


@given(st.text(alphabet=st.characters(exclude_categories=["Cc"])))
def test_other_characters_stay(text: str) -> None:
    plain = "".join(
        c
        for c in text
        if unicodedata.bidirectional(c) not in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
        and c not in "\u061c\u200e\u200f\u00ad\u180e\u200b\u2028\u2029\ufeff"
        and not "\u2060" <= c <= "\u206f"
        and not "\U000e0000" <= c <= "\U000e007f"
    )
    assert printable(plain) == plain


def test_one_line_is_short_and_printable() -> None:
    assert one_line(" a\n\n b\x1b ", 10) == "a b␛"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(number, "pair") for number in (0, 1, 2, 2000)] == [
        "0 pairs",
        "1 pair",
        "2 pairs",
        "2,000 pairs",
    ]


def test_zero_has_no_sign() -> None:
    assert [rounded(value, 2) for value in (-0.001, -0.0, 0.004, -0.006, 1.5, float("nan"), -math.inf)] == [
        "0.00",
        "0.00",
        "0.00",
        "-0.01",
        "1.50",
        "nan",
        "-inf",
    ]
