"""How much disk a second release needs, whatever it takes: what is compared with the space that it took."""

from __future__ import annotations

import filecmp
import os
import stat
from pathlib import Path

_BLOCK = 512  # bytes that ``st_blocks`` counts in (POSIX)
_DEPLOY = ".deploy"
_WRITTEN = ("RECORD", "INSTALLER", "REQUESTED")  # PEP 376: by the installer, for each installation


def needed(first: Path, second: Path) -> int:
    """Return the bytes on disk of what the release *second* cannot have in common with *first*.

    That is what changed, files that *first* has not with the same content at the same path; and the metadata of a
    release: its folders, its ``.deploy``, and what an installer writes for each wheel.

    Parameters:
        first, second: folders of installations on one file system.
    """
    size = 0
    for folder, folders, names in os.walk(second):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        inner = os.path.relpath(folder, second)
        size += os.lstat(folder).st_blocks * _BLOCK
        for name in [*names, *links]:
            path = os.path.join(folder, name)
            if _is_metadata(inner, name) or not _is_same(os.path.join(first, inner, name), path):
                size += os.lstat(path).st_blocks * _BLOCK
    return size


def _is_metadata(folder: str, name: str) -> bool:
    return folder.split(os.sep)[0] == _DEPLOY or (folder.endswith(".dist-info") and name in _WRITTEN)


def _is_same(old: str, new: str) -> bool:
    """Tell whether two files have the same kind and content; whether they are one and the same does not matter."""
    if not os.path.lexists(old):
        return False
    one, other = os.lstat(old), os.lstat(new)
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        return False
    if stat.S_ISLNK(other.st_mode):
        return os.readlink(old) == os.readlink(new)
    return os.path.samestat(one, other) or filecmp.cmp(old, new, shallow=False)
