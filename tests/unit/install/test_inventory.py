"""The list of what was installed: what is known beforehand gives the same lines, and takes little memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Dict

import pytest

from deployable_zipfile import durable
from deployable_zipfile.artifact import layout
from deployable_zipfile.install import inventory
from tests.support.helpers import write_tree

FILES = {
    "site/a.txt": b"a",
    "site/Z.txt": b"Z",
    "site/deep/er/é b#.txt": b"not ASCII",
    "site/deep/\\.txt": b"backslash",
    "site/run.sh": b"#!/bin/sh\n",
    "other/one": b"one",
}


def known_of(files: Dict[str, bytes]) -> inventory.Known:
    known = inventory.Known()
    for path, data in files.items():
        known.note([(path, 0o755 if path.endswith(".sh") else 0o644)], hashlib.sha256(data).hexdigest())
    return known


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path, {**FILES, f"{layout.DEPLOY}/manifest.json": b"{}"})
    (tmp_path / "site/run.sh").chmod(0o755)
    (tmp_path / "site/link").symlink_to("a.txt")
    return tmp_path


@pytest.mark.parametrize("mixed", [(), ("site",), ("site/deep/er", "site")])
def test_what_is_known_gives_the_lines_that_looking_gives(mixed: "tuple[str, ...]", tree: Path) -> None:
    looked = list(inventory.lines(str(tree)))
    if "site" not in mixed:
        (tree / "site/link").unlink()  # nobody noted it
        looked = [line for line in looked if not line.startswith(b"./site/link ")]
    known = known_of(FILES)
    known.folders.update({"site", "site/deep", "site/deep/er", "other"})
    known.mixed.update(mixed)
    assert list(inventory.lines(str(tree), known)) == looked
    assert len(looked) == len(set(looked)) == 13 + ("site" in mixed)


def test_files_that_are_known_are_not_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(durable, "digest", lambda path: read.append(Path(path).name) or "0" * 64)
    list(inventory.lines(str(tree), known_of(FILES)))
    assert read == ["manifest.json"]


def test_the_list_is_written_without_itself(tree: Path) -> None:
    sha256 = inventory.write(str(tree))
    text = (tree / layout.FILES).read_bytes()
    assert hashlib.sha256(text).hexdigest() == sha256
    assert layout.FILES.encode() not in text
    assert b"".join(inventory.lines(str(tree))) == text


@pytest.mark.parametrize("in_one_folder", [True, False])
def test_what_is_known_of_a_file_takes_few_bytes(in_one_folder: bool) -> None:
    count, digest = 20_000, "0" * 64
    paths = [f"site/file_{n}.txt" if in_one_folder else f"site/f{n // 50}/file_{n}.txt" for n in range(count)]
    known = inventory.Known()
    tracemalloc.start()
    try:
        for path in paths:
            known.note([(path, 0o644)], digest)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100 * count
