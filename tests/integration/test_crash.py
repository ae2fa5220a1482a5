"""A real installation, killed at or failed by its system calls one after the other, and one that is very large.

``tests/unit/install/test_installation.py`` does the same to the functions of ``os``; here no change of the file system
can be overlooked.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from deployable_zipfile.artifact import layout
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.helpers import peak_memory, read_tree, run_cli
from tests.support.machine import lacking, require_strace

CHANGING = (
    "mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,link,linkat,unlink,unlinkat,rmdir,"
    "write,pwrite64,ftruncate,chmod,fchmod,fchmodat,fsync"
)
LIMIT = 128 * 1024  # KiB of memory, for any artifact


@pytest.fixture(scope="module")
def strace() -> str:
    """Return strace, proven to be able to inject; without it skip, or fail where REQUIRE_STRACE=1 says so."""
    found = require_strace()
    trial = run_cli([found, "-qq", "-o", "/dev/null", "-e", "inject=getppid:error=EIO", "true"], code=None)
    if trial.returncode:
        lacking(f"strace cannot trace here: {trial.stderr.strip()}", "REQUIRE_STRACE")
    return found


class Site:
    """One artifact, and what a good installation of it looks like."""

    def __init__(self, folder: Path) -> None:
        wheels = [simple_wheel(folder), simple_wheel(folder, "beta")]
        self.artifact = make_artifact(folder / "site.zip", {"__init__.py": "", "settings.py": "x = 1\n"}, wheels)
        self.parent = folder / "srv"
        self.parent.mkdir()
        self.destination = self.parent / "dest"
        self.command = [sys.executable, "-I", self.artifact, "--quiet", "--workers", "1", "--no-sync"]
        self.command += ["-d", self.destination]
        run_cli(self.command)
        self.complete = self.content()

    def content(self) -> Dict[str, Tuple[int, bytes]]:
        return {name: entry for name, entry in read_tree(self.destination).items() if name != layout.INSTALLED}

    def clear(self) -> None:
        shutil.rmtree(str(self.parent))
        self.parent.mkdir()

    def assert_absent_or_complete(self, point: str) -> bool:
        """Return whether it is complete; anything else fails, as does more than one leftover."""
        assert set(os.listdir(str(self.parent))) <= {"dest", ".dest.partial"}, point
        if not self.destination.exists():
            return False
        assert self.content() == self.complete, point
        return True

    def assert_rerun(self, point: str) -> None:
        run_cli(self.command)
        assert self.content() == self.complete, point
        assert os.listdir(str(self.parent)) == ["dest"], point


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("crash"))


def points(strace: str, site: Site, step: int) -> Iterator[Tuple[str, int]]:
    """Yield system call and number of the calls that an installation makes: every *step*-th, and the rare ones all."""
    site.clear()
    log = site.parent.parent / "calls"
    run_cli([strace, "-f", "-qq", "-o", log, "-e", f"trace={CHANGING}", *site.command])
    made = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
    assert made["rename"] + made["renameat"] + made["renameat2"] == 1, made
    assert made["write"] > 50, made
    assert made["mkdir"] > 15, made
    for call, count in sorted(made.items()):
        for number in range(1, count + 1, step if count > 10 else 1):
            yield call, number


def injected(strace: str, site: Site, call: str, number: int, effect: str) -> "subprocess.CompletedProcess[str]":
    site.clear()
    inject = f"inject={call}:{effect}:when={number}"
    return run_cli([strace, "-f", "-qq", "-o", "/dev/null", "-e", inject, *site.command], code=None)


def test_killed_at_any_call_the_destination_is_absent_or_complete_and_a_rerun_succeeds(
    strace: str, site: Site, stride: Callable[[int], int]
) -> None:
    seen = Counter()  # type: Counter[bool]
    for call, number in points(strace, site, 2 * stride(3)):
        done = injected(strace, site, call, number, "signal=KILL")
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), (call, number, done.stderr)
        seen[site.assert_absent_or_complete(f"{call} {number}")] += 1
        site.assert_rerun(f"{call} {number}")
    assert seen[False] * stride(3) > 30, "nothing was killed before the commit"
    assert seen[True] > 1, "nothing was killed after the commit"


@pytest.mark.parametrize(("name", "step"), [("ENOSPC", 5), ("EIO", 13), ("EACCES", 29), ("EDQUOT", 29), ("EROFS", 29)])
def test_whichever_call_fails_it_is_one_line_and_nothing_is_left(
    name: str, step: int, strace: str, site: Site, stride: Callable[[int], int]
) -> None:
    text = os.strerror(getattr(errno, name))
    failed = 0
    for call, number in points(strace, site, step * stride(3)):
        point = f"{call} {number}"
        done = injected(strace, site, call, number, f"error={name}")
        complete = site.assert_absent_or_complete(point)
        lines: List[str] = done.stderr.splitlines()
        if done.returncode == 0:
            assert complete, point
            assert all(line.startswith("warning: ") for line in lines), (point, lines)
        elif complete:
            # Installed, but the result could not be written: that is not a success.
            assert (call, done.returncode) == ("write", 1), (point, lines)
            assert "cannot be written to stdout" in lines[-1]
        else:
            failed += 1
            assert done.returncode == 5, (point, lines)
            assert lines[-1].startswith(f"error: {site.destination}: "), (point, lines)
            assert text in lines[-1], (point, lines)
            assert "Traceback" not in done.stderr, point
    assert failed > 10
    site.assert_rerun(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_at_any_call_is_130_and_nothing_is_left(
    number: signal.Signals, strace: str, site: Site, stride: Callable[[int], int]
) -> None:
    stopped = 0
    for call, at in points(strace, site, 31 * stride(2)):
        point = f"{call} {at}"
        done = injected(strace, site, call, at, f"signal={number.name}")
        complete = site.assert_absent_or_complete(point)
        if done.returncode == 130:
            stopped += 1
            assert done.stderr.splitlines()[-1].startswith("error: this run: was stopped by "), point
            assert os.listdir(str(site.parent)) == (["dest"] if complete else []), point
        else:
            # Before the handlers are in place, or after the last line was written.
            assert complete or done.returncode < 0, (point, done.returncode, done.stderr)
    assert stopped > 5


def test_memory_is_bounded_for_any_artifact(tmp_path: Path) -> None:
    block = os.urandom(1024 * 1024)
    files: Dict[str, Any] = {f"d{number % 99}/file{number}.txt": f"{number}\n" for number in range(20_000)}
    files["large.zip"] = block * 300  # stored
    files["large.bin"] = block * 70  # deflated, in blocks
    artifact = make_artifact(tmp_path / "site.zip", files, bytecode=False)
    files.clear()
    for arguments in (
        ["verify"],
        ["list"],
        ["-q", "--no-sync", "-d", tmp_path / "dest"],
        ["verify", tmp_path / "dest"],
    ):
        assert peak_memory([sys.executable, "-I", artifact, *arguments]) < LIMIT, arguments
    assert (tmp_path / "dest/site_one/large.zip").stat().st_size == 300 * 1024 * 1024
    assert sum(len(names) for _, _, names in os.walk(str(tmp_path / "dest/site_one"))) == 20_002
