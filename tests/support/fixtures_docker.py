"""Fixtures that integration and end-to-end tests share: the engine, the images, a checkout, the artifact.

Without an engine these tests are skipped with the reason; REQUIRE_DOCKER=1, as in CI, makes that a failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from tests.support import containers, lookalike_image
from tests.support.machine import lacking
from tools import containers as host
from tools import images as image_tool
from tools import platforms

ROOT = containers.ROOT
RESULTS = ROOT / "test-results"
ARTIFACT = "cfgov_current_build.zip"


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> platforms.Platform:
    """Return the platform asked for by ``--platform``."""
    name = request.config.getoption("--platform")
    known = platforms.read()
    if name not in known:
        pytest.fail(f"--platform {name}: is none of {', '.join(known)}", pytrace=False)
    return known[name]


@pytest.fixture(scope="session")
def engine() -> Iterator[containers.Engine]:
    """Connect to the engine; at the end everything that this run started is removed, also after Ctrl-C."""
    if not image_tool.engine_answers():
        without_engine()
    engine = containers.Engine()
    engine.sweep()
    try:
        yield engine
    finally:
        engine.close()


def without_engine() -> None:
    """Skip, or fail where an engine is required."""
    lacking("no Docker engine answers. Start one, on Debian with .ci/engine", "REQUIRE_DOCKER")


@pytest.fixture(scope="session")
def images(engine: containers.Engine, platform: platforms.Platform) -> Dict[str, str]:
    """Build both images of the platform (seconds when nothing changed) and return their names by target.

    PREBUILT_IMAGES=1 takes those that have the names already: a workflow tests what it has pushed.
    """
    if os.environ.get("PREBUILT_IMAGES") == "1":
        return {"builder": containers.BUILDER, "tester": containers.TESTER}
    with one_at_a_time("images"):
        code = image_tool.main(["--platform", platform.name])
    if code:
        pytest.fail(f"the images of {platform.name} could not be built, see above", pytrace=False)
    return {"builder": containers.BUILDER, "tester": containers.TESTER}


@pytest.fixture(scope="session")
def lookalike(engine: containers.Engine, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, str]:
    """Build the images on the look-alike of CentOS 7 and return their names by target.

    Skipped with the reason where no Python 3.8 can be had; REQUIRE_LOOKALIKE=1 makes that a failure.
    """
    try:
        with one_at_a_time("lookalike"):
            built = lookalike_image.build(tmp_path_factory.mktemp("lookalike"), os.environ)
    except lookalike_image.Missing as missing:
        lacking(str(missing), "REQUIRE_LOOKALIKE")
    return {"builder": built.builder, "tester": built.tester}


def clone(destination: Path) -> Path:
    """Copy this checkout's files as they are now into a repository of their own with one commit; return its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    )
    for name in listed.stdout.decode("utf-8").split("\0"):
        if name and (ROOT / name).is_file():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    subprocess.run(["git", "init", "--quiet"], cwd=destination, check=True)
    commit(destination, "Snapshot")
    return destination


def commit(checkout: Path, message: str) -> None:
    """Commit everything in *checkout*, at a fixed time."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    times = dict(os.environ, GIT_AUTHOR_DATE="2026-01-02T03:04:05Z", GIT_COMMITTER_DATE="2026-01-02T03:04:05Z")
    for command in (["add", "--all"], [*identity, "commit", "--quiet", "--message", message]):
        subprocess.run(["git", *command], cwd=checkout, check=True, env=times)


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Hold the lock of *what* on this machine: sessions that run side by side want the same images."""
    with (Path(tempfile.gettempdir()) / f"{containers.LABEL}-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def once(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], object]) -> Path:
    """Return the folder *name* of this run, which *fill* was called with by the first worker that wanted it.

    The others wait until it is complete. After a failure the next one fills it anew, and fails by itself.
    """
    own = factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # xdist's workers have a folder each, in one
    folder, complete = root / f"once-{name}", root / f"once-{name}.complete"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            folder.chmod(0o755)
            fill(folder)
            complete.touch()
    return folder


def build_artifact(image: str, checkout: Path, *options: str, volume: str = "") -> Path:
    """Build the artifact of *checkout* as the documentation says, with this machine's network settings.

    *volume* names a volume for what is downloaded; without it every build begins with nothing.
    """
    settings = host.host_settings(os.environ)
    command = containers.run_words(settings, f"{checkout}:/cfgov")
    command += ["-v", f"{volume}:{host.CACHE_INSIDE}"] if volume else []
    done = containers.docker_command([*command, image, *options], environ=settings.environment)
    if done.code:
        raise containers.ContainerFailed(f"the builder ended with code {done.code}:\n{done.output}")
    return checkout / ARTIFACT


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a function that takes a container to keep the traces of when the test fails, and to remove after it."""
    watched: List[Any] = []
    yield watched.append
    failed = getattr(request.node, "failed", False)
    for container in watched:
        try:
            if failed:
                containers.keep_evidence(container, result_folder(request.node.nodeid))
        finally:
            containers.remove(container)


def result_folder(nodeid: str) -> Path:
    """Return where the traces of a test are kept."""
    return RESULTS / re.sub(r"[^A-Za-z0-9_.-]+", "_", nodeid.split("::", 1)[-1])


def remember_outcome(item: pytest.Item, report: pytest.TestReport) -> None:
    """Mark *item* as failed, for fixtures that run after it."""
    if report.when in ("setup", "call") and report.failed:
        item.failed = True  # type: ignore[attr-defined]
