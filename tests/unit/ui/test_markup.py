"""Results as HTML: whatever a text holds, the page shows the text."""

import math
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains import Candidate, Demonstration, FakePolicy, ICDPOResult, RetrievedDemonstration
from icdpo_chains.draft import Answer
from icdpo_chains.foundation.printable import printable
from icdpo_chains.result import Usage
from icdpo_chains.ui import markup

TOKENIZER = FakePolicy().tokenizer
HOSTILE = "<script>alert(1)</script><img src=x onerror='a()'> & \" ' </div> ![x](http://x/y.png) \u202e"


class Reader(HTMLParser):
    """The text of HTML, and its tags with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def candidate(text: str, score: float = 1.0, reasoning: str | None = None) -> Candidate:
    ids = tuple(TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids)
    scores = tuple((-1.5, -0.5, 0.0, 0.5, 1.5)[i % 5] for i in range(len(ids)))
    return Candidate(text, score, -1.0, -2.0, len(ids), ids, scores, "length", 0, reasoning)


def result(*candidates: Candidate, demonstrations: tuple[RetrievedDemonstration, ...] = ()) -> ICDPOResult:
    timings = {"retrieve": 0.1, "total": 0.4}
    return ICDPOResult(candidates, demonstrations, (), Usage(3, 2, 1), timings, "model", "rejected", "sum", 7)


def everything(text: str) -> str:
    found = RetrievedDemonstration(Demonstration(text, text, text + "!"), 1.5, 0.5)
    whole = result(candidate(text, reasoning=text), candidate("b", -math.inf), demonstrations=(found,))
    parts = (
        markup.candidates_list(whole, TOKENIZER),
        markup.demonstrations_list(whole.demonstrations),
        markup.card("title", text, text),
        markup.comparison(whole, replace(whole, candidates=whole.candidates[::-1])),
        markup.comparison(result(candidate("c")), whole),
        markup.totals(replace(whole, model=text)),
        markup.notice(text, error=True),
    )
    return "".join(parts)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_no_text_becomes_markup(text: str) -> None:
    plain = Reader(everything("a"))
    reader = Reader(everything(text))
    assert {tag for tag, _ in reader.tags} <= {tag for tag, _ in plain.tags}
    for _, attributes in reader.tags:
        assert attributes.keys() <= {"class", "role", "dir", "title"}
        assert "javascript" not in str(attributes.get("title"))
    assert reader.open == []


def test_a_hostile_text_is_shown_whole() -> None:
    (shown,) = ["".join(Reader(markup.card("", HOSTILE)).texts).strip()]
    assert shown == printable(HOSTILE)
    listed = "".join(Reader(markup.candidates_list(result(candidate(HOSTILE)), TOKENIZER)).texts)
    assert printable(HOSTILE) in listed


def test_candidates_are_ranked_with_scores_and_colours() -> None:
    html = markup.candidates_list(result(candidate("abcde", 2.5), candidate("x", -math.inf)), TOKENIZER)
    text = "".join(Reader(html).texts)
    assert "1 the answer score 2.50, 5 tokens, cut off at the length limit" in text
    assert "2 can't be scored, 1 token," in text
    for colour, piece, title in (
        ("down2", "a", "-1.50"),
        ("down1", "b", "-0.50"),
        ("up1", "d", "+0.50"),
        ("up2", "e", "+1.50"),
    ):
        assert f'<span class="icdpo-token {colour}" title="{title}">{piece}</span>' in html
    assert "</span>c<span" in html  # a token without a colour needs no element


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (RetrievedDemonstration(Demonstration("q", "a", "b"), 2.0, 0.25), "1. similarity 0.25, BM25 2.00"),
        (RetrievedDemonstration(Demonstration("q", "a"), None, 0.25), "1. similarity 0.25"),
        (RetrievedDemonstration(Demonstration("q", "a"), general=True), "1. general: no demonstration is"),
        (
            RetrievedDemonstration(Demonstration("q", "a", "b"), None, 0.5, side="rejected"),
            "1. similarity 0.50, only its rejected answer is shown",
        ),
    ],
    ids=["both", "similarity", "general", "side"],
)
def test_demonstrations_say_why_they_were_shown(found: RetrievedDemonstration, reason: str) -> None:
    texts = Reader(markup.demonstrations_list([found])).texts
    assert any(text.startswith(reason) for text in texts)
    assert ("a" in texts) == (found.side == "both")


def test_the_comparison_counts_new_demonstrations() -> None:
    old, new = (RetrievedDemonstration(Demonstration(q, "a", "b"), 1.0, 0.5) for q in ("old", "new"))
    before = result(candidate("one"), demonstrations=(old,))
    after = result(candidate("two"), demonstrations=(new, old))
    text = " ".join(Reader(markup.comparison(before, after)).texts)
    assert "The answer changed. New demonstrations: 1 of 2." in text
    assert "The answer is the same as before. New demonstrations: 0 of 1." in " ".join(
        Reader(markup.comparison(before, before)).texts
    )


def test_answers_that_were_cut_off_are_marked() -> None:
    cut = result(candidate("one"))
    whole = result(replace(candidate("two"), finish_reason="stop"))
    assert "cut off" not in markup.answer_card("Without demonstrations", whole.best)
    bare = Answer("one", (1,), (-1.0,), "length")
    assert "Without demonstrations cut off at" in "".join(
        Reader(markup.answer_card("Without demonstrations", bare)).texts
    )
    assert "score 1.00, cut off at" in "".join(Reader(markup.comparison(cut, whole)).texts)


@pytest.mark.parametrize(
    ("against", "aggregate", "told"),
    [
        ("rejected", "sum", "than the rejected answers did. The unit is the nat"),
        ("rejected", "sum", "candidate, S^, is the sum over its tokens"),
        ("base", "mean", "candidate, S, is the mean over its tokens"),
    ],
    ids=["unit", "sum", "mean"],
)
def test_the_legend_explains_the_score(against: str, aggregate: str, told: str) -> None:
    shown = replace(result(candidate("one")), against=against, aggregate=aggregate)
    assert told in "".join(Reader(markup.legend(shown)).texts)
