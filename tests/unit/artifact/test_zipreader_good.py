"""What a builder may write is read, and by other programs alike; a file cut or flipped anywhere is not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
import zipimport
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DeployableZipfileError
from tests.support.depth import EVERY_MUTATION, sampled
from tests.support.drafts import DEFLATED, Draft, Raw, demo_wheel, draft, zip_of
from tests.support.helpers import read_tree
from tests.support.hostile import INFO, Change, added, both, prove, raw_members, setting
from tests.support.machine import require_program

GOOD_CASES: List[Tuple[str, Callable[[], bytes]]] = []


def good(name: str, change: Change = lambda _: None, **options: Any) -> None:
    def content() -> bytes:
        made = draft(**options)
        change(made)
        return made.bytes()

    GOOD_CASES.append((name, content))


def _first_line(line: bytes) -> Change:
    def change(made: Draft) -> None:
        made.prefix, made.shebang = line + b"\n", line.decode()

    return change


good("plain")
good("first-line-python3", _first_line(b"#!/usr/bin/env python3"))
good("first-line-with-option", _first_line(b"#!/opt/rh/rh-python38/root/usr/bin/python3 -I"))
good("first-line-of-127-bytes", _first_line(b"#!/" + b"x" * 117 + b"/python"))
good("everything-stored", lambda made: [setattr(raw, "method", 0) for raw in made.members])
good("no-wheels", wheels=[])
good("empty-folders", setting("directories", ("shop/empty", "shop/a/b")))
good("deflate-level-flags", both(flags=0x0006))
good("older-needed-version", both(needed=10))
good("other-times", both(time=0x6000, date=0x5555))
good("empty-file-deflated", added(Raw("shop/empty", b"")))
good("empty-file-stored", added(Raw("shop/empty", b"", method=0)))
good("the-deepest-name", added(Raw("shop" + "/d" * 63)))
good("the-longest-part", added(Raw("shop/" + "x" * 255)))
good(
    "odd-names",
    lambda made: made.members.extend(
        Raw(f"shop/{name}") for name in ("a b", "a=b", "'\"`$&;", "日本語", "é", "-rf", "~", "...", "a..b", "%20")
    ),
)
good("large-stored-member", added(Raw("shop/large", bytes(range(256)) * 8192, method=0)))
good(
    "large-deflated-member",
    lambda made: made.members.append(
        Raw("shop/large", b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(80_000)))
    ),
)
good("large-member-of-zeros", added(Raw("shop/zeros", b"\0" * 5_000_000)))
good(
    "wheel-with-folders",
    wheels=[
        demo_wheel()._replace(
            content=zip_of([Raw("demo/", b"", 0o755, central={"external": 0o040755 << 16}), *raw_members()])
        )
    ],
)
good(
    "wheel-without-modes",
    wheels=[
        demo_wheel()._replace(
            content=zip_of([Raw(raw.name, raw.content, central={"external": 0, "system": 0}) for raw in raw_members()])
        )
    ],
)
good("wheel-with-sha512", wheels=[demo_wheel(record=lambda rows: rows)])
good("wheel-with-signature", wheels=[demo_wheel(unrecorded={f"{INFO}/RECORD.jws": "{}"})])


@pytest.mark.parametrize("content", [content for _, content in GOOD_CASES], ids=[name for name, _ in GOOD_CASES])
def test_what_an_honest_builder_may_write_is_taken(content: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(content())
    prove(path)


def _ours(path: Path) -> Dict[str, bytes]:
    with Artifact.open(str(path)) as artifact:
        return {name: artifact.container.read(entry) for name, entry in artifact.members.items()}


@pytest.mark.parametrize(
    "content", sampled([content for _, content in GOOD_CASES], 8), ids=[name for name, _ in GOOD_CASES]
)
def test_the_standard_library_reads_what_we_read(content: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(content())
    ours = _ours(path)
    with zipfile.ZipFile(str(path)) as archive:
        assert archive.namelist() == list(ours)
        assert {name: archive.read(name) for name in ours} == ours
    importer = zipimport.zipimporter(str(path))
    assert {name: importer.get_data(name) for name in ours} == ours


# Without -V, unzip takes a semicolon at the end of a name for a version number of VMS.
UNZIP = ["unzip", "-V", "-q", "-d", "{to}", "{file}"]
BSDTAR = ["bsdtar", "-C", "{to}", "-xf", "{file}"]


@pytest.mark.parametrize("command", sampled([UNZIP, BSDTAR], 1), ids=" ".join)
def test_other_programs_extract_what_we_read(command: List[str], tmp_path: Path) -> None:
    require_program(command[0], "libarchive-tools" if command is BSDTAR else "unzip", "REQUIRE_UNZIP")
    for number, (name, content) in enumerate(GOOD_CASES):
        path, to = tmp_path / f"{number}.zip", tmp_path / str(number)
        path.write_bytes(content())
        to.mkdir()
        words = [word.replace("{to}", str(to)).replace("{file}", str(path)) for word in command]
        subprocess.run(words, check=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        found = {file: data for file, (_, data) in read_tree(to).items() if data != b"/"}
        assert found == _ours(path), name


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = draft().bytes()
    path = tmp_path / "artifact.zip"
    for size in range(0, len(data), 1 if EVERY_MUTATION else 5):
        path.write_bytes(data[:size])
        with pytest.raises(DeployableZipfileError):
            prove(path)


def test_a_file_with_a_hole_or_a_tail_of_zeros_is_refused(tmp_path: Path) -> None:
    data = draft().bytes()
    path = tmp_path / "artifact.zip"
    for first in range(0, len(data), 61):
        hole = data[:first] + b"\0" * min(64, len(data) - first) + data[first + 64 :]
        for content in (data[:first] + b"\0" * (len(data) - first), hole):
            path.write_bytes(content)
            with pytest.raises(DeployableZipfileError):
                prove(path)


def test_any_flipped_bit_is_refused_but_the_padding_behind_a_compressed_stream(tmp_path: Path) -> None:
    """A deflate stream ends inside a byte; what its last bits are changes nothing that is read (RFC 1951, 3.2.3).

    The checksum beside the artifact covers them.
    """
    made = draft()
    data = made.bytes()
    path = tmp_path / "artifact.zip"
    padding = set()
    position = len(made.prefix)
    for raw in [*made.members, Raw(layout.MANIFEST, made.manifest.to_json())]:
        position += 30 + len(raw.name) + len(raw.packed)
        if raw.method == DEFLATED:
            padding.add(position - 1)
    for number in range(0, 8 * len(data), 1 if EVERY_MUTATION else 37):
        changed = bytearray(data)
        changed[number // 8] ^= 1 << number % 8
        path.write_bytes(bytes(changed))
        try:
            prove(path)
        except DeployableZipfileError:
            continue
        assert number // 8 in padding
