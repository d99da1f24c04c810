"""`icdpo models`, without fetching any."""

import json
from pathlib import Path
from typing import Any

import pytest


def test_list_says_what_is_here(icdpo: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path))
    rows = json.loads(icdpo("models", "list", "--json").stdout)
    assert {row["name"]: row["path"] for row in rows} == {
        "smollm2-135m-instruct": None,
        "all-minilm-l6-v2": None,
    }
    monkeypatch.setenv("COLUMNS", "200")
    assert "MB to fetch" in icdpo("models", "list").stdout


def test_fetching_an_unknown_model_names_the_known_ones(icdpo: Any) -> None:
    run = icdpo("models", "fetch", "gpt-5")
    assert run.exit_code == 1
    assert "smollm2-135m-instruct" in run.stderr
