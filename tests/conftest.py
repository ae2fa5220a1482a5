"""What the tests of every tier start with: signals that arrive, and options."""

from __future__ import annotations

import os
import signal
import zlib
from typing import Any, List

import pytest


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


def positive_number(text: str) -> int:
    """Return *text* as a number that counts something; argparse shows the name of this function where it is none."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def pytest_addoption(parser: Any) -> None:
    """Add ``--platform``, so that ``nox -s e2e -- --platform NAME`` reaches the tests."""
    parser.addoption(
        "--platform",
        default=os.environ.get("PLATFORM") or "centos7",
        metavar="NAME",
        help="section of docker/centos7/platforms.ini that the images are built on (default: PLATFORM or centos7)",
    )
    parser.addoption("--deep", action="store_true", help="run the exhaustive sweeps too (marker deep), as on GitHub")
    parser.addoption(
        "--every",
        type=positive_number,
        default=1,
        metavar="N",
        help="of what --deep adds, run about one of N tests, always the same ones",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether everything runs."""
    every = config.getoption("--every")
    if not config.getoption("--deep"):
        return "deep: exhaustive sweeps are left out; --deep runs them"
    return "deep: all sweeps run" if every == 1 else f"deep: about 1 of {every} cases of the sweeps run"


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    """Leave out what is marked deep, all of it or what ``--every`` does not take, and count it as deselected."""
    every = config.getoption("--every")
    taken: List[pytest.Item] = []
    left_out: List[pytest.Item] = []
    for item in items:
        deep = item.get_closest_marker("deep")
        # By the name: every Nth in their order could be the same value of a parameter each time.
        runs = not deep or (config.getoption("--deep") and zlib.crc32(item.nodeid.encode()) % every == 0)
        (taken if runs else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = taken
