"""The verbs beside the releases run with the Python of the live release, whatever runs them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.deploy import tool
from tests.support.depth import sampled
from tools import interpreters

RELEASE_PYTHON = '#!/bin/sh\necho "release: $*"\n'
VERBS = "import sys\ndef main(words, archive):\n    print('verbs:', *words, sys.executable)\n    return 0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with the tool in it, its verbs replaced, and a live release without a virtualenv."""
    folder = tmp_path / ".deploy/tool-0123"
    (folder / "deployable_zipfile").mkdir(parents=True)
    (folder / "deployable_zipfile/extract.py").write_text(VERBS, encoding="utf-8")
    (folder / "__main__.py").write_text(tool._TOOL_MAIN, encoding="ascii")
    (tmp_path / ".deploy/tool").symlink_to(folder.name)
    (tmp_path / "releases/0123/venv/bin").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/0123")
    return tmp_path


def own_python(root: Path, mode: int = 0o755) -> Path:
    python = root / "python3.8"
    python.write_text(RELEASE_PYTHON, encoding="utf-8")
    python.chmod(mode)
    (root / "current/venv/bin/python").symlink_to(python)
    return python


def run(root: Path, python: str = sys.executable) -> List[str]:
    command = [python, str(root / ".deploy/tool"), "rollback", "--root", "a b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_goes_on_with_the_python_that_the_live_release_was_installed_with(root: Path) -> None:
    own_python(root)
    assert run(root) == [f"release: -I {root}/.deploy/tool rollback --root a b"]


@pytest.mark.parametrize("version", sampled(["2.7", "3.6", "3.7"], 1))
def test_also_when_the_servers_own_python_is_too_old_for_the_verbs(root: Path, version: str) -> None:
    old = interpreters.find(version, os.environ)
    own_python(root)
    if old is None:  # every machine has this one
        ast.parse(tool._TOOL_MAIN, feature_version=(3, 4))
        return
    assert run(root, old) == [f"release: -I {root}/.deploy/tool rollback --root a b"]


def test_it_starts_itself_no_second_time_when_it_is_that_python(root: Path) -> None:
    (root / "current/venv/bin/python").symlink_to(os.path.realpath(sys.executable))
    assert run(root) == [f"verbs: rollback --root a b {sys.executable}"]


@pytest.mark.parametrize("damage", ["no release", "no Python", "not executable"])
def test_without_that_python_it_goes_on_with_the_one_that_runs_it(root: Path, damage: str) -> None:
    python = own_python(root, 0o644 if damage == "not executable" else 0o755)
    if damage == "no release":
        (root / "current").unlink()
    if damage == "no Python":
        python.unlink()
    assert run(root)[0].startswith("verbs: rollback")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["python3.8", "current/venv/bin"])
def test_root_does_not_run_what_somebody_else_could_have_put_there(root: Path, what: str) -> None:
    own_python(root)
    os.chown(root / what, 65534, 65534)
    assert run(root)[0].startswith("verbs: rollback")
