"""What every command line is made of: the parser, and the types of its arguments."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from .errors import UsageError, printable

MAX_WORKERS = 64
MAX_SECONDS = 86_400  # one day
MAX_DAYS = 3650
_UNITS = {"d": 86_400, "": 86_400, "h": 3600, "m": 60, "s": 1}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in the one line that every error has."""

    def __init__(self, prog: str = "", **options: Any) -> None:
        super().__init__(prog=printable(prog), allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's *message*."""
        raise UsageError("the command line", message, f"Run: {self.prog} --help")


def workers(text: str) -> int:
    """Return a number of processes from 0 to 64."""
    if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} must be an integer from 0 to {MAX_WORKERS}")
    return int(text)


def seconds(text: str) -> float:
    """Return a time in seconds, at most one day."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds from 0 to {MAX_SECONDS}")
    return value


def days(text: str) -> float:
    """Return a number of days, at most ten years."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of days from 0 to {MAX_DAYS}")
    return value


def age(text: str) -> float:
    """Return an age such as 30d, 12h, 90m or 60s in seconds; a bare number is in days."""
    match = re.match(r"([0-9]{1,6})([dhms]?)\Z", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} must be an age such as 30d, 12h, 90m or 60s")
    return float(match.group(1)) * _UNITS[match.group(2)]
