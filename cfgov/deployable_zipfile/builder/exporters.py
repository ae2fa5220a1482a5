"""Reads ``uv.lock`` and ``poetry.lock`` through the tools that own these formats: each exports its lock.

Neither resolves: ``uv export --frozen`` and ``poetry export`` write down what the lock says. What an artifact gets is
the project's own dependencies, and the groups and extras that are named; groups for development are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from packaging.utils import canonicalize_name

from .. import process
from ..definitions import NamedTuple
from ..errors import BuildInputError, conceal, masked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TIMEOUT = 300  # seconds; both take less than two
_TOOLS = {"uv.lock": "uv", "poetry.lock": "poetry"}
_BY_HAND = {
    "uv": "uv export --frozen --format pylock.toml -o pylock.toml",
    "poetry": "poetry export -o requirements.txt",
}
# Files of other tools, which can be read once they are exported as a requirements file or pylock.toml.
_COMPILE = "uv pip compile --generate-hashes {} -o requirements.txt"
_FOREIGN = {
    "pdm.lock": ("a lock of PDM", "pdm export --format pylock --production -o pylock.toml"),
    "pipfile.lock": ("a lock of Pipenv", "pipenv requirements --hash > requirements.txt"),
    "pipfile": ("an input of Pipenv, not a lock", "pipenv lock, then pipenv requirements --hash > requirements.txt"),
    "pyproject.toml": ("a project's own file, not a lock", _COMPILE),
    "setup.py": ("a project's own file, not a lock", _COMPILE),
    "setup.cfg": ("a project's own file, not a lock", _COMPILE),
}
_CONDA = ("a file of conda", "list the packages that are wheels in a requirements file")
_CONDA_NAMES = ("environment.yml", "environment.yaml", "conda-lock.yml", "pixi.lock")


class Exported(NamedTuple):
    """What a tool made of its lock."""

    content: bytes
    is_pylock: bool  # else a requirements file


def tool(path: str) -> str:
    """Return the name of the tool that the lock at *path* belongs to, "" when it is not such a lock."""
    return _TOOLS.get(os.path.basename(path), "")


def member(path: str, project: str) -> str:
    """Return the member of the workspace of the lock at *path* that is packed, "" for the whole lock.

    That is the nearest Python project in *project* or a folder above it, below the folder of the lock.
    """
    top, folder = os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.realpath(project)
    if tool(path) != "uv" or not folder.startswith(os.path.join(top, "")):
        return ""
    while folder != top:
        found = _toml(os.path.join(folder, "pyproject.toml")).get("project", {}).get("name")
        if isinstance(found, str):
            members = _toml(path, b"[[package]]").get("manifest", {}).get("members", [])
            return canonicalize_name(found) if canonicalize_name(found) in members else ""
        folder = os.path.dirname(folder)
    return ""


def _toml(path: str, end: bytes = b"") -> Dict[str, Any]:
    """Return the content of a TOML file, before *end* if that is given; nothing of a file that is missing or broken."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        return tomllib.loads((content.partition(end)[0] if end else content).decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}  # the tool that owns it will say what is wrong


def foreign(name: str) -> Tuple[str, str]:
    """Return what a file of this *name* is and how to make one of it that can be read; "" twice for any other file."""
    known = _CONDA if name.lower() in _CONDA_NAMES else _FOREIGN.get(name.lower(), ("", ""))
    return known[0], known[1].format(name)


def check_known(path: str) -> None:
    """Refuse a file of another tool, which is not a list of requirements.

    Raises:
        BuildInputError: it is one; with the command that exports it.
    """
    what, how = foreign(os.path.basename(path))
    if what and os.path.isfile(path):
        raise BuildInputError(path, f"is {what}, which is not read", f"Export it: {how}")


def exported(path: str, groups: Sequence[str], extras: Sequence[str], package: str = "") -> Exported:
    """Return what the lock at *path* says.

    Parameters:
        groups, extras: to take beside the project's own dependencies.
        package: member of the workspace to take instead of all that the lock is for.

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
    chosen += ["--package", package] if package else []
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
