"""Trees are removed without following links or leaving their file system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator

import pytest

from deployable_zipfile import removal
from tests.support import machine


def test_a_tree_is_removed_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "tree" / "file").write_text("")
    os.mkfifo(str(tmp_path / "tree" / "fifo"))
    removal.remove_tree(str(tmp_path / "tree"))
    assert os.listdir(str(tmp_path)) == ["precious"]
    assert (tmp_path / "precious" / "file").read_text() == "kept"


def test_a_link_is_not_a_tree(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to("precious")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        removal.remove_tree(str(tmp_path / "link"))
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
    assert removal.mounts_below(str(mounted.parent)) == [str(mounted)]
    with pytest.raises(OSError, match="mounted below"):
        removal.remove_tree(str(mounted.parent))
    assert (mounted / "file").read_text() == "kept"
    assert (mounted.parent / "other").read_text() == "kept"


@pytest.mark.parametrize("mounted", ["tmpfs"], indirect=True)
def test_another_device_is_noticed_without_a_table_of_mounts(mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "mounts_below", lambda path: [])
    with pytest.raises(OSError, match="another file system"):
        removal.remove_tree(str(mounted.parent))
    assert (mounted / "file").read_text() == "kept"


def test_the_table_of_mounts_is_read_with_its_escapes(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    line = "36 35 98:0 / {} rw,noatime master:1 - ext3 /dev/root rw\n"
    table.write_text(line.format(f"{tmp_path}/a\\040b") + line.format(f"{tmp_path}x") + line.format("/"))
    assert removal.mounts_below(str(tmp_path), str(table)) == [f"{tmp_path}/a b"]
    assert removal.mounts_below(str(tmp_path), str(tmp_path / "absent")) == []
