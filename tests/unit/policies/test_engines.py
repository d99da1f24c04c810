"""Models by the name of their engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from icdpo_chains import ICDPO, ICDPOConfig
from icdpo_chains.errors import PolicyError


def test_every_way_in_takes_the_model_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ICDPO_MODEL", str(tmp_path / "mine"))
    for build in (ICDPO.from_defaults, ICDPOConfig().build_policy):
        with pytest.raises(PolicyError, match="mine"):
            build()
    with pytest.raises(PolicyError, match="other"):
        ICDPO.from_defaults(str(tmp_path / "other"))
