"""`icdpo demos`."""

import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import Demonstration, read_demonstrations


def stored(icdpo: Any) -> dict[str, str]:
    """The ids in the store by prompt."""
    rows = json.loads(icdpo("demos", "list", "--json").stdout)
    return {row["prompt"]: row["id"] for row in rows}


def test_list(icdpo: Any) -> None:
    assert set(stored(icdpo)) == {"I failed my exam.", "My cat is ill.", "How is glass made?"}
    shown = icdpo("demos", "list", "--limit", "2").stdout
    assert "2 of 3" in shown
    assert "1 of 3" in icdpo("demos", "list", "--offset", "2").stdout


@pytest.mark.parametrize("options", [["--limit", "0"], ["--offset", "-1"]])
def test_list_takes_no_nonsense(icdpo: Any, options: list[str]) -> None:
    assert icdpo("demos", "list", *options).exit_code == 2


def test_search(icdpo: Any) -> None:
    found = json.loads(icdpo("demos", "search", "glass made of sand", "--json").stdout)
    assert found[0]["prompt"] == "How is glass made?"
    assert found[0]["similarity"] > found[1]["similarity"]
    assert "glass" in icdpo("demos", "search", "glass", "-l", "1").stdout
    assert icdpo("demos", "search", "  ").exit_code == 1


def test_show(icdpo: Any) -> None:
    id_ = stored(icdpo)["How is glass made?"]
    run = icdpo("demos", "show", id_[:8])
    assert id_ in run.stdout
    assert "No idea {x} [bold]." in run.stdout
    assert json.loads(icdpo("demos", "show", id_, "--json").stdout)[0]["id"] == id_


@pytest.mark.parametrize("id_", ["", "abc", "0" * 32, "zzzzzzzz"])
def test_an_unknown_id_removes_nothing(icdpo: Any, id_: str) -> None:
    for name in ("show", "remove"):
        run = icdpo("demos", name, id_, *(["--yes"] if name == "remove" else []))
        assert run.exit_code == 1
        assert run.stderr.count("\n") == 1
    assert len(stored(icdpo)) == 3


def test_remove_asks_first(icdpo: Any) -> None:
    id_ = stored(icdpo)["My cat is ill."]
    assert icdpo("demos", "remove", id_, stdin="n\n").exit_code == 1
    assert len(stored(icdpo)) == 3
    assert "1 removed" in icdpo("demos", "remove", id_, id_[:10], stdin="y\n").stdout
    assert "My cat is ill." not in stored(icdpo)
    other = stored(icdpo)["How is glass made?"]
    assert icdpo("demos", "remove", other, "--yes").exit_code == 0
    assert len(stored(icdpo)) == 1


def test_export_imports_back(icdpo: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert "3 written" in icdpo("demos", "export", str(file)).stdout
    assert {item.id for item in read_demonstrations(file)} == set(stored(icdpo).values())
    lines = icdpo("demos", "export", "-").stdout.splitlines()
    assert {Demonstration.from_dict(json.loads(line)).id for line in lines} == set(stored(icdpo).values())


def test_export_replaces_a_file_only_if_told(icdpo: Any, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("precious")
    assert icdpo("demos", "export", str(file)).exit_code == 2
    assert file.read_text() == "precious"
    assert icdpo("demos", "export", str(file), "--force").exit_code == 0
    assert len(list(read_demonstrations(file))) == 3


def test_stats(icdpo: Any) -> None:
    run = icdpo("demos", "stats")
    assert "3 different prompts; demonstrations whose prompt nearly repeats an earlier one: 0" in run.stdout
    assert "scripts of the prompts: latin 3" in run.stdout
    found = json.loads(icdpo("demos", "stats", "--json").stdout)
    assert found["pairs"] + found["ups"] == 3


def test_stats_of_another_script_name_a_multilingual_embedder(icdpo: Any, tmp_path: Path) -> None:
    assert "multilingual" not in icdpo("demos", "stats").stdout
    rows = [{"prompt": f"Как дела сегодня, номер {i}?", "chosen": "Хорошо."} for i in range(4)]
    (tmp_path / "russian.jsonl").write_text("\n".join(map(json.dumps, rows)))
    icdpo("import", str(tmp_path / "russian.jsonl"))
    assert "paraphrase-multilingual-MiniLM-L12-v2" in icdpo("demos", "stats").stdout


def test_dedupe_asks_first(icdpo: Any, tmp_path: Path) -> None:
    text = "How long do I boil a large egg from the fridge so that the yolk stays soft and the white is firm"
    rows = [{"prompt": text + end, "chosen": "Six minutes."} for end in ("", "?", "!")]
    (tmp_path / "twice.jsonl").write_text("\n".join(map(json.dumps, rows)))
    icdpo("import", str(tmp_path / "twice.jsonl"))
    assert icdpo("demos", "dedupe", "--dry-run").stdout.endswith("2 duplicates\n")
    assert icdpo("demos", "dedupe", stdin="n\n").exit_code == 1
    assert len(stored(icdpo)) == 6
    assert "2 removed" in icdpo("demos", "dedupe", stdin="y\n").stdout
    assert {text} < stored(icdpo).keys()
    assert icdpo("demos", "dedupe", "--yes").stdout == "0 duplicates\n"
    assert icdpo("demos", "dedupe", "--threshold", "2").exit_code == 2
