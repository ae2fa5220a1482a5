"""Progress: a bar on a terminal, plain lines in a log. The terminal is a pseudo-terminal, as a person has one."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from deployable_zipfile.console import Console, bar_line
from tests.support.artifacts import make_artifact


def shown(columns: int, **options: Any) -> str:
    """Return what a phase of 100 parts, interrupted by a warning, writes to a terminal that is *columns* wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w") as stream:
        console = Console(err=stream, **options)
        with console.phase("Fetching wheels for CPython 3.11 on x86_64", 100) as advance:
            advance(50)
            console.warn("something")
            advance(50)
    return read_all(master)


def read_all(master: int) -> str:
    """Return what was written to the terminal of *master*, whose other end is closed, and close it."""
    text = b""
    with contextlib.suppress(OSError):  # EIO: that was all
        while True:
            text += os.read(master, 65536)
    os.close(master)
    return text.decode()


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_gets_a_bar_that_fits_and_keeps_one_line(columns: int) -> None:
    text = shown(columns)
    assert "0% 0/100 -:--" in text
    lines = text.replace("\r\n", "\n").split("\n")
    assert lines[0].rpartition("\x1b[K")[2] == "warning: something"
    assert lines[1].rpartition("\x1b[K")[2] == "Fetching wheels for CPython 3.11 on x86_64"
    drawn = [part for line in lines for part in line.split("\r\x1b[K") if "/100" in part]
    assert drawn
    assert max(map(len, drawn)) < columns


def test_there_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" in shown(80)
    assert shown(80).replace("\x1b[K", "").count("\x1b") == 0


@pytest.mark.parametrize(("options", "term"), [({"quiet": True}, "xterm"), ({"as_json": True}, "xterm"), ({}, "dumb")])
def test_no_bar_is_drawn_when_nobody_would_see_one(monkeypatch: pytest.MonkeyPatch, options: Any, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    assert "%" not in shown(80, **options)


def test_a_log_gets_one_plain_line_before_the_work() -> None:
    stream = io.StringIO()
    with Console(err=stream).phase("Packing", 100) as advance:
        assert stream.getvalue() == "Packing\n"
        advance(100)
    assert stream.getvalue() == "Packing\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Packing", 25, 100, 10.0, 80), "Packing #####---------------  25% 25/100 0:30"),
        (("Packing", 100, 100, 10.0, 80), "Packing #################### 100% 100/100 0:00"),
        (("Verifying", 50_000_000, 200_000_000, 100.0, 80), "Verifying #####---------------  25% 50/200 MB 5:00"),
        (("A very long name", 1, 100, 2.0, 25), "A very l   1% 1/100 3:18"),
        (("x", 0, 5, 0.0, 1), ""),
    ],
)
def test_a_bar_has_a_count_and_an_estimate(arguments: Any, line: str) -> None:
    found = bar_line(*arguments)
    assert len(found) <= arguments[4] - 1
    assert found == line


@pytest.mark.parametrize("columns", [40, 120])
def test_an_installation_shows_a_bar_for_each_phase(columns: int, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-I", str(artifact), "-d", str(tmp_path / "site"), "--no-sync"]
    done = subprocess.run(command, stderr=slave, stdout=subprocess.DEVNULL, check=False, timeout=120)
    os.close(slave)
    text = read_all(master)
    assert done.returncode == 0, text
    for phase in ("Verifying", "Installing"):
        drawn = [part for part in re.split(r"[\r\n]+", text) if part.startswith("\x1b[K" + phase[:4]) and "%" in part]
        assert drawn
        assert max(len(part) - len("\x1b[K") for part in drawn) < columns
