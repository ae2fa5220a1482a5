"""How much memory and time a command takes: the peak of the process itself, not of the tests that start it."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple, Sequence

# A process begins with the peak of the one it was forked from, so a small one comes in between.
_SPAWN = """
import os, signal, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
signal.alarm(int(sys.argv[1]))
_, status, usage = os.wait4(child, 0)
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
sys.stderr.write("\\n%d %d" % (code, usage.ru_maxrss))
"""


class Taken(NamedTuple):
    """What a command came to."""

    code: int  # exit code, or minus the signal's number
    stdout: str
    stderr: str
    mebibytes: float  # peak resident set of the process and of the children that it waited for


def peak(command: Sequence[object], timeout: int = 60) -> Taken:
    """Run *command* and return its peak memory.

    Parameters:
        command: the first word is an absolute path.
        timeout: seconds after which it is killed.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _SPAWN, str(timeout), *map(str, command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=timeout + 60,
        check=True,
    )
    stderr, _, last = done.stderr.rpartition("\n")
    code, kibibytes = last.split()
    return Taken(int(code), done.stdout, stderr, int(kibibytes) / 1024)
