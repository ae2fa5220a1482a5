"""What this process has begun and opened: nothing of it may be left by what is tested. And threads that fail."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Callable, List


def children() -> List[int]:
    """Process ids of the children of this process, ended ones that nobody waited for included."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def descriptors() -> List[str]:
    """What this process has open."""
    return sorted(os.listdir("/proc/self/fd"))


def no_thread_after(count: int) -> Callable[[threading.Thread], None]:
    """Return what stands in for ``Thread.start`` where the system gives *count* threads and no more."""
    real = threading.Thread.start
    given: List[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if len(given) == count:
            raise RuntimeError("can't start new thread")
        given.append(thread)
        real(thread)

    return start
