"""What the end-to-end tests share: the artifact, the booted site, a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, Dict, Generator, Iterator, List

import pytest

from deployable_zipfile.artifact import layout, manifest_reader
from tests.support import containers
from tests.support.fixtures_docker import (
    ARTIFACT,
    RESULTS,
    build_artifact,
    clone,
    commit,
    engine,
    evidence,
    images,
    lookalike,
    once,
    platform,
    remember_outcome,
)
from tests.support.machine import lacking

__all__ = ["engine", "evidence", "images", "lookalike", "platform"]

LONGEST = ("test_servers.py", "test_zero_downtime.py", "test_container.py", "test_report.py")  # minutes each
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Beside test.env: what the tests provoke, and values that are easily broken on their way into the site.
AWKWARD = {
    "CFGOV_TEST_VIEWS": "1",
    "AWKWARD_EQUALS": "postgres://user@host/db?sslmode=require&a=b",
    "AWKWARD_QUOTES": 'it\'s "quoted" and \\escaped\\',
    "AWKWARD_LINES": "first\nsecond\n",
    "AWKWARD_UNICODE": "Größe 大きさ €",
}
# The wheel in which two releases differ: a small one, for every Python the same, in the version before the locked one.
CHANGED_WHEEL = re.compile(r"^anyascii==.*?(?=^    # via)", re.MULTILINE | re.DOTALL)
OLDER_WHEEL = "anyascii==0.3.2 \\\n    --hash=sha256:3b3beef6fc43d9036d3b0529050b0c48bfad8bc960e9e562d7223cfb94fe45d4\n"


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Begin with the files that take longest, so that none of them is left over for one of the processes."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let fixtures know how the test went, and keep the traces of the site when it went wrong."""
    report = yield
    remember_outcome(item, report)
    return report


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder that all builds of this run in the builder image keep their downloads in."""
    return once(tmp_path_factory, "cache", lambda _: None)


@pytest.fixture(scope="session")
def artifact(
    engine: containers.Engine, images: Dict[str, str], cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the artifact in the root of the checkout, so that the very bytes that are shipped are tested.

    Without one it is built in the builder image, from the files as they are now. One of another commit is refused:
    what it shows would say nothing about this checkout.
    """
    shipped = containers.ROOT / ARTIFACT
    if shipped.exists():
        with zipfile.ZipFile(shipped) as archive:
            commit = manifest_reader.read(archive.read(layout.MANIFEST)).source.commit
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=containers.ROOT, check=True, capture_output=True, encoding="utf-8"
        ).stdout.strip()
        if commit != head:
            pytest.fail(
                f"{shipped}: is of commit {commit[:12]}, the checkout is at {head[:12]}. Build it again or remove it"
            )
        print(f"e2e: tests {shipped}, which is there")
        return shipped
    print("e2e: builds the artifact, for there is none")

    def build(folder: Path) -> None:
        build_artifact(images["builder"], clone(folder), volume=str(cache))

    return once(tmp_path_factory, "checkout", build) / ARTIFACT


@pytest.fixture(scope="session")
def checkout(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder to mount at /cfgov: only the artifact."""
    return once(tmp_path_factory, "mounted", lambda folder: shutil.copy2(artifact, folder / ARTIFACT))


@pytest.fixture(scope="session")
def two_releases(
    engine: containers.Engine,
    images: Dict[str, str],
    artifact: Path,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a folder with ``two.zip``, the artifact, and ``one.zip``, which differs from it in one wheel."""

    def build(folder: Path) -> None:
        checkout = clone(tmp_path_factory.mktemp("changing"))
        lock = checkout / "requirements" / "deployment.txt"
        locked = lock.read_text(encoding="utf-8")
        older = CHANGED_WHEEL.sub(lambda _: OLDER_WHEEL, locked)
        assert older != locked, "deployment.txt has no such wheel: choose another one"
        lock.write_text(older, encoding="utf-8")
        commit(checkout, "Lock an older wheel")  # what is not committed is not deployed
        shutil.copy2(build_artifact(images["builder"], checkout, volume=str(cache)), folder / "one.zip")
        shutil.copy2(artifact, folder / "two.zip")

    return once(tmp_path_factory, "releases", build)


@pytest.fixture(scope="session")
def site(
    engine: containers.Engine, images: Dict[str, str], checkout: Path, request: pytest.FixtureRequest
) -> Iterator[containers.Tester]:
    """Boot the tester once, with test.env and what the tests provoke; its traces are kept when any test failed."""
    tester = containers.start_tester(
        engine, checkout, image=images["tester"], env=containers.test_environment(**AWKWARD)
    )
    try:
        seconds = containers.wait_healthy(tester.container)
        print(f"e2e: healthy after {seconds:.1f} s")
        yield tester
    finally:
        if request.session.testsfailed:
            containers.keep_evidence(tester.container, RESULTS / "site")
        tester.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start a Chromium of this machine. Without one, skip; REQUIRE_BROWSER=1 makes that a failure."""
    path = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if path is None:
        lacking("no Chromium was found. Install one, on Debian with .ci/browser", "REQUIRE_BROWSER")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*quiet, *root, "--no-first-run", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        yield browser
        browser.close()
