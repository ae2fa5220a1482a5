"""Installations and deployments that are killed at random moments: whole or absent, and the next run leaves no litter.

``RANDOM_KILLS`` says how often each is killed (default 4), ``RANDOM_SEED`` repeats a run that failed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.install import drift
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.helpers import read_tree, run_cli
from tests.support.sites import leftovers, make_sites, write_environment

KILLS = int(os.environ.get("RANDOM_KILLS", "4"))
SEED = int(os.environ.get("RANDOM_SEED", str(random.randrange(10**6))))
OLDEST = 20.0  # seconds: a command that was not killed ends long before


def killed(command: Sequence[Any], after: float) -> bool:
    """Run *command* and kill it with its children after that many seconds; return whether it was still running."""
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(OLDEST)
        return True
    return False


def duration(command: Sequence[Any]) -> float:
    began = time.monotonic()
    run_cli(command)
    return time.monotonic() - began


class Kills:
    """Kills commands at random moments: as often as asked for, then until one was running, up to ten times as often.

    Parameters:
        longest: seconds that a command takes at most. One that had ended took less, which is kept for those like it:
            the machine may have been busier before.
    """

    def __init__(self, longest: float) -> None:
        self._chance = random.Random(SEED)
        self._longest = longest
        self._known: Dict[str, float] = {}
        self.hit = 0

    def __iter__(self) -> Iterator[int]:
        number = 0
        while number < KILLS or (not self.hit and number < 10 * KILLS):
            yield number
            number += 1
        assert self.hit, "nothing was killed"

    def kill(self, command: Sequence[Any], kind: str = "") -> None:
        """Run *command* and kill it, unless it ends before."""
        after = self._chance.uniform(0.02, self._known.get(kind, self._longest))
        began = time.monotonic()
        if killed(command, after):
            self.hit += 1
        else:
            self._known[kind] = time.monotonic() - began


def content(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    return tmp_path / "srv/dest"


@pytest.fixture
def command(tmp_path: Path, dest: Path) -> List[Any]:
    wheels = [simple_wheel(tmp_path), simple_wheel(tmp_path, "beta")]
    artifact = make_artifact(tmp_path / "site.zip", {"__init__.py": "", "settings.py": "x = 1\n"}, wheels)
    return [sys.executable, "-I", artifact, "--quiet", "--no-sync", "-d", dest]


def test_an_installation_is_absent_or_complete(command: List[Any], dest: Path) -> None:
    kills = Kills(duration(command))
    complete = content(dest)
    shutil.rmtree(str(dest))
    for number in kills:
        point = f"seed {SEED}, kill {number}"
        kills.kill(command)
        assert set(os.listdir(str(dest.parent))) <= {"dest", ".dest.partial"}, point
        assert not dest.exists() or content(dest) == complete, point
        run_cli(command)
        assert content(dest) == complete, point
        assert os.listdir(str(dest.parent)) == ["dest"], point
        shutil.rmtree(str(dest))


def test_a_mended_installation_is_complete_at_every_instant(command: List[Any], dest: Path) -> None:
    run_cli(command)
    (dest / "environment.json").write_text("{}")
    complete = content(dest)
    cut = dict(complete)
    cut["venv/pyvenv.cfg"] = (0o644, b"home = /gone\n")
    kills = Kills(duration([*command, "--force"]))
    for number in kills:
        point = f"seed {SEED}, kill {number}"
        (dest / "venv/pyvenv.cfg").write_text("home = /gone\n")
        kills.kill([*command, "--force"])
        assert content(dest) in (complete, cut), point
        run_cli([*command, "--force"])
        assert content(dest) == complete, point
        assert os.listdir(str(dest.parent)) == ["dest"], point


@pytest.fixture
def verbs(tmp_path: Path) -> Callable[..., List[Any]]:
    artifacts = make_sites(tmp_path)
    environment = write_environment(tmp_path / "environment.json")

    def made(archive: str, verb: str, *words: str) -> List[Any]:
        given = ["--env-file", environment] if verb == "deploy" else []
        fixed = ["--root", tmp_path / "root", "--quiet", "--restart", "none", *given]
        return [sys.executable, "-I", artifacts[archive], verb, *fixed, *words]

    return made


def test_deployments_and_rollbacks_leave_a_whole_release_live(verbs: Callable[..., List[Any]], tmp_path: Path) -> None:
    """Kills in turn a switch, the mending of the live release, a rollback and the installation of a release."""
    root = tmp_path / "root"
    live = root / "current"
    kills = Kills(duration(verbs("one", "deploy")))
    run_cli(verbs("two", "deploy"))
    for number in kills:
        point = f"seed {SEED}, kill {number}"
        name = ("one", "two")[number % 2]
        verb = ("deploy", "mend", "rollback", "fresh")[number % 4]
        words = verbs(name, "rollback" if verb == "rollback" else "deploy")
        target = live.resolve()
        if verb == "mend":
            run_cli(words)
            target = live.resolve()
            (target / "venv/pyvenv.cfg").write_text("home = /gone\n")
            words = [*words, "--force"]
        if verb == "fresh":  # one that has to be installed
            run_cli(verbs("three", "deploy"))
            for release in (root / "releases").iterdir():
                if release != live.resolve():
                    shutil.rmtree(str(release))
        kills.kill(words, verb)
        found = drift.compare(str(live.resolve()))
        assert found.clean or (verb == "mend" and found.changed == ["venv/pyvenv.cfg"]), (point, found)
        for release in (root / "releases").iterdir():
            if not release.name.startswith("."):
                damaged = verb == "mend" and release == target
                assert damaged or drift.compare(str(release)).clean, (point, release)
        again = words if verb != "rollback" else verbs(name, "deploy")
        run_cli(again)
        assert drift.compare(str(live.resolve())).clean, point
        assert leftovers(root) == [], point
