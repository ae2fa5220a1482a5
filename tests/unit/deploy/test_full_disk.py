"""A root on a disk on which nothing is left: what frees space, or brings a release back, works; the rest says so."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.support.helpers import error_line, run_cli, run_python
from tests.support.machine import mounted
from tests.support.sites import build_id, write_environment


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=128m,mode=0755", "none"):
        yield folder


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), open(disk / "rest", "ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(str(disk)).f_bavail == 0


def test_rollback_and_prune_need_no_space(disk: Path, tmp_path: Path, artifacts: Dict[str, Path]) -> None:
    root = disk / "srv"
    common = ["--root", root, "--restart", "none", "-q"]
    environment = write_environment(tmp_path / "environment.json")
    names = list(artifacts)[:3]
    for name in names:
        run_python(artifacts[name], "deploy", *common, "--allow-dirty", "--env-file", environment, "--keep", "9")
    live = build_id(root / "current")
    fill(disk)
    tool = [sys.executable, root / ".deploy/tool"]
    run_cli([*tool, "prune", "--root", root, "--keep", "1", "-q"])
    assert len(os.listdir(str(root / "releases"))) == len(names) - 1
    fill(disk)
    run_cli([*tool, "rollback", *common])
    assert build_id(root / "current") != live


def test_a_deployment_says_what_is_needed_and_works_when_there_is_space(
    disk: Path, tmp_path: Path, artifacts: Dict[str, Path]
) -> None:
    root = disk / "srv"
    one, two = list(artifacts)[:2]
    words = ["deploy", "--root", root, "--restart", "none", "-q", "--allow-dirty"]
    words += ["--env-file", write_environment(tmp_path / "environment.json")]
    run_python(artifacts[one], *words)
    live, before = build_id(root / "current"), sorted(os.listdir(str(root / "releases")))
    fill(disk)
    done = run_python(artifacts[two], *words, code=5)
    assert error_line(done).endswith(" are free. Free space there.")
    assert (build_id(root / "current"), sorted(os.listdir(str(root / "releases")))) == (live, before)
    (disk / "rest").unlink()
    run_python(artifacts[two], *words)
    assert build_id(root / "current") != live
