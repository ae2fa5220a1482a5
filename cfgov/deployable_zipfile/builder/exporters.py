"""Reads ``uv.lock`` and ``poetry.lock`` through the tools that own these formats: each exports its lock.

Neither resolves: ``uv export --frozen`` and ``poetry export`` write down what the lock says. What an artifact gets is
the project's own dependencies, and the groups and extras that are named; groups for development are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Dict, List, NamedTuple, Optional, Sequence

from .. import process
from ..errors import BuildInputError, conceal, masked

_TIMEOUT = 300  # seconds; both take less than two
_TOOLS = {"uv.lock": "uv", "poetry.lock": "poetry"}
_BY_HAND = {
    "uv": "uv export --frozen --format pylock.toml -o pylock.toml",
    "poetry": "poetry export -o requirements.txt",
}


class Exported(NamedTuple):
    """What a tool made of its lock."""

    content: bytes
    is_pylock: bool  # else a requirements file


def tool(path: str) -> str:
    """Return the name of the tool that the lock at *path* belongs to, "" when it is not such a lock."""
    return _TOOLS.get(os.path.basename(path), "")


def exported(path: str, groups: Sequence[str], extras: Sequence[str]) -> Exported:
    """Return what the lock at *path* says.

    Parameters:
        groups, extras: to take beside the project's own dependencies.

    Raises:
        BuildInputError: the tool is not installed, or refuses; with its own words.
    """
    name = tool(path)
    if not os.path.isfile(path):
        raise BuildInputError(path, "does not exist", "Correct the path")
    command = _command(name)
    if not command:
        raise BuildInputError(
            path, f"is read by {name}, which is not installed", f"Install {name}, or export the lock: {_BY_HAND[name]}"
        )
    chosen = [word for group in groups for word in ("--group" if name == "uv" else "--with", group)]
    chosen += [word for extra in extras for word in ("--extra" if name == "uv" else "--extras", extra)]
    if name == "uv":
        arguments = ["export", "--frozen", "--format", "pylock.toml", "--no-default-groups", "--no-header", "--quiet"]
    else:
        arguments = ["export", "--format", "requirements.txt", "--no-interaction", "--no-ansi"]
    content = _output(path, name, [*command, *arguments, *chosen])
    conceal(content.decode("utf-8", "replace"))
    return Exported(content, name == "uv")


def _command(name: str) -> List[str]:
    """Return how to start the tool: from PATH, or from beside the Python that builds."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    found: Optional[str] = shutil.which(name) or shutil.which(beside)
    return [found] if found else []


def _output(path: str, name: str, command: Sequence[str]) -> bytes:
    environment: Dict[str, str] = dict(
        os.environ, NO_COLOR="1", COLUMNS="400", UV_PYTHON_DOWNLOADS="never", POETRY_WARNINGS_EXPORT="false"
    )
    try:
        done = process.answer(command, _TIMEOUT, os.path.dirname(os.path.abspath(path)), environment)
    except (OSError, subprocess.SubprocessError) as error:
        why = f"{name} cannot be started ({getattr(error, 'strerror', None) or type(error).__name__})"
        raise BuildInputError(path, why, "Export the lock by hand") from None
    if done.timed_out:
        raise BuildInputError(path, f"{name} takes longer than {_TIMEOUT} seconds", "Export the lock by hand")
    if done.status:
        said = masked(done.stderr) or masked(done.stdout.decode("utf-8", "replace"))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        why = " ".join(lines[:4]) if lines else process.described(done.status)
        raise BuildInputError(path, f"{name} cannot export it ({why[:300]})", "Correct the lock or the options")
    return done.stdout
