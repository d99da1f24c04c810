"""Errors in a visitor's words."""

from pathlib import Path

import pytest

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakePolicy, ICDPOConfig
from icdpo_chains.demonstrations.embedding import FakeEmbedder
from icdpo_chains.errors import (
    ContextOverflowError,
    InvalidInputError,
    MissingRejectedError,
    NoCandidateError,
    NoDemonstrationsError,
    StoreLockedError,
    StoreUnavailableError,
)
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.error_text import error_text


def test_a_locked_store_is_no_matter_of_python(tmp_path: Path) -> None:
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()):
        reader = DemonstrationStore(tmp_path, embedder=FakeEmbedder(), read_only=True)
        settings = ICDPOConfig()
        backend = Backend(ICDPO.from_config(settings, policy=FakePolicy(), store=reader), reader, settings)
        with pytest.raises(StoreLockedError) as caught, backend.writing():
            pass
        reader.close()
    assert error_text(caught.value) == (
        "another process is writing to the demonstrations: try again in a moment"
    )


def test_a_directory_that_was_removed_is_no_matter_of_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "store"
    DemonstrationStore(path, embedder=FakeEmbedder()).close()
    with DemonstrationStore(path, embedder=FakeEmbedder(), read_only=True) as reader:
        path.rename(tmp_path / "elsewhere")
        settings = ICDPOConfig()
        backend = Backend(ICDPO.from_config(settings, policy=FakePolicy(), store=reader), reader, settings)
        with pytest.raises(StoreUnavailableError) as caught, backend.writing():
            pass
    assert error_text(caught.value) == (
        f"there is no store in the directory {str(path)!r}: it was moved or removed since the server started. "
        "The person who runs the server can put it back"
    )


@pytest.mark.parametrize("text", ["word " * 5_000, "short"], ids=["question", "answer"])
def test_what_does_not_fit_the_model_names_the_fields_of_the_page(backend: Backend, text: str) -> None:
    policy = FakePolicy(max_context=500)
    settings = backend.settings.changed({"max_tokens": 1_000 if text == "short" else 20})
    icdpo = ICDPO.from_config(settings, policy=policy, store=backend.store)
    with pytest.raises(ContextOverflowError) as caught:
        icdpo.generate(text)
    fault, remedies = error_text(caught.value).split(": ")
    assert fault in str(caught.value)
    assert remedies == (
        'shorten the question, lower "Longest answer" in the tab Settings, or press "New chat"'
    )


def test_an_empty_store_is_filled_on_the_page() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        icdpo = ICDPO.from_config(ICDPOConfig(), policy=FakePolicy(), store=store)
        with pytest.raises(NoDemonstrationsError) as caught:
            icdpo.generate("How do I boil an egg?")
    assert error_text(caught.value) == (
        "the retriever found no demonstration with a chosen answer: add a good answer, or import a file, in "
        "the tab Demonstrations"
    )


def test_a_store_without_rejected_answers_names_the_scorer_of_the_page() -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([Demonstration("How do I boil an egg?", "Eight minutes.")])
        icdpo = ICDPO.from_config(ICDPOConfig(), policy=FakePolicy(), store=store)
        with pytest.raises(MissingRejectedError) as caught:
            icdpo.generate("How do I boil an egg?")
    assert error_text(caught.value) == (
        "the score compares with rejected answers, and none of the demonstrations for this question has one: "
        'choose "auto" as the Scorer in the tab Settings, or add a rejected answer in the tab Demonstrations'
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" ", "no candidate can be scored: each is blank, or its log-probabilities are not finite"),
        ("<think>Eggs.</think>", "no candidate has an answer after its thought"),
        (
            "<think>Eggs are laid by",
            "no candidate has an answer: the model was still thinking at the length limit",
        ),
    ],
    ids=["blank", "thought", "cut-thought"],
)
def test_candidates_without_an_answer_name_the_settings_of_the_page(
    backend: Backend, text: str, fault: str
) -> None:
    cut = {"max_tokens": 12} if text.endswith("by") else {}
    settings = backend.settings.changed(cut)
    icdpo = ICDPO.from_config(settings, policy=FakePolicy([text]), store=backend.store)
    with pytest.raises(NoCandidateError) as caught:
        icdpo.generate("How do I boil an egg?")
    assert error_text(caught.value) == (
        f'{fault}. In the tab Settings, raise "Candidates (n)" or "Longest answer"'
    )


def test_other_errors_speak_for_themselves() -> None:
    assert (
        error_text(InvalidInputError("the question is blank: write it")) == "the question is blank: write it"
    )
