"""Deployments cut short at every step, by an error, a full disk and a real ``kill -9``: the site serves on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest

from deployable_zipfile import extract
from deployable_zipfile.deploy.journal import Journal
from tests.support.depth import sampled
from tests.support.machine import mounted, require_strace
from tests.support.sites import Server, build_id, leftovers, make_sites, serving_current, states, write_environment
from tests.support.steps import LATE, STEPS, STRIKE_AT_STEP

PACKAGE = Path(extract.__file__).parents[1]

# Runs the command line with one fault: WHEN STEP KIND are argv[1:4], the words of the command line follow the archive.
DRIVER = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from deployable_zipfile import durable, extract
from deployable_zipfile.deploy import rollout
from deployable_zipfile.errors import DeploymentError
when, step, kind, archive = sys.argv[2:6]
def strike():
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
    if kind == "full":
        raise OSError(28, "No space left on device")
    if kind == "fault":
        raise DeploymentError("this step", "was made to fail")
{strike_at_step}
durable.sync_file_system = lambda path: None
sys.exit(extract.main(sys.argv[6:], archive))
""".replace("{strike_at_step}", STRIKE_AT_STEP)


class Base(NamedTuple):
    """A root where "one" is live, to be copied, and what deploys to it."""

    root: Path
    artifacts: Dict[str, Path]
    environment: Path


def words(root: Path, environment: Path, url: str) -> List[str]:
    return [
        *("deploy", "--root", str(root), "--env-file", str(environment), "--json", "-q"),
        *("--health-url", url, "--health-timeout", "60", "--health-count", "2", "--shared", "media=site_one/media"),
    ]


def run(when: str, step: str, kind: str, archive: Path, words: List[str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", DRIVER, str(PACKAGE), when, step, kind, str(archive), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "canary" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base")
    artifacts = make_sites(folder)
    environment = write_environment(folder / "environment.json")
    root = folder / "srv"
    with serving_current(root) as server:
        done = run("never", "", "", artifacts["one"], words(root, environment, server.url))
    assert done.returncode == 0, done.stderr
    return Base(root, artifacts, environment)


class Site:
    """A copy of the base, with a web server in front of it."""

    def __init__(self, base: Base, root: Path, server: Server) -> None:
        self.base = base
        self.root = root
        self.server = server
        self.one = build_id(root / "current")
        self.words = words(root, base.environment, server.url)

    def strike(self, when: str, step: str, kind: str, archive: str = "two") -> int:
        return run(when, step, kind, self.base.artifacts[archive], self.words).returncode

    def deploy(self, archive: str = "two") -> Dict[str, object]:
        done = run("never", "", "", self.base.artifacts[archive], self.words)
        assert done.returncode == 0, done.stderr
        document: Dict[str, object] = json.loads(done.stdout)
        return document

    def current(self) -> Optional[str]:
        return build_id(self.root / "current")

    def serves(self) -> bool:
        """Tell whether ``current`` leads to a whole release that a visitor would get."""
        import urllib.request

        with urllib.request.urlopen(self.server.url, timeout=10) as answer:
            return bool(answer.status == 200) and (self.root / "current" / "environment.json").is_file()


@pytest.fixture
def site(base: Base, tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "srv"
    shutil.copytree(str(base.root), str(root), symlinks=True)
    with serving_current(root) as server:
        yield Site(base, root, server)


def check_converged(site: Site) -> None:
    """A rerun makes "two" live whatever happened before, and leaves nothing behind."""
    document = site.deploy()
    assert document["release"] == site.current() != site.one
    assert sorted(states(site.root).values()) == ["live", "previous"]
    assert leftovers(site.root) == []
    assert site.serves()
    assert site.deploy()["changed"] is False


# Little happens between two steps, so most of them are struck on one side only, unless --deep is given.
KILLS = [(when, step) for step in STEPS for when in ("before", "after")]
USUAL_KILLS = [(when, step) for when, step in KILLS if when == "after" or step in (STEPS[0], "switch", "restart")]


@pytest.mark.parametrize(("when", "step"), sampled(KILLS, USUAL_KILLS))
def test_a_kill_at_any_step_leaves_a_whole_release_and_a_rerun_converges(site: Site, when: str, step: str) -> None:
    assert site.strike(when, step, "kill") == -signal.SIGKILL
    assert site.serves()
    if step not in LATE or (step == "switch" and when == "before"):
        assert site.current() == site.one
    assert "bad" not in states(site.root).values()
    check_converged(site)


FAILURES = [(when, "fault", step) for step in STEPS for when in ("before", "after")]
FAILURES += [
    (when, kind, step)
    for kind in ("full", "terminate")
    for step in ("install", "environment", *LATE)
    for when in ("before", "after")
]
USUAL_FAILURES = [
    *[("after", "fault", step) for step in STEPS],
    *[("before", "full", "install"), ("after", "full", "switch"), ("before", "full", "prune")],
    *[("after", "terminate", "install"), ("before", "terminate", "restart"), ("after", "terminate", "prune")],
]


@pytest.mark.parametrize(("when", "kind", "step"), sampled(FAILURES, USUAL_FAILURES))
def test_a_failure_at_any_step_leaves_the_old_release_live_and_a_rerun_converges(
    site: Site, when: str, step: str, kind: str
) -> None:
    code = site.strike(when, step, kind)
    if step == "prune" and kind != "terminate":  # the new release was proven: it stays, with a warning
        assert code == 0
    elif step == "prune":
        assert code == 130
    else:
        assert code == (130 if kind == "terminate" else 8)
        assert site.current() == site.one
    assert site.serves()
    check_converged(site)


def test_a_kill_at_any_step_of_the_very_first_deployment_converges_too(base: Base, tmp_path: Path) -> None:
    for step in STEPS:
        root = tmp_path / step
        with serving_current(root) as server:
            options = words(root, base.environment, server.url)
            assert run("after", step, "kill", base.artifacts["one"], options).returncode == -signal.SIGKILL
            if os.path.lexists(str(root / "current")):
                assert build_id(root / "current") is not None
            done = run("never", "", "", base.artifacts["one"], options)
            assert done.returncode == 0, done.stderr
            assert build_id(root / "current") is not None


# Every system call by which a deployment changes the disk.
CHANGING = "symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,fsync,ftruncate,pwrite64,mkdir,fchmod,chown"


def under_strace(site: Site, inject: str) -> "subprocess.CompletedProcess[str]":
    command = ["strace", "-o", "/dev/null", "-e", f"trace={CHANGING}", "-e", f"inject={CHANGING}:{inject}"]
    command += [sys.executable, "-c", DRIVER, str(PACKAGE), "never", "", "", str(site.base.artifacts["two"])]
    return subprocess.run(
        [*command, *site.words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_kill_at_any_changing_system_call_leaves_a_whole_release(
    base: Base, tmp_path: Path, stride: Callable[[int], int]
) -> None:
    require_strace()
    step, struck = stride(9), 0
    for number in range(1, 200, step):
        root = tmp_path / str(number)
        shutil.copytree(str(base.root), str(root), symlinks=True)
        with serving_current(root) as server:
            site = Site(base, root, server)
            done = under_strace(site, f"signal=KILL:when={number}")
            if done.returncode == 0:
                break
            struck += 1
            assert site.serves(), number
            assert Journal(root / ".deploy" / "journal.jsonl").read(), number
            if struck % (5 if step == 1 else 2) == 0:
                check_converged(site)
        shutil.rmtree(str(root))
    print(f"killed at {struck} system calls")
    assert struck * step >= 30


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_an_error_of_any_changing_system_call_leaves_a_serving_site(
    base: Base, tmp_path: Path, error: str, stride: Callable[[int], int]
) -> None:
    require_strace()
    failed = 0
    for number in range(1, 200, 3 * stride(4)):
        root = tmp_path / f"{error}{number}"
        shutil.copytree(str(base.root), str(root), symlinks=True)
        with serving_current(root) as server:
            site = Site(base, root, server)
            done = under_strace(site, f"error={error}:when={number}")
            assert site.serves(), (number, done.stderr)
            assert "Traceback" not in done.stderr, (number, done.stderr)
            failed += done.returncode != 0
            if done.returncode == 0:
                assert site.current() != site.one, (number, done.stderr)
        shutil.rmtree(str(root))
    assert failed * stride(2) >= 5


def test_two_deployments_at_once_have_one_winner_and_the_other_is_told(site: Site) -> None:
    commands = [
        [sys.executable, "-c", DRIVER, str(PACKAGE), "never", "", "", str(site.base.artifacts[name]), *site.words]
        for name in ("two", "three", "two", "three")
    ]
    running = [subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for one in commands]
    ended = [(one.communicate()[1].decode(), one.returncode) for one in running]
    codes = sorted(code for _, code in ended)
    assert codes[0] == 0
    assert set(codes) <= {0, 8}
    for text, code in ended:
        assert code == 0 or "is held by deploy of" in text
    assert site.serves()


def test_the_second_of_two_deployments_can_wait(site: Site) -> None:
    commands = [
        [sys.executable, "-c", DRIVER, str(PACKAGE), "never", "", "", str(site.base.artifacts[name]), *site.words]
        for name in ("two", "three")
    ]
    running = [
        subprocess.Popen([*one, "--lock-wait", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for one in commands
    ]
    for one in running:
        text = one.communicate()[1].decode()
        assert one.returncode == 0, text
    assert sorted(states(site.root).values()) == ["good", "live", "previous"] or len(states(site.root)) == 3


def test_a_migration_that_outlives_its_killed_deployment_keeps_the_next_one_out(site: Site, tmp_path: Path) -> None:
    write_environment(tmp_path / "slow.json", SLOW_AT="migrate")
    slow = [*site.words]
    slow[slow.index("--env-file") + 1] = str(tmp_path / "slow.json")
    command = [sys.executable, "-c", DRIVER, str(PACKAGE), "never", "", "", str(site.base.artifacts["two"]), *slow]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child = wait_for_child(process.pid, b"migrate")
    process.kill()
    process.communicate()
    done = run("never", "", "", site.base.artifacts["two"], site.words)
    assert done.returncode == 8
    assert f"which is gone, but its command {child} still runs" in done.stderr
    os.kill(child, signal.SIGKILL)
    wait_until_ended(child)
    check_converged(site)


def wait_until_ended(child: int) -> None:
    for _ in range(1200):
        try:
            if ") Z " in Path(f"/proc/{child}/stat").read_text():
                return
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the command did not end")


def wait_for_child(parent: int, word: bytes) -> int:
    for _ in range(400):
        for folder in Path("/proc").iterdir():
            try:
                status = (folder / "stat").read_text() if folder.name.isdigit() else ""
                if f") S {parent} " in status and word in (folder / "cmdline").read_bytes():
                    return int(folder.name)
            except OSError:
                continue
        time.sleep(0.05)
    pytest.fail("the command never ran")


def test_a_disk_that_is_really_full_is_found_out_before_anything_is_written(base: Base, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir(mode=0o755)
    with mounted(mount, "-t", "tmpfs", "-o", "size=2600k,mode=0755", "tmpfs"):
        root = mount / "srv"
        with serving_current(root) as server:
            artifact = base.artifacts["one"]
            fill = mount / "ballast"
            for size in (2580, 2200, 1780, 1500, 1100, 900, 700, 500, 300, 0):
                fill.write_bytes(b"x" * size * 1024)
                done = run("never", "", "", artifact, words(root, base.environment, server.url))
                if done.returncode == 0:
                    break
                assert done.returncode in (5, 8), done.stderr
                assert not os.path.lexists(str(root / "current"))
            assert done.returncode == 0, done.stderr
            assert build_id(root / "current") is not None
