"""Pythons of pyenv are found wherever pyenv is, and hide nothing."""

from __future__ import annotations

from pathlib import Path

from tools import interpreters


def make_pyenv(root: Path, *names: str) -> None:
    for name in names:
        (root / "versions" / name / "bin").mkdir(parents=True)


def test_the_versions_of_pyenv_come_behind_what_is_on_the_path(tmp_path: Path) -> None:
    make_pyenv(tmp_path, "3.8.18", "3.13.0")

    path = interpreters.search_path({"PATH": "/usr/bin:/bin", "PYENV_ROOT": str(tmp_path)})

    assert path == f"/usr/bin:/bin:{tmp_path}/versions/3.13.0/bin:{tmp_path}/versions/3.8.18/bin"


def test_the_newest_patch_release_comes_first(tmp_path: Path) -> None:
    make_pyenv(tmp_path, "3.9.9", "3.9.18", "3.10.2")

    folders = interpreters.pyenv_folders({"PYENV_ROOT": str(tmp_path)})

    assert [folder.parent.name for folder in folders] == ["3.10.2", "3.9.18", "3.9.9"]


def test_other_interpreters_and_early_releases_are_left_alone(tmp_path: Path) -> None:
    make_pyenv(tmp_path, "pypy3.10-7.3.12", "3.14.0rc1", "3.14-dev", "2.7.18", "3.12.1")

    folders = interpreters.pyenv_folders({"PYENV_ROOT": str(tmp_path)})

    assert [folder.parent.name for folder in folders] == ["3.12.1"]


def test_pyenv_is_looked_for_in_the_home_folder(tmp_path: Path) -> None:
    make_pyenv(tmp_path / ".pyenv", "3.12.1")

    assert len(interpreters.pyenv_folders({"HOME": str(tmp_path)})) == 1


def test_no_pyenv_is_no_problem(tmp_path: Path) -> None:
    assert interpreters.search_path({"PATH": "/usr/bin", "HOME": str(tmp_path)}) == "/usr/bin"
    assert interpreters.search_path({"HOME": str(tmp_path)})
