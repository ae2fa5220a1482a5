"""The room that an installation takes is known before it: a disk is refused when it is too small, and only then."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import pytest

from deployable_zipfile import install_wheels
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DestinationError
from deployable_zipfile.install import host, installation, preflight, space
from deployable_zipfile.install.plan import OpenedWheel
from deployable_zipfile.install.space import Need, Room
from tests.support.artifacts import Content, make_artifact, make_target, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel
from tests.support.machine import mounted

MEGABYTE = 10**6


def modules(count: int) -> Dict[str, Any]:
    """Return modules of some hundred lines, which compress well."""
    return {f"beta/part{number % 7}/m{number}.py": f"VALUE = {number}\n" * 300 for number in range(count)}


def large_site(folder: Path, **options: Any) -> Path:
    """Write an artifact of many small files, some large ones and folders."""
    folder.mkdir(exist_ok=True)
    data: Dict[str, Any] = {f"alpha/static/{number}.css": "a { color: red }\n" * 2000 for number in range(40)}
    wheels = [
        simple_wheel(folder),
        make_wheel(folder, "beta", "1.0", {"beta/__init__.py": "", **modules(150)}),
        make_wheel(folder, "gamma", "1.0", {**data, "alpha/tiny.py": "", "gamma-1.0.data/scripts/run": "#!python\n"}),
    ]
    files: Dict[str, Content] = {"__init__.py": "", "data/photo.bin": os.urandom(MEGABYTE)}
    files.update({f"templates/{number}/index.html": "<p>\n" * 400 for number in range(60)})
    return make_artifact(folder / "site.zip", files, wheels, **options)


def room(path: Path) -> Room:
    with Artifact.open(str(path)) as artifact:
        target = host.select_target(artifact.manifest)
        return Need(artifact).room(target, host.bytecode_fits(target), 4096)


def install(path: Path, destination: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(destination), workers=1, sync=False)


def taken(tree: Path) -> Room:
    """Return what is in *tree*, every file and folder in blocks of 4096 bytes."""
    size = count = 0
    for folder, _, names in os.walk(str(tree)):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            found = os.lstat(path)
            size += 0 if os.path.islink(path) else max(-(-found.st_size // 4096), 1 if path == folder else 0) * 4096
            count += 1
    return Room(size, count)


def test_wheels_are_counted_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: List[int] = []
    wheels: "List[weakref.ref[Wheel]]" = []

    def counted(*arguments: Any) -> OpenedWheel:
        alive.append(sum(wheel() is not None for wheel in wheels))
        found = install_wheels.open_wheel(*arguments)
        wheels.append(weakref.ref(found.wheel))
        return found

    monkeypatch.setattr(space, "open_wheel", counted)
    room(large_site(tmp_path / "made"))
    assert alive == [0, 0, 0]


@pytest.mark.parametrize(
    "options", sampled([{}, {"payload": True}, {"bytecode": False}, {"bytecode": False, "payload": True}], 1)
)
def test_the_room_is_known_within_a_tenth(options: Dict[str, Any], tmp_path: Path) -> None:
    path = large_site(tmp_path / "made", **options)
    install(path, tmp_path / "dest")
    wanted, found = room(path), taken(tmp_path / "dest")
    assert found.size <= wanted.size <= 1.1 * found.size
    assert found.inodes <= wanted.inodes <= 1.1 * found.inodes


def test_wheels_that_are_hardly_packed_count_once(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "delta", "1.0", {"delta/model.bin": os.urandom(5 * MEGABYTE)})
    path = make_artifact(tmp_path / "site.zip", wheels=[wheel])
    assert 5 * MEGABYTE < room(path).size < 5 * MEGABYTE + 1.3 * room(make_artifact(tmp_path / "empty.zip")).size


def disk(monkeypatch: pytest.MonkeyPatch, **changes: int) -> None:
    real = os.statvfs("/")
    fields = ("f_bavail", "f_blocks", "f_frsize", "f_files", "f_favail")
    volume = SimpleNamespace(**{"f_flag": 0, **{name: getattr(real, name) for name in fields}, **changes})
    monkeypatch.setattr(os, "statvfs", lambda _: volume)


def problems(path: Path, destination: Path) -> List[str]:
    with Artifact.open(str(path)) as artifact:
        return [str(one) for one in preflight.problems(artifact.manifest, str(destination), need=Need(artifact))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_site(tmp_path_factory.mktemp("made"))


def test_a_full_disk_is_named_with_both_numbers(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = room(site)
    disk(monkeypatch, f_bavail=needed.size // 4096, f_frsize=4096)
    (line,) = problems(site, tmp_path / "dest")
    shown = f"{needed.size / 1e6:.1f} MB"
    assert line == f"{tmp_path}/dest: needs {shown} of space, {shown} are free. Free space there."
    disk(monkeypatch, f_bavail=needed.size // 4096 + 1, f_frsize=4096)
    assert problems(site, tmp_path / "dest") == []


def test_missing_inodes_are_named(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = room(site)
    disk(monkeypatch, f_files=10**6, f_favail=needed.inodes - 1)
    (line,) = problems(site, tmp_path / "dest")
    free = needed.inodes - 1
    assert line == f"{tmp_path}/dest: needs {needed.inodes} inodes, {free} are free. Free inodes there."
    disk(monkeypatch, f_files=10**6, f_favail=needed.inodes)
    assert problems(site, tmp_path / "dest") == []


@pytest.mark.parametrize("volume", [{"f_files": 0, "f_favail": 0}, {"f_blocks": 0, "f_bavail": 0}])
def test_a_file_system_that_does_not_tell_has_enough(
    volume: Dict[str, int], site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, **volume)  # tmpfs with size=0; btrfs has no inodes to run out of
    assert problems(site, tmp_path / "dest") == []


def test_where_there_is_plenty_nothing_is_counted(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: List[Tuple[object, ...]] = []
    monkeypatch.setattr(Need, "room", lambda *words: counted.append(words) or Room(0, 0))
    disk(monkeypatch, f_bavail=10**9)
    assert problems(site, tmp_path / "dest") == []
    assert counted == []


def test_another_python_is_told_and_no_room_is_counted_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_artifact(tmp_path / "site.zip", targets=[make_target(python="3.7")])
    disk(monkeypatch, f_bavail=0)
    assert [line.split(":")[0] for line in problems(path, tmp_path / "dest")] == ["this Python"]


def test_a_disk_that_just_suffices_is_taken_and_a_smaller_one_refused(site: Path, tmp_path: Path) -> None:
    point = tmp_path / "disk"
    point.mkdir()
    needed = room(site)
    sizes = {"": needed.size + 65536, "refused": needed.size * 9 // 10}
    for outcome, size in sizes.items():
        with mounted(point, "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs"):
            if not outcome:
                install(site, point / "dest")
                assert (point / "dest" / ".deploy" / "installed.json").exists()
                continue
            with pytest.raises(DestinationError, match=r"dest: needs \d+\.\d MB of space, \d+\.\d MB are free"):
                install(site, point / "dest")
            assert os.listdir(str(point)) == []


def test_a_disk_that_fills_up_meanwhile_is_one_line_and_nothing_stays(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = tmp_path / "disk"
    point.mkdir()
    monkeypatch.setattr(Need, "surely_fits", lambda *_: True)
    needed = room(site)
    for share in (3, 5, 7):
        with mounted(point, "-t", "tmpfs", "-o", f"size={needed.size * share // 10},mode=0755", "tmpfs"):
            with pytest.raises(DestinationError, match=r"\(No space left on device\)"):
                install(site, point / "dest")
            assert os.listdir(str(point)) == []
