from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import IO, Iterator, List, Sequence

import pytest

from deployable_zipfile.artifact import container, headers, layout, manifests
from deployable_zipfile.builder import contents, zipwriter
from deployable_zipfile.builder.contents import FileContent, Item
from deployable_zipfile.builder.zipwriter import Archive
from deployable_zipfile.errors import BuildInputError
from tests.support.machine import require_program

ORDINARY = [Item("__main__.py", b"x" * 1000), Item("é", b"y")]


def written(path: Path, items: Sequence[Item], first_line: str = "", workers: int = 1) -> container.Container:
    with Archive(str(path), first_line, workers) as target:
        target.add(items)
    descriptor = os.open(str(path), os.O_RDONLY)
    return container.Container(descriptor, 0, path.stat().st_size, path.name, bool(first_line))


def of_file(path: Path, content: bytes, **options: int) -> FileContent:
    path.write_bytes(content)
    return FileContent(str(path), len(content), **options)


def test_what_is_written_obeys_the_containers_rules_and_reads_back(tmp_path: Path) -> None:
    contents = {
        "__main__.py": b"print(1)\n" * 100,
        "shop/ü 日本=1.txt": b"text",
        "shop/empty": b"",
        "shop/random": os.urandom(3000),
    }
    items = [Item(name, content, 0o755 if name == "__main__.py" else 0o644) for name, content in contents.items()]
    read = written(tmp_path / "a.zip", items, "#!/usr/bin/env python")
    assert {name: read.read(entry) for name, entry in read.entries.items()} == contents
    assert [entry.mode for entry in read.entries.values()] == [0o755, 0o644, 0o644, 0o644]
    methods = [entry.method for entry in read.entries.values()]
    assert methods == [headers.DEFLATED, headers.STORED, headers.STORED, headers.STORED]


def test_unzip_finds_nothing_to_remark(tmp_path: Path) -> None:
    require_program("unzip", "unzip", "REQUIRE_UNZIP")
    written(tmp_path / "a.zip", ORDINARY, "#!/usr/bin/env python")
    done = subprocess.run(["unzip", "-t", str(tmp_path / "a.zip")], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 0
    assert b"extra bytes" not in done.stdout


def test_the_standard_library_finds_nothing_to_remark(tmp_path: Path) -> None:
    written(tmp_path / "a.zip", ORDINARY, "#!/usr/bin/env python")
    with zipfile.ZipFile(str(tmp_path / "a.zip")) as standard:
        assert standard.namelist() == ["__main__.py", "é"]
        assert standard.testzip() is None
        assert standard.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_large_files_are_deflated_in_blocks_and_wheels_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipwriter, "_LARGE", 1000)
    text, noise = b"line of text\n" * 5000, os.urandom(9000)
    digest = hashlib.sha256(noise).hexdigest()
    items = [
        Item("text", of_file(tmp_path / "text", text)),
        Item("noise", of_file(tmp_path / "noise", noise)),
        Item("wheel", of_file(tmp_path / "wheel", noise), stored=True, sha256=digest, crc=zlib.crc32(noise)),
        Item("part", FileContent(str(tmp_path / "text"), 26, 13), stored=True),
        Item("small", b"after the copies"),
    ]
    read = written(tmp_path / "a.zip", items)
    assert [read.read(entry) for entry in read.entries.values()] == [
        text,
        noise,
        noise,
        text[13:39],
        b"after the copies",
    ]
    assert [entry.method for entry in read.entries.values()][:3] == [8, 0, 0]


def test_the_members_are_listed_as_the_manifest_needs_them(tmp_path: Path) -> None:
    with Archive(str(tmp_path / "a.zip")) as target:
        target.add([Item("x", b"abc", 0o755)])
    assert target.members == {"x": manifests.Member(3, 0o755, hashlib.sha256(b"abc").hexdigest())}


def test_what_readers_take_for_a_bomb_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (headers, container):
        monkeypatch.setattr(module, "RATIO_FROM", 100_000)
    items = [Item("zeros", bytes(100_001)), Item("fewer", bytes(100_000))]
    read = written(tmp_path / "a.zip", items)
    assert [entry.method for entry in read.entries.values()] == [headers.STORED, headers.DEFLATED]


def test_the_same_members_give_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    items: List[Item] = []
    for number in range(60):
        path = tmp_path / f"{number}.txt"
        items.append(Item(path.name, of_file(path, b"%d line\n" % number * 20_000)))
    written(tmp_path / "one.zip", items, workers=1)
    written(tmp_path / "three.zip", items, workers=3)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "three.zip").read_bytes()


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    seen: List[int] = []
    with Archive(str(tmp_path / "a.zip"), workers=1, progress=seen.append) as target:
        target.add([Item("a", b"x" * 10), Item("b", of_file(tmp_path / "b", b"y" * 20), stored=True, sha256="0" * 64)])
    assert sum(seen) == 30


@pytest.mark.parametrize("change", ["grown", "shrunk", "replaced", "gone", "fifo", "link"])
@pytest.mark.parametrize("large", [False, True])
def test_a_file_that_is_not_the_chosen_one_any_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, large: bool
) -> None:
    if large:
        monkeypatch.setattr(zipwriter, "_LARGE", 10)
    path = tmp_path / "page.html"
    content = of_file(path, b"x" * 1000)
    content = content._replace(inode=path.stat().st_ino)
    if change == "grown":
        path.write_bytes(b"x" * 1001)
    elif change == "shrunk":
        path.write_bytes(b"x" * 999)
    else:
        path.rename(tmp_path / "other.html")
        if change == "replaced":
            path.write_bytes(b"x" * 1000)
        elif change == "fifo":
            os.mkfifo(str(path))
        elif change == "link":
            path.symlink_to(tmp_path / "other.html")
    with pytest.raises(BuildInputError) as caught:
        written(tmp_path / "a.zip", [Item("page.html", content)])
    assert str(caught.value).startswith(f"{path}: ")
    assert "Build again" in str(caught.value)


def test_a_large_file_that_changes_between_its_two_readings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipwriter, "_LARGE", 10)
    path = tmp_path / "page.html"
    content = of_file(path, b"x" * 1000)
    measured = contents.measured

    def slow(content: FileContent) -> object:
        result = measured(content)
        path.write_bytes(b"y" * 1000)
        return result

    monkeypatch.setattr(contents, "measured", slow)
    with pytest.raises(BuildInputError, match="changed while it was being packed"):
        written(tmp_path / "a.zip", [Item("page.html", content)])


def test_a_new_date_alone_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    content = of_file(path, b"x")._replace(inode=path.stat().st_ino if path.exists() else 0)
    os.utime(str(path), (0, 0))
    assert written(tmp_path / "a.zip", [Item("page.html", content)]).entries


def test_more_members_than_a_zip_can_start_with_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_MEMBERS", 2)
    with pytest.raises(BuildInputError, match=r"would hold more than 2 files. Pack fewer files"):
        written(tmp_path / "a.zip", [Item(name, b"") for name in "abc"])


def test_four_gigabytes_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_SIZE", 3000)
    with pytest.raises(BuildInputError, match="b: makes the artifact reach 4 GiB"):
        written(tmp_path / "a.zip", [Item(name, os.urandom(2000)) for name in "ab"])


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildInputError, match="x: would be in the artifact twice"):
        written(tmp_path / "a.zip", [Item("x", b""), Item("x", b"")])


def test_very_many_members_are_copied_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [contents.of_bytes(f"m{number}", b"text") for number in range(1000)]
    with Archive(str(tmp_path / "former.zip")) as former:
        former.add(items)
    sizes: List[int] = []
    copy = Archive._copy_former

    def watched(self: Archive, batch: zipwriter._Batch) -> None:
        sizes.append(len(batch.items))
        copy(self, batch)

    monkeypatch.setattr(Archive, "_copy_former", watched)
    with (tmp_path / "former.zip").open("rb") as file:
        formers = [zipwriter.Former(file.fileno(), {one.name: one for one in former.written})]
        with Archive(str(tmp_path / "again.zip"), formers=formers) as target:
            target.add(items)
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "former.zip").read_bytes()
    assert sizes == [256, 256, 256, 232]


def test_members_are_copied_from_every_former_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {f"m{number}": f"line {number} of the text\n".encode() * 200 for number in range(6)}
    items = [contents.of_bytes(name, text) for name, text in texts.items()]
    fresh = tmp_path / "fresh.zip"
    with Archive(str(fresh)) as target:
        target.add(items)
    formers: List[zipwriter.Former] = []
    files: List[IO[bytes]] = []
    for chosen in (items[3:5], items[:1] + items[2:4]):
        path = tmp_path / f"{len(files)}.zip"
        with Archive(str(path)) as former:
            former.add(chosen)
        files.append(path.open("rb"))
        formers.append(zipwriter.Former(files[-1].fileno(), {one.name: one for one in former.written}))
    deflated: List[str] = []
    pack = contents.packed

    def watched(some: List[Item]) -> Iterator[contents.Packed]:
        deflated.extend(item.name for item in some)
        return pack(some)

    monkeypatch.setattr(contents, "packed", watched)
    again = tmp_path / "again.zip"
    with Archive(str(again), formers=formers, workers=1) as target:
        target.add(items)
    for file in files:
        file.close()
    assert deflated == ["m1", "m5"]
    assert again.read_bytes() == fresh.read_bytes()


def test_items_are_made_when_it_is_their_turn(tmp_path: Path) -> None:
    count, before = 20_000, []

    def items() -> Iterator[Item]:
        for number in range(count):
            before.append(number - len(archive.members))
            yield Item(str(number), b"x" * 100)

    with Archive(str(tmp_path / "a.zip"), workers=1) as archive:
        archive.add(items())
    assert len(archive.members) == count
    assert max(before) < count / 2


def test_what_was_written_is_told_with_its_place(tmp_path: Path) -> None:
    items = [Item("a", b"x" * 1000, 0o755), Item("é", os.urandom(70_000), stored=True), Item("z" * 300, b"")]
    with Archive(str(tmp_path / "a.zip"), "#!python", 1) as archive:
        archive.add(items[:2])
        first = archive.written
        archive.add(items[2:])
    assert archive.written[:2] == first
    with zipfile.ZipFile(str(tmp_path / "a.zip")) as standard:
        expected = [
            (one.filename, one.compress_type, one.CRC, one.compress_size, one.file_size, one.header_offset)
            for one in standard.infolist()
        ]
    found = [(one.name, one.method, one.crc, one.compressed, one.size, one.offset) for one in archive.written]
    assert found == expected
    digests = [hashlib.sha256(item.content).hexdigest() for item in items if isinstance(item.content, bytes)]
    assert [one.sha256 for one in archive.written] == digests
    assert [one.mode for one in archive.written] == [0o755, 0o644, 0o644]
