"""What the integration tests share."""

from __future__ import annotations

from typing import Any, Callable, Generator

import pytest

from tests.support.fixtures_docker import engine, evidence, images, lookalike, platform, remember_outcome

__all__ = ["engine", "evidence", "images", "lookalike", "platform"]


@pytest.fixture(scope="session")
def stride(pytestconfig: pytest.Config) -> Callable[[int], int]:
    """Return what gives the step of a sweep whose cases have no names: its argument, or 1 with ``--deep``."""
    return (lambda _: 1) if pytestconfig.getoption("--deep") else (lambda step: step)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let fixtures know how the test went."""
    report = yield
    remember_outcome(item, report)
    return report
