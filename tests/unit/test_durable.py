"""Files and links that change at one instant, what a path is, and the removal of a tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Iterator

import pytest

from deployable_zipfile import durable
from tests.support import machine


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


def test_a_tree_is_removed_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "tree" / "file").write_text("")
    os.mkfifo(str(tmp_path / "tree" / "fifo"))
    durable.remove_tree(str(tmp_path / "tree"))
    assert os.listdir(str(tmp_path)) == ["precious"]
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_a_link_is_not_a_tree(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to("precious")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        durable.remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "precious").is_dir()


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A tree with a file system mounted in it: of its own device, or a folder of the same one."""
    place = tmp_path / "tree" / "with blank"
    place.mkdir(parents=True)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("kept")
    words = {"tmpfs": ["-t", "tmpfs", "none"], "bind": ["--bind", str(tmp_path / "source")]}[request.param]
    with machine.mounted(place, *words):
        (place / "file").write_text("kept")
        yield place


@pytest.mark.parametrize("mounted", ["tmpfs", "bind"], indirect=True)
def test_what_is_mounted_below_a_tree_is_never_emptied(mounted: Path) -> None:
    (mounted.parent / "other").write_text("kept")
    assert durable.mounts_below(str(mounted.parent)) == [str(mounted)]
    with pytest.raises(OSError, match="mounted below"):
        durable.remove_tree(str(mounted.parent))
    assert (mounted / "file").read_text() == "kept"
    assert (mounted.parent / "other").read_text() == "kept"


@pytest.mark.parametrize("mounted", ["tmpfs"], indirect=True)
def test_another_device_is_noticed_without_a_table_of_mounts(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "mounts_below", lambda path: [])
    with pytest.raises(OSError, match="another file system"):
        durable.remove_tree(str(mounted.parent))
    assert (mounted / "file").read_text() == "kept"


def test_the_table_of_mounts_is_read_with_its_escapes(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    line = "36 35 98:0 / {} rw,noatime master:1 - ext3 /dev/root rw\n"
    table.write_text(line.format(f"{tmp_path}/a\\040b") + line.format(f"{tmp_path}x") + line.format("/"))
    assert durable.mounts_below(str(tmp_path), str(table)) == [f"{tmp_path}/a b"]
    assert durable.mounts_below(str(tmp_path), str(tmp_path / "absent")) == []
