"""Copying counts the 4-grams of a demonstration, not those of the question."""

from icdpo_chains import Demonstration
from icdpo_chains.evaluation.rules.copying import copying


def test_copying_counts_what_the_question_does_not_hold():
    shown = [Demonstration("What is a dog?", "A dog is a pet that barks.", "No.")]
    question = Demonstration("Say: a pet that barks", "Yes.")
    assert copying("A dog is a pet.", shown, question) == 1
    assert copying("a pet that barks", shown, question) == 0
    assert copying("a dog", shown, question) == 0
    assert copying("A dog is a fish.", shown, question) == 0.5
