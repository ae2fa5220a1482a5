"""How deep the unit tests look, and what they do not wait for."""

from __future__ import annotations

import gc
import itertools
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, Iterator, List

import pytest
from hypothesis import HealthCheck, settings

# pytest --hypothesis-profile=deep: ten thousand mutations, every bit and every offset, in half an hour.
settings.register_profile(
    "deep", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="session", autouse=True)
def _quick_disk() -> Iterator[None]:
    """Let no file wait for its disk: no test of this folder can see what a crash of the machine leaves.

    Those that make ``fsync`` fail replace it once more.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        yield


# Collecting thousands of tests makes next to no garbage, and looking for it takes a quarter of the time.
gc.disable()


def pytest_collection_finish() -> None:
    """Let no later collection of garbage look at what is there for good: every module and every test."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=sys.version_info < (3, 10))
def _no_collection_in_the_depth() -> Iterator[None]:
    """Collect garbage only between tests.

    Python before 3.10 aborts ("Cannot recover from stack overflow", bpo-42500) if a finaliser runs too close to the
    recursion limit, and garbage of an earlier test may be collected while a text is read that is nested too deeply.
    """
    gc.disable()
    yield
    gc.enable()


_NUMBERS = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the test's own: pytest's fixture lists those of all tests before to find its number."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{next(_NUMBERS)}-{name}", numbered=False)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> List[socket.socket]:
    """Return every connection that the test makes, so that none is closed by the garbage collector."""
    found: List[socket.socket] = []
    connect = socket.create_connection

    def connected(*words: Any, **named: Any) -> socket.socket:
        found.append(connect(*words, **named))
        return found[-1]

    monkeypatch.setattr(socket, "create_connection", connected)
    return found
