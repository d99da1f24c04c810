"""The default embedder with its real weights, and the pairs in the shared directory where it is present."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.version import Version

from icdpo_chains.demonstrations.default_store import open_default_store
from icdpo_chains.demonstrations.embedding import FakeEmbedder, SentenceTransformerEmbedder
from icdpo_chains.demonstrations.files import read_demonstrations
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import EmbedderMismatchError, StoreError
from icdpo_chains.packaged_models import catalog

HH = Path(__file__).parents[4] / "shared" / "data" / "hh_harmless_dev.jsonl.gz"


def test_the_default_store_finds_by_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDPO_STORE", str(tmp_path / "store"))
    with open_default_store(read_only=True) as store:
        (best, similarity), *_ = store.search("Can I take antibiotics that were prescribed to my sister?")
        assert "antibiotics" in best.prompt_text
        assert similarity > 0.4
        assert len(store.embed(["one", "two"])[0]) == 384
        (found, _) = TwoStageRetriever(store).retrieve("What did I do wrong when I cooked the rice?")
        assert "rice" in found.demonstration.prompt_text
        assert found.bm25_score is not None
    with pytest.raises(EmbedderMismatchError, match=r"'all-minilm-l6-v2', not with 'fake-embedder'"):
        open_default_store(embedder=FakeEmbedder())


def test_a_model_that_is_not_there_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    embedder = SentenceTransformerEmbedder(str(tmp_path / "nothing"))
    with pytest.raises(StoreError, match=r"nothing.*Give a directory or a hub name"):
        embedder.embed(["a"])


def copied(to: Path, **config: Any) -> Path:
    """A copy of the default embedder, with changes of its config."""
    shutil.copytree(catalog.resolve(catalog.DEFAULT_EMBEDDER), to)
    file = to / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), **config}), "utf-8")
    return to


def test_the_code_in_the_directory_of_an_embedder_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    model = copied(tmp_path / "model", model_type="own", auto_map=own)
    (model / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", "utf-8")
    monkeypatch.setattr("builtins.input", lambda _="": "y")  # transformers asks, if it is left to
    with pytest.raises(StoreError, match="can't be loaded"):
        SentenceTransformerEmbedder(str(model)).embed(["a"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error_that_names_others(
    tmp_path: Path, plain: bool, device: str
) -> None:
    model = copied(tmp_path / "model")
    if not plain:  # is left to sentence-transformers
        (model / "config_sentence_transformers.json").write_text('{"prompts": {}}', "utf-8")
    embedder = SentenceTransformerEmbedder(str(model), device=device)
    with pytest.raises(StoreError, match=rf"on the device '{device}'.*Use 'cuda', 'mps' or 'cpu'"):
        embedder.embed(["a"])


@pytest.mark.parametrize("plain", [True, False])
def test_weights_in_half_precision_are_computed_in_float32(tmp_path: Path, plain: bool) -> None:
    from safetensors.torch import load_file, save_file

    model = copied(tmp_path / "model", dtype="float16")
    weights = load_file(model / "model.safetensors")
    save_file(
        {name: value.half() for name, value in weights.items()}, model / "model.safetensors", {"format": "pt"}
    )
    if not plain:
        (model / "config_sentence_transformers.json").write_text('{"prompts": {}}', "utf-8")
    embedder = SentenceTransformerEmbedder(str(model), device="cpu")
    embedder.load()
    assert {str(value.dtype) for value in embedder._model.parameters()} == {"torch.float32"}


@pytest.mark.skipif(not HH.exists(), reason="the shared data are not here")
def test_real_pairs_import_once_and_answer_to_their_subject(tmp_path: Path) -> None:
    rows = list(read_demonstrations(HH, on_refused=lambda _: None))
    with DemonstrationStore(tmp_path, embedder=FakeEmbedder()) as store:
        first = store.add(rows)
        assert first.total == len(rows)
        assert first.added == len(store) > 1000
        assert store.add(read_demonstrations(HH, on_refused=lambda _: None)).unchanged == len(rows)
        found = TwoStageRetriever(store, pool=2).retrieve("How do I pick a lock?")
        assert all("lock" in item.demonstration.prompt_text.lower() for item in found)
        path = tmp_path / "all.jsonl"
        assert store.export(path) == len(store)
        assert list(read_demonstrations(path)) == list(store)


@pytest.mark.slow
def test_texts_that_are_embedded_in_bulk_rank_as_those_that_are_embedded_one_by_one() -> None:
    subjects = [
        "boil an egg",
        "mend a bicycle chain",
        "write to my landlord",
        "learn the violin",
        "grow beans",
    ]
    texts = [
        f"How do I {subject}, {detail}?"
        for subject in subjects
        for detail in ["in a hurry", "at night", "alone", "well", "cheaply", "with a child", "for free"]
    ]
    embedder = SentenceTransformerEmbedder()
    alone = [embedder.embed([text])[0] for text in texts]
    bulk = embedder.embed(texts)
    for one, (single, many) in enumerate(zip(alone, bulk, strict=True)):
        assert float(single @ many) > 0.999
        assert abs(float(many @ many) - 1) < 1e-5
        assert int((bulk @ single).argmax()) == one


def test_the_default_embedder_equals_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["How?", "École, straße " * 30, "", "x " * 1_000, "你好吗", "A" * 5_000, "Why do eggs crack?"]
    twin = SentenceTransformer(catalog.resolve(catalog.DEFAULT_EMBEDDER), device="cpu")
    expected = twin.encode(texts, show_progress_bar=False)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(SentenceTransformerEmbedder(device="cpu").embed(texts) - expected).max() < 1e-6


def test_the_default_embedder_does_not_import_sentence_transformers() -> None:
    slow = ["sentence_transformers", "peft"]
    if Version(version("transformers")) >= Version("5.20"):  # older ones import the rest themselves
        slow += ["sklearn", "pandas"]
    code = (
        "import sys; from icdpo_chains import SentenceTransformerEmbedder as E; E().embed(['a']); "
        f"print(*set({slow}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}),
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}),
    ],
)
def test_other_embedders_are_left_to_sentence_transformers(
    tmp_path: Path, file: str, changed: dict[str, Any]
) -> None:
    from icdpo_chains.demonstrations.mean_pooling import MeanPooling

    source = Path(catalog.resolve(catalog.DEFAULT_EMBEDDER))
    copy = tmp_path / "model"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.safetensors"))
    (copy / "model.safetensors").touch()
    assert MeanPooling.fits(copy)
    settings = json.loads((copy / file).read_text("utf-8"))
    (copy / file).write_text(json.dumps({**settings, **changed}), "utf-8")
    assert not MeanPooling.fits(copy)
