"""`icdpo ui` and `icdpo serve --ui` without Gradio; `make test-ui` has the page in a browser."""

import sys

import pytest
from typer.testing import CliRunner

from icdpo_chains.cli.app import app


@pytest.mark.parametrize("command", [["ui"], ["serve", "--ui"]], ids=["ui", "serve"])
def test_without_gradio_the_error_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("icdpo_chains.ui.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = CliRunner().invoke(app, [*command, "--port", "0"])
    assert result.exit_code == 1
    assert 'needs gradio, which is not installed: pip install "icdpo-chains[ui]"' in result.stderr


def test_the_options_are_those_of_the_other_commands() -> None:
    """They are written down once."""
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ui, serve = ({option.name: option for option in commands[name].params} for name in ("ui", "serve"))
    for name in ui.keys() & serve.keys() - {"port"}:
        assert (ui[name].help, ui[name].default) == (serve[name].help, serve[name].default)
    assert {"n", "k", "against", "store", "api_key_file", "host"} <= ui.keys() & serve.keys()
