"""Deployments by another user than root, for real: the artifact is run by that user's own process."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List

import pytest

from tests.support.depth import sampled
from tests.support.sites import serving_current, states, write_environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def python() -> str:
    """A Python of the running version that every user can start."""
    for candidate in (sys.executable, f"/usr/bin/python{VERSION}", f"/usr/local/bin/python{VERSION}"):
        words = [
            *AS_NOBODY,
            "env",
            "-i",
            candidate,
            "-I",
            "-c",
            "import venv, zlib, sys; print('%d.%d' % sys.version_info[:2])",
        ]
        done = subprocess.run(words, capture_output=True, check=False)
        if done.stdout.decode().strip() == VERSION:
            return candidate
    pytest.skip(f"no Python {VERSION} here that another user can start")


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that every user can reach, and that belongs to nobody."""
    folder = Path(tempfile.mkdtemp(prefix="deploy-as-nobody-", dir="/tmp"))
    folder.chmod(0o755)
    entry = pwd.getpwnam("nobody")
    os.chown(str(folder), entry.pw_uid, entry.pw_gid)
    yield folder
    shutil.rmtree(str(folder))


def run(words: List[str], python: str, archive: Path, *more: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*words, "env", "-i", "PATH=/usr/bin:/bin", python, "-I", str(archive), *more]
    return subprocess.run(command, cwd="/", capture_output=True, check=False, timeout=120)


@pytest.mark.deep
def test_another_user_deploys_goes_back_and_prunes_in_a_root_of_its_own(
    python: str, home: Path, artifacts: Dict[str, Path]
) -> None:
    copies = {name: Path(shutil.copy(str(path), str(home))) for name, path in artifacts.items()}
    write_environment(home / "environment.json").chmod(0o644)
    root = home / "srv"
    codes = []
    with serving_current(root) as server:
        health = ["--health-url", server.url, "--health-timeout", "20", "--health-count", "2"]
        for archive in ("one", "broken", "two"):
            words = ["--env-file", str(home / "environment.json"), *health, "--json"]
            codes.append(run(AS_NOBODY, python, copies[archive], "deploy", "--root", str(root), *words).returncode)
        codes.append(run(AS_NOBODY, python, copies["one"], "rollback", "--root", str(root)).returncode)
        codes.append(run(AS_NOBODY, python, copies["one"], "prune", "--root", str(root), "--keep", "1").returncode)
    codes.append(run(AS_NOBODY, python, copies["one"], "-d", str(home / "dest")).returncode)
    assert codes == [0, 8, 0, 0, 0, 0]
    assert sorted(states(root).values()) == ["bad", "gone", "live"]
    owners = {os.lstat(os.path.join(folder, name)).st_uid for folder, _, names in os.walk(str(root)) for name in names}
    assert owners == {pwd.getpwnam("nobody").pw_uid}
    assert stat.S_IMODE((root / ".deploy" / "journal.jsonl").stat().st_mode) == 0o640


def test_root_may_look_at_the_releases_of_another_user(python: str, home: Path, artifacts: Dict[str, Path]) -> None:
    (home / "srv").mkdir()
    (home / "srv" / ".deploy").mkdir()
    record = {"time": "2026-01-01T00:00:00Z", "event": "live", "release": "before", "by": "x", "details": {}}
    (home / "srv" / ".deploy" / "journal.jsonl").write_text(json.dumps(record) + "\n")
    for path in (home / "srv", home / "srv" / ".deploy", home / "srv" / ".deploy" / "journal.jsonl"):
        os.chown(str(path), pwd.getpwnam("nobody").pw_uid, -1)
    done = run([], python, artifacts["one"], "releases", "--root", str(home / "srv"))
    assert (done.returncode, done.stdout[:6]) == (0, b"before"), done.stderr


@pytest.mark.parametrize(
    "words", sampled([["deploy", "--root", "{0}/srv"], ["-d", "{0}/srv"], ["-d", "{0}/new/deep/dest"]], 1)
)
def test_root_does_not_work_below_a_folder_of_another_user(
    python: str, home: Path, artifacts: Dict[str, Path], words: List[str]
) -> None:
    (home / "srv").mkdir()  # root's own, but its owner above can replace it
    done = run([], python, artifacts["one"], *(word.format(home) for word in words))
    assert done.returncode == 5, done.stderr
    assert b"belongs to user nobody" in done.stderr
    assert os.listdir(str(home)) == ["srv"]
    assert os.listdir(str(home / "srv")) == []


def test_nothing_of_a_root_is_given_to_the_user_of_its_commands(
    python: str, artifacts: Dict[str, Path], tmp_path: Path
) -> None:
    base = Path(tempfile.mkdtemp(prefix="deploy-as-root-", dir="/tmp"))
    base.chmod(0o755)
    try:
        write_environment(base / "environment.json")
        words = ["--root", str(base / "srv"), "--env-file", str(base / "environment.json"), "--run-as", "nobody"]
        words += ["--group", "nogroup", "--json"]
        made = subprocess.run(
            ["sh", "-c", 'umask 0; exec "$@"', "sh", python, "-I", str(artifacts["one"]), "deploy", *words],
            capture_output=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["changed"] is True
        nobody = pwd.getpwnam("nobody")
        for folder, folders, files in os.walk(str(base / "srv")):
            for name in folders + files:
                status = os.lstat(os.path.join(folder, name))
                assert status.st_uid != nobody.pw_uid, name
                assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o022, name
        change = 'find "$0" -writable -not -type l -print; touch "$0/made" 2>/dev/null && echo made'
        done = subprocess.run([*AS_NOBODY, "sh", "-c", change, str(base / "srv")], capture_output=True, check=False)
        assert done.stdout == b""
    finally:
        shutil.rmtree(str(base))
