"""Patch releases of one Python version, and the ranges for which a plan is valid.

A build sees one patch release, or none; markers and Requires-Python may tell others apart (PEP 508, PEP 440).
"""

from __future__ import annotations

import sys
from typing import Dict, Optional, Sequence, Tuple

from ..definitions import NamedTuple, expression

_FORM = expression(r"3\.(?P<minor>[0-9]{1,2})\.(?P<micro>[0-9]{1,4})(?:(?P<level>a|b|rc)(?P<serial>[0-9]{1,3}))?\Z")
_LEVELS: Dict[Optional[str], int] = {"a": 0, "b": 1, "rc": 2, None: 3}
_RUNNING_LEVELS = {"alpha": 0, "beta": 1, "candidate": 2, "final": 3}


class Patch(NamedTuple):
    """One release of Python; they compare as PEP 440 orders them."""

    minor: int
    micro: int
    level: int  # 0 alpha, 1 beta, 2 release candidate, 3 final
    serial: int  # of a pre-release, else 0


class Range(NamedTuple):
    """Consecutive releases of one Python, both ends included."""

    first: str  # "3.11.3", "3.13.0rc1"
    last: str  # "": every later release of the same minor version too


def running() -> Patch:
    """Return the release of the running interpreter."""
    _, minor, micro, stage, serial = sys.version_info
    return Patch(minor, micro, _RUNNING_LEVELS[stage], serial if stage != "final" else 0)


def parsed(release: str) -> Patch:
    """Read a release: "3.11.3", "3.13.0rc1".

    Raises:
        ValueError: it has another form.
    """
    match = _FORM.match(release)
    if match is None:
        raise ValueError(release)
    return Patch(int(match["minor"]), int(match["micro"]), _LEVELS[match["level"]], int(match["serial"] or 0))


def text(patch: Patch) -> str:
    """Return *patch* as :func:`parsed` reads it."""
    stage = "" if patch.level == 3 else f"{('a', 'b', 'rc')[patch.level]}{patch.serial}"
    return f"3.{patch.minor}.{patch.micro}{stage}"


def hold(ranges: Sequence[Range], patch: Patch) -> bool:
    """Return whether *patch* is in one of *ranges*; no range at all means every release."""
    return not ranges or any(
        parsed(first) <= patch and (not last or patch <= parsed(last)) and parsed(first).minor == patch.minor
        for first, last in ranges
    )


def every(python: str) -> Tuple[Range, ...]:
    """Return the range of all releases of *python* ("3.11")."""
    return (Range(f"{python}.0a0", ""),)


def start(one: Range) -> Patch:
    """Return the first release of a range, to sort by."""
    return parsed(one.first)


def problem(ranges: Sequence[Range], python: str) -> str:
    """Return what is wrong with *ranges* of *python* ("3.11"), "" when they are sound: in order, and apart."""
    before: Tuple[int, ...] = ()
    for number, (first, last) in enumerate(ranges):
        try:
            start = parsed(first)
            end = parsed(last) if last else None
        except ValueError as error:
            return f"{str(error)!r} is not a release of Python"
        if {start.minor, (end or start).minor} != {int(python.partition(".")[2])}:
            return f"{first} to {last} is not a range of Python {python}"
        if start <= before or (end and end < start) or (end is None and number + 1 < len(ranges)):
            return "the ranges are not in order"
        before = end or start
    return ""


def described(ranges: Sequence[Range]) -> str:
    """Return *ranges* for a message: "3.11.0 to 3.11.2, 3.11.4 or later"."""
    found = []
    for first, last in ranges:
        end = f" to {last}" if last else " or later"
        found.append(first if first == last else first + end)
    return ", ".join(found)
