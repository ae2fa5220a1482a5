from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from deployable_zipfile import durable
from deployable_zipfile.builder.output import Output
from deployable_zipfile.errors import BuildInputError


def names(folder: Path) -> "list[str]":
    return sorted(path.name for path in folder.iterdir())


def fill(output: Output, content: bytes) -> None:
    with open(output.temporary, "wb") as file:
        file.write(content)


def test_artifact_and_checksum_appear_together_and_fit(tmp_path: Path) -> None:
    with Output(str(tmp_path / "site")) as output:
        fill(output, b"artifact")
        assert names(tmp_path) == [os.path.basename(output.temporary)]
        made = output.commit()
    assert names(tmp_path) == ["site.zip", "site.zip.sha256"]
    assert (made.path, made.size) == (str(tmp_path / "site.zip"), 8)
    assert (tmp_path / "site.zip").stat().st_mode & 0o777 == 0o755
    done = subprocess.run(["sha256sum", "-c", "site.zip.sha256"], cwd=str(tmp_path), stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"site.zip: OK\n"


def test_a_build_that_fails_leaves_the_old_artifact_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "site.zip").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(tmp_path)
    assert names(tmp_path) == ["site.zip"]
    assert (tmp_path / "site.zip").read_bytes() == b"old"


def _interrupted(folder: Path) -> None:
    with Output(str(folder / "site")) as output:
        fill(output, b"half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_while_committing_leaves_the_old_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (tmp_path / "site.zip").write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with Output(str(tmp_path / "site")) as output:
        fill(output, b"new")
        monkeypatch.setattr(os, call, fail)
        with pytest.raises(BuildInputError) as caught:
            output.commit()
    assert str(caught.value).startswith(f"{tmp_path}/site.zip: cannot be written ({os.strerror(number)}). Free space")
    assert names(tmp_path) == ["site.zip"]
    assert (tmp_path / "site.zip").read_bytes() == b"old"


def test_the_file_is_put_on_the_disk_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_end = threading.Event(), threading.Event()
    sent: List[Tuple[int, int]] = []

    def sync(descriptor: int) -> None:
        began.set()
        assert may_end.wait(60)
        sent.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fdatasync", sync)
    before = threading.active_count()
    with Output(str(tmp_path / "site")) as output:
        fill(output, b"artifact")
        inode = os.stat(output.temporary).st_ino
        with output.sent():
            assert began.wait(60)
            assert sent == []
            may_end.set()
        assert sent == [(inode, 8)]
        assert threading.active_count() == before
        output.commit()
    assert (tmp_path / "site.zip").read_bytes() == b"artifact"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_meanwhile_leaves_the_old_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "site.zip").write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdatasync", fail)
    with Output(str(tmp_path / "site")) as output:
        fill(output, b"new")
        with pytest.raises(BuildInputError) as caught, output.sent():
            pass
    assert str(caught.value).startswith(f"{tmp_path}/site.zip: cannot be written ({os.strerror(number)}). Free space")
    assert names(tmp_path) == ["site.zip"]
    assert (tmp_path / "site.zip").read_bytes() == b"old"


def test_what_goes_wrong_in_the_block_is_told_and_the_thread_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fail)
    before = threading.active_count()
    with Output(str(tmp_path / "site")) as output, pytest.raises(KeyboardInterrupt), output.sent():
        raise KeyboardInterrupt
    assert threading.active_count() == before
    assert names(tmp_path) == []


def test_without_a_thread_the_commit_waits_for_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    with Output(str(tmp_path / "site")) as output:
        fill(output, b"artifact")
        with output.sent():
            pass
        output.commit()
    assert (tmp_path / "site.zip").read_bytes() == b"artifact"


def test_leftovers_of_killed_builds_are_removed_and_running_builds_are_left_alone(tmp_path: Path) -> None:
    killed = tmp_path / ".site.zip.4194304.abc.partial"
    killed.write_bytes(b"half")
    (tmp_path / ".site.zip.4194304.abc.partial.sha256").write_bytes(b"half")
    locked = tmp_path / ".site.zip.4194303.abc.partial"
    locked.write_bytes(b"half")
    alive = tmp_path / ".site.zip.1.abc.partial"
    alive.write_bytes(b"half")
    other = tmp_path / ".other.zip.4194304.abc.partial"
    other.write_bytes(b"half")
    with open(str(locked), "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with Output(str(tmp_path / "site")):
            pass
    assert names(tmp_path) == sorted([locked.name, alive.name, other.name])


def test_a_checksum_of_a_build_in_another_container_is_left_alone(tmp_path: Path) -> None:
    """Its process is not to be seen from here; the lock is of the file beside it, or of the artifact in place."""
    checksum = tmp_path / ".site.zip.4194303.abc.partial.sha256"
    for name in (".site.zip.4194303.abc.partial", "site.zip"):
        (tmp_path / name).write_bytes(b"artifact")
        checksum.write_bytes(b"half")
        with open(str(tmp_path / name), "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with Output(str(tmp_path / "site")):
                assert checksum.exists()
        with Output(str(tmp_path / "site")):
            assert not checksum.exists()


def test_a_leftover_that_another_build_removes_first_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".site.zip.4194304.abc.partial").write_bytes(b"half")
    unlink = os.unlink

    def late(path: str) -> None:
        unlink(path)
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", late)
        output = Output(str(tmp_path / "site"))
    with output:
        assert names(tmp_path) == [os.path.basename(output.temporary)]


def test_a_build_that_begins_at_the_same_time_does_not_take_a_new_file_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the file before that is locked. In another container the process has the same number."""
    fresh = durable.fresh_file
    removed = []

    def overtaken(*words: str) -> Tuple[int, str]:
        made = fresh(*words)
        monkeypatch.setattr(durable, "fresh_file", fresh)
        with Output(str(tmp_path / "site")):
            removed.append(not os.path.exists(made[1]))
        return made

    monkeypatch.setattr(durable, "fresh_file", overtaken)
    with Output(str(tmp_path / "site")) as output:
        assert removed == [True]
        fill(output, b"artifact")
        output.commit()
    assert (tmp_path / "site.zip").read_bytes() == b"artifact"


def test_of_two_builds_to_one_path_the_last_one_wins_whole(tmp_path: Path) -> None:
    with Output(str(tmp_path / "site")) as first, Output(str(tmp_path / "site")) as second:
        fill(first, b"first")
        fill(second, b"second")
        second.commit()
        first.commit()
    assert (tmp_path / "site.zip").read_bytes() == b"first"
    assert names(tmp_path) == ["site.zip", "site.zip.sha256"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BuildInputError, match=r"nowhere: is not a folder that the artifact can be written to. Create it first"
    ):
        Output(str(tmp_path / "nowhere" / "site"))
    (tmp_path / "site.zip").mkdir()
    with pytest.raises(BuildInputError, match=r"site.zip: is a folder, where the artifact would be written"):
        Output(str(tmp_path / "site"))
    with pytest.raises(BuildInputError, match=r"cannot be written"):
        Output("/proc/site")


def test_it_names_the_paths_that_must_not_be_packed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with Output(str(tmp_path / "link" / "site")) as output:
        assert {f"{tmp_path}/site.zip", f"{tmp_path}/site.zip.sha256"} < set(output.names)
        assert os.path.realpath(output.temporary) in output.names
