"""Roots to deploy to, with real artifacts of a small site that has no Django."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from deployable_zipfile import durable
from deployable_zipfile.deploy import transaction
from deployable_zipfile.install import installation
from tests.support.sites import Host, Server, make_sites, serving_current


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    return make_sites(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """An empty release beside others."""
    folder = tmp_path / "releases" / "one"
    (folder / ".deploy").mkdir(parents=True)
    return folder


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's disk need not be waited for with each of these small releases."""
    monkeypatch.setattr(durable, "sync_file_system", lambda path: None)
    monkeypatch.setattr(installation, "WriteBehind", lambda *_: contextlib.nullcontext())


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the one root: a release that was made under another path would be another release."""
    return tmp_path_factory.mktemp("host")


@pytest.fixture(scope="session")
def server(place: Path) -> Iterator[Server]:
    with serving_current(place / "srv") as made:
        yield made


@pytest.fixture
def root(place: Path, tmp_path: Path) -> Iterator[Path]:
    yield place / "srv"
    if os.path.lexists(str(place / "srv")):
        os.rename(str(place / "srv"), str(tmp_path / "srv"))


# The steps that start a program of the site.
COMMANDS = ("django-check", "collectstatic", "static", "wsgi", "migrate")


@pytest.fixture
def with_commands() -> None:
    """Do them all the same, for one test of a module that leaves them out."""


@pytest.fixture
def without_commands(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Leave out the steps that start a program of the site, in deployments in this process.

    For tests that look at something else: half a deployment's time goes into them. test_rollout.py and
    test_transaction.py show what they do.
    """
    if _leaves_them_out(request):
        real = transaction.perform
        monkeypatch.setattr(transaction, "perform", lambda name, do: "left out" if name in COMMANDS else real(name, do))


def _leaves_them_out(request: pytest.FixtureRequest) -> bool:
    return "without_commands" in request.fixturenames and "with_commands" not in request.fixturenames


@pytest.fixture
def host(
    quick_disk: None,
    root: Path,
    place: Path,
    artifacts: Dict[str, Path],
    server: Server,
    capsys: Any,
    request: pytest.FixtureRequest,
) -> Host:
    stock = place / ("without-commands" if _leaves_them_out(request) else "with-commands")
    return Host(root, artifacts, server.url, stock, capsys)
