"""What all subcommands share: errors in one line, exit codes, help."""

import subprocess
import sys
from typing import Any

import pytest

from icdpo_chains import ICDPO, __version__
from icdpo_chains.errors import PolicyError

COMMANDS = [
    ["ask"],
    ["chat"],
    ["score"],
    ["import"],
    ["demos", "list"],
    ["demos", "search"],
    ["demos", "show"],
    ["demos", "remove"],
    ["demos", "export"],
    ["models", "fetch"],
    ["models", "list"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(icdpo: Any, command: list[str]) -> None:
    run = icdpo(*command, "--help")
    assert run.exit_code == 0
    assert "--debug" in run.stdout


@pytest.mark.parametrize(
    "group", [[], ["demos"], ["models"], ["eval"]], ids=lambda group: "-".join(["icdpo", *group])
)
def test_no_summary_is_cut(icdpo: Any, group: list[str]) -> None:
    run = icdpo(*group, "--help")
    assert run.exit_code == 0
    assert "..." not in run.stdout.partition("Commands:")[2]


def test_the_version(icdpo: Any) -> None:
    assert icdpo("--version").stdout == f"icdpo-chains {__version__}\n"


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (PolicyError("no such\nmodel"), "icdpo: no such model\n", 1),
        (OSError(28, "No space left on device", "/x"), "icdpo: /x: No space left on device\n", 1),
        (RuntimeError("odd \x1b[31m"), "icdpo: RuntimeError: odd \u241b[31m (a bug? ", 1),
        (KeyboardInterrupt(), "", 130),
    ],
)
def test_an_error_is_one_line(
    icdpo: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, line: str, code: int
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(ICDPO, "generate", fail)
    run = icdpo("ask", "hi")
    assert run.exit_code == code
    assert run.stderr.startswith(line)
    assert "Traceback" not in run.stderr
    if isinstance(error, Exception):
        assert icdpo("ask", "hi", "--debug").exception is error


def test_help_loads_no_model_library() -> None:
    code = (
        "import sys; sys.argv = ['icdpo', 'ask', '--help']\n"
        "from icdpo_chains.cli import main\n"
        "try: main()\n"
        "except SystemExit: print([name for name in ('torch', 'transformers', 'chromadb', 'numpy') "
        "if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
