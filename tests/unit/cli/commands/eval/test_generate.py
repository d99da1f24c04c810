"""`icdpo eval generate`, `judge` and `report`, one after the other, on a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from icdpo_chains import FakeEmbedder, TransformersPolicy
from icdpo_chains.cli import options
from icdpo_chains.config import ICDPOConfig
from icdpo_chains.evaluation.judges import toxicity
from icdpo_chains.foundation.jsonl import ResumableFile
from icdpo_chains.policies.fake import byte_tokenizer

SMALL = ("--prompts", "2", "--n", "2", "--k", "1", "--max-tokens", "4", "--seed", "3")


class Flat:
    name = "flat"

    def scores(self, texts: list[str]) -> list[float]:
        return [0.25] * len(texts)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = byte_tokenizer()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
    )
    policy = TransformersPolicy(LlamaForCausalLM(config).eval(), tokenizer, "tiny")
    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: policy)
    monkeypatch.setattr(options, "embedder", FakeEmbedder)
    monkeypatch.setattr(toxicity, "HateSonar", Flat)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"{verb} the {thing}?", "chosen": f"Gently: {verb}.", "rejected": f"{i} no"}
        for verb in ("paint", "carry", "melt", "fold", "count")
        for i, thing in enumerate(["rope", "glass", "paper", "stone", "cloud", "river"])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_run_from_preferences_to_the_report(icdpo: Any, file: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = icdpo("eval", "generate", file, "--out", str(out), *SMALL)
    assert made.exit_code == 0, made.stderr
    assert "20 answers, 0 were there already" in made.stdout
    assert "variants.jsonl: 4 answers" in made.stdout  # k=1 is what the systems show anyway
    again = icdpo("eval", "generate", file, "--out", str(out), *SMALL)
    assert "0 answers, 20 were there already" in again.stdout

    judged = icdpo("eval", "judge", str(out))
    assert judged.exit_code == 0, judged.stderr
    assert "24 answers judged" in judged.stdout
    settings, rows = ResumableFile.read(out / "judgments.jsonl")
    assert settings["reward_model"].startswith("Bradley-Terry head on tiny")
    assert all(row["toxicity"] == 0.25 and isinstance(row["reward"], float) for row in rows)
    factors = {(row["factor"], row["value"]) for row in ResumableFile.read(out / "sweeps.jsonl")[1]}
    assert factors >= {("k", 1), ("k", 4), ("n", 1), ("n", 2), ("source", "starter set")}
    assert "0 answers judged" in icdpo("eval", "judge", str(out)).stdout

    report = icdpo("eval", "report", str(out))
    assert report.exit_code == 0, report.stderr
    assert "Oracle of n" in report.stdout
    assert "SFT + LoRA" in (out / "report.md").read_text()
    assert "<svg" in (out / "report.html").read_text()


def test_the_same_seed_gives_the_same_table(icdpo: Any, file: str, tmp_path: Path) -> None:
    tables = []
    for name in ("one", "two"):
        out = str(tmp_path / name)
        some = ("--system", "base", "--system", "icdpo_retrieved", "--no-variants")
        assert icdpo("eval", "generate", file, "--out", out, *SMALL, *some).exit_code == 0
        assert icdpo("eval", "judge", out).exit_code == 0
        rows = ResumableFile.read(Path(out) / "judgments.jsonl")[1]
        answers = ResumableFile.read(Path(out) / "answers.jsonl")[1]
        tables.append((rows, [{**row, "seconds": None} for row in answers]))
    assert tables[0] == tables[1]


def test_other_settings_need_another_directory(icdpo: Any, file: str, tmp_path: Path) -> None:
    some = ("--system", "base", "--no-variants", "--out", str(tmp_path / "run"))
    assert icdpo("eval", "generate", file, *some, *SMALL).exit_code == 0
    refused = icdpo("eval", "generate", file, *some, *SMALL[:-1], "3", "--n", "3")
    assert refused.exit_code == 1
    assert "n: 2, now 3" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--system", "magic"), 2, "'magic' is unknown: use base,"),
        (("--prompts", "0"), 2, "--prompts is 0"),
        (("--prompts", "29"), 1, "30 preferences can't hold out 29 prompts"),
    ],
)
def test_bad_input(
    icdpo: Any, file: str, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    run = icdpo("eval", "generate", file, "--out", str(tmp_path / "run"), *arguments)
    assert run.exit_code == code
    assert message in " ".join(run.stderr.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_judging_what_is_not_there(icdpo: Any, tmp_path: Path) -> None:
    run = icdpo("eval", "judge", str(tmp_path))
    assert run.exit_code == 1
    assert "has no answers.jsonl: make it with" in run.stderr


def test_a_run_is_not_continued_with_other_rows_in_a_file_of_the_same_name(
    icdpo: Any, file: str, tmp_path: Path
) -> None:
    command = ("eval", "generate", file, "--out", str(tmp_path / "run"), *SMALL, "--system", "base")
    command = (*command, "--no-variants")
    assert icdpo(*command).exit_code == 0
    Path(file).write_text(Path(file).read_text().replace("Gently", "Softly"))
    for trained in ("judge", "reward"):
        shutil.rmtree(tmp_path / "run" / trained, ignore_errors=True)
    refused = icdpo(*command)
    assert refused.exit_code == 1
    assert "preferences:" in refused.stderr
