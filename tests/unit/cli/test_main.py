"""The entry point of the `icdpo` command."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from icdpo_chains import cli


def test_ctrl_c_during_the_imports_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = builtins.__import__

    def interrupted(name: str, *rest: Any) -> Any:
        if name == "icdpo_chains.cli" and "app" in rest[2]:
            raise KeyboardInterrupt
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")
