"""What the integration tests share."""

from __future__ import annotations

from typing import Any, Generator

import pytest

from tests.support.fixtures_docker import engine, evidence, images, lookalike, platform, remember_outcome

__all__ = ["engine", "evidence", "images", "lookalike", "platform"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let fixtures know how the test went."""
    report = yield
    remember_outcome(item, report)
    return report
