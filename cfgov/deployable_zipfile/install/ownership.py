"""Root acts only inside folders that nobody else can change.

The owner of a folder, and all who may write to it, can replace what is in it at any moment, also after a check.
So every folder on the way to where root works must be root's and closed to others. One exception is that of ``/tmp``:
in a folder with the sticky bit others can add names, but not touch those of root.
"""

from __future__ import annotations

import os
import stat
from typing import Iterator, Optional, Tuple

from ..errors import DestinationError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def check_folder(path: str, *inner: str, sticky: bool = False) -> None:
    """Refuse a folder that somebody else can change, or that is in one, or in which one of *inner* is foreign.

    Links on the way are followed, and the folders that hold them count as well. Processes that are not root's are free.

    Parameters:
        path: absolute. What of it does not exist yet cannot be looked at: look again when it is made.
        sticky: the folder itself may be one like ``/tmp``: the caller makes a folder of its own in it.
        inner: names in the folder that must be this user's or root's when they exist, and not writable by others.

    Raises:
        DestinationError: naming the folder, its owner or mode, and the command that helps.
    """
    if os.geteuid() != 0:
        return
    last: Optional[os.stat_result] = None
    for step, status in _steps(path):
        if last is not None and last.st_mode & stat.S_ISVTX and last.st_mode & _OPEN_TO_OTHERS:
            _check_owner(step, status)  # in a sticky folder its owner is all that protects it
        if stat.S_ISLNK(status.st_mode):
            _check_owner(step, status)
        else:
            _check(step, status, sticky_is_enough=sticky or step != path)
        last = status
    for name in inner:
        check_entry(os.path.join(path, name))


def check_entry(path: str) -> None:
    """Refuse a file, folder or link that somebody else can change; what is not there is no problem.

    Raises:
        DestinationError: as for :func:`check_folder`.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    _check_owner(path, status)
    if not stat.S_ISLNK(status.st_mode):
        _check(path, status, sticky_is_enough=False)


def _steps(path: str) -> Iterator[Tuple[str, os.stat_result]]:
    """Yield every folder and link from ``/`` to *path*, looked at through its parent's descriptor, not by name."""
    place, waiting = "/", [part for part in path.split("/") if part not in ("", ".")]
    descriptor = os.open("/", _FOLDER)
    try:
        yield "/", os.fstat(descriptor)
        for _ in range(1024):
            if not waiting:
                return
            part = waiting.pop(0)
            step = os.path.normpath(os.path.join(place, part))
            try:
                status = os.stat(part, dir_fd=descriptor, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return
            if part != "..":
                yield step, status
            if stat.S_ISLNK(status.st_mode):
                text = os.readlink(part, dir_fd=descriptor)
                waiting = [one for one in text.split("/") if one not in ("", ".")] + waiting
                if text.startswith("/"):
                    place, descriptor = "/", _exchanged(descriptor, os.open("/", _FOLDER))
                continue
            if not stat.S_ISDIR(status.st_mode):
                return
            place, descriptor = step, _exchanged(descriptor, os.open(part, _FOLDER, dir_fd=descriptor))
    except OSError as error:
        raise DestinationError(place, f"cannot be examined ({error.strerror})", "Check the path") from error
    finally:
        os.close(descriptor)


def _exchanged(old: int, new: int) -> int:
    os.close(old)
    return new


def _check_owner(step: str, status: os.stat_result) -> None:
    if status.st_uid != 0:
        raise DestinationError(
            step, f"belongs to {_name(status.st_uid)}, who can change it while root works", f"Run: chown -h root {step}"
        )


def _check(step: str, status: os.stat_result, sticky_is_enough: bool) -> None:
    _check_owner(step, status)
    if not status.st_mode & _OPEN_TO_OTHERS or (sticky_is_enough and status.st_mode & stat.S_ISVTX):
        return
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    raise DestinationError(step, f"others may write to it (mode {mode}) and this is root", f"Run: chmod go-w {step}")


def _name(uid: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"
