"""Stages add their answers to a file, whenever they are named, and sample nothing that the file holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import FakeEmbedder, FakePolicy, SamplingParams
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.evaluation.rules.answering import answer_rules
from icdpo_chains.evaluation.rules.answers import RuleAnswers
from icdpo_chains.evaluation.rules.definitions.catalog import build_rule
from icdpo_chains.evaluation.rules.report import report_rules
from icdpo_chains.evaluation.rules.run import RuleRun
from icdpo_chains.evaluation.rules.stages import STAGES
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.transformers.policy import TransformersPolicy

from ..conftest import tiny_policy

RULES = [build_rule("keeps_system_prompt"), build_rule("lower_case")]
TRAINED = ("best_of_n", "reward_decoding", "sft_lora")


@pytest.fixture(scope="module")
def policy() -> TransformersPolicy:
    found = tiny_policy()
    found.model.config.max_position_embeddings = 2048  # two demonstrations in bytes
    return TransformersPolicy(found.model, found.tokenizer, found.name)


def answers_of(path: Path, policy: Policy, stages: tuple[str, ...], **options: Any) -> list[RuleAnswers]:
    sampling = SamplingParams(max_new_tokens=8, top_p=0.8)
    settings: dict[str, Any] = {"rules": RULES[:1], "prompts": 2, "seed": 3, **options}
    rules = settings.pop("rules")
    return answer_rules(
        rules, policy, FakeEmbedder(), path, {"n": 3}, n=3, k=1, sampling=sampling, stages=stages, **settings
    )


def timeless(answers: list[RuleAnswers]) -> list[RuleAnswers]:
    return [replace(each, seconds=dict.fromkeys(each.seconds, 0.0)) for each in answers]


def test_stages_named_later_equal_stages_named_at_once(policy: TransformersPolicy, tmp_path: Path) -> None:
    answers_of(tmp_path / "late" / "a.jsonl", policy, ())
    kept = (tmp_path / "late" / "a.jsonl").read_text()
    late = answers_of(tmp_path / "late" / "a.jsonl", policy, TRAINED, batch=1)
    assert (tmp_path / "late" / "a.jsonl").read_text().startswith(kept)
    once = answers_of(tmp_path / "once" / "a.jsonl", policy, TRAINED)
    assert timeless(late) == timeless(once)
    assert {name for each in late for name in each.added} == set(TRAINED)
    for each in late:
        assert all(isinstance(candidate.scores["reward"], float) for candidate in each.candidates)


def test_a_filled_file_is_read_without_the_model(policy: TransformersPolicy, tmp_path: Path) -> None:
    written = answers_of(tmp_path / "a.jsonl", policy, TRAINED)

    class Silent(FakePolicy):
        def sample(self, *arguments: Any) -> Any:
            raise AssertionError("sampled again")

        logprobs = sample

    assert answers_of(tmp_path / "a.jsonl", Silent(), TRAINED) == written


@pytest.mark.parametrize("fake", [False, True])
def test_guided_answers_are_those_of_the_pipeline(
    policy: TransformersPolicy, tmp_path: Path, fake: bool
) -> None:
    used: Policy = FakePolicy() if fake else policy
    answers = answers_of(tmp_path / "a.jsonl", used, ("guided", "guided_of_n"))
    sampling = SamplingParams(max_new_tokens=8, top_p=0.8, decoding="guided")
    run = RuleRun(RULES[0], used, FakeEmbedder(), n=3, k=1, sampling=sampling, seed=3)
    for each in answers:
        question, seed = run.rule.tests[each.number].pair.messages, 3 + each.number
        shown = run.pipeline.retrieve(question)
        greedy = replace(sampling, temperature=0.0)
        alone = run.pipeline.rank(run.pipeline.sample(question, shown, n=1, sampling=greedy, seed=seed))
        assert [answer.text for answer in each.added["guided"]] == [alone.text]
        assert each.added["guided"][0].scores["s_hat_sum"] == pytest.approx(alone.best.score, abs=1e-4)
        ranked = run.pipeline.rank(run.pipeline.sample(question, shown, seed=seed))
        by_place = sorted(ranked.candidates, key=lambda candidate: candidate.index)
        assert [answer.text for answer in each.added["guided_of_n"]] == [item.text for item in by_place]
        for answer, item in zip(each.added["guided_of_n"], by_place, strict=True):
            assert answer.scores["s_hat_sum"] == pytest.approx(item.score, abs=1e-4)
    run.close()
    report = {system.name: system for system in report_rules(answers, {}).systems}
    assert report["guided"].tokens < report["guided_of_n"].tokens
    greedy_base = [each.few_shot.text for each in answers]
    assert greedy_base != [each.added["guided"][0].text for each in answers]


def test_the_report_has_a_system_when_all_its_answers_are_there(
    policy: TransformersPolicy, tmp_path: Path
) -> None:
    answers_of(tmp_path / "a.jsonl", policy, ("best_of_n",), prompts=1)
    part = answers_of(tmp_path / "a.jsonl", policy, ())
    assert "best_of_n" not in {system.name for system in report_rules(part, {}).systems}
    whole = answers_of(tmp_path / "a.jsonl", policy, ("best_of_n",))
    report = {system.name: system for system in report_rules(whole, {}).systems}
    best = [max(each.candidates, key=lambda candidate: candidate.scores["reward"] or 0) for each in whole]
    assert report["best_of_n"].copying == pytest.approx(sum(answer.copying for answer in best) / 2)
    assert report["best_of_n"].seconds > report["oracle"].seconds
    assert "sft_lora" not in report


def test_an_adapter_of_other_demonstrations_is_refused(policy: TransformersPolicy, tmp_path: Path) -> None:
    answers_of(tmp_path / "a.jsonl", policy, ("sft_lora",), prompts=1)
    (tmp_path / "sft_lora" / RULES[0].name).rename(tmp_path / "sft_lora" / RULES[1].name)
    with pytest.raises(InvalidInputError, match="other demonstrations"):
        answers_of(tmp_path / "a.jsonl", policy, ("sft_lora",), prompts=1, rules=RULES)


@pytest.mark.parametrize("stage", TRAINED)
def test_a_policy_without_hidden_states_is_refused(stage: str, tmp_path: Path) -> None:
    sampling = SamplingParams(max_new_tokens=8)
    run = RuleRun(RULES[0], FakePolicy(), FakeEmbedder(), n=2, k=1, sampling=sampling, seed=0)
    with pytest.raises(TypeError, match="leave out best_of_n"):
        STAGES[stage](run, tmp_path)
    run.close()


def test_an_unknown_stage_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'best_of_m' is unknown"):
        answers_of(tmp_path / "a.jsonl", FakePolicy(), ("best_of_m",))
    assert not list(tmp_path.iterdir())
