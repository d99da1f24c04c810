"""`icdpo eval rules` on fakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = ("eval", "rules", "--rules", "lower_case,bullets", "--prompts", "2", "--n", "2", "--systems", "")


def test_it_prints_and_writes_the_table_and_continues(icdpo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = icdpo(*COMMAND, "--out", str(out))
    assert first.exit_code == 0, first.stderr
    assert "lower_case" in first.stdout
    assert "oracle" in first.stdout
    # Both tables fit 80 columns.
    assert "…" not in first.stdout
    assert "tokens" in first.stdout
    rows = [line.split() for line in first.stdout.splitlines() if line.startswith("bullets")]
    assert sum(len(row) - 1 for row in rows) == 9  # one cell for each system
    report = json.loads((out / "rules.json").read_text())
    assert report["rules"] == {"lower_case": 2, "bullets": 2}
    assert "| base, greedy |" in (out / "rules.md").read_text()
    kept = (out / "answers.jsonl").read_text()
    assert icdpo(*COMMAND, "--out", str(out)).exit_code == 0
    assert (out / "answers.jsonl").read_text() == kept


def test_wrong_options_are_usage_errors(icdpo: Callable[..., Any], tmp_path: Path) -> None:
    for arguments, said in [
        (("--rules", "tidy"), "'tidy' is unknown"),
        (("--rules", ","), "names no rule"),
        (("--systems", "best_of_m"), "'best_of_m' is unknown"),
        (("--min-similarity", "2"), "from 0 to 1"),
        (("--prompts", "51"), "from 1 to 50"),
    ]:
        found = icdpo("eval", "rules", *arguments, "--out", str(tmp_path))
        assert found.exit_code == 2
        assert said in found.stderr


def test_a_threshold_is_a_setting_of_the_run(icdpo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    limited = (*COMMAND, "--min-similarity", "1", "--substitute", "none", "--out", str(out))
    assert icdpo(*limited).exit_code == 0
    settings = json.loads((out / "rules.json").read_text())["settings"]
    assert (settings["min_similarity"], settings["substitute"]) == (1, "none")
    refused = icdpo(*COMMAND, "--out", str(out))
    assert refused.exit_code != 0
    assert "min_similarity" in refused.stderr
