"""A parent that leaves its child all that can be left: ignored and blocked signals, a umask, open descriptors."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from deployable_zipfile import process
from tests.support.helpers import run_cli

PACKAGE = str(Path(process.__file__).parents[1])


# Prints the state it was started with: ignored signals, blocked ones, umask, open descriptors, session.
STATE = """
import json, os, signal
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
known = lambda key: [n for n in range(1, 32) if int(status[key], 16) >> (n - 1) & 1 and n not in (13, 25)]
number = os.umask(0)
descriptors = [n for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{n}")]
print(json.dumps([known("SigIgn"), known("SigBlk"), number, len(descriptors), os.getsid(0) == os.getpid()]))
"""


CLEAN = [[], [], 0o022, 0, True]


SPOIL = """
import os, signal, sys
for number in range(1, 65):
    if number not in (9, 19, 32, 33):
        signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.umask(0o777)
os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""


def spoiled(program: str, *words: str) -> str:
    """Run *program* with every signal ignored and blocked, a wrong umask and a descriptor too many."""
    begin = f"import sys; sys.path.insert(0, {PACKAGE!r})\n"
    return run_cli([sys.executable, "-c", SPOIL, begin + textwrap.dedent(program), *words]).stdout
