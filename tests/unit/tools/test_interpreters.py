"""Pythons of pyenv are found wherever pyenv is, and hide nothing."""

from __future__ import annotations

import sys
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


def make_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_shim_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    make_program(tmp_path / "shims/python3.8", "echo 'command not found' >&2; exit 127")
    real = make_program(tmp_path / "root/versions/3.8.18/bin/python3.8", 'echo "3.8 $0"')
    environ = {"PATH": str(tmp_path / "shims"), "PYENV_ROOT": str(tmp_path / "root")}

    assert interpreters.find("3.8", environ) == str(real)
    assert interpreters.find("3.9", environ) is None


def test_a_python_that_is_another_version_than_its_name_says_is_passed_over(tmp_path: Path) -> None:
    version = "{}.{}".format(*sys.version_info[:2])
    for name in ("3.99", version):
        make_program(tmp_path / f"python{name}", f'exec "{sys.executable}" "$@"')
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}

    assert interpreters.find("3.99", environ) is None
    assert interpreters.find(version, environ) == sys.executable
