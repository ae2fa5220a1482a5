"""A build after another one: the same bytes as a build from nothing, whatever was changed and however it looks."""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import random
import shutil
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import cache, contents, last, pack, payloads, zipwriter
from tests.support.depth import sampled
from tests.unit.builder.conftest import Index, commit_all, git, with_bytecode
from tests.unit.builder.test_create import failed, lock, pinned, run


class Build:
    """Builds one project again and again, beside a build that knows nothing of it."""

    def __init__(
        self, site: Path, index: Index, folder: Path, compiled: Dict[str, bytes], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._compiled = compiled
        self.site = site
        self.folder = folder
        self.artifact = folder / "out.zip"
        self._capsys = capsys
        self._locked = lock(site, pinned(index.add("foo", "1.0")))

    def lock(self, *lines: str) -> None:
        self._locked = lock(self.site, *lines)

    def warm(self) -> Tuple[Dict[str, Any], str]:
        return run(self._capsys, self.site, self._locked, self.folder / "out")

    def cold(self) -> bytes:
        known = with_bytecode(self.folder / "cold" / "cache", self._compiled)
        words = self.site, self._locked, self.folder / "cold" / "out"
        run(self._capsys, *words, "--cache-dir", known)
        shutil.rmtree(str(known))
        return (self.folder / "cold" / "out.zip").read_bytes()

    def fails(self) -> str:
        return failed(self._capsys, 7, self.site, self._locked, self.folder / "out")


@pytest.fixture
def build(
    site: Path, index: Index, tmp_path: Path, _compiled: Dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> Build:
    """Return a project that was built twice, so that all its files are known."""
    for number in range(5):
        (site / f"module_{number}.py").write_text(f"VALUE = {number}\n" * 50, encoding="utf-8")
    commit_all(site.parent)
    made = Build(site, index, tmp_path, _compiled, capsys)
    settle()
    made.warm()
    return made


@pytest.fixture
def _in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack the files as nested archives of three."""
    monkeypatch.setattr(pack.Packer, "_is_too_much", lambda *_: True)
    monkeypatch.setattr(payloads, "_PORTION", 3)


@pytest.fixture
def large(_in_portions: None, build: Build) -> Build:
    """Return the same project, packed as a large one is."""
    return build


@pytest.fixture(params=["members", "nested"])
def _form(request: pytest.FixtureRequest) -> None:
    """Pack the files of a project in both ways."""
    if request.param == "nested":
        request.getfixturevalue("_in_portions")


@pytest.fixture
def either(_form: None, build: Build) -> Build:
    """Return the same project, packed in both ways."""
    return build


@pytest.fixture
def deflated(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """Return the names of the Python files that are deflated from now on."""
    names: List[str] = []
    packed = contents.packed

    def watched(items: List[contents.Item]) -> Any:
        names.extend(item.name for item in items if item.name.endswith(".py"))
        return packed(items)

    monkeypatch.setattr(contents, "packed", watched)
    return names


def settle() -> None:
    """Wait until the files of the project are older than a tick of the file system's clock."""
    time.sleep(0.05)


def identity(path: Path) -> cache.Identity:
    return cache.identity(os.lstat(str(path)))


def test_a_build_in_which_nothing_changed_writes_nothing_and_says_the_same(build: Build) -> None:
    before, text = identity(build.artifact), build.warm()
    again = build.warm()

    assert identity(build.artifact) == before
    assert again[0]["sha256"] == text[0]["sha256"]
    assert build.artifact.read_bytes() == build.cold()


def test_a_build_with_a_changed_file_copies_the_others(build: Build, deflated: List[str]) -> None:
    (build.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    build.warm()

    assert deflated == ["site_one/module_3.py"]
    assert build.artifact.read_bytes() == build.cold()


def _same_size_and_time(build: Build) -> None:
    path = build.site / "module_2.py"
    subprocess.run(["touch", "-r", str(path), str(build.folder / "time")], check=True)
    path.write_text("VALUE = 7\n" * 50, encoding="utf-8")
    subprocess.run(["touch", "-r", str(build.folder / "time"), str(path)], check=True)


def _replaced(build: Build) -> None:
    path = build.site / "module_2.py"
    status = path.stat()
    (build.folder / "other").write_text("VALUE = 8\n" * 50, encoding="utf-8")
    os.utime(str(build.folder / "other"), ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(str(build.folder / "other"), str(path))


def _added(build: Build) -> None:
    (build.site / "added.py").write_text("VALUE = 9\n", encoding="utf-8")
    git(build.site, "add", "added.py")


def _removed(build: Build) -> None:
    git(build.site, "rm", "--quiet", "module_1.py")


def _renamed(build: Build) -> None:
    git(build.site, "mv", "module_1.py", "module_9.py")


def _exchanged(build: Build) -> None:
    one, other = build.site / "module_1.py", build.site / "module_4.py"
    os.replace(str(one), str(build.folder / "third"))
    os.replace(str(other), str(one))
    os.replace(str(build.folder / "third"), str(other))


def _executable(build: Build) -> None:
    (build.site / "module_1.py").chmod(0o755)


def _committed(build: Build) -> None:
    git(build.site, "commit", "--quiet", "--allow-empty", "--message=Another one")


def _setting(build: Build) -> None:
    (build.site.parent / "pyproject.toml").write_text(
        '[tool.deployable-zipfile]\nskip-steps = ["migrate"]\n', encoding="utf-8"
    )


def _excluded(build: Build) -> None:
    (build.site.parent / "pyproject.toml").write_text(
        '[tool.deployable-zipfile]\nexclude = ["site_one/module_1.py"]\n', encoding="utf-8"
    )


CHANGES: List[Callable[[Build], None]] = [
    _same_size_and_time, _replaced, _added, _removed, _renamed, _exchanged, _executable, _committed, _setting, _excluded
]  # fmt: skip


@pytest.mark.parametrize("change", sampled(CHANGES, 1))
def test_after_any_change_the_bytes_are_those_of_a_build_from_nothing(
    either: Build, change: Callable[[Build], None]
) -> None:
    before = either.artifact.read_bytes()
    change(either)
    either.warm()

    assert either.artifact.read_bytes() != before
    assert either.artifact.read_bytes() == either.cold()


@pytest.mark.parametrize("times", sampled([2, 8], 1))
def test_a_file_that_is_written_again_at_once_is_read_again(build: Build, times: int) -> None:
    path = build.site / "module_2.py"
    for number in range(times):
        path.write_text(f"VALUE = {number}\n" * 60, encoding="utf-8")
        build.warm()
    path.write_text("VALUE = 9\n" * 60, encoding="utf-8")
    build.warm()

    assert build.artifact.read_bytes() == build.cold()


def _cut(path: Path) -> None:
    os.truncate(str(path), path.stat().st_size // 2)


def _flipped(path: Path) -> None:
    status = path.stat()
    with open(str(path), "r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(status.st_size // 2)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def _gone(path: Path) -> None:
    path.unlink()


def _link(path: Path) -> None:
    os.replace(str(path), f"{path}.moved")
    path.symlink_to(f"{path}.moved")


def _copy(path: Path) -> None:
    shutil.copy2(str(path), f"{path}.copy")
    os.replace(f"{path}.copy", str(path))


@pytest.mark.parametrize("damage", sampled([_cut, _flipped, _gone, _link, _copy], [_copy]))
def test_a_last_artifact_that_is_not_the_one_that_was_written_is_not_used(
    either: Build, damage: Callable[[Path], None]
) -> None:
    whole = either.artifact.read_bytes()
    damage(either.artifact)
    either.warm()

    assert not either.artifact.is_symlink()
    assert either.artifact.read_bytes() == whole


@pytest.mark.parametrize("text", sampled([b"", b"0" * 64 + b"  out.zip\n"], 1))
def test_a_checksum_that_does_not_fit_is_written_again(build: Build, text: bytes) -> None:
    checksum = build.folder / "out.zip.sha256"
    right, before = checksum.read_bytes(), identity(build.artifact)
    checksum.write_bytes(text)
    build.warm()

    assert checksum.read_bytes() == right
    assert identity(build.artifact) == before


def test_a_last_artifact_that_changes_while_it_is_copied_from_fails_the_build(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = zipwriter._kernel_copy

    def changing(*arguments: int) -> int:
        _flipped(build.artifact)
        return copy(*arguments)

    (build.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    monkeypatch.setattr(zipwriter, "_kernel_copy", changing)

    assert build.fails() == f"error: {build.artifact}: changed while it was being copied from. Build again."


@pytest.mark.parametrize("damage", sampled([_cut, _flipped, _gone], [_flipped]))
@pytest.mark.parametrize("part", sampled(["facts", "last", "files", "commit", "bytecode", "plans"], ["last"]))
def test_a_damaged_cache_gives_the_same_bytes(build: Build, part: str, damage: Callable[[Path], None]) -> None:
    whole = build.artifact.read_bytes()
    (build.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    build.warm()
    changed = build.artifact.read_bytes()
    folder = build.folder / "cache" / "deployable-zipfile" / part
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        damage(path)
    build.warm()

    assert changed != whole
    assert build.artifact.read_bytes() == changed == build.cold()


@pytest.mark.deep
def test_without_the_kernels_copy_the_bytes_are_the_same(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    (build.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    build.warm()

    assert build.artifact.read_bytes() == build.cold()


@pytest.mark.deep
def test_with_the_cache_on_another_file_system_the_bytes_are_the_same(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path("/dev/shm")
    if not os.access(str(other), os.W_OK) or other.stat().st_dev == build.folder.stat().st_dev:
        pytest.skip("no second file system that can be written")
    folder = other / f"deployable-zipfile-test-{os.getpid()}"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    try:
        build.warm()
        (build.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
        build.warm()
        build.warm()
        assert build.artifact.read_bytes() == build.cold()
    finally:
        shutil.rmtree(str(folder))


def nested_files(path: Path) -> List[List[str]]:
    """Return the files in each nested archive of the artifact *path*."""
    with Artifact.open(str(path)) as artifact:
        artifact.verify(1)
        assert not [name for name in artifact.members if name.startswith("site_one/")]
        return [sorted(artifact.payload_members(payload)[1]) for payload in artifact.manifest.payloads]


def test_a_large_project_in_which_nothing_changed_is_not_written_again(large: Build, deflated: List[str]) -> None:
    before = identity(large.artifact)
    portions = nested_files(large.artifact)
    large.warm()

    assert len(portions) > 2
    assert {len(portion) for portion in portions[:-1]} == {3}
    assert identity(large.artifact) == before
    assert deflated == []
    assert large.artifact.read_bytes() == large.cold()


def test_of_a_large_project_only_the_portion_of_a_changed_file_is_packed_again(
    large: Build, deflated: List[str]
) -> None:
    (large.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    large.warm()

    [portion] = [names for names in nested_files(large.artifact) if "site_one/module_3.py" in names]
    assert sorted(deflated) == [name for name in portion if name.endswith(".py")]
    assert large.artifact.read_bytes() == large.cold()


def test_with_another_lock_no_file_of_a_large_project_is_packed_again(
    large: Build, index: Index, deflated: List[str]
) -> None:
    before = large.artifact.read_bytes()
    large.lock(pinned(index.add("foo", "1.0")), pinned(index.add("bar", "2.0")))
    large.warm()

    assert deflated == []
    assert large.artifact.read_bytes() != before
    assert large.artifact.read_bytes() == large.cold()


@pytest.mark.parametrize("damage", sampled([_cut, _flipped, _gone], [_flipped]))
@pytest.mark.parametrize("part", sampled(["facts", "last", "payload"], ["payload"]))
def test_a_damaged_cache_gives_the_same_bytes_of_a_large_project(
    large: Build, part: str, damage: Callable[[Path], None]
) -> None:
    (large.site / "module_3.py").write_text("VALUE = 'new'\n", encoding="utf-8")
    large.warm()
    paths = [path for path in (large.folder / "cache" / "deployable-zipfile" / part).rglob("*") if path.is_file()]
    assert paths
    for path in paths:
        damage(path)
    changed = large.artifact.read_bytes()
    large.warm()

    assert large.artifact.read_bytes() == changed == large.cold()


def test_a_project_that_becomes_large_is_packed_anew(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = build.warm()
    monkeypatch.setattr(pack.Packer, "_is_too_much", lambda *_: True)
    other, _ = build.warm()

    assert len(nested_files(build.artifact)) == 1
    assert other["sha256"] != one["sha256"]
    assert build.artifact.read_bytes() == build.cold()


def test_the_members_of_an_archive_are_found_by_name_in_little_memory() -> None:
    names = [f"site/part_{number:05}.py" for number in range(20_000)]
    rows = [(name, 0o644, 8, number, 10, 20, 100 * number, f"{number:064}") for number, name in enumerate(names)]
    pieces = [marshal.dumps(rows[at : at + 250]) for at in range(0, len(rows), 250)]
    members = last.Members(pieces, names[::250], len(names))
    assert len(members) == len(list(members)) == len(names)
    tracemalloc.start()
    try:
        for row in rows:
            assert tuple(members[row[0]]) == row
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * len(names)
    for name in ("", "site/part_00000.p", "site/part_00249.pyc", "site/part_1", "zoo"):
        assert name not in members
    members.clear()
    assert names[0] not in members
    assert len(members) == len(list(members)) == 0


def remembered(folder: Path) -> cache.Memory:
    """Return the memory that is saved in *folder*."""
    return cache.Memory(str(folder / "memory"), str(folder))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[cache.Memory]:
    """Yield the memory that was saved in *folder*."""
    memory = remembered(folder)
    try:
        yield memory
    finally:
        memory.close()


class Told:
    """A stand-in for reading a file, which counts how often it is read."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"fact {self.times}"


def test_a_fact_is_remembered_for_as_long_as_the_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    settle()
    read = Told()
    for _ in range(2):
        memory = remembered(tmp_path)
        assert memory.about(str(path), identity(path), "kind", read) == "fact 1"
        memory.save()
    path.write_bytes(b"two")
    with opened(tmp_path) as memory:
        assert memory.about(str(path), identity(path), "kind", read) == "fact 2"


def _just_now(nanoseconds: int) -> cache.Identity:
    return 1, 2, 3, nanoseconds, nanoseconds


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        (1_000_000_000_123_456_789, False),  # fine times, a few milliseconds ago
        (1_000_000_000_000_000_000, False),  # whole seconds, one second ago
        (999_999_990_000_000_000, True),  # whole seconds, long ago
        (1_000_000_009_123_456_789, False),  # in the future
    ],
)
def test_a_file_that_changed_within_a_tick_of_being_read_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: int, known: bool
) -> None:
    now = 1_000_000_000_130_000_000 if changed % 1_000_000_000 else 1_000_000_001_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now)
    memory = remembered(tmp_path)
    memory.about("/file", _just_now(changed), "kind", lambda: "fact")

    assert (memory.known("/file", _just_now(changed), "kind") is not None) is known


def test_what_is_known_of_a_file_takes_little_memory_and_comes_back_as_it_was(tmp_path: Path) -> None:
    paths = [f"/srv/project/part_{n // 1000}/group_{n // 50 % 20}/file_{n}.txt" for n in range(5000)]
    memory = remembered(tmp_path)
    for n, path in enumerate(paths):
        memory.keep(path, (1, n, 3, 4, 5), "sha256", "0" * 64, 10**18)
        memory.keep(path, (1, n, 3, 4, 5), "beginning", {"mode": 0o644, "text": [n, None, "\udc80"]}, 10**18)
    memory.save()
    again = remembered(tmp_path)
    tracemalloc.start()
    try:
        assert again.known(paths[7], (1, 7, 3, 4, 5), "sha256") == "0" * 64
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 60 * len(paths)
    assert again.known(paths[7], (1, 7, 3, 4, 5), "beginning") == {"mode": 0o644, "text": [7, None, "\udc80"]}
    assert again.known(paths[7], (1, 8, 3, 4, 5), "sha256") is None  # of another file at the same path
    assert again.known(paths[7], (1, 7, 3, 4, 5), "other") is None
    again.keep(paths[7], (1, 8, 3, 4, 5), "other", 1, 10**18)
    assert again.known(paths[7], (1, 8, 3, 4, 5), "sha256") is None  # it went with the former file
    again.close()


def test_what_is_known_is_read_and_saved_in_parts(tmp_path: Path) -> None:
    count = 5000
    memory = remembered(tmp_path)
    for n in range(count):
        memory.keep(f"/srv/project/file_{n}.txt", (1, n, 3, 4, 5), "kind", f"{n:01000}", 10**18)
    tracemalloc.start()
    try:
        memory.save()
        _, saving = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        tracemalloc.start()
        with opened(tmp_path) as again:
            assert again.known("/srv/project/file_4999.txt", (1, 4999, 3, 4, 5), "kind") == f"{4999:01000}"
        _, reading = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "memory").stat().st_size > 1000 * count
    assert saving < 1000 * count * 0.7
    assert reading < 1000 * count * 0.7


@pytest.mark.parametrize("at", [0, 40, 70, 400_000, -1])
def test_a_damaged_memory_counts_as_missing(at: int, tmp_path: Path) -> None:
    memory = remembered(tmp_path)
    for n in range(3000):
        memory.keep(f"/srv/project/file_{n}.txt", (1, n, 3, 4, 5), "kind", f"{n:0200}", 10**18)
    memory.save()
    data = bytearray((tmp_path / "memory").read_bytes())
    data[at] ^= 1
    for text in (data, data[:at], b""):
        (tmp_path / "memory").write_bytes(text)
        with opened(tmp_path) as memory:
            assert memory.known("/srv/project/file_0.txt", (1, 0, 3, 4, 5), "kind") is None


def test_what_was_known_already_is_not_saved_again(tmp_path: Path) -> None:
    memory = remembered(tmp_path)
    memory.keep("/file", (1, 2, 3, 4, 5), "kind", "fact", 10**18)
    memory.save()
    before = (tmp_path / "memory").stat()
    memory = remembered(tmp_path)
    memory.keep("/file", (1, 2, 3, 4, 5), "kind", "fact", 10**18)
    memory.save()
    assert (tmp_path / "memory").stat().st_ino == before.st_ino
    memory.keep("/file", (1, 2, 3, 4, 5), "kind", "another", 10**18)
    memory.save()
    with opened(tmp_path) as memory:
        assert memory.known("/file", (1, 2, 3, 4, 5), "kind") == "another"


def test_what_no_build_used_for_two_months_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day, began = 24 * 3600, time.time()
    memory = remembered(tmp_path)
    for path in ("/used", "/unused"):
        memory.keep(path, (1, 2, 3, 4, 5), "kind", "fact", 10**18)
    memory.save()
    for days in (40, 80):
        monkeypatch.setattr(time, "time", lambda days=days: began + days * day)
        memory = remembered(tmp_path)
        assert memory.known("/used", (1, 2, 3, 4, 5), "kind") == "fact"
        memory.save()
    with opened(tmp_path) as memory:
        assert memory.known("/unused", (1, 2, 3, 4, 5), "kind") is None


def test_all_files_of_one_folder_are_known_in_little_memory(tmp_path: Path) -> None:
    count = 16_000
    with opened(tmp_path) as memory:
        for n in range(count):
            memory.keep(f"/srv/media/file_{n:05}.txt", (1, n, 3, 4, 5), "sha256", f"{n:064}", 10**18)
        memory.save()
    with opened(tmp_path) as memory:
        tracemalloc.start()
        try:
            for n in range(count):
                assert memory.known(f"/srv/media/file_{n:05}.txt", (1, n, 3, 4, 5), "sha256") == f"{n:064}"
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 250 * count


def test_what_is_found_out_about_very_many_files_does_not_stay_in_memory(tmp_path: Path) -> None:
    count = 20_000
    with opened(tmp_path) as memory:
        tracemalloc.start()
        try:
            for n in range(count):
                memory.keep(f"/srv/part_{n // 100}/file_{n}", (1, n, 3, 4, 5), "kind", f"{n:0200}", 10**18)
            memory.save()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "memory").stat().st_size > 200 * count
    assert peak < 150 * count
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]
    with opened(tmp_path) as memory:
        for n in range(count):
            assert memory.known(f"/srv/part_{n // 100}/file_{n}", (1, n, 3, 4, 5), "kind") == f"{n:0200}"


@pytest.mark.parametrize("room", [0, 100, 1_200_000])
def test_what_finds_no_room_on_the_disk_stays_in_memory(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    left = [room]

    def limited(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)
    with opened(tmp_path) as memory:
        for n in range(10_000):
            memory.keep(f"/srv/part_{n // 100}/file_{n}", (1, n, 3, 4, 5), "kind", f"{n:0200}", 10**18)
        for n in range(10_000):
            assert memory.known(f"/srv/part_{n // 100}/file_{n}", (1, n, 3, 4, 5), "kind") == f"{n:0200}"
    assert left == [0]


def test_a_memory_of_a_former_version_counts_as_missing(tmp_path: Path) -> None:
    former = {"/file": [[1, 2, 3, 4, 5], {"kind": "fact"}, int(time.time()) // (24 * 3600)]}
    cache._write_proven(str(tmp_path), str(tmp_path / "memory"), former)
    with opened(tmp_path) as memory:
        assert memory.known("/file", (1, 2, 3, 4, 5), "kind") is None
        assert memory.about("/file", (1, 2, 3, 4, 5), "kind", lambda: "fact") == "fact"


def test_a_folder_of_any_size_is_known_piece_by_piece(tmp_path: Path) -> None:
    chosen, known = random.Random(1), {}
    for _ in range(6):
        with opened(tmp_path) as memory:
            for n in chosen.sample(range(20_000), 3000):
                path = f"/srv/media/{'sub/' * (n % 7 == 0)}file_{n}.txt"
                known[path] = fact = chosen.randrange(10**6)
                memory.keep(path, (1, 2, 3, 4, 5), "kind", fact, 10**18)
            memory.save()
    with opened(tmp_path) as memory:
        for path, fact in known.items():
            assert memory.known(path, (1, 2, 3, 4, 5), "kind") == fact
    with opened(tmp_path) as memory:
        tracemalloc.start()
        try:
            assert memory.known("/srv/media/file_1.txt", (1, 2, 3, 4, 5), "other") is None
            _, size = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(known) > 10_000
    assert size < 250 * len(known)


def test_what_is_known_of_the_files_of_one_project_costs_no_other_one(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    with cache.Cache(folder, "/srv/large") as kept:
        for n in range(3000):
            kept.memory.keep(f"/srv/large/file_{n}", (1, 2, 3, 4, 5), "kind", "x" * 100, 10**18)
    tracemalloc.start()
    try:
        with cache.Cache(folder, "/srv/small") as kept:
            assert kept.memory.known("/srv/large/file_1", (1, 2, 3, 4, 5), "kind") is None
            kept.memory.keep("/srv/small/file", (1, 2, 3, 4, 5), "kind", "fact", 10**18)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100_000
    for project, path, fact in (("large", "file_2999", "x" * 100), ("small", "file", "fact")):
        with cache.Cache(folder, f"/srv/{project}") as kept:
            assert kept.memory.known(f"/srv/{project}/{path}", (1, 2, 3, 4, 5), "kind") == fact


def test_a_memory_that_another_build_saved_meanwhile_is_read_as_it_was(tmp_path: Path) -> None:
    for fact in ("first", "second, which is longer"):
        with opened(tmp_path) as memory:
            memory.keep("/srv/file", (1, 2, 3, 4, 5), "kind", fact, 10**18)
            memory.keep("/srv/sub/file", (1, 2, 3, 4, 5), "kind", fact, 10**18)
            memory.save()
        if fact == "first":
            before = remembered(tmp_path)
            assert before.known("/srv/file", (1, 2, 3, 4, 5), "kind") == "first"
    try:
        assert before.known("/srv/sub/file", (1, 2, 3, 4, 5), "kind") == "first"
        before.keep("/srv/sub/file", (1, 2, 3, 4, 5), "other", 7, 10**18)
        before.save()
    finally:
        before.close()
    with opened(tmp_path) as memory:
        assert memory.known("/srv/sub/file", (1, 2, 3, 4, 5), "other") == 7
        assert memory.known("/srv/file", (1, 2, 3, 4, 5), "kind") == "first"
