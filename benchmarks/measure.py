"""Time one command from outside, and say where it was timed."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import List, NamedTuple

from benchmarks.material import tool

_LONGEST = 900  # seconds for one command


class Run(NamedTuple):
    """One run of one flow."""

    wall: float  # seconds
    user: float  # seconds of CPU, all processes
    system: float  # likewise
    peak: float  # MB of the largest process
    flush: float  # seconds of a sync afterwards; not in wall
    files: int  # in the folder afterwards, folders not counted
    disk: int = 0  # bytes that the measured commands added to the file system
    needed: int = 0  # bytes on disk of what a second release cannot have in common with the first; 0: it is none

    @property
    def cpu(self) -> float:
        """Seconds of CPU."""
        return self.user + self.system

    def divided(self, times: int) -> "Run":
        """Return the cost of one of so many repetitions."""
        return self._replace(wall=self.wall / times, user=self.user / times, system=self.system / times)


def measured(command: str, folder: Path) -> Run:
    """Run the shell script *command* in *folder* and return what it cost.

    Raises:
        RuntimeError: the command failed; the message holds the end of its output.
    """
    os.sync()
    before = _used(folder)
    log = folder.parent / "command.log"
    with open(log, "wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            ["timeout", "--kill-after=5", str(_LONGEST), "/bin/sh", "-ec", command],
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A shell of a developer or of CI may keep Python from writing bytecode, so that all programs load slowly.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
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
    return Run(
        wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024, flush, files, _used(folder) - before
    )  # fmt: skip


def prepared(command: str, folder: Path) -> None:
    """Run the shell script *command* in *folder*, not measured.

    Raises:
        RuntimeError: as :func:`measured`.
    """
    if command:
        measured(command, folder)


def _used(folder: Path) -> int:
    found = os.statvfs(str(folder))
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def host() -> List[str]:
    """Return facts about the machine, for the report."""
    return [
        (
            f"{len(os.sched_getaffinity(0))} cores, {_processor()}, Linux {platform.release()}, "
            f"load {os.getloadavg()[0]:.1f} at the start"
        ),
        f"Python {platform.python_version()}; " + "; ".join(map(_version, _COMPARED)),
    ]


_COMPARED = (
    [tool("uv"), "--version"], [tool("pip"), "--version"], [tool("pex"), "--version"], [tool("shiv"), "--version"],
    ["unzip", "-v"],
)  # fmt: skip


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(command: List[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    except OSError:
        return f"no {os.path.basename(command[0])}"
    words = done.stdout.decode().splitlines()[0].replace(", version", "").split()
    return " ".join(words[:2] if len(words) > 1 else [os.path.basename(command[0]), *words])
