"""One file in two places: two names of it, a copy that shares its blocks, or a plain copy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import Callable, Iterator, List, Tuple

from .. import durable

_FICLONE = 0x40049409  # ioctl_ficlone(2)
# Another file system; too many links; a kernel that lets nobody link what belongs to others (fs.protected_hardlinks).
_NO_LINK = (
    *(errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS),
    *(errno.EINVAL, errno.ENOTTY),
)
_BLOCK = 1024 * 1024
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Way = Callable[[str, str, int], None]


class SourceError(OSError):
    """The file to be shared cannot be read; what is written to is not at fault."""


def clone(source: str, target: str, mode: int) -> None:
    """Make *target* a file of its own that shares the blocks of *source* (reflink: Btrfs, XFS, bcachefs).

    Raises:
        OSError: the file systems do not offer that; *target* does not exist then.
    """
    with _files(source, target, mode) as (reading, writing):
        fcntl.ioctl(writing, _FICLONE, reading)


def link(source: str, target: str, _mode: int) -> None:
    """Make *target* another name of the file *source*: content, mode, owner and times are one."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError as error:
        if not os.path.lexists(source):
            raise SourceError(error.errno, error.strerror, source) from None
        raise


def copy(source: str, target: str, mode: int) -> None:
    """Make *target* a copy of *source*, of mode *mode*.

    Raises:
        SourceError: *source* cannot be read.
    """
    with _files(source, target, mode) as (reading, writing):
        for block in iter(lambda: _read(reading, source), b""):
            durable.write_all(writing, block)


@contextlib.contextmanager
def _files(source: str, target: str, mode: int) -> Iterator[Tuple[int, int]]:
    """Open *source* and make *target*, which does not stay when anything fails."""
    reading = _opened(source)
    try:
        writing = os.open(target, _CREATE, mode)
        try:
            yield reading, writing
        except BaseException:
            os.unlink(target)
            raise
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def ways(source: str, folder: str) -> List[Way]:
    """Return how *source* can be shared with files in *folder*, the best way first, after a trial there.

    Raises:
        OSError: what the trial left cannot be removed.
    """
    trial = os.path.join(folder, ".store-trial")
    found: List[Way] = [link, copy]
    try:
        clone(source, trial, 0o600)
        found.insert(0, clone)
    except OSError:
        pass  # what else is wrong with either shows when they are shared
    with contextlib.suppress(FileNotFoundError):  # it must not stay, whatever went wrong
        os.unlink(trial)
    return found


def share(source: str, target: str, mode: int, how: List[Way]) -> Way:
    """Make *target* from *source* by the first of the ways *how* that works, and return that way.

    Raises:
        SourceError: *source* cannot be read.
        OSError: the file system of *target* refuses.
    """
    for way in how[:-1]:
        try:
            way(source, target, mode)
            return way
        except SourceError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    how[-1](source, target, mode)
    return how[-1]


def _opened(path: str) -> int:
    try:
        return os.open(path, _READ)
    except OSError as error:
        raise SourceError(error.errno, error.strerror, path) from None


def _read(descriptor: int, path: str) -> bytes:
    try:
        return os.read(descriptor, _BLOCK)
    except OSError as error:
        raise SourceError(error.errno, error.strerror, path) from None
