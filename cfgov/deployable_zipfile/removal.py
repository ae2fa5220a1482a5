"""Trees removed without leaving their file system, and what is mounted in them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import Iterator, List, Tuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mounts_below(path: str, table: str = "/proc/self/mountinfo") -> List[str]:
    """Return the mount points at or below the folder *path*: bind mounts are on the device of the folder itself.

    Parameters:
        table: proc(5) mountinfo; on a system without it, none are known.
    """
    whole = os.path.realpath(path)
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            points = [line.split(" ")[4] for line in file]
    except OSError:
        return []
    plain = [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), one) for one in points]
    return sorted(one for one in plain if one == whole or one.startswith(whole + "/"))


def remove_tree(path: str) -> None:
    """Remove the folder *path* with everything in it, without following a link and without leaving its file system.

    Raises:
        OSError: EXDEV when something is mounted below it, before anything is removed; ENOTDIR when it is a link or
            no folder; whatever the file system refuses.
    """
    if mounts_below(path):
        raise OSError(errno.EXDEV, "something is mounted below it", path)
    descriptor = os.open(path, _FOLDER)
    try:
        device = os.fstat(descriptor).st_dev
        _stay_on(descriptor, device, path)
        _empty(descriptor, device, path)
    finally:
        os.close(descriptor)
    os.rmdir(path)


def _stay_on(descriptor: int, device: int, path: str) -> None:
    """Refuse a tree that holds a folder of another file system."""
    for name, is_folder in _entries(descriptor):
        if is_folder:
            with _inner(descriptor, name) as inner:
                _check_device(inner, device, f"{path}/{name}")
                _stay_on(inner, device, f"{path}/{name}")


def _empty(descriptor: int, device: int, path: str) -> None:
    for name, is_folder in _entries(descriptor):
        if is_folder:
            with _inner(descriptor, name) as inner:
                _check_device(inner, device, f"{path}/{name}")
                _empty(inner, device, f"{path}/{name}")
            os.rmdir(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)


def _entries(descriptor: int) -> List[Tuple[str, bool]]:
    with os.scandir(descriptor) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextlib.contextmanager
def _inner(descriptor: int, name: str) -> Iterator[int]:
    inner = os.open(name, _FOLDER, dir_fd=descriptor)
    try:
        yield inner
    finally:
        os.close(inner)


def _check_device(descriptor: int, device: int, path: str) -> None:
    if os.fstat(descriptor).st_dev != device:
        raise OSError(errno.EXDEV, "it is on another file system", path)
