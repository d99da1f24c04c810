"""The checks of the house rules, and the pairs that show them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.evaluation.rules.definitions import checks
from icdpo_chains.evaluation.rules.definitions.catalog import RULES, build_rule
from icdpo_chains.evaluation.rules.definitions.rule import DEMONSTRATIONS

BUILT = [build_rule(name) for name in RULES]


@pytest.mark.parametrize("rule", BUILT, ids=RULES)
def test_each_chosen_answer_follows_the_rule_and_no_rejected_one_does(rule):
    assert len(rule.cases) == 70
    for case in rule.cases:
        assert rule.check(case, case.pair.chosen), case.pair.chosen
        assert not rule.check(case, case.pair.rejected), case.pair.rejected


@pytest.mark.parametrize("rule", BUILT, ids=RULES)
def test_twenty_demonstrations_share_no_prompt_with_fifty_tests(rule):
    shown = {pair.messages for pair in rule.demonstrations}
    assert len(rule.demonstrations) == len(shown) == DEMONSTRATIONS == 20
    assert len({case.pair.messages for case in rule.tests}) == 50
    assert shown.isdisjoint(case.pair.messages for case in rule.tests)


@pytest.mark.parametrize("rule", BUILT, ids=RULES)
@given(text=st.text())
def test_a_check_answers_any_text(rule, text):
    assert rule.check(rule.cases[0], text) in (True, False)


@pytest.mark.parametrize("rule", BUILT, ids=RULES)
def test_a_blank_answer_follows_no_rule(rule):
    assert not any(rule.check(case, text) for case in rule.cases for text in ("", " \n", "..."))


def test_half_of_the_documents_hold_the_answer():
    held = [case.facts["answerable"] for case in build_rule("unanswerable").cases]
    assert sum(held) == 35


@pytest.mark.parametrize(
    ("check", "answer", "follows"),
    [
        (checks.one_sentence, 'It is 3.5 metres (or "more").', True),
        (checks.one_sentence, "It is not finished", False),
        (checks.one_sentence, "One. Two.", False),
        (checks.bullets, "- one\n\n* two", True),
        (checks.bullets, "Here:\n- one\n- two", False),
        (checks.closing_question, "So it is. Is it?", True),
        (checks.closing_question, "Is it?", False),
        (checks.lower_case, "ça va", True),
        (checks.lower_case, "So", False),
        (checks.no_first_person, "It's mine.", False),
        (checks.no_first_person, "I’m here.", False),
        (checks.refers_dose, "Ask a doctor; 200 mg is safe.", False),
        (checks.british_spelling, "Two neighbours.", True),
        (checks.british_spelling, "Two neighbors and a colour.", False),
    ],
)
def test_single_answers(check, answer, follows):
    assert check(build_rule("one_sentence").cases[0], answer) is follows


@pytest.mark.parametrize("rule", BUILT, ids=RULES)
def test_a_rule_is_the_same_each_time(rule):
    assert build_rule(rule.name).cases == rule.cases
