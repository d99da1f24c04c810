"""A file that appears whole or not at all."""

from pathlib import Path

import pytest

from icdpo_chains.foundation.atomic_file import atomic_file


def test_the_file_appears_with_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_stays_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"new", "no bytes"])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_at_the_place_of_the_unfinished_file_is_never_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda count: "0")
    (tmp_path / ".a.json.0").symlink_to(target)
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "a.json"):
        pass
    assert target.read_text() == "mine"


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("secret")
    path.chmod(0o600)
    with atomic_file(path) as file:
        file.write(b"new")
    assert path.stat().st_mode & 0o777 == 0o600
