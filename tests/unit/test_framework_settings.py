"""The settings that the frameworks' models share."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from icdpo_chains import (
    ICDPO,
    ChatFormat,
    Demonstration,
    FakePolicy,
    FixedDemonstrations,
    SamplingParams,
    framework_settings,
)
from icdpo_chains.config import ICDPOConfig, SamplingConfig
from icdpo_chains.framework_settings import ICDPOSettings
from icdpo_chains.reasoning.tags import ReasoningTags

from .prompts.templates import family_tokenizer


def make(**options: Any) -> ICDPO:
    return ICDPO(FakePolicy(["yes"]), FixedDemonstrations([Demonstration("q", "a", "b")]), **options)


def test_what_is_not_set_is_left_to_the_core() -> None:
    core = make(n=3, sampling=SamplingParams(max_new_tokens=9, top_p=0.5))
    options = ICDPOSettings(icdpo=core).options()
    assert options == {
        "n": None,
        "k": None,
        "finalists": None,
        "sampling": core.sampling,
        "exclude": (),
        "chat_template_kwargs": {},
        "thinking": None,
    }
    assert len(core.generate("?", **options).candidates) == 3


def test_a_call_goes_before_the_settings_and_these_before_the_core() -> None:
    core = make(sampling=SamplingParams(max_new_tokens=9, top_p=0.5, temperature=0.7))
    own = ICDPOSettings(icdpo=core, n=2, top_p=0.6, stop="a", seed=1)
    options = own.options({"n": 4, "k": 1, "seed": 0, "stop": ["b", "c"], "exclude": ["x"], "other": 1})
    assert (options["n"], options["k"], options["exclude"]) == (4, 1, ["x"])
    assert options["sampling"] == SamplingParams(
        max_new_tokens=9, top_p=0.6, temperature=0.7, stop=("b", "c"), seed=0
    )
    assert own.options()["sampling"].stop == ("a",)
    with pytest.raises(ValueError, match="n is 0"):
        core.generate("?", **own.options({"n": 0}))


def test_a_short_answer_may_be_shorter_than_the_least() -> None:
    core = make(sampling=SamplingParams(max_new_tokens=50, min_new_tokens=20))
    assert ICDPOSettings(icdpo=core, max_tokens=5).sampling().min_new_tokens == 5


@pytest.mark.parametrize(
    "wrong", [{"n": "3"}, {"n": True}, {"temperature": "hot"}, {"top_p": 2}, {"x": 1}], ids=str
)
def test_wrong_settings_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ICDPOSettings(**wrong)


def test_the_core_is_built_once_and_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built: list[Any] = []

    def build(config: ICDPOConfig, *, store: Any) -> ICDPO:
        built.append((config, store))
        return make()

    monkeypatch.setattr(framework_settings, "default_icdpo", build)
    monkeypatch.setenv("ICDPO_MODEL", "some/model")
    own = ICDPOSettings(store=tmp_path, against="base", dtype="float32")
    assert own.sampling() == SamplingParams()
    assert not built
    assert own.core is own.core
    config = ICDPOConfig(model="some/model", store=str(tmp_path), against="base", dtype="float32")
    assert built == [(config, None)]


def test_early_rejection_is_a_setting_of_the_model_and_of_a_call() -> None:
    given = ICDPOSettings(icdpo=make(), n=4, finalists=2)
    assert given.options()["finalists"] == 2
    assert given.options({"finalists": 3})["finalists"] == 3
    with pytest.raises(ValueError, match="finalists is 0"):
        ICDPOSettings(icdpo=make(), finalists=0)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    file = tmp_path / "tuned.json"
    sampling = SamplingConfig(max_tokens=9, top_p=0.5)
    ICDPOConfig(model="org/m", against="base", retriever="bm25", n=3, sampling=sampling).write(file)
    return file


def test_a_file_of_settings_builds_the_core_and_a_call_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tuned: Path
) -> None:
    built: list[Any] = []

    def build(config: ICDPOConfig, *, store: Any) -> ICDPO:
        built.append(config)
        return make(n=config.n, sampling=config.sampling.params())

    monkeypatch.setattr(framework_settings, "default_icdpo", build)
    own = ICDPOSettings(config=tuned, top_p=0.6)
    assert (own.model, own.against, own.aggregate) == ("org/m", "base", "sum")
    assert own.sampling() == SamplingParams(max_new_tokens=9, top_p=0.6)  # before anything is built
    assert not built
    options = own.options({"k": 1, "max_tokens": 5})
    assert built == [ICDPOConfig.read(tuned)]
    assert (options["n"], options["k"]) == (None, 1)
    assert options["sampling"] == SamplingParams(max_new_tokens=5, top_p=0.6)
    assert len(own.core.generate("?", **options).candidates) == 3
    again = ICDPOSettings(**own.model_dump(exclude_none=True))
    assert (again.config, again.model, again.top_p) == (str(tuned), "org/m", 0.6)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model": "other"}, "model"),
        ({"against": "rejected", "dtype": "float32"}, "against, dtype"),
        ({"store": "elsewhere"}, "store"),
        ({"icdpo": make()}, "icdpo"),
    ],
)
def test_what_builds_the_core_can_not_stand_beside_a_file(
    tuned: Path, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=f"{named} and the file .*tuned.json"):
        ICDPOSettings(config=tuned, **given)


def test_a_file_that_holds_no_settings_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "tuned.json"
    file.write_text('{"n": 0}')
    with pytest.raises(ValidationError, match="n is 0"):
        ICDPOSettings(config=file)


def test_a_file_may_name_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that differs, in LangChain and LlamaIndex: `ChatICDPO(config=...)`."""
    built: list[ICDPOConfig] = []

    def build(config: ICDPOConfig, *, store: Any) -> ICDPO:
        built.append(config)
        return make()

    monkeypatch.setattr(framework_settings, "default_icdpo", build)
    file = tmp_path / "servers.json"
    file.write_text('{"vllm": "http://127.0.0.1:8001", "store": "http://127.0.0.1:8000"}')
    own = ICDPOSettings(config=str(file))
    assert own.model == "http://127.0.0.1:8001"  # and not the default model, which is not there
    assert own.core.generate("?").text == "yes"
    assert (built[0].vllm, built[0].store) == ("http://127.0.0.1:8001", "http://127.0.0.1:8000")


def test_guided_decoding_is_a_setting_of_model_and_call() -> None:
    own = ICDPOSettings(icdpo=make(), decoding="guided", guidance=2)
    assert own.sampling() == SamplingParams(decoding="guided", guidance=2)
    assert own.sampling({"decoding": "sample", "alpha": 0.3}) == SamplingParams(guidance=2, alpha=0.3)
    for wrong in ({"decoding": "beam"}, {"alpha": 2}, {"decoding": "guided", "finalists": 2}):
        with pytest.raises(ValidationError):
            ICDPOSettings(icdpo=make(), **wrong)


def test_what_a_call_says_about_the_template_goes_before_the_settings() -> None:
    core = make()
    core.policy.tokenizer = family_tokenizer("qwen3")
    core.format = ChatFormat(core.policy.tokenizer)
    assert ICDPOSettings(icdpo=core).core is core

    def shown(given: dict[str, Any], **own: Any) -> Any:
        settings = ICDPOSettings(icdpo=core, **own)
        options = settings.options(given)
        said = {name: options[name] for name in ("chat_template_kwargs", "thinking")}
        return settings.core.with_chat_template_kwargs(*said.values()).format.options

    off = {"enable_thinking": False}
    for given in ({"chat_template_kwargs": off}, {"thinking": False}):
        for own in ({}, {"chat_template_kwargs": {"enable_thinking": True}}, {"thinking": True}):
            assert shown(given, **own) == shown({}, **given) == off
    for wrong in ({"thinking": "much"}, {"thinking": 1}, {"thinking": "True"}):
        with pytest.raises(ValidationError, match="thinking"):
            ICDPOSettings(icdpo=core, **wrong)


def test_the_tags_of_a_thought_are_settings_of_the_model() -> None:
    with pytest.raises(ValidationError, match="reasoning_tags and icdpo exclude each other"):
        ICDPOSettings(icdpo=make(), reasoning_tags=["<r>", "</r>"])
    with pytest.raises(ValidationError, match="the closing tag is ''"):
        ICDPOSettings(reasoning_tags=["<r>", ""])
    own = ICDPOSettings(reasoning_tags=["<r>", "</r>"], count_reasoning=True)
    assert own._config() == ICDPOConfig(
        model=own.model, reasoning_tags=(ReasoningTags("<r>", "</r>"),), count_reasoning=True
    )
    copied = pickle.loads(pickle.dumps(own))
    assert copied._config() == own._config()
