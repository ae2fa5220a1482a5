"""Files and links that change at one instant, what a path is, and the removal of a tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deployable_zipfile import durable


def test_a_file_is_replaced_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    before = os.umask(0)
    try:
        durable.replace_file(str(path), b"new", 0o640)
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(str(tmp_path)) == ["file"]


def test_a_link_in_the_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".file.new").symlink_to("precious")
    durable.replace_file(str(tmp_path / "file"), b"new", 0o600)
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        durable.replace_file(str(tmp_path / "file"), b"new", 0o600)
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(str(tmp_path)) == ["file"]


@pytest.mark.parametrize("text", ["a/b/", "./a//b", "a/../a/b/.", "{0}/a/b", "via", "via/", "{0}//a/./b"])
def test_the_way_passes_a_folder_however_the_link_is_written(tmp_path: Path, text: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "via").symlink_to("a/b/")
    (tmp_path / "link").symlink_to(text.format(tmp_path))
    way = durable.way_to(str(tmp_path / "link"))
    for name in ("a", "a/b", "link"):
        status = os.lstat(str(tmp_path / name))
        assert (status.st_dev, status.st_ino) in way


def test_the_way_of_a_circle_and_of_nothing_ends(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "gone").symlink_to("nothing/at/all")
    assert durable.way_to(str(tmp_path / "one"))
    assert durable.way_to(str(tmp_path / "gone"))
