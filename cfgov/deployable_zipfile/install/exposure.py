"""Who else could change an installation that is as it was installed: modes, owners and other names of its files.

The list of what was installed is about what is in the destination. The destination itself, and what the installation
and a deployment record about themselves, are looked at here.
"""

from __future__ import annotations

import os
import stat
from typing import Iterator, List

from ..artifact import layout

# Not in the list of what was installed; who writes to one of these decides what runs, or what `verify` compares with.
_OWN = (
    ".",
    layout.INSTALLED,
    layout.FILES,
    layout.LINKS,
    layout.STATIC_FILES,
    layout.ENVIRONMENT,
    layout.ENVIRONMENT_BEFORE,
)


def open_to_others(destination: str) -> List[str]:
    """Return which paths in *destination* everybody may write to, or the group where root is the owner; "." is itself.

    A user may share a folder with a group on purpose: :func:`notes` tells that. Root refuses to work in such folders.
    """
    return [name for name in _OWN if _is_open(os.path.join(destination, name))]


def notes(destination: str, project: str) -> List[str]:
    """Return who else could change *destination* though nothing is wrong with it, a sentence each.

    Parameters:
        project: name of the project's folder.
    """
    status, inner = os.stat(destination), os.stat(os.path.join(destination, layout.INSTALLED))
    found: List[str] = []
    if status.st_uid not in (0, inner.st_uid):
        found.append(f"it belongs to uid {status.st_uid}, who can replace what uid {inner.st_uid} installed in it")
    if status.st_mode & stat.S_IWGRP and status.st_uid:
        found.append(f"its group can replace what is in it (mode {stat.S_IMODE(status.st_mode):04o})")
    names = sorted(_with_other_names(destination, project))
    if names:
        more = f" and {len(names) - 1} more" if names[1:] else ""
        found.append(f"{names[0]}{more} can be changed through another name of the same file (a hard link)")
    return found


def _is_open(path: str) -> bool:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    shared = status.st_uid == 0 and status.st_gid != 0 and status.st_mode & stat.S_IWGRP
    return bool(shared or status.st_mode & stat.S_IWOTH)


def _with_other_names(destination: str, project: str) -> Iterator[str]:
    """Yield the files that have several names and do not come from wheels, which a store shares by hard links."""
    start = os.path.join(destination, "")
    own = [name for name in _OWN if not os.path.isdir(start + name)]
    for top in (project, layout.STATIC, f"{layout.DEPLOY}/runtime"):
        for folder, _, names in os.walk(start + top):
            own += [f"{folder[len(start) :]}/{name}" for name in names]
    for name in own:
        try:
            status = os.lstat(start + name)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            yield name
