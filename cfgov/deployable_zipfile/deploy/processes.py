"""The processes of this host, as proc(5) shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Optional, Set, Tuple

from ..definitions import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """One running process; the start time tells it from a later one with the same number."""

    pid: int
    started: int  # clock ticks since boot, proc(5) stat field 22
    parent: int


def processes(proc: Path) -> List[Tuple[Process, str]]:
    """Return the processes that run, each with its title."""
    found = []
    for name in os.listdir(str(proc)):
        if name.isdigit():
            running, named = process(proc / name), title(proc / name)
            if running is not None and named is not None:
                found.append((running, named))
    return found


def process(folder: Path) -> Optional[Process]:
    """Return the process in *folder* of proc(5), None when it has ended or is a zombie."""
    try:
        text = (folder / "stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # the name before it may hold blanks and parentheses
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return Process(int(folder.name), int(fields[19]), int(fields[1]))


def threads(proc: Path, process: Process) -> int:
    """Return the number of threads (proc(5) stat field 20), 0 when the process has ended."""
    try:
        return int((proc / str(process.pid) / "stat").read_bytes().rpartition(b")")[2].split()[17])
    except (OSError, IndexError):
        return 0


def title(folder: Path) -> Optional[str]:
    """Return the title of the process in *folder*, what it was started as or calls itself; None when it has ended."""
    try:
        return (folder / "cmdline").read_bytes().split(b"\0")[0].decode("utf-8", "replace").rstrip()
    except OSError:
        return None


def is_cut(found: str, whole: str) -> bool:
    """Tell whether *found* is the beginning of the daemon's title *whole*, cut short."""
    return len(found) >= len("(wsg") and found != whole and whole.startswith(found)


def children(proc: Path, parent: int) -> Set[Process]:
    """Return the processes that *parent* has started and not outlived."""
    return {one for one, _ in processes(proc) if one.parent == parent}
