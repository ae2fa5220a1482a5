"""Files and links that change at one instant, what a path is, and the removal of a tree."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile import durable
from tests.support.machine import mounted


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


def is_abandoned(path: Path) -> bool:
    with durable.abandoned(str(path)) as found:
        return found


def test_a_file_is_abandoned_when_it_exists_and_nobody_has_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_abandoned(path)
    path.touch()
    assert is_abandoned(path)
    with open(path, "rb+") as file:
        assert durable.take_lock(file.fileno(), 0)
        assert not is_abandoned(path)
    assert is_abandoned(path)
    (tmp_path / "link").symlink_to(path)
    assert not is_abandoned(tmp_path / "link")


def test_a_fresh_file_that_is_removed_as_abandoned_is_known_to_be(tmp_path: Path) -> None:
    """One process has made it, another finds it before its maker has locked it."""
    path = tmp_path / "lock"
    with open(path, "wb") as file:
        with durable.abandoned(str(path)) as found:
            assert found
            assert not is_abandoned(path)  # for a third process
            removing = threading.Timer(0.1, path.unlink)
            removing.start()
            taking: List[bool] = []
            maker = threading.Thread(target=lambda: taking.append(durable.take_fresh(file.fileno())))
            maker.start()
            removing.join()
        maker.join()
    assert taking == [False]
    with open(path, "wb") as file:
        assert durable.take_fresh(file.fileno())
        assert not is_abandoned(path)


def test_who_has_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "wb+") as file:
        assert durable.holder(file.fileno()) == "another process"
        durable.write_holder(file.fileno(), "process 1234567 on a host\n")
        durable.write_holder(file.fileno(), "process 1\n")
        assert durable.holder(file.fileno()) == "process 1"
        durable.write_holder(file.fileno(), "")
        assert durable.holder(file.fileno()) == "another process"
        durable.write_holder(file.fileno(), "process 12")  # of 1234567: the rest is not written yet
        assert durable.holder(file.fileno()) == "another process"
        assert not durable.is_named(file.fileno())
        durable.write_holder(file.fileno(), durable.this_process())
        assert durable.holder(file.fileno()) == f"process {os.getpid()} on {socket.gethostname()}"
        assert durable.is_named(file.fileno())


def test_the_file_of_a_lock_keeps_its_block_whatever_is_written(tmp_path: Path) -> None:
    with open(tmp_path / "lock", "wb+") as file:
        for text in ("a\n", "", "b" * 2000 + "\n", "c\n"):
            durable.write_holder(file.fileno(), text)
            assert os.fstat(file.fileno()).st_size >= 1024
            assert durable.holder(file.fileno()) == (text.strip() or "another process")


def test_the_lock_of_a_full_disk_can_be_taken_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=64k", "none"), open(disk / "lock", "wb+") as file:
        durable.write_holder(file.fileno(), durable.this_process())
        durable.write_holder(file.fileno(), "")
        with contextlib.suppress(OSError), open(disk / "rest", "wb", buffering=0) as rest:
            while rest.write(bytes(4096)):
                pass
        assert os.statvfs(str(disk)).f_bavail == 0
        durable.write_holder(file.fileno(), durable.this_process())
        assert durable.is_named(file.fileno())


def test_who_has_a_lock_is_not_a_process_that_has_ended(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    with open(tmp_path / "lock", "wb+") as file:
        durable.write_holder(file.fileno(), f"process {dead.pid} on {socket.gethostname()}\n")
        assert not durable.is_named(file.fileno())


@pytest.mark.parametrize(
    "text",
    ["", "process x on y", "process 1 on elsewhere", "another process", "process 99999999999999999999 on {host}"],
)
def test_only_a_process_of_this_host_is_known_to_be_gone(text: str) -> None:
    assert not durable.is_gone(text.format(host=socket.gethostname()))
    assert not durable.is_gone(f"process {os.getpid()} on {socket.gethostname()}")


@pytest.mark.parametrize("wait", [0.0, 0.2])
def test_a_lock_whose_holder_is_not_named_yet_is_tried_again(tmp_path: Path, wait: float) -> None:
    """A holder that ends before it wrote anything, or after it took its name away, refuses nobody."""
    (tmp_path / "lock").touch()
    with open(tmp_path / "lock", "rb+") as first, open(tmp_path / "lock", "rb+") as second:
        assert durable.take_lock(first.fileno(), 0)
        looks: List[float] = []

        def named() -> bool:
            looks.append(time.monotonic())
            if len(looks) == 3:
                fcntl.flock(first.fileno(), fcntl.LOCK_UN)
            return False

        assert durable.take_lock(second.fileno(), wait, named=named, waits=lambda: pytest.fail("nobody to wait for"))
        assert len(looks) == 3
        assert not durable.take_lock(first.fileno(), 0)


def test_a_lock_whose_holder_never_names_itself_is_refused_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "_NAMING", 0.2)
    (tmp_path / "lock").touch()
    with open(tmp_path / "lock", "rb+") as first, open(tmp_path / "lock", "rb+") as second:
        assert durable.take_lock(first.fileno(), 0)
        looks: List[int] = []
        assert not durable.take_lock(second.fileno(), 0, named=lambda: bool(looks.append(1)))
        assert len(looks) > 1


def test_what_is_written_at_a_place_is_whole_however_little_the_kernel_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:3], offset))
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb+") as file:
        durable.write_at(file.fileno(), b"abcdefg", 2)
    assert (tmp_path / "file").read_bytes() == b"01abcdefg9"


def test_a_fresh_file_is_its_owners_and_has_a_name_of_its_own(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = [durable.fresh_file(str(tmp_path), ".out.", ".partial") for _ in range(3)]
    finally:
        os.umask(before)
    paths = {path for _, path in made}
    assert len(paths) == 3
    for descriptor, path in made:
        os.write(descriptor, b"content")
        os.close(descriptor)
        assert (Path(path).read_bytes(), stat.S_IMODE(os.stat(path).st_mode)) == (b"content", 0o600)
        assert Path(path).name.startswith(".out.")
        assert path.endswith(".partial")
    with pytest.raises(FileNotFoundError):
        durable.fresh_file(str(tmp_path / "missing"))
