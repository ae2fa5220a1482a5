"""The tasks of this repository, for your machine and CI. ``nox -l`` lists them; ``tools/`` contains their programs."""

from __future__ import annotations

import os
import pathlib
import sys

import nox

# Only ``python -m nox`` puts this folder on sys.path; the console script ``nox`` does not.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from tools import interpreters  # needs the line above

# default_venv_backend came with 2024.3.2. Checked by nox itself before this file runs, with a message of its own.
nox.needs_version = ">=2024.3.2"

PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
RUNNING = "{}.{}".format(*sys.version_info)

nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True
# What plain ``nox`` runs: no engine, no browser and no second Python needed. ``nox -t ci`` runs what needs them too.
nox.options.sessions = [f"unit-{RUNNING if RUNNING in PYTHONS else PYTHONS[-2]}", "site", "core"]

os.environ["PATH"] = interpreters.search_path(os.environ)


def install(session: nox.Session, *locks: str) -> None:
    """Install the named ``requirements/NAME.txt``, every file of them checked against its hash."""
    session.install("--require-hashes", *[part for lock in locks for part in ("-r", f"requirements/{lock}.txt")])


def pytest(session: nox.Session, folder: str, *options: str) -> None:
    """Run the tests of *folder* with *options*, or those that the caller names."""
    named = any(pathlib.Path(part.split("::")[0]).exists() for part in session.posargs)
    session.run("python", "-m", "pytest", *([] if named else [folder, *options]), *session.posargs)


def tool(session: nox.Session, name: str, *arguments: str) -> None:
    """Run ``tools/NAME.py``, which may import the package."""
    session.run("python", "-m", f"tools.{name}", *arguments, *session.posargs, env={"PYTHONPATH": "cfgov"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, shell scripts, Dockerfiles, YAML and workflows."""
    install(session, "lint", "test")
    tool(session, "lint")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into site/, with warnings as errors; -- --site-dir FOLDER."""
    install(session, "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=PYTHONS, tags=["ci"])
def unit(session: nox.Session) -> None:
    """Run the unit tests (no network, no engine, one or two minutes); -- --deep includes the exhaustive ones."""
    install(session, "test")
    if "--deep" not in session.posargs:
        session.log("The exhaustive sweeps are left out: nox -s deep runs them.")
    pytest(session, "tests/unit", "--numprocesses=logical")


@nox.session(tags=["ci"])
def deep(session: nox.Session) -> None:
    """Run the exhaustive unit tests: every fault, environment and hostile file; -- --every N runs about one of N."""
    install(session, "test")
    pytest(session, "tests/unit", "--numprocesses=logical", "--deep", "-m", "deep")


@nox.session(tags=["ci"])
def site(session: nox.Session) -> None:
    """Run the tests of the demo site."""
    install(session, "deployment", "site")
    # Each module stays in one process: some have fixtures that take long.
    pytest(session, "tests/site", "--numprocesses=logical", "--dist=loadscope")


@nox.session
def build(session: nox.Session) -> None:
    """Build cfgov_current_build.zip, in the builder image if possible; -- --native builds on this machine."""
    install(session, "build")
    tool(session, "build_artifact")


@nox.session
def serve(session: nox.Session) -> None:
    """Install the artifact into a scratch folder and serve the site; -- --port N."""
    tool(session, "serve")


@nox.session
def images(session: nox.Session) -> None:
    """Build the builder and tester images, or pull them by digest; -- --platform NAME (default: centos7)."""
    install(session, "e2e")
    tool(session, "images")


@nox.session
def core(session: nox.Session) -> None:
    """Run the core of the integration tests: build, install and run real artifacts, without an engine."""
    install(session, "e2e")
    pytest(session, "tests/integration", "--numprocesses=logical", "--dist=loadscope", "-m", "core")


@nox.session(tags=["ci"])
def integration(session: nox.Session) -> None:
    """Run the integration tests with the real pip, Pythons and images; -- --platform NAME (default: centos7)."""
    install(session, "e2e", "ansible")
    # In the order of names: the files with the most tests, which xdist would begin with, have the shortest ones.
    pytest(session, "tests/integration", "--numprocesses=logical", "--dist=loadfile", "--no-loadscope-reorder")


@nox.session(tags=["ci"])
def e2e(session: nox.Session) -> None:
    """Run the artifact in the tester image and test the site; -- --platform NAME (default: centos7)."""
    install(session, "e2e", "ansible")
    # The folder's conftest.py says which files come first.
    pytest(session, "tests/e2e", "--numprocesses=logical", "--dist=loadfile", "--no-loadscope-reorder")


@nox.session
def benchmark(session: nox.Session) -> None:
    """Measure builds and deployments beside other tools; -- --quick, -- --write puts the results into the docs."""
    install(session, "build", "report", "benchmark")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def release_check(session: nox.Session) -> None:
    """Check that this commit can be released: clean tree, version, changelog, files, reproducible artifact."""
    install(session, "release", "build")
    tool(session, "release_check")


@nox.session
def package(session: nox.Session) -> None:
    """Build and test the wheel and the sdist of the tool; -- --output FOLDER."""
    install(session, "release", "build")
    tool(session, "package")


@nox.session
def compare(session: nox.Session) -> None:
    """Summarize how an artifact differs from main's; -- --artifact FILE --output FILE --page FILE."""
    install(session, "report")
    tool(session, "summary")


@nox.session
def release(session: nox.Session) -> None:
    """Create the release folder and publish it; -- --dry-run stops before the upload."""
    install(session, "release", "report")
    tool(session, "release")


@nox.session
def rehearse(session: nox.Session) -> None:
    """Run the workflows on this machine with act (needs an engine, gh, skopeo, docker-registry); -- --mutations."""
    install(session, "rehearse", "nox", "release", "report")
    tool(session, "rehearse")


@nox.session
def foreign(session: nox.Session) -> None:
    """Pack, install, test and deploy third-party projects (needs the network); -- NAME, or --write."""
    install(session, "build", "lock")  # lock brings uv
    tool(session, "foreign")


@nox.session
def picture(session: nox.Session) -> None:
    """Draw docs/images/terminal.svg from a real terminal session (needs the package index)."""
    install(session, "build")
    tool(session, "picture")


@nox.session
def facts(session: nox.Session) -> None:
    """Record what the images contain and compare it with the last record; -- --platform NAME."""
    tool(session, "facts")


@nox.session
def matrix(session: nox.Session) -> None:
    """Print the Pythons of a session, or the platforms, as the matrix of a GitHub job; -- SESSION."""
    install(session, "nox")
    tool(session, "matrix")


@nox.session
def audit(session: nox.Session) -> None:
    """Check every lock for known vulnerabilities, for each Python (needs the network); -- NAME."""
    install(session, "audit")
    tool(session, "audit")


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt, pinned with hashes, from requirements/*.in (needs the network); -- NAME."""
    install(session, "lock")
    tool(session, "lock")
