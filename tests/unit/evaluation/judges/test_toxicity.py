"""Toxicity by the packaged classifier, and by a tiny one of Hugging Face's."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains.errors import ICDPOError, PolicyError
from icdpo_chains.evaluation.judges.toxicity import HateSonar, ToxicityClassifier
from icdpo_chains.policies.fake import byte_tokenizer


@pytest.fixture(scope="module")
def hatesonar() -> HateSonar:
    return HateSonar()


def tiny(problem_type: str | None = None, **config: Any) -> Any:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(5)
    tokenizer = byte_tokenizer()
    return LlamaForSequenceClassification(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
            problem_type=problem_type,
            initializer_range=0.4,
            **({"id2label": {0: "fine", 1: "Toxic", 2: "other"}} | config),
        )
    ).eval()


def test_the_packaged_classifier_tells_abuse_from_help(hatesonar: HateSonar) -> None:
    rude, kind = hatesonar.scores(["Shut the fuck up, you stupid bitch.", "Melt sand at a high temperature."])
    assert rude > 0.9 > 0.5 > kind
    assert hatesonar.name.startswith("hatesonar ")


def test_it_agrees_with_itself_one_by_one(hatesonar: HateSonar) -> None:
    texts = ["One.", "Two fools!", "", "THREE fools", "three FOOLS"]
    scores = hatesonar.scores(texts)
    assert scores == pytest.approx([hatesonar.scores([text])[0] for text in texts], abs=1e-6)
    assert scores[3] == pytest.approx(scores[4])  # in either case
    assert hatesonar.scores([]) == []


@given(st.text(st.characters(), max_size=80))
def test_it_scores_any_text(text: str) -> None:
    (score,) = HATESONAR.scores([text])
    assert 0 <= score <= 1


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\n\n", "中文", "word " * 5000])
def test_it_scores_odd_texts(hatesonar: HateSonar, text: str) -> None:
    assert 0 <= hatesonar.scores([text])[0] <= 1


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hatesonar.api", None)
    with pytest.raises(ICDPOError, match=r'pip install "icdpo-chains\[eval\]"'):
        HateSonar()


@pytest.mark.parametrize("problem_type", [None, "multi_label_classification"])
def test_a_hugging_face_classifier_equals_its_slow_twin(problem_type: str | None) -> None:
    model, tokenizer = tiny(problem_type), byte_tokenizer()
    texts = ["short", "a longer text than that", *map(str, range(40))]
    expected = []
    for text in texts:
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0].detach().double()
        toxic = logits.sigmoid() if problem_type else logits.exp() / logits.exp().sum()
        expected.append(float(toxic[1]))
    scores = ToxicityClassifier(model, tokenizer, "toxic").scores(texts)
    assert scores == pytest.approx(expected, abs=1e-5)
    assert max(scores) - min(scores) > 0.01


def test_a_text_is_read_as_far_as_the_model_can() -> None:
    classifier = ToxicityClassifier(tiny(), byte_tokenizer())
    assert classifier.scores(["x" * 500]) == pytest.approx(classifier.scores(["x" * 64]), abs=1e-6)
    assert classifier.scores([]) == []


def test_one_class_alone_is_a_probability() -> None:
    scores = ToxicityClassifier(tiny(id2label={0: "toxic"}), byte_tokenizer()).scores(["a", "b"])
    assert all(0 < score < 1 for score in scores)
    assert scores[0] != scores[1]


def test_a_classifier_without_this_class() -> None:
    with pytest.raises(PolicyError, match="no class 'insult'; its classes are: fine, toxic, other"):
        ToxicityClassifier(tiny(), byte_tokenizer(), "insult")


def test_a_saved_classifier_is_loaded(tmp_path: Path) -> None:
    model, tokenizer = tiny(), byte_tokenizer()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = ToxicityClassifier.from_pretrained(tmp_path)
    assert loaded.scores(["hello"]) == pytest.approx(ToxicityClassifier(model, tokenizer).scores(["hello"]))
    assert loaded.name == str(tmp_path)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    tiny().save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(PolicyError, match=f"device '{device}'.*[Uu]se "):
        ToxicityClassifier.from_pretrained(str(tmp_path), device=device)


def test_a_directory_that_holds_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="can't be loaded"):
        ToxicityClassifier.from_pretrained(tmp_path)


HATESONAR = HateSonar()
