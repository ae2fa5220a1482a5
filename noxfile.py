"""Every task of this repository, on a desk as in CI: ``nox -l`` lists them. What has branches stands in ``tools/``."""

from __future__ import annotations

import os
import pathlib

import nox

from tools import interpreters

nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.tags = ["test"]
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]

os.environ["PATH"] = interpreters.search_path(os.environ)


def install(session: nox.Session, *locks: str) -> None:
    """Install the named ``requirements/NAME.txt``, every file of them checked against its hash."""
    session.install("--require-hashes", *[part for lock in locks for part in ("-r", f"requirements/{lock}.txt")])


def pytest(session: nox.Session, folder: str) -> None:
    """Run the tests of *folder*, or those that the caller names."""
    named = any(pathlib.Path(part.split("::")[0]).exists() for part in session.posargs)
    session.run("python", "-m", "pytest", *([] if named else [folder]), *session.posargs)


def tool(session: nox.Session, name: str, *arguments: str) -> None:
    """Run ``tools/NAME.py``, which may import the package."""
    session.run("python", "-m", f"tools.{name}", *arguments, *session.posargs, env={"PYTHONPATH": "cfgov"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, shell scripts, image recipes, YAML and workflows."""
    install(session, "lint", "build")
    tool(session, "lint")


@nox.session(python=PYTHONS, tags=["test"], allow_parallel=True)
def unit(session: nox.Session) -> None:
    """Unit tests: no network, no engine, seconds."""
    install(session, "test")
    pytest(session, "tests/unit")


@nox.session(tags=["test"], allow_parallel=True)
def site(session: nox.Session) -> None:
    """Tests of the site in this repository."""
    install(session, "deployment", "site")
    pytest(session, "tests/site")


@nox.session
def build(session: nox.Session) -> None:
    """Write cfgov_current_build.zip, through the builder image when it can; -- --native does without."""
    install(session, "build")
    tool(session, "build_artifact")


@nox.session
def serve(session: nox.Session) -> None:
    """Extract the artifact into a scratch folder and serve it with gunicorn; -- --port N."""
    tool(session, "serve")


@nox.session
def images(session: nox.Session) -> None:
    """Build the builder and tester images; -- --platform NAME (default: centos7)."""
    install(session, "e2e")
    tool(session, "images")


@nox.session(tags=["test"], allow_parallel=True)
def integration(session: nox.Session) -> None:
    """Real pip, real Pythons, real images; -- --platform NAME (default: centos7)."""
    install(session, "e2e", "ansible")
    pytest(session, "tests/integration")


@nox.session(tags=["test"], allow_parallel=True)
def e2e(session: nox.Session) -> None:
    """Boot the artifact in the tester image and browse it; -- --platform NAME (default: centos7)."""
    install(session, "e2e", "ansible")
    pytest(session, "tests/e2e")


@nox.session
def benchmark(session: nox.Session) -> None:
    """Measure the deployment side by side with other installers; prints ratios."""
    install(session, "build", "lock")  # lock brings uv, which it is compared with
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def release_check(session: nox.Session) -> None:
    """Is this commit ready: clean tree, version, changelog, exact assets, twice-built artifact identical."""
    install(session, "release", "build")
    tool(session, "release_check")


@nox.session
def release(session: nox.Session) -> None:
    """Make the release folder and publish it; -- --dry-run stops before the upload."""
    install(session, "release", "build")
    tool(session, "release")


@nox.session
def facts(session: nox.Session) -> None:
    """Record what the images hold and compare it with the last record; -- --platform NAME."""
    tool(session, "facts")


@nox.session
def matrix(session: nox.Session) -> None:
    """Write the versions of a session as the matrix of a GitHub job; -- SESSION."""
    install(session, "nox")
    tool(session, "matrix")


@nox.session
def report_failure(session: nox.Session) -> None:
    """Open an issue about a failed run of a workflow; -- TITLE (needs the network)."""
    install(session, "release")
    tool(session, "report_failure")


@nox.session
def audit(session: nox.Session) -> None:
    """Compare every lock with the known weaknesses (needs the network)."""
    install(session, "audit")
    for lock in sorted(pathlib.Path("requirements").glob("*.txt")):
        session.run("pip-audit", "--require-hashes", "--disable-pip", "--requirement", str(lock), *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve requirements/*.in again into hash-pinned requirements/*.txt (needs the network); -- NAME."""
    install(session, "lock")
    tool(session, "lock")
