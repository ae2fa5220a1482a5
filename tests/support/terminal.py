"""A pseudo-terminal, as a person has one: what a command draws there, line by line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

_CLEAR = "\r\x1b[K"


class Shown(NamedTuple):
    """What a terminal was sent."""

    code: int
    text: str
    lines: List[str]  # that stay
    drawn: List[str]  # that were shown for a while and replaced


def read_all(master: int) -> str:
    """Return what was written to the terminal of *master*, whose other end is closed, and close it."""
    text = b""
    with contextlib.suppress(OSError):  # EIO: that was all
        while True:
            piece = os.read(master, 65536)
            if not piece:
                break
            text += piece
    os.close(master)
    return text.decode()


def open_terminal(columns: int) -> "tuple[int, int]":
    """Return both ends of a terminal that is *columns* wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return master, slave


def parsed(code: int, text: str) -> Shown:
    """Return *text* taken apart."""
    lines: List[str] = []
    drawn: List[str] = []
    for line in re.split(r"\r?\n", text):
        *replaced, last = line.split(_CLEAR)
        drawn += [one for one in replaced if one]
        lines += [last] if last else []
    return Shown(code, text, lines, drawn)


def run_in_terminal(
    command: Sequence[Any],
    columns: int = 80,
    extra_env: Optional[Dict[str, str]] = None,
    timeout: float = 300,
    cwd: Optional[Path] = None,
    both: bool = False,
) -> Shown:
    """Run *command* with its stderr on a terminal, with *both* its stdout too, and return what that showed."""
    master, slave = open_terminal(columns)
    environ = {**os.environ, "TERM": "xterm-256color", **(extra_env or {})}
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=slave if both else subprocess.DEVNULL,
        stderr=slave,
        env=environ,
    )
    os.close(slave)
    text = read_all(master)
    return parsed(process.wait(timeout), text)
