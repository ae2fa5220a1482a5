"""The list of what was installed: what is known beforehand gives the same lines, and takes little memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Dict, List, Optional

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
        mode = 0o755 if path.endswith(".sh") else 0o644
        known.note(inventory.notes_of([(path, mode)], [hashlib.sha256(data).hexdigest()]))
    return known


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path, {**FILES, f"{layout.DEPLOY}/manifest.json": b"{}"})
    (tmp_path / "site/run.sh").chmod(0o755)
    (tmp_path / "site/link").symlink_to("a.txt")
    return tmp_path


def lines_of(tree: Path, known: Optional[inventory.Known] = None) -> List[bytes]:
    return b"".join(inventory.lines(str(tree), known)).splitlines()


@pytest.mark.parametrize("mixed", [(), ("site",), ("site/deep/er", "site")])
def test_what_is_known_gives_the_lines_that_looking_gives(mixed: "tuple[str, ...]", tree: Path) -> None:
    looked = lines_of(tree)
    if "site" not in mixed:
        (tree / "site/link").unlink()  # nobody noted it
        looked = [line for line in looked if not line.startswith(b"./site/link ")]
    known = known_of(FILES)
    known.add({"site", "site/deep", "site/deep/er", "other"})
    known.mixed.update(mixed)
    assert lines_of(tree, known) == looked
    assert len(looked) == len(set(looked)) == 14 + ("site" in mixed)


def test_modes_are_those_that_the_file_system_made(tree: Path) -> None:
    (tree / "site/link").unlink()
    (tree / "site/run.sh").chmod(0o710)  # as the default ACL of a folder above would make it
    known = known_of(FILES)
    known.add({"site", "site/deep", "site/deep/er", "other"})
    assert lines_of(tree, known) == lines_of(tree)
    assert b"./site/run.sh type=file mode=0710 " in b"".join(inventory.lines(str(tree), known_of(FILES)))


def test_a_linked_file_keeps_its_mode_where_the_file_system_makes_others(tree: Path) -> None:
    (tree / "site/link").unlink()
    (tree / "site/a.txt").chmod(0o644)
    for path in ("site/Z.txt", "site/deep/er/é b#.txt", "site/deep/\\.txt", "other/one"):
        (tree / path).chmod(0o664)  # as the default ACL of a folder above would make them
    known = inventory.Known()
    for path, data in FILES.items():
        mode = {"site/run.sh": 0o755, "site/a.txt": 0o644 | inventory.LINKED}.get(path, 0o644)
        known.note(inventory.notes_of([(path, mode)], [hashlib.sha256(data).hexdigest()]))
    known.add({"site", "site/deep", "site/deep/er", "other"})
    assert lines_of(tree, known) == lines_of(tree)


def test_names_that_begin_with_each_other_are_in_one_order(tmp_path: Path) -> None:
    files = {f"site/{name}": b"x" for name in ("a", "a!", "a b", "a.b", "a~", "a0", "á", "a\n", "a#")}
    write_tree(tmp_path, {**files, "site/a-b/c": b"x"})
    known = known_of({**files, "site/a-b/c": b"x"})
    known.add({"site", "site/a-b"})
    assert lines_of(tmp_path, known) == lines_of(tmp_path)
    assert len(lines_of(tmp_path, known_of(files))) == len(files) + 5


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
            known.note(inventory.notes_of([(path, 0o644)], [digest]))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 100 * count


def test_a_list_is_read_as_it_was_written(tree: Path) -> None:
    found = inventory.read(str(tree), inventory.write(str(tree)))
    entries = dict(found.entries())
    files = {path for path, entry in entries.items() if entry.kind == "file"}
    assert files == {*FILES, f"{layout.DEPLOY}/manifest.json"}
    assert {entry.kind for entry in entries.values()} == {"file", "dir", "link"}
    assert found.count == len(FILES) + 2
    assert entries["site/link"].detail == "a.txt"
    assert (entries["site/run.sh"].mode, entries["site/deep"].kind) == (0o755, "dir")
    for path, data in FILES.items():
        assert entries[path].detail == hashlib.sha256(data).hexdigest()
        assert found.entry(path) == entries[path]
    assert set(found.folders) == {"", "site", "site/deep", "site/deep/er", "other", layout.DEPLOY}
    assert set(found.entries_of("site/deep")) == {"site/deep/er", "site/deep/\\.txt"}
    assert found.entry("site/none") is None
    assert found.entry("none/at/all") is None


HEAD = b"#mtree v2.0\n/set uid=1 gid=2\n"


def test_lines_in_another_order_and_form_are_read_too() -> None:
    digest = b"0" * 64
    lines = [
        b"./b/x type=file mode=0644 sha256digest=" + digest,
        b"./a type=dir mode=0755",
        b"./b type=dir mode=0755",
        b"./b/y sha256digest=" + digest + b" mode=0755 type=file",
        b"./a/l type=link mode=0777 link=\\056\\056/b",
    ]
    found = inventory.Inventory(HEAD + b"\n".join(lines))
    assert (found.uid, found.gid, found.count) == (1, 2, 3)
    assert set(found.entries_of("b")) == {"b/x", "b/y"}
    assert found.entry("b/y") == inventory.Entry("file", 0o755, digest.decode())
    assert found.entry("a/l") == inventory.Entry("link", 0o777, "../b")
    assert len(list(found.entries())) == len(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"./a type=file mode=zz sha256digest=0\n", "invalid literal"),
        (b"./a\n", "invalid literal"),
        (b"./a type=\xff mode=0644\n", "codec"),
        (b"./" + b"a" * inventory.MAX_LINE + b" type=dir mode=0755\n", "a line of more than"),
        (b"\n" * inventory.MAX_LINES, "lines"),
    ],
)
def test_a_list_of_another_form_is_refused_when_it_is_read(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        inventory.Inventory(HEAD + text)


def test_a_list_that_was_read_takes_hardly_more_than_its_text() -> None:
    line = b"./site/f%d/file_%d.txt type=file mode=0644 sha256digest=" + b"0" * 64 + b"\n"
    text = HEAD + b"".join(line % (n // 50, n) for n in range(20_000))
    tracemalloc.start()
    try:
        found = inventory.Inventory(text)
        assert sum(1 for _ in found.entries()) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(text) / 4
