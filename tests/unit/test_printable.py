"""`printable`: control characters are visible."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.printable import printable


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
