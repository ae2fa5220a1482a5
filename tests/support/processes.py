"""What this process has begun and opened: nothing of it may be left by what is tested."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List


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
