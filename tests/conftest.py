"""What the tests of every tier start with: signals that arrive, and options."""

from __future__ import annotations

import os
import signal
from typing import Any


def _go_on(*_: object) -> None:
    """Do nothing: the run goes on, as nohup is asked for, and a process that it starts ends like any other."""


# What a shell starts in the background ignores SIGINT, and under nohup SIGHUP. What ignores a signal when it starts
# goes on ignoring it, on purpose, in the code under test as in its processes: a test that sends one would wait in vain.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, _go_on),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_addoption(parser: Any) -> None:
    """Add ``--platform``, so that ``nox -s e2e -- --platform NAME`` reaches the tests."""
    parser.addoption(
        "--platform",
        default=os.environ.get("PLATFORM") or "centos7",
        metavar="NAME",
        help="section of docker/centos7/platforms.ini that the images are built on (default: PLATFORM or centos7)",
    )
