"""The project's bytecode after a change: only what changed is compiled, and the archive is that of a first build."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence

import pytest

from deployable_zipfile.artifact import manifests
from deployable_zipfile.builder import bytecode, cache, overlays, stock
from deployable_zipfile.console import Console
from deployable_zipfile.errors import BuildInputError
from tests.support.depth import sampled
from tests.support.helpers import write_tree

TAG = str(sys.implementation.cache_tag)
GOAL = stock.Goal("3.x", TAG, "00", sys.executable, "this")


class Project:
    """A project, its cache, and what was compiled of it."""

    def __init__(self, folder: Path, compiled: List[str]) -> None:
        self.folder = folder
        self.root = folder / "site"
        self.cache = folder / "cache"
        self.goal = GOAL
        self._compiled = compiled

    def write(self, files: Mapping[str, str]) -> None:
        write_tree(self.root, dict(files))

    def archive(self, kept: Path) -> bytes:
        """Return the archive of the project as it is now, made with the cache *kept*."""
        paths = {f"site/{path.relative_to(self.root)}": path for path in sorted(self.root.rglob("*.py"))}
        members = {name: manifests.Member(0, 0o644, cache.measured(str(path)).sha256) for name, path in paths.items()}
        files = {name: str(path) for name, path in paths.items()}
        with cache.Cache(str(kept)) as opened:
            made = overlays.Overlays(opened, Console(quiet=True), 1)
            found = made.of_project(self.goal, str(self.root), files, members)
            return Path(found.kept.path).read_bytes() if found else b""

    def build(self) -> List[str]:
        """Return the files that were compiled; the archive is the one of a build that knows nothing."""
        self._compiled.clear()
        warm = self.archive(self.cache)
        compiled = sorted(self._compiled)
        assert warm == self.archive(self.folder / f"cold-{os.urandom(4).hex()}")
        return compiled


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    compiled: List[str] = []
    here, units = bytecode.compiled_here, bytecode.compile_units

    def counted_here(*words: Any) -> bytecode.Result:
        found = here(*words)
        compiled.extend(found.digests)
        return found

    def counted(group: Sequence[bytecode.Unit], *words: Any) -> Dict[str, bytecode.Result]:
        compiled.extend(name for unit in group for _, name in unit.files)
        return units(group, *words)

    monkeypatch.setattr(bytecode, "compiled_here", counted_here)
    monkeypatch.setattr(bytecode, "compile_units", counted)
    made = Project(tmp_path, compiled)
    made.write({"a.py": "A = 1\n", "b.py": "B = 1\n", "sets.py": "def f(x): return x in {'a', 'b'}\n", "no.py": "(\n"})
    assert made.build() == ["site/a.py", "site/b.py", "site/no.py", "site/sets.py"]
    assert made.build() == []
    return made


def _same_size_and_time(project: Project) -> List[str]:
    path = project.root / "a.py"
    status = path.stat()
    path.write_text("A = 2\n", encoding="utf-8")
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))
    return ["site/a.py"]


def _renamed(project: Project) -> List[str]:
    """The name is in the code, and decides where it goes."""
    (project.root / "a.py").rename(project.root / "z.py")
    return ["site/z.py"]


def _exchanged(project: Project) -> List[str]:
    project.write({"a.py": "B = 1\n", "b.py": "A = 1\n"})
    return ["site/a.py", "site/b.py"]


def _removed(project: Project) -> List[str]:
    (project.root / "a.py").unlink()
    return []


def _set(project: Project) -> List[str]:
    project.write({"sets.py": "def f(x): return x in {'c', 'b'}\n"})
    return ["site/sets.py"]


def _broken(project: Project) -> List[str]:
    project.write({"a.py": ")\n"})
    return ["site/a.py"]


def _mended(project: Project) -> List[str]:
    project.write({"no.py": "()\n"})
    return ["site/no.py"]


def _nothing_but_broken_ones(project: Project) -> List[str]:
    for name in ("a.py", "b.py", "sets.py"):
        (project.root / name).unlink()
    return []


@pytest.mark.parametrize(
    "change",
    sampled(
        [_same_size_and_time, _renamed, _exchanged, _removed, _set, _broken, _mended, _nothing_but_broken_ones],
        [_same_size_and_time, _renamed, _set],
    ),
)
def test_only_what_changed_is_compiled(project: Project, change: Callable[[Project], List[str]]) -> None:
    expected = change(project)
    assert project.build() == expected


def test_each_build_starts_from_the_one_before(project: Project) -> None:
    for number in range(3):
        project.write({"b.py": f"B = {number + 2}\n", f"new_{number}.py": "N = 1\n"})
        assert project.build() == ["site/b.py", f"site/new_{number}.py"]


EVERY = ["site/a.py", "site/b.py", "site/no.py", "site/sets.py"]


def _interpreter(project: Project) -> None:
    project.goal = GOAL._replace(identity="another patch release")


def _magic(project: Project) -> None:
    project.goal = GOAL._replace(magic="01")


def _damaged_archive(project: Project) -> None:
    [path] = (project.cache / "files").rglob("project.zip")
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(bytes(content))


def _shortened_archive(project: Project) -> None:
    [path] = (project.cache / "files").rglob("project.zip")
    os.truncate(str(path), 100)


def _no_archive(project: Project) -> None:
    """As after a build that was killed before it had put the archive in its place, or one that removed it."""
    [path] = (project.cache / "files").rglob("project.zip")
    path.unlink()


def _damaged_index(project: Project) -> None:
    [path] = (project.cache / "compiled").rglob("*.json")
    path.write_bytes(path.read_bytes().replace(b"site/a.py", b"site/c.py"))


def _names_that_differ_by_case(project: Project) -> None:
    project.write({"B.py": "B = 3\n"})


@pytest.mark.parametrize(
    "doubt",
    sampled(
        [_interpreter, _magic, _damaged_archive, _shortened_archive, _no_archive, _damaged_index],
        [_damaged_archive, _interpreter],
    ),
)
def test_in_doubt_everything_is_compiled(project: Project, doubt: Callable[[Project], None]) -> None:
    doubt(project)
    project.write({"b.py": "B = 3\n"})
    assert project.build() == EVERY


def test_of_names_that_differ_by_case_all_decide_which_is_packed(project: Project) -> None:
    _names_that_differ_by_case(project)
    assert project.build() == ["site/B.py", *EVERY]
    (project.root / "B.py").unlink()
    project.write({"a.py": "A = 7\n"})
    assert project.build() == ["site/a.py"]


def test_another_place_has_its_own(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", project._compiled)
    other.cache = project.cache
    other.write({"a.py": "A = 1\n", "c.py": "C = 1\n"})
    assert other.build() == ["site/a.py", "site/c.py"]
    project.write({"a.py": "A = 5\n"})
    assert project.build() == ["site/a.py"]


def test_a_source_that_is_not_what_was_packed_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({"a.py": "A = 6\n"})
    monkeypatch.setattr(cache, "measured", lambda path: cache.Kept(path, "0" * 64, 1, 0))
    with pytest.raises(BuildInputError) as caught:
        project.archive(project.folder / "another")
    assert "changed while it was being packed" in str(caught.value)


@pytest.mark.parametrize("most", [1, 3, 4])
def test_of_more_files_than_an_archive_holds_none_is_compiled(
    most: int, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write({"a.py": "A = 7\n"})
    monkeypatch.setattr(overlays, "_MOST", most)
    assert (project.archive(project.cache) == b"") is (most < 4)
