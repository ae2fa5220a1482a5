"""Options that the tests of every tier take."""

from __future__ import annotations

import os
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Add ``--platform``, so that ``nox -s e2e -- --platform NAME`` reaches the tests."""
    parser.addoption(
        "--platform",
        default=os.environ.get("PLATFORM") or "centos7",
        metavar="NAME",
        help="section of docker/centos7/platforms.ini that the images are built on (default: PLATFORM or centos7)",
    )
