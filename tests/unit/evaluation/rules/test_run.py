"""A run samples and scores as the pipeline does."""

import pytest

from icdpo_chains import FakeEmbedder, FakePolicy, SamplingParams
from icdpo_chains.demonstrations.retrievers.threshold import Threshold
from icdpo_chains.evaluation.rules.definitions.catalog import build_rule
from icdpo_chains.evaluation.rules.run import RuleRun

SAMPLING = SamplingParams(max_new_tokens=24, top_p=0.8)


def test_scores_are_those_of_the_pipeline():
    rule = build_rule("lower_case")
    started = RuleRun(rule, FakePolicy(), FakeEmbedder(), n=3, k=2, sampling=SAMPLING, seed=5)
    (answers,) = started.answer([started.question(1)])
    pipeline, question = started.pipeline, rule.tests[1].pair.messages
    result = pipeline.rank(pipeline.sample(question, pipeline.retrieve(question), seed=6))
    by_place = sorted(result.candidates, key=lambda candidate: candidate.index)
    assert [each.text for each in answers.candidates] == [each.text for each in by_place]
    for own, theirs in zip(answers.candidates, by_place, strict=True):
        assert own.scores["s_hat_sum"] == (pytest.approx(theirs.score) if own.text.strip() else None)
    started.close()


def test_a_threshold_decides_what_is_shown():
    rule, shown = build_rule("lower_case"), {}
    for name, threshold in {
        "off": None,
        "general": Threshold(min_similarity=1),
        "none": Threshold(min_similarity=1, substitute="none"),
    }.items():
        run = RuleRun(
            rule, FakePolicy(), FakeEmbedder(), n=1, k=2, sampling=SAMPLING, seed=0, threshold=threshold
        )
        shown[name] = [run.question(number).contexts.used for number in range(3)]
        run.close()
    assert len(set(shown["off"])) > 1
    assert len(set(shown["general"])) == 1
    assert len(shown["general"][0]) == 2
    assert set(shown["none"]) == {()}
