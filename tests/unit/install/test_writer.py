"""Many files into a new tree: every byte and mode, by however many processes."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import marshal
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from deployable_zipfile.artifact.container import Container
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.artifact.window import WHOLE
from deployable_zipfile.errors import ArtifactError, WheelError
from deployable_zipfile.install import writer
from deployable_zipfile.install.inventory import Notes
from deployable_zipfile.install.listed import CHUNK_BYTES, CHUNK_FILES
from deployable_zipfile.install.writer import Job
from tests.support.artifacts import container
from tests.support.helpers import make_wheel, read_tree, run_python
from tests.support.processes import children

CONTENT = {f"p{number % 7}/q/f{number}.txt": b"%d " % number * number for number in range(300)}
SIZES = [0, 1, 1000, 100_000, WHOLE - 1000, WHOLE, WHOLE + 1, 3 * WHOLE]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def zipped(tmp_path: Path) -> Iterator[Container]:
    path = tmp_path / "one.zip"
    path.write_bytes(container(dict(CONTENT), {"p1/q/f1.txt": 0o755}))
    descriptor = os.open(str(path), os.O_RDONLY)
    yield Container(descriptor, 0, path.stat().st_size, "one.zip")
    os.close(descriptor)


def jobs_of(zipped: Container, compile_to: str = "") -> List[Job]:
    return [
        Job(name, zipped, entry, entry.mode, "", compile_to and f"{compile_to}/{name}")
        for name, entry in zipped.entries.items()
    ]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_file_is_written_once_with_its_mode(workers: int, tree: Path, zipped: Container) -> None:
    seen: List[int] = []
    writer.make_folders(str(tree), {name.rpartition("/")[0] for name in CONTENT}, workers)
    assert writer.write_files(str(tree), jobs_of(zipped), workers, seen.append) == set()
    found = {name: data for name, (_, data) in read_tree(tree).items() if data != b"/"}
    assert found == CONTENT
    assert {name for name, (mode, _) in read_tree(tree).items() if mode == 0o755 and "." in name} == {"p1/q/f1.txt"}
    assert {mode for mode, data in read_tree(tree).values() if data == b"/"} == {0o755}
    assert sum(seen) == len(CONTENT)


@pytest.mark.parametrize("workers", [1, 3])
def test_folders_are_made_with_all_above_them_at_any_depth(
    workers: int, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_FEW", 0)
    wanted = {"/".join(f"d{number % width}" for width in range(1, 12)) for number in range(200)}
    writer.make_folders(str(tree), wanted, workers)
    assert all((tree / path).is_dir() for path in wanted)


def noting(digests: Dict[Tuple[str, int], str]) -> writer.Noted:
    """Return what adds the digest of each file that is written, by path and mode."""

    def note(notes: Notes) -> None:
        for folder, rows in notes[0]:
            for row in rows.decode("ascii").splitlines():
                name, _, rest = row.partition("\0")
                digests[f"{folder}/{name}" if folder else name, int(rest[:5], 8)] = rest[5:]

    return note


@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_folders_come_first_and_other_work_after_them(
    workers: int, count: int, tree: Path, zipped: Container, tmp_path: Path
) -> None:
    jobs = jobs_of(zipped)[:count]
    folders = {f"{name.rpartition('/')[0]}/empty" for name in CONTENT} | {"p9/a/b/c/d/e/f"}
    done: List[int] = []

    def beside(number: int) -> Callable[[], None]:
        def work() -> None:
            assert all((tree / folder).is_dir() for folder in folders)
            (tmp_path / f"beside-{number}").touch()

        return work

    def meanwhile(number: int) -> Callable[[], None]:
        def work() -> None:
            assert all((tree / folder).is_dir() for folder in folders)
            done.append(number)

        return work

    digests: Dict[Tuple[str, int], str] = {}
    writer.write_files(
        str(tree), jobs, workers, None, noting(digests), folders, [beside(0), beside(1)], [meanwhile(0), meanwhile(1)]
    )
    assert digests == {(job.path, job.mode): hashlib.sha256(CONTENT[job.path]).hexdigest() for job in jobs}
    assert sorted(path.name for path in tmp_path.glob("beside-*")) == ["beside-0", "beside-1"]
    assert done == [0, 1]


@pytest.mark.parametrize("place", ["beside", "meanwhile"])
def test_what_other_work_raises_ends_all(place: str, tree: Path, zipped: Container) -> None:
    def fail() -> None:
        raise WheelError("wheels/a.whl", "is cut", "Copy it again")

    options: Dict[str, Any] = {place: [fail], "folders": {name.rpartition("/")[0] for name in CONTENT}}
    with pytest.raises(WheelError, match="is cut"):
        writer.write_files(str(tree), jobs_of(zipped), 2, **options)
    assert children() == []


def test_a_file_that_exists_is_never_written_over(tree: Path, zipped: Container) -> None:
    writer.make_folders(str(tree), {name.rpartition("/")[0] for name in CONTENT})
    (tree / "p1/q/f1.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        writer.write_files(str(tree), jobs_of(zipped), 2)
    assert (tree / "p1/q/f1.txt").read_text() == "mine"


def test_a_link_is_never_followed(tree: Path, tmp_path: Path) -> None:
    (tree / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(FileExistsError):
        writer.write_bytes(str(tree / "link"), b"x")
    assert not (tmp_path / "outside").exists()


def test_short_writes_are_completed(tree: Path, zipped: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data)[:7]))
    writer.make_folders(str(tree), {name.rpartition("/")[0] for name in CONTENT}, 1)
    writer.write_files(str(tree), jobs_of(zipped), 1)
    writer.write_bytes(str(tree / "more"), b"x" * 100)
    monkeypatch.undo()
    assert (tree / "more").read_bytes() == b"x" * 100
    assert {name: (tree / name).read_bytes() for name in CONTENT} == CONTENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_refuses_comes_back_as_it_is(
    workers: int, number: int, tree: Path, zipped: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.make_folders(str(tree), {name.rpartition("/")[0] for name in CONTENT}, 1)
    opened = os.open

    def fail(path: str, *rest: int) -> int:
        if path.endswith("f200.txt"):
            raise OSError(number, os.strerror(number), path)
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=r"f200\.txt") as caught:
        writer.write_files(str(tree), jobs_of(zipped), workers)
    assert caught.value.errno == number


def test_content_that_changed_after_it_was_verified_is_refused(tree: Path, zipped: Container) -> None:
    name, entry = next(iter(zipped.entries.items()))
    job = Job("f", zipped, entry, 0o644, "0" * 64, "")
    with pytest.raises(ArtifactError, match=f"{name}: changed since it was verified"):
        writer.write_files(str(tree), [job], 1)


def test_a_wheels_file_is_compared_with_its_record(tree: Path, tmp_path: Path) -> None:
    def lie(rows: "list[tuple[str, str, str]]") -> "list[tuple[str, str, str]]":
        return [(name, "sha256=" + "A" * 43 if name == "a.py" else digest, size) for name, digest, size in rows]

    path = make_wheel(tmp_path, "a", "1", {"a.py": "x = 1\n"}, record=lie)
    with Wheel.open(str(path)) as wheel, pytest.raises(WheelError, match=r"a\.py: its sha256 is not the one in RECORD"):
        writer.write_files(str(tree), [Job("a.py", wheel, wheel.files["a.py"], 0o644, "", "")], 1)


def compiled(tree: Path, tmp_path: Path, sources: Dict[str, bytes]) -> "set[str]":
    path = tmp_path / "code.zip"
    path.write_bytes(container(sources))
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        zipped = Container(descriptor, 0, path.stat().st_size, "code.zip")
        writer.make_folders(str(tree), {f"{name.rpartition('/')[0]}/__pycache__" for name in sources}, 1)
        return writer.write_files(str(tree), jobs_of(zipped, "/final"), 1)
    finally:
        os.close(descriptor)


def test_bytecode_is_unchecked_and_names_the_final_path(tree: Path, tmp_path: Path) -> None:
    assert compiled(tree, tmp_path, {"p/a.py": b"x = 1\n"}) == {f"p/__pycache__/a.{sys.implementation.cache_tag}.pyc"}
    data = next((tree / "p" / "__pycache__").iterdir()).read_bytes()
    assert data[:4] == importlib.util.MAGIC_NUMBER
    assert data[4:8] == b"\x01\0\0\0"
    assert data[8:16] == importlib.util.source_hash(b"x = 1\n")
    assert marshal.loads(data[16:]).co_filename == "/final/p/a.py"


def test_python_takes_the_bytecode_and_does_not_look_at_the_source(tree: Path, tmp_path: Path) -> None:
    compiled(tree, tmp_path, {"p/trial.py": b"x = 1\n"})
    (tree / "p/trial.py").write_text("x = 2\n")
    program = f"import sys; sys.path.append({str(tree / 'p')!r}); import trial; print(trial.x)"
    assert run_python("-I", "-c", program).stdout == "1\n"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"print 'two'\n", id="python-2"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
        pytest.param(b"x = '\0'\n", id="nul"),
        pytest.param(b"(" * 2000 + b")" * 2000, id="deep"),
        pytest.param(b"# coding: nothing\n", id="coding"),
    ],
)
def test_what_does_not_compile_is_left_as_it_is(source: bytes, tree: Path, tmp_path: Path) -> None:
    assert compiled(tree, tmp_path, {"p/a.py": source}) == set()
    assert (tree / "p/a.py").read_bytes() == source
    assert list((tree / "p/__pycache__").iterdir()) == []


def test_warnings_about_other_peoples_code_are_nobodys_business(tree: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert len(compiled(tree, tmp_path, {"p/a.py": b"x = '\\d'\nx is 1\nassert (x, 1)\n"})) == 1
    assert seen == []


def test_chunks_cover_every_job_once_and_stay_small(zipped: Container) -> None:
    jobs = jobs_of(zipped)
    chunks = list(writer._chunks(jobs))
    assert [number for first, last in chunks for number in range(first, last)] == list(range(len(jobs)))
    assert max(last - first for first, last in chunks) <= CHUNK_FILES
    assert list(writer._chunks([])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_digest_of_every_file_is_told_whatever_its_size_and_neighbours(
    workers: int, tree: Path, tmp_path: Path
) -> None:
    files = {f"{size}.{suffix}": bytes([size & 255]) * size for size in SIZES for suffix in ("bin", "zip")}
    path = tmp_path / "sizes.zip"
    path.write_bytes(container(dict(files)))
    with open(path, "rb") as file:
        sizes = Container(file.fileno(), 0, path.stat().st_size, "sizes.zip")
        # Every second one only, and backwards: neighbours in the archive need not be neighbours among the jobs.
        jobs = [*jobs_of(sizes)[::2], *jobs_of(sizes)[1::2][::-1]]
        digests: Dict[Tuple[str, int], str] = {}
        writer.write_files(str(tree), jobs, workers, None, noting(digests))
    assert {name: (tree / name).read_bytes() for name in files} == files
    assert digests == {(name, 0o644): hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_large_files_are_begun_first(tmp_path: Path) -> None:
    large = {f"large{number}": CHUNK_BYTES + number for number in (1, 3, 2)}
    path = tmp_path / "sizes.zip"
    path.write_bytes(container({**{f"{n}": b"x" for n in range(100)}, **{n: bytes(s) for n, s in large.items()}}))
    with open(path, "rb") as file:
        sizes = Container(file.fileno(), 0, path.stat().st_size, "sizes.zip")
        jobs = jobs_of(sizes)
        order = [jobs[first].path for first, _ in sorted(writer._chunks(jobs), key=lambda c: -writer._alone(jobs, c))]
    assert order == ["large3", "large2", "large1", "0", "64"]
