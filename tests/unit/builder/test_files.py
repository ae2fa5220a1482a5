from __future__ import annotations

import tracemalloc
from typing import Iterator, List

import pytest

from deployable_zipfile.builder import source
from deployable_zipfile.builder.files import ByPath, File, Files, Place

SITE, STATIC = Place("/srv/site_one", "site_one"), Place("/srv/assets", "static.in/0")
IDENTITY = (2049, 2**63 + 5, 800, -1, 2**70)  # inodes have 64 bits, times may lie before 1970 or far ahead


def of(place: Place, count: int) -> Iterator[File]:
    for number in range(count):
        yield File(
            f"{place.prefix}/part_{number // 1000}/é{number:05}.txt", 0o644, place, (1, number, 800, 10**18, number)
        )


def test_files_come_back_as_they_were() -> None:
    given = [
        File("site_one/manage.py", 0o755, SITE, IDENTITY),
        File("site_one/z/link", 0o644, SITE, IDENTITY, "/srv/site_one/manage.py"),
        File("static.in/0/a", 0o644, STATIC, IDENTITY),
    ]
    files = Files(given)
    assert list(files) == given
    assert list(files) == given  # and once more
    assert [file.path for file in files] == ["/srv/site_one/manage.py", "/srv/site_one/manage.py", "/srv/assets/a"]
    assert list(files.names) == [file.name for file in given]
    assert given[1] in files
    assert "site_one/z/link" in files.names
    assert "site_one/z" not in files.names
    assert not Files()


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 1), (3, 600), (255, 257), (256, 512), (690, 2000), (5, 3)])
def test_a_slice_has_the_files_of_a_list(first: int, last: int) -> None:
    given = [*of(SITE, 600), *of(STATIC, 100)]
    part = Files(given)[first:last]
    assert list(part) == given[first:last]
    assert len(part) == len(given[first:last])


def test_one_file_is_found_by_its_number() -> None:
    files = Files(of(SITE, 300))
    assert [files[0], files[299], files[-1]] == [*list(files)[:1], *list(files)[299:], *list(files)[299:]]
    with pytest.raises(IndexError):
        files[300]


def test_joined_files_are_those_of_all_parts() -> None:
    parts = [Files(of(SITE, 300)), Files(), Files(of(STATIC, 2))]
    assert list(Files.joined(parts)) == [*of(SITE, 300), *of(STATIC, 2)]
    assert len(Files.joined(parts)) == 302


def test_files_are_found_by_their_path() -> None:
    files = Files(of(SITE, 700))
    by_path = ByPath(files)
    expected = {file.name[len("site_one/") :]: file for file in files}
    assert dict(by_path) == expected
    assert list(by_path) == list(expected)
    assert "part_0/é00256.txt" in by_path
    for missing in ("", "part_0", "part_0/é00256", "zzz"):
        assert missing not in by_path
        assert by_path.get(missing) is None
    assert "a" not in ByPath(Files())


def test_many_files_take_little_memory() -> None:
    tracemalloc.start()
    try:
        files = Files(of(SITE, 20_000))
        size, peak = tracemalloc.get_traced_memory()
        names: List[str] = [file.name for file in files if file.mode == 0o755]
        again = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < 150 * len(files)
    assert max(peak, again) < size + 500_000
    assert names == []


def test_names_are_checked_without_the_files() -> None:
    files = Files(of(SITE, 20_000))
    tracemalloc.start()
    try:
        source.check_together(files)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 250 * len(files)
