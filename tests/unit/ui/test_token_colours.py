"""The colours of tokens."""

import math
import re
from pathlib import Path

import pytest

import icdpo_chains.ui
from icdpo_chains.ui.token_colours import LEGEND, colour_of

CSS = Path(icdpo_chains.ui.__file__).with_name("page.css").read_text("utf-8")


@pytest.mark.parametrize(
    ("score", "colour"),
    [
        (0.0, ""),
        (0.19, ""),
        (-0.19, ""),
        (0.2, "up1"),
        (-0.2, "down1"),
        (1.0, "up2"),
        (-7.0, "down2"),
        (math.inf, "up2"),
        (-math.inf, "down2"),
        (math.nan, ""),
    ],
)
def test_the_colour_follows_the_score(score: float, colour: str) -> None:
    assert colour_of(score) == colour


def test_the_legend_has_each_colour_in_the_order_of_scores() -> None:
    assert [name for name, _ in LEGEND] == [colour_of(score) for score in (-2, -0.5, 0, 0.5, 2)]


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("theme", "text"), [(":root", "#27272a"), (".dark", "#f4f4f5")])
def test_text_on_the_colours_is_readable(theme: str, text: str) -> None:
    """A contrast of 4.5 is what WCAG 2 asks of text, here of Gradio's text colours."""
    (rules,) = re.findall(rf"^{re.escape(theme)} {{(.*?)}}", CSS, re.DOTALL | re.MULTILINE)
    colours = dict(re.findall(r"--icdpo-(\w+): (#\w{6});", rules))
    for name in ("up1", "up2", "down1", "down2"):
        assert contrast(colours[name], text) >= 4.5, name
    background = "#ffffff" if theme == ":root" else "#18181b"
    for name in ("muted", "best", "wrong"):
        assert contrast(colours[name], background) >= 4.5, name


def test_the_colours_differ_by_more_than_their_hue() -> None:
    """Strong steps are readable in grey: raised tokens are bold, lowered ones are underlined."""
    assert re.search(r"\.up2 \{[^}]*font-weight", CSS)
    assert re.search(r"\.down2 \{[^}]*underline", CSS)


def test_the_styles_load_nothing() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert "</" not in CSS  # the styles stand in a <style> element
