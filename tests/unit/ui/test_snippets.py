"""The settings as code: the code runs, and has the settings."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from icdpo_chains import ICDPO, FakePolicy, ICDPOConfig
from icdpo_chains.ui.backend import Backend
from icdpo_chains.ui.snippets import KINDS, snippet

QUESTION = 'What\'s "this"? {x} $(rm -rf) `ls` \\n\n\u202e'
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sampling": {"n": 3, "k": 1, "temperature": 0.5, "seed": 7, "max_tokens": 20},
    "scorer": {"against": "base", "aggregate": "mean", "n": 2},
    "thresholds": {"n": 2, "min_similarity": 0.1, "substitute": "none"},
    "files": {"n": 2, "retriever": "bm25", "pool": 5, "stop": ("\n\n", "'"), "top_k": 5},
    "instructions": {"n": 2, "instructions": {"chosen": "Be 'kind'.", "rejected": "Be\nrude."}},
    "template": {"n": 2, "chat_template_kwargs": {"role": False}},  # a word of the fake template
}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> list[ICDPOConfig]:
    """The settings of the ICDPOs that code builds; they get a fake policy and the store of the backend."""
    configs: list[ICDPOConfig] = []
    original = ICDPO.from_config.__func__  # type: ignore[attr-defined]

    def from_config(cls: Any, config: Any, **_: Any) -> ICDPO:
        config = config if isinstance(config, ICDPOConfig) else ICDPOConfig.read(config)
        configs.append(config)
        result: ICDPO = original(cls, config, policy=FakePolicy(), store=backend.store)
        return result

    monkeypatch.setattr(ICDPO, "from_config", classmethod(from_config))
    monkeypatch.setattr("icdpo_chains.defaults._latest", None)
    monkeypatch.delenv("ICDPO_MODEL", raising=False)
    return configs


@pytest.mark.parametrize("kind", ["Python", "LangChain", "LlamaIndex"])
@pytest.mark.parametrize("changes", SETTINGS.values(), ids=list(SETTINGS))
def test_the_code_runs_with_the_settings(
    built: list[ICDPOConfig],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    changes: dict[str, Any],
) -> None:
    wanted = ICDPOConfig().changed(changes)
    asked: list[tuple[ICDPO, dict[str, Any]]] = []
    generate = ICDPO.generate

    def watched(self: ICDPO, prompt: Any, **options: Any) -> Any:
        asked.append((self, options))
        return generate(self, prompt, **options)

    monkeypatch.setattr(ICDPO, "generate", watched)
    exec(compile(snippet(kind, wanted, QUESTION), kind, "exec"), {})
    assert capsys.readouterr().out.strip()
    ((icdpo, options),) = asked
    assert (options.get("n") or icdpo.n) == wanted.n
    assert (options.get("k") or icdpo.k) == wanted.k
    assert icdpo.scorer == wanted.build_scorer()
    assert icdpo.instructions == wanted.build_instructions()
    assert (options.get("sampling") or icdpo.sampling) == wanted.sampling.params()
    (config,) = built
    for name in ("retriever", "pool", "min_similarity", "substitute"):
        assert getattr(config, name) == getattr(wanted, name)


@pytest.mark.parametrize("changes", SETTINGS.values(), ids=list(SETTINGS))
def test_the_command_line_has_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any]
) -> None:
    wanted = ICDPOConfig().changed(changes)
    monkeypatch.chdir(tmp_path)
    text = snippet("Command line", wanted, QUESTION)
    file = re.match(r"cat > settings\.json <<'END'\n(.*?)\nEND\n", text, re.DOTALL)
    if file is not None:
        Path("settings.json").write_text(file[1], "utf-8")
        text = text[file.end() :]
    assert parsed(monkeypatch, text) == (QUESTION, wanted)


def parsed(monkeypatch: pytest.MonkeyPatch, line: str) -> tuple[str, ICDPOConfig]:
    """The question and the settings of a command line, by the real parser."""
    from icdpo_chains.cli.app import app

    found: list[Any] = []

    class Stop(Exception):
        pass

    def stop(status: Any, config: ICDPOConfig, *_: Any) -> None:
        found.append(config)
        raise Stop

    def keep(argument: str, what: str) -> str:
        found.append(argument)
        return argument

    monkeypatch.setattr("icdpo_chains.cli.loading.build_icdpo", stop)
    monkeypatch.setattr("icdpo_chains.cli.options.read_input", keep)
    command, *words = shlex.split(line)
    assert command == "icdpo"
    CliRunner().invoke(app, words)
    question, config = found
    return question, config


@given(question=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_question_can_be_copied(question: str) -> None:
    config = ICDPOConfig(n=2)
    for kind in KINDS:
        text = snippet(kind, config, question)
        if kind == "Command line":
            assert shlex.split(text)[-1] == question
        else:
            compile(text, kind, "exec")
            assert repr(question) in text


def test_a_question_like_an_option_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parsed(monkeypatch, snippet("Command line", ICDPOConfig(), "--help"))[0] == "--help"
