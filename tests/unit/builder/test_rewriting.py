"""Wheels are written again in one form, or with a RECORD that fits."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from deployable_zipfile.builder import rewriting
from deployable_zipfile.errors import WheelError
from tests.support.helpers import File, make_wheel
from tests.support.wheels import proven


def test_two_builds_of_one_sdist_are_repacked_to_one_file(tmp_path: Path) -> None:
    files: Dict[str, File] = {"x/__init__.py": "", "x/tool": ("#!/bin/sh", 0o775), "x/a.py": "a = 1\n"}
    first = make_wheel(tmp_path / "1", "x", "1", files)
    second = make_wheel(tmp_path / "2", "x", "1", dict(reversed(list(files.items()))), compression=zipfile.ZIP_STORED)
    assert first.read_bytes() != second.read_bytes()
    for path in (first, second):
        rewriting.repack(str(path), str(path) + ".new")
    assert Path(f"{first}.new").read_bytes() == Path(f"{second}.new").read_bytes()
    Path(f"{first}.new").replace(first)
    assert proven(first).version == "1"
    with zipfile.ZipFile(str(first)) as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
    assert (modes["x/tool"], modes["x/a.py"]) == (0o755, 0o644)


def test_what_is_no_zip_cannot_be_repacked(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"x")
    with pytest.raises(WheelError, match=r"x-1-py3-none-any.whl: cannot be read"):
        rewriting.repack(str(tmp_path / "x-1-py3-none-any.whl"), str(tmp_path / "new"))


Bend = Callable[[Path], Path]
BROKEN: Dict[str, Bend] = {
    "unlisted": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, unrecorded={"y.py": ""}),
    "missing": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, record=lambda rows: [*rows, ("y", "", "")]),
    "no-digest": lambda folder: make_wheel(
        folder, "x", "1", {"x.py": ""}, record=lambda rows: [(name, "", size) for name, _, size in rows]
    ),
    "wrong-size": lambda folder: make_wheel(
        folder, "x", "1", {"x.py": ""}, record=lambda rows: [(name, digest, "9") for name, digest, _ in rows]
    ),
    "no-record": lambda folder: make_wheel(folder, "x", "1", {"x.py": ""}, record=False),
    "dotted-member": lambda folder: make_wheel(folder, "x", "1", {"x.py": "", "./y.py": ""}),
    "a-link": lambda folder: make_wheel(folder, "x", "1", {"x.py": ("y", stat.S_IFLNK | 0o777)}),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_wheel_can_be_mended(case: str, tmp_path: Path) -> None:
    path = BROKEN[case](tmp_path)
    with pytest.raises(WheelError, match=r"Lock another version"):
        proven(path)
    mended = tmp_path / "mended" / path.name
    mended.parent.mkdir()
    assert rewriting.mend(str(path), str(mended))
    wheel = proven(mended)
    assert (wheel.name, wheel.version) == ("x", "1")


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": "Name: other\nVersion: 1\n"},
        {"data": {"evil/x": ""}},
        {"unrecorded": {"../x": ""}},
        {"entry_points": "[console_scripts]\n../x = a:b\n"},
    ],
)
def test_what_no_new_record_makes_sound_is_not_mended(options: Dict[str, Any], tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "x", "1", {"x.py": ""}, **options)
    mended = tmp_path / "mended" / path.name
    mended.parent.mkdir()
    assert rewriting.mend(str(path), str(mended))
    with pytest.raises(WheelError):
        proven(mended)


def test_what_is_no_zip_cannot_be_mended(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, "x", "1", {"x.py": ""})
    path.write_bytes(path.read_bytes()[:-30])
    assert not rewriting.mend(str(path), str(tmp_path / "mended.whl"))
    assert not (tmp_path / "mended.whl").exists()
