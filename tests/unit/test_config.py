"""Settings in a file: what is written is what is read, and what can't be used is named."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from icdpo_chains import ICDPO, Demonstration, DemonstrationStore, FakeEmbedder, FakePolicy, TwoStageRetriever
from icdpo_chains.config import ICDPOConfig, InstructionsConfig, SamplingConfig
from icdpo_chains.demonstrations.retrievers.bm25 import BM25Retriever
from icdpo_chains.demonstrations.retrievers.catalog import RETRIEVERS
from icdpo_chains.demonstrations.retrievers.two_sided import TwoSidedRetriever
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.prompts.contexts import Instructions
from icdpo_chains.scoring import InstantScorer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONFIGS = st.builds(
    ICDPOConfig,
    model=st.none() | TEXT,
    retriever=st.sampled_from(list(RETRIEVERS)),
    k=st.integers(1, 10_000),
    n=st.integers(1, 256),
    finalists=st.none() | st.integers(1, 256),
    against=st.sampled_from(["base", "rejected"]),
    substitute=st.sampled_from(["general", "none"]),
    thinking=st.sampled_from([None, True, False, "low", "high"]),
    reasoning_tags=st.none() | st.lists(st.tuples(st.just("<a>"), TEXT.map("</a>{}".format)), min_size=1),
    count_reasoning=st.booleans(),
    sampling=st.builds(
        SamplingConfig,
        max_tokens=st.integers(1, 1000),
        temperature=st.floats(0, 100),
        stop=st.tuples(TEXT.filter(bool)),
        seed=st.none() | st.integers(0, 2**63 - 1),
    ),
    instructions=st.builds(InstructionsConfig, chosen=TEXT),
    note=st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(st.floats(-1, 1))),
)


@given(CONFIGS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, config: ICDPOConfig) -> None:
    file = tmp_path_factory.mktemp("config") / "icdpo.json"
    config.write(file)
    assert ICDPOConfig.read(file) == config
    assert [item.name for item in file.parent.iterdir()] == ["icdpo.json"]


def test_a_threshold_is_written_and_read(tmp_path: Path) -> None:
    config = ICDPOConfig(min_similarity=0.25, min_bm25=1.5, substitute="none")
    config.write(tmp_path / "icdpo.json")
    assert ICDPOConfig.read(tmp_path / "icdpo.json") == config


def test_a_file_may_leave_out_anything(tmp_path: Path) -> None:
    file = tmp_path / "icdpo.json"
    file.write_text("\ufeff{}", encoding="utf-8")
    assert ICDPOConfig.read(file) == ICDPOConfig()
    file.write_text('{"k": 4, "sampling": {"temperature": 1, "stop": ["x"]}}')
    config = ICDPOConfig.read(file)
    assert (config.k, config.n) == (4, 8)
    assert config.sampling.params() == SamplingParams(stop=("x",))


def test_the_defaults_are_those_of_icdpo(tmp_path: Path) -> None:
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        default = ICDPO.from_defaults(FakePolicy(), store=store)
        built = ICDPO.from_config(ICDPOConfig(), policy=FakePolicy(), store=store)
        for side in ("_chosen", "_rejected"):
            ours, theirs = ({**vars(getattr(icdpo.retriever, side))} for icdpo in (default, built))
            for name in ("_lock", "_filter"):
                own, other = ours.pop(name), theirs.pop(name)
                assert name == "_lock" or vars(own) == vars(other)
            assert ours == theirs
    for name in ("n", "k", "sampling", "finalists", "instructions", "scorer", "max_context"):
        assert getattr(default, name) == getattr(built, name), name
    assert isinstance(built.retriever, TwoSidedRetriever)
    assert isinstance(built.retriever._chosen, TwoStageRetriever)


def test_every_setting_arrives(tmp_path: Path) -> None:
    file = tmp_path / "icdpo.json"
    ICDPOConfig(
        retriever="bm25",
        k=3,
        against="base",
        aggregate="sum",
        n=5,
        finalists=2,
        sampling=SamplingConfig(
            max_tokens=9,
            temperature=0.5,
            top_p=0.9,
            top_k=7,
            repetition_penalty=1.5,
            seed=1,
            guidance=2.0,
            alpha=0.2,
        ),
        instructions=InstructionsConfig(chosen="good", rejected="bad"),
    ).write(file)
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add([Demonstration(f"q {i}", "a") for i in range(5)])  # "base" needs no rejected answers
        built = ICDPO.from_config(file, policy=FakePolicy(["yes"]), store=store)
        result = built.generate("q 3")
    assert isinstance(built.retriever, BM25Retriever)
    assert built.scorer == InstantScorer("base", "sum")
    assert (len(result.candidates), len(result.demonstrations), built.finalists) == (5, 3, 2)
    assert built.instructions == Instructions("good", "bad")
    assert built.sampling == SamplingParams(
        max_new_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        repetition_penalty=1.5,
        seed=1,
        guidance=2.0,
        alpha=0.2,
    )


def test_guided_decoding_is_a_setting_and_has_its_limits(tmp_path: Path) -> None:
    file = tmp_path / "icdpo.json"
    ICDPOConfig(sampling=SamplingConfig(decoding="guided")).write(file)
    assert ICDPOConfig.read(file).sampling.params().guided
    for other, message in ({"finalists": 2}, "finalists=2"), ({"vllm": "http://x"}, "leave vllm out"):
        with pytest.raises(ValueError, match=message):
            ICDPOConfig(sampling=SamplingConfig(decoding="guided"), **other)  # type: ignore[arg-type]


def test_model_and_store_are_those_that_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []

    def load(name: str, **options: Any) -> FakePolicy:
        loaded.append((name, options))
        return FakePolicy()

    monkeypatch.setattr("icdpo_chains.policies.transformers.policy.TransformersPolicy.from_pretrained", load)
    monkeypatch.setattr("icdpo_chains.demonstrations.store.SentenceTransformerEmbedder", FakeEmbedder)
    with DemonstrationStore(tmp_path / "own", embedder=FakeEmbedder()) as store:
        store.add([Demonstration("q", "a", "b")])
    file = tmp_path / "icdpo.json"
    file.write_text(
        '{"model": "org/m", "revision": "r", "dtype": "float32", "device": "cpu", "store": "own"}'
    )
    monkeypatch.chdir("/")
    built = ICDPO.from_config(file)
    assert loaded == [("org/m", {"dtype": "float32", "device": "cpu", "revision": "r"})]
    assert [found.demonstration.prompt for found in built.retrieve("q")] == ["q"]
    assert ICDPOConfig.read(file).store == str((tmp_path / "own").resolve())
    file.write_text(json.dumps({"store": str(tmp_path / "other")}))
    assert ICDPOConfig.read(file).store == str(tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[1]", r"object of settings, not \[1\]"),
        (b'{"n": 0}', "n is 0"),
        (b'{"n": "3"}', "n: .*integer.*'3'"),
        (b'{"k": true}', "k: .*True"),
        (b'{"pool": 2.5}', "pool"),
        (b'{"modle": "x"}', "modle: no such setting; known are model, revision"),
        (b'{"sampling": {"top": 1}}', r"sampling.top: no such setting; known are max_tokens"),
        (b'{"sampling": {"top_p": 2}}', "top_p is 2"),
        (b'{"sampling": {"temperature": NaN}}', "temperature is nan"),
        (b'{"sampling": {"stop": [""]}}', "empty string"),
        (b'{"retriever": "best"}', "retriever: .*'two_stage'.*'best'"),
        (b'{"against": null}', "against"),
        (b'{"instructions": {"chosen": 3}}', r"instructions.chosen: .*3"),
        (b'{"model": "\\ud800"}', "icdpo.json: "),
    ],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "icdpo.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=says) as caught:
        ICDPOConfig.read(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x)
    )
)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    file = tmp_path_factory.mktemp("config") / "icdpo.json"
    for content in (value, {"sampling": value}, {"stop": value, "note": value}):
        file.write_text(json.dumps(content))
        with contextlib.suppress(InvalidInputError):  # nothing else may be raised
            assert isinstance(ICDPOConfig.read(file), ICDPOConfig)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError):
        ICDPOConfig.read("nowhere.json")


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "icdpo.json"
    ICDPOConfig(k=3).write(file)

    def fail(*paths: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("icdpo_chains.config.os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        ICDPOConfig(k=4).write(file)
    assert ICDPOConfig.read(file).k == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_wrong_settings_in_python() -> None:
    for wrong in ({"n": 0}, {"k": 1.5}, {"x": 1}, {"finalists": 0}, {"retriever": "q"}):
        with pytest.raises(ValidationError):
            ICDPOConfig(**wrong)


def test_servers_in_place_of_model_and_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icdpo_chains.policies.vllm import policy as vllm

    asked: list[tuple[Any, ...]] = []

    def connect(*arguments: Any) -> FakePolicy:
        asked.append(arguments)
        return FakePolicy()

    monkeypatch.setattr(vllm, "VLLMPolicy", connect)
    path = tmp_path / "c.json"
    path.write_text(
        '{"vllm": "http://127.0.0.1:8001", "model": "big", "store": "http://127.0.0.1:8000/mine"}'
    )
    config = ICDPOConfig.read(path)
    assert config.store == "http://127.0.0.1:8000/mine"  # an address is not relative to the file
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        assert ICDPO.from_config(config, store=store).policy.name == "fake"
    assert asked == [("http://127.0.0.1:8001", "big")]


@pytest.mark.parametrize("name", ["revision", "dtype", "device"])
def test_what_a_vllm_server_decides_itself_can_not_be_set(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} are the vLLM server's own"):
        ICDPOConfig.model_validate({"vllm": "http://127.0.0.1:8001", name: "cpu"})


@pytest.mark.parametrize("retriever", ["two_stage", "bm25", "embeddings"])
def test_a_threshold_decides_what_is_shown_and_the_result_says_which(retriever: Any) -> None:
    rows = [
        Demonstration("How is glass made?", "By melting sand.", "No."),
        Demonstration("Swans?", "Yes.", "No."),
    ]
    with DemonstrationStore.ephemeral(embedder=FakeEmbedder()) as store:
        store.add(rows)

        def shown(question: str, **limits: Any) -> list[tuple[bool, Any]]:
            config = ICDPOConfig(retriever=retriever, n=1, **limits)
            icdpo = ICDPO.from_config(config, policy=FakePolicy(["An answer."]), store=store)
            result = icdpo.generate(question).to_dict()
            return [(item["general"], item["prompt"]) for item in result["demonstrations"]]

        like, unlike = "How is glass made?", "Sum the numbers"
        assert len(shown(unlike)) == 2
        assert shown(like, min_similarity=0.9) == [(False, "How is glass made?")]
        general = shown(unlike, min_similarity=0.9)
        assert [flag for flag, _ in general] == [True, True]
        assert general == shown("Quite another thing", min_similarity=0.9)
        assert shown(unlike, min_similarity=0.9, substitute="none") == []
        if retriever != "embeddings":  # which has no BM25 score
            assert shown(like, min_bm25=0.1, substitute="none") == [(False, "How is glass made?")]


def test_a_threshold_out_of_range_is_refused() -> None:
    for name, value in [("min_similarity", 1.5), ("min_bm25", -1.0), ("substitute", "some")]:
        with pytest.raises(ValidationError, match=name):
            ICDPOConfig(**{name: value})
    for retriever, name in [("random", "min_similarity"), ("embeddings", "min_bm25")]:
        with pytest.raises(ValidationError, match=f"{name} needs one of the retrievers two_stage, bm25"):
            ICDPOConfig(retriever=retriever, **{name: 0.5})


@pytest.mark.parametrize("name", ["vllm", "store"])
def test_a_password_never_stands_in_a_config(name: str, tmp_path: Path) -> None:
    """Neither in the written file nor in the error that refuses the URL."""
    url = "http://user:SECRET@127.0.0.1:8001"
    for build in (lambda: ICDPOConfig(**{name: url}), lambda: ICDPOConfig().changed({name: url})):
        with pytest.raises(ValueError, match=f"{name} contains a user name, a password or a key") as caught:
            build()
        assert "SECRET" not in str(caught.value)
    file = tmp_path / "c.json"
    file.write_text(json.dumps({name: url}))
    with pytest.raises(InvalidInputError) as refused:
        ICDPOConfig.read(file)
    assert "SECRET" not in str(refused.value)
