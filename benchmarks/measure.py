"""Time one command from outside, and say where it was timed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import List, NamedTuple


class Run(NamedTuple):
    """One run of one flow."""

    wall: float  # seconds
    user: float  # seconds of CPU, all processes
    system: float  # likewise
    peak: float  # MB of the largest process
    flush: float  # seconds of a sync afterwards; not in wall
    files: int  # in the folder afterwards, folders not counted


def measured(command: str, folder: Path) -> Run:
    """Run the shell script *command* in *folder* and return what it cost.

    Raises:
        RuntimeError: the command failed; the message holds the end of its output.
    """
    os.sync()
    log = folder.parent / "command.log"
    with open(log, "wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            ["/bin/sh", "-ec", command], cwd=str(folder), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
    if status:
        raise RuntimeError(f"{command}\n{log.read_text(errors='replace')[-2000:]}")
    began = time.monotonic()
    os.sync()
    flush = time.monotonic() - began
    files = sum(len(names) for _, __, names in os.walk(str(folder)))
    return Run(wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024, flush, files)


def host() -> List[str]:
    """Return facts about the machine, for the report."""
    return [
        (
            f"{len(os.sched_getaffinity(0))} cores, {_processor()}, Linux {platform.release()}, "
            f"load {os.getloadavg()[0]:.1f} at the end"
        ),
        (f"Python {platform.python_version()}; {_version([uv(), '--version'])}; {_version(['unzip', '-v'])}"),
    ]


def uv() -> str:
    """Return the path of uv, which the session installs beside the running Python."""
    return str(Path(sys.executable).with_name("uv"))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(command: List[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return " ".join(done.stdout.decode().splitlines()[0].split()[:2])
