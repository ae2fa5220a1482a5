"""From the file that a user gives to the list of what is to be installed: which kind of file, and who reads it."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Callable, List, Sequence, Tuple

from packaging.requirements import InvalidRequirement, Requirement

from ..definitions import NamedTuple
from ..errors import BuildInputError
from . import cache, exporters, requirement_line, requirements, requirements_file, surroundings, urls

# Imported only for a lock of that kind.
if TYPE_CHECKING:
    from . import pylock


class Selection(NamedTuple):
    """What of a lock is wanted beside the project's own dependencies."""

    groups: Tuple[str, ...] = ()
    extras: Tuple[str, ...] = ()
    project: str = ""  # folder of what is packed, which may be one member of a workspace


def gathered(
    path: str, further: Sequence[str], selection: Selection, require_hashes: bool, warn: Callable[[str], None]
) -> requirements.Requirements:
    """Return what the file or lock at *path* and the *further* ones require.

    Raises:
        BuildInputError: one of them cannot be read, or has no hashes while the others do or they are required.
    """
    locked = read(path, selection)
    every = [locked, *map(read, further)]
    for one in every:
        if one.doubt:
            warn(f"{one.path}: {one.doubt}")
    for more in every[1:]:
        locked = _with_more(locked, more)
    if not locked.lines:
        warn(f"{path}: contains no requirements; the artifact will contain only pip")
    elif not locked.fixed:
        if require_hashes:
            raise BuildInputError(
                path, "has no hashes", "Lock it with uv pip compile --generate-hashes, or pip-compile"
            )
        warn(
            f"{path}: has no hashes, so other files may be fetched under the same names; "
            "lock it with uv pip compile --generate-hashes"
        )
    return locked


def read(path: str, selection: Selection = Selection()) -> requirements.Requirements:  # noqa: B008 - cannot change
    """Read the requirements file or lock at *path*.

    Raises:
        BuildInputError: naming file and line, or file and package.
    """
    if path.endswith(".toml"):
        from . import pylock

        if pylock.is_lock(path):
            return _of_pylock(path, requirements_file.content(path), selection)
    if exporters.tool(path):
        member = exporters.member(path, selection.project) if selection.project else ""
        exported = exporters.exported(path, selection.groups, selection.extras, member)
        if exported.is_pylock:
            return _of_pylock(path, exported.content, Selection())
        return requirements_file.read(path, urls.content, exported.content)
    exporters.check_known(path)
    if path.lower().endswith(".toml"):
        raise BuildInputError(path, "is not named as a lock", "Name it pylock.toml or pylock.NAME.toml, or give a lock")
    _check_unused(path, selection)
    locked = requirements_file.read(path, urls.content, constraints=surroundings.constraints(sys.executable))
    demanded = surroundings.demanded(sys.executable, "require-hashes")
    if demanded and not locked.fixed and locked.lines:
        raise BuildInputError(path, f"has no hashes, which are required ({demanded})", "Lock it with hashes")
    return locked


def _with_more(locked: requirements.Requirements, more: requirements.Requirements) -> requirements.Requirements:
    """Return *locked* with the requirements of a further file."""
    if locked.lines and more.lines and locked.fixed != more.fixed:
        bare = more.path if locked.fixed else locked.path
        raise BuildInputError(bare, "has no hashes, the other requirements do", "Lock it with hashes too")
    return locked._replace(
        lines=locked.lines + more.lines,
        options=locked.options + tuple(word for word in more.options if word not in locked.options),
        constraints=tuple(dict.fromkeys(locked.constraints + more.constraints)),
        digest=cache.key(locked.digest, more.digest),
        files=locked.files + more.files if locked.files and more.files else (),
    )


def _of_pylock(path: str, content: bytes, selection: Selection) -> requirements.Requirements:
    from . import pylock

    lock = pylock.parsed(path, content, selection.groups, selection.extras)
    digest = hashlib.sha256(content)
    digest.update(repr(selection).encode("utf-8", "backslashreplace"))
    lines: List[requirements.Line] = [_line(locked) for locked in lock.packages]
    return requirements.Requirements(
        path,
        tuple(lines),
        (),
        (),
        digest.hexdigest(),
        lock.requires_python,
        lock.environments,
        doubt=lock.doubt,
    )


def _line(locked: pylock.Locked) -> requirements.Line:
    version = f"=={locked.version}" if locked.version and not locked.url else ""
    text = locked.name + (f" @ {locked.url}" if locked.url else version)
    try:
        requirement = Requirement(text + (f" ; {locked.marker}" if locked.marker else ""))
    except InvalidRequirement as error:
        raise BuildInputError(
            locked.place, f"cannot be read ({str(error).splitlines()[0]})", "Export the lock again"
        ) from None
    files = tuple(requirements.File(*file) for file in locked.files)
    hashes = locked.hashes or tuple(one for file in files for one in file.hashes)
    line = requirements.Line(locked.place, requirement, hashes, (), True, files, locked.requires_python)
    requirement_line.check_location(line)
    return line


def _check_unused(path: str, selection: Selection) -> None:
    for option, names in (("--group", selection.groups), ("--extra", selection.extras)):
        if names:
            raise BuildInputError(
                path, f"is a requirements file, so {option} {names[0]} chooses nothing in it", f"Leave out {option}"
            )


def named(locked: requirements.Requirements, found: Sequence[Tuple[str, str]]) -> requirements.Requirements:
    """Return *locked* with the names of projects that were unknown until they were built.

    Parameters:
        found: (place of the line, name of the project).
    """
    names = dict(found)
    lines = []
    for line in locked.lines:
        if not line.named and line.place in names:
            requirement = Requirement(str(line.requirement))
            requirement.name = names[line.place]
            line = line._replace(requirement=requirement, named=True)
        lines.append(line)
    return locked._replace(lines=tuple(lines))
