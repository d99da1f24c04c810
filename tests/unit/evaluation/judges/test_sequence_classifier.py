"""Classifiers judge conversation and answer as their tokenizers lay them out, and say which label is meant."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from icdpo_chains.errors import InvalidInputError, PolicyError, PolicyMemoryError
from icdpo_chains.evaluation.judges.sequence_classifier import SequenceClassifierReward
from icdpo_chains.policies.fake import byte_tokenizer

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 200,
    "initializer_range": 0.4,
}


def pair_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes between BERT's control tokens."""
    from tokenizers.processors import TemplateProcessing

    plain = byte_tokenizer(chat=False)
    backend = type(plain.backend_tokenizer).from_str(plain.backend_tokenizer.to_str())
    backend.add_special_tokens(["[CLS]", "[SEP]"])
    controls = [(text, backend.token_to_id(text)) for text in ("[CLS]", "[SEP]")]
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=controls
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", pad_token="<|endoftext|>"
    )


def classifier(architecture: str, tokenizer: Any, **options: Any) -> Any:
    torch.manual_seed(2)
    config = AutoConfig.for_model(
        architecture, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **SMALL, **options
    )
    return AutoModelForSequenceClassification.from_config(config).eval()


@pytest.fixture(scope="module")
def chat() -> SequenceClassifierReward:
    tokenizer = byte_tokenizer()
    return SequenceClassifierReward(classifier("llama", tokenizer, num_labels=1), tokenizer)


@pytest.fixture(scope="module")
def pair() -> SequenceClassifierReward:
    tokenizer = pair_tokenizer()
    return SequenceClassifierReward(classifier("bert", tokenizer, num_labels=1), tokenizer)


def logit(reward: SequenceClassifierReward, ids: list[int], **others: torch.Tensor) -> float:
    with torch.no_grad():
        return float(reward.model(torch.tensor([ids]), **others).logits[0, 0])


def test_a_chat_template_lays_out_conversation_and_answer(chat: SequenceClassifierReward) -> None:
    conversation = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    ids = chat.tokenizer.apply_chat_template(
        [*conversation, {"role": "assistant", "content": "Hi"}], tokenize=True, return_dict=False
    )
    assert chat.rewards([conversation], ["Hi"]) == pytest.approx([logit(chat, ids)], abs=1e-5)


def test_without_a_template_they_are_a_pair(pair: SequenceClassifierReward) -> None:
    encoded = pair.tokenizer("Hello", "Hi", return_tensors="pt")
    with torch.no_grad():
        expected = float(pair.model(**encoded).logits[0, 0])
    found = pair.rewards(["Hello", "Hi"], ["Hi", "Hello"])
    assert found[0] == pytest.approx(expected, abs=1e-5)
    assert found[0] != pytest.approx(found[1], abs=1e-3)


@pytest.mark.parametrize("kind", ["chat", "pair"])
def test_typed_control_tokens_stay_text(kind: str, request: pytest.FixtureRequest) -> None:
    reward: SequenceClassifierReward = request.getfixturevalue(kind)
    controls = set(reward.tokenizer.all_special_ids) | {256, 257, 258}

    def count(question: str, answer: str) -> int:
        return sum(token in controls for token in reward._encoded(question, answer)["input_ids"])

    typed = "<|im_end|>[SEP]<|im_start|>"
    assert count(typed, typed) == count("Hello", "Hi") > 0


@settings(max_examples=15, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=12)
)
def test_a_batch_equals_single_texts(
    chat: SequenceClassifierReward, pair: SequenceClassifierReward, texts: list[str]
) -> None:
    for reward in (chat, pair):
        together = reward.rewards(["Say fig."] * len(texts), texts)
        assert together == pytest.approx(
            [reward.rewards(["Say fig."], [text])[0] for text in texts], abs=1e-4
        )


def test_without_a_padding_token_texts_are_read_singly(chat: SequenceClassifierReward) -> None:
    model = classifier("llama", chat.tokenizer, num_labels=1)
    model.config.pad_token_id = None
    bare = SequenceClassifierReward(model, chat.tokenizer)
    texts = ["a", "much longer", "b"]
    assert bare.rewards(["Hi"] * 3, texts) == pytest.approx(chat.rewards(["Hi"] * 3, texts), abs=1e-4)


@pytest.mark.parametrize("kind", ["chat", "pair"])
def test_what_is_too_long_loses_its_beginning(kind: str, request: pytest.FixtureRequest) -> None:
    reward: SequenceClassifierReward = request.getfixturevalue(kind)
    ids = reward._encoded("word " * 100 + "end", "the answer")["input_ids"]
    assert len(ids) == reward.max_context == 200
    assert "the answer" in reward.tokenizer.decode(ids)
    assert reward.rewards(["word " * 100], ["yes"]) != reward.rewards(["word " * 100], ["no"])


def test_several_labels_demand_one_and_give_its_log_odds(chat: SequenceClassifierReward) -> None:
    labels = {0: "BAD", 1: "GOOD", 2: "UNSURE"}
    model = classifier("llama", chat.tokenizer, id2label=labels, label2id={v: k for k, v in labels.items()})
    with pytest.raises(ValueError, match=r"several labels .0 'BAD', 1 'GOOD', 2 'UNSURE'.*label="):
        SequenceClassifierReward(model, chat.tokenizer)
    for wrong in ("good", 3, -1, True):
        with pytest.raises(ValueError, match=f"no label {wrong!r}"):
            SequenceClassifierReward(model, chat.tokenizer, label=wrong)
    found = SequenceClassifierReward(model, chat.tokenizer, label="GOOD")
    ids = chat._encoded("Hello", "Hi")["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    probability = logits.softmax(-1)[1]
    expected = float((probability / (1 - probability)).log())
    assert found.rewards(["Hello"], ["Hi"]) == pytest.approx([expected], abs=1e-4)
    assert found.rewards(["Hello"], ["Hi"]) == SequenceClassifierReward(
        model, chat.tokenizer, label=1
    ).rewards(["Hello"], ["Hi"])
    model.config.problem_type = "multi_label_classification"
    assert found.rewards(["Hello"], ["Hi"]) == pytest.approx([float(logits[1])], abs=1e-5)


def test_loaded_from_a_directory_it_is_the_same(chat: SequenceClassifierReward, tmp_path: Path) -> None:
    chat.model.save_pretrained(tmp_path)
    chat.tokenizer.save_pretrained(tmp_path)
    loaded = SequenceClassifierReward.from_pretrained(tmp_path, device="cpu", name="judge")
    assert loaded.name == "judge"
    assert loaded.rewards(["Hello"], ["Hi"]) == pytest.approx(chat.rewards(["Hello"], ["Hi"]), abs=1e-5)


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(chat: SequenceClassifierReward, tmp_path: Path, device: str) -> None:
    chat.model.save_pretrained(tmp_path)
    chat.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(PolicyError, match=f"device '{device}'.*[Uu]se "):
        SequenceClassifierReward.from_pretrained(tmp_path, device=device)


def test_a_language_model_is_no_classifier(chat: SequenceClassifierReward, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="can't be loaded"):
        SequenceClassifierReward.from_pretrained(tmp_path / "nothing")
    config = AutoConfig.for_model("llama", vocab_size=len(chat.tokenizer), **SMALL)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    chat.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(PolicyError, match=r"not a trained classifier: its weights lack score\.weight"):
        SequenceClassifierReward.from_pretrained(tmp_path, device="cpu", label=0)


def test_bad_input_is_refused(chat: SequenceClassifierReward) -> None:
    with pytest.raises(ValueError, match="2 conversations and 1 answers"):
        chat.rewards(["a", "b"], ["c"])
    with pytest.raises(InvalidInputError, match="surrogate"):
        chat.rewards(["a"], ["\ud800"])
    assert chat.rewards([], []) == []
    model = classifier("llama", chat.tokenizer, num_labels=1)
    model.score.weight.data.fill_(torch.nan)
    with pytest.raises(PolicyError, match="not finite"):
        SequenceClassifierReward(model, chat.tokenizer).rewards(["a"], ["b"])


@pytest.mark.parametrize("kind", ["chat", "pair"])
@pytest.mark.parametrize("most", [1, 3, 5])
def test_a_device_for_a_few_texts_gives_the_same_numbers(
    kind: str, most: int, request: pytest.FixtureRequest
) -> None:
    reward: SequenceClassifierReward = request.getfixturevalue(kind)
    questions, answers = ["Hello"] * 11, ["Hi " * count for count in range(11)]
    expected = reward.rewards(questions, answers)
    sizes: list[int] = []

    def look(module: object, args: object, kwargs: dict[str, Any]) -> None:
        if len(kwargs["input_ids"]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        sizes.append(len(kwargs["input_ids"]))

    hook = reward.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        assert reward.rewards(questions, answers) == pytest.approx(expected, abs=1e-5)
    finally:
        hook.remove()
    assert sum(sizes) == 11  # nothing is judged twice
    assert sizes[0] == {1: 1, 3: 2, 5: 4}[most]


def test_a_text_that_no_memory_holds_is_an_error(chat: SequenceClassifierReward) -> None:
    def fail(module: object, args: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    hook = chat.model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(PolicyMemoryError, match="smaller classifier"):
            chat.rewards(["Hello"] * 2, ["Hi", "Ho"])
    finally:
        hook.remove()


def test_another_error_stays_what_it_is(chat: SequenceClassifierReward) -> None:
    def fail(module: object, args: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    hook = chat.model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="illegal"):
            chat.rewards(["Hello"] * 2, ["Hi", "Ho"])
    finally:
        hook.remove()
