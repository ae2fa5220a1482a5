"""The thread that writes the end of an artifact and hashes all of it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.artifact import headers
from deployable_zipfile.builder import hasher, zipwriter
from deployable_zipfile.builder.contents import FileContent, Item
from deployable_zipfile.builder.hasher import Hasher
from deployable_zipfile.builder.zipwriter import Archive
from deployable_zipfile.errors import BuildInputError
from tests.support.processes import no_thread_after


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "_BLOCK", 1000)
    monkeypatch.setattr(hasher, "_AHEAD", 2000)


def stored(path: Path, content: bytes) -> Item:
    """Return a member that is copied from the file *path*."""
    path.write_bytes(content)
    return Item(path.name, FileContent(str(path), len(content)), stored=True, sha256="0" * 64)


def archived(path: Path, items: List[Item]) -> str:
    """Let the thread write *items* and return the digest that it finds."""
    with Archive(str(path), digest=True) as target:
        target.hash_behind()
        target.add(items)
    return target.sha256


def test_the_bytes_and_their_digest_are_those_of_a_writer_without_a_thread(tmp_path: Path) -> None:
    deflated = [Item(f"text-{number}", b"%d line\n" % number * 500) for number in range(3)]
    copied = [stored(tmp_path / f"wheel-{number}", os.urandom(1 + 1999 * number)) for number in range(4)]
    with Archive(str(tmp_path / "former.zip")) as before:
        before.add([*deflated[:2], *copied[:2]])
    with open(str(tmp_path / "former.zip"), "rb") as former:
        formers = [zipwriter.Former(former.fileno(), {one.name: one for one in before.written})]
        found = []
        for behind in (True, False):
            path = tmp_path / f"{behind}.zip"
            with Archive(str(path), "#!/usr/bin/env python", 1, formers=formers, digest=True) as target:
                target.add(deflated[:1])
                if behind:
                    target.hash_behind()
                target.add([*copied, *deflated[1:], Item("last", b"x")])
            assert target.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            found.append(path.read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("change", ["shrunk", "gone"])
def test_a_file_that_changes_until_it_is_its_turn_ends_the_build(tmp_path: Path, change: str) -> None:
    first, item = stored(tmp_path / "first", b"x" * 5000), stored(tmp_path / "wheel", b"y" * 5000)
    (tmp_path / "wheel").unlink()
    if change == "shrunk":
        (tmp_path / "wheel").write_bytes(b"y" * 4999)
    before = threading.active_count()
    with pytest.raises((BuildInputError, FileNotFoundError), match=str(tmp_path / "wheel")):
        archived(tmp_path / "a.zip", [first, item])
    assert threading.active_count() == before


@pytest.mark.parametrize("after", [0, 1, 9])
def test_a_full_disk_ends_the_build_and_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    write, written = os.write, [0]

    def full(descriptor: int, data: bytes) -> int:
        written[0] += 1
        if written[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    items = [stored(tmp_path / f"wheel-{number}", b"x" * 1500) for number in range(8)]
    monkeypatch.setattr(os, "write", full)
    before = threading.active_count()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        archived(tmp_path / "a.zip", items)
    assert threading.active_count() == before


def test_a_write_that_takes_only_a_part_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    found = archived(tmp_path / "a.zip", [stored(tmp_path / "wheel", b"x" * 1500), Item("small", b"y")])
    assert found == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert (tmp_path / "a.zip").stat().st_size > 1501 + 2 * headers.LOCAL.size


def test_what_follows_an_interruption_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: List[int] = []
    may_write, write = threading.Event(), os.write

    def slow(descriptor: int, data: bytes) -> int:
        assert may_write.wait(60)
        seen.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", slow)
    with open(str(tmp_path / "file"), "wb+") as file:
        thread = Hasher(file.fileno())
        thread.start(0)
        for _ in range(2):
            thread.write(b"x" * 900)
        threading.Timer(0.1, may_write.set).start()
        thread.stop()
    assert len(seen) < 2
    assert thread._threads
    assert not any(one.is_alive() for one in thread._threads)


def sent(monkeypatch: pytest.MonkeyPatch, fails: bool) -> List[int]:
    """Write nothing after 3000 bytes until they were to be put on the disk; return the sizes of the file then."""
    asked, write, sizes, written = threading.Event(), os.write, [], [0]

    def sync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        asked.set()
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def waiting(descriptor: int, data: bytes) -> int:
        assert written[0] < 3000 or asked.wait(60)
        written[0] += len(data)
        return write(descriptor, data)

    monkeypatch.setattr(hasher, "_OUT", 3000)
    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(os, "write", waiting)
    return sizes


def test_what_is_written_is_put_on_the_disk_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sent(monkeypatch, fails=False)
    items = [stored(tmp_path / f"wheel-{number}", b"x" * 1500) for number in range(8)]
    before = threading.active_count()
    assert archived(tmp_path / "a.zip", items) == hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert sizes[0] >= 3000
    assert threading.active_count() == before


def test_a_disk_that_does_not_take_what_was_written_ends_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(monkeypatch, fails=True)
    items = [stored(tmp_path / f"wheel-{number}", b"x" * 1500) for number in range(8)]
    before = threading.active_count()
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        archived(tmp_path / "a.zip", items)
    assert threading.active_count() == before


@pytest.mark.parametrize("given", [0, 1])
def test_without_threads_the_bytes_and_their_digest_are_the_same(
    given: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [stored(tmp_path / "wheel", os.urandom(5000)), Item("text", b"line\n" * 500)]
    expected = archived(tmp_path / "with", items)
    monkeypatch.setattr(threading.Thread, "start", no_thread_after(given))
    assert archived(tmp_path / "without", items) == expected
    assert (tmp_path / "without").read_bytes() == (tmp_path / "with").read_bytes()
    assert hashlib.sha256((tmp_path / "without").read_bytes()).hexdigest() == expected
