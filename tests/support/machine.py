"""What a machine may lack: a test that needs it is skipped with the reason, or fails where CI requires it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Iterator, NoReturn

import pytest


def lacking(reason: str, variable: str) -> NoReturn:
    """Skip with *reason*; fail where the environment's *variable* is 1 (``REQUIRE_DOCKER``, for instance)."""
    if os.environ.get(variable) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_program(name: str, package: str, variable: str) -> str:
    """Return the path of the program *name*, which is in Debian's *package*; *variable* as for :func:`lacking`."""
    found = shutil.which(name)
    if found is None:
        lacking(f"{name} is not installed (Debian: apt-get install {package})", variable)
    return found


def require_strace() -> str:
    """Return the path of strace."""
    return require_program("strace", "strace", "REQUIRE_STRACE")


def require_compiler() -> None:
    """Require a C compiler, and the headers of this Python."""
    compiler = str(sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        lacking(f"no {compiler} or no Python.h (Debian: apt-get install gcc python3-dev)", "REQUIRE_COMPILER")


@contextlib.contextmanager
def mounted(point: Path, *words: str) -> Iterator[None]:
    """Mount on *point* what the *words* of mount(8) say, for as long as the block takes."""
    done = subprocess.run(["mount", *words, str(point)], check=False, stderr=subprocess.PIPE)
    if done.returncode:
        lacking(f"cannot mount here: {done.stderr.decode('utf-8', 'replace').strip()}", "REQUIRE_MOUNT")
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)
