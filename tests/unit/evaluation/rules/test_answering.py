"""The systems on a fake policy, and the report of their figures."""

import itertools
from dataclasses import replace

import pytest

from icdpo_chains import FakeEmbedder, FakePolicy, SamplingParams
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.rules.answering import answer_rules
from icdpo_chains.evaluation.rules.answers import RuleAnswers
from icdpo_chains.evaluation.rules.definitions.catalog import build_rule
from icdpo_chains.evaluation.rules.report import report_rules
from icdpo_chains.evaluation.rules.systems import RULE_SYSTEMS

RULES = [build_rule("lower_case"), build_rule("keeps_system_prompt")]
SAMPLING = SamplingParams(max_new_tokens=24, top_p=0.8)


def run(path, policy=None, rules=RULES, prompts=3, batch=2, settings=None, **options):
    policy = policy or FakePolicy(["it is low.", "It is High.", ""])
    return answer_rules(
        rules,
        policy,
        FakeEmbedder(),
        path,
        settings or {"n": 3},
        prompts=prompts,
        n=3,
        k=2,
        sampling=SAMPLING,
        batch=batch,
        **options,
    )


def test_systems_pick_and_the_report_counts(tmp_path):
    answers = run(tmp_path / "a.jsonl", FakePolicy(lambda context: ["It is High.", "it is low.", ""]))
    report = report_rules(answers, {"n": 3, "model": "/models/of-mine/small.gguf"})
    assert "\nn 3, model small.gguf.\n" in report.markdown()  # the directory is nobody else's business
    found = {system.name: system for system in report.systems}
    assert report.rules == {"lower_case": 3, "keeps_system_prompt": 3}
    assert found["base"].by_rule == {"lower_case": 0, "keeps_system_prompt": 1}
    assert found["oracle"].by_rule == {"lower_case": 1, "keeps_system_prompt": 1}
    assert found["oracle"].p_base == 0.25
    assert found["oracle"].tokens > found["random"].tokens
    for name in ("logprob", "s_mean", "s_sum", "s_hat_mean", "s_hat_sum"):
        system = next(item for item in RULE_SYSTEMS if item.name == name)
        assert all(system.pick(each).text for each in answers)  # a blank candidate never wins
        assert {each.candidates[2].scores[name] for each in answers} == {None}
    assert "| oracle of n | 100 | 100 | 100 |" in report.markdown()


def test_a_batch_equals_single_questions(tmp_path):
    together = run(tmp_path / "a.jsonl", FakePolicy(), prompts=4, batch=4)
    single = run(tmp_path / "b.jsonl", FakePolicy(), prompts=4, batch=1)
    assert [replace(each, seconds={}) for each in together] == [replace(each, seconds={}) for each in single]


def test_a_stopped_run_continues(tmp_path):
    path, seen = tmp_path / "a.jsonl", []

    def stop(answers: RuleAnswers) -> None:
        seen.append(answers.key)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, FakePolicy(), on_answers=stop)
    asked = []

    class Counting(FakePolicy):
        def logprobs(self, context, continuations):
            asked.append(len(continuations))
            return super().logprobs(context, continuations)

    resumed = run(path, Counting())
    assert len(asked) == 2 * 3  # both contexts of the three questions that were missing
    whole = run(tmp_path / "b.jsonl", FakePolicy())
    assert [replace(each, seconds={}) for each in resumed] == [replace(each, seconds={}) for each in whole]


def test_other_settings_are_refused(tmp_path):
    run(tmp_path / "a.jsonl")
    with pytest.raises(InvalidInputError, match="n: 3, now 4"):
        run(tmp_path / "a.jsonl", settings={"n": 4})


def test_no_answers_make_no_report():
    with pytest.raises(ValueError, match="no answers"):
        report_rules([], {})


def test_names_of_systems_differ():
    assert all(a.name != b.name for a, b in itertools.combinations(RULE_SYSTEMS, 2))
