"""Changes to the file system that are complete and on the disk, and locks.

One of each: synchronise a folder or a file system, replace a file or a link at one instant, take a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
from typing import IO, Callable, Iterator, Optional, Set, Tuple, Union

_BLOCK = 1024 * 1024
_POLL = 0.05  # seconds between two tries for a lock
_NAMING = 5.0  # seconds within which a process that takes a lock writes so into its file, on a slow disk too
_REMOVAL = 60.0  # seconds within which a file that was taken for abandoned is removed
_HOLDER = 1024  # bytes of the file of a lock: who holds it, and blanks
SOMEBODY = "another process"
# Numbers of the call, which C libraries before glibc 2.28 do not name.
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276, "ppc64le": 357, "s390x": 347}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Identity = Tuple[int, int]  # device and inode: what a file is, by whatever path it was reached


def sync_folder(path: str) -> None:
    """Put the names in the folder *path* on the disk; file systems that cannot do that are left to themselves."""
    descriptor = os.open(path, _FOLDER)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_file_system(path: str) -> None:
    """Wait until everything written so far to the file system of *path* is on its disk (syncfs(2)).

    Where the C library cannot be called, all file systems are synchronised (sync(2)).
    """
    try:
        import ctypes

        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def nearest_folder(path: str) -> str:
    """Return *path*, absolute, or the first folder above it that exists."""
    return next(folder for folder in upwards(os.path.abspath(path)) if os.path.isdir(folder))


def upwards(path: str) -> Iterator[str]:
    """Yield the absolute *path* and every folder above it, the root of the file system last."""
    yield path
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def digest(path: str, follow: bool = False) -> str:
    """Return the SHA-256 of the file *path*, in hexadecimal.

    Parameters:
        follow: read what a link leads to; without, a link is refused with OSError (ELOOP).
    """
    found = hashlib.sha256()
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb", buffering=0) as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            found.update(block)
    return found.hexdigest()


def state(same: Callable[[], bool]) -> str:
    """Return the state of what is compared with a record: "missing", "changed", or "" when it is as it was.

    Parameters:
        same: compares it. What cannot be read now could be when it was written, so that is a change.
    """
    try:
        return "" if same() else "changed"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "changed"


def read_file(path: str, most: int) -> bytes:
    """Return the content of the regular file *path* of at most *most* bytes; a link is not followed.

    Raises:
        OSError: EINVAL when it is a FIFO, a device or a socket, EFBIG when it is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", path)
    return content


def nameless_file() -> IO[bytes]:
    """Return an empty file without a name, in memory where the kernel and the C library offer that (CentOS 7 does not).

    Raises:
        OSError: there is no place for one.
    """
    create = getattr(os, "memfd_create", None)
    try:
        if create is None:
            raise OSError(errno.ENOSYS, "no memfd_create")
        return os.fdopen(create("deployable-zipfile"), "w+b")
    except OSError:
        import tempfile

        return tempfile.TemporaryFile()


def exchange(one: str, other: str) -> bool:
    """Let two paths of one file system change places, in one step (renameat2(2) with RENAME_EXCHANGE, Linux 3.15).

    Returns False when kernel, file system or container do not offer it: nothing is changed then.

    Raises:
        OSError: the file system refuses.
    """
    try:
        import ctypes

        number = _RENAMEAT2[os.uname().machine]
        call = ctypes.CDLL(None, use_errno=True).syscall
    except (ImportError, OSError, AttributeError, KeyError):
        return False
    here = ctypes.c_int(-100)  # AT_FDCWD
    paths = [ctypes.c_char_p(os.fsencode(path)) for path in (one, other)]
    if call(ctypes.c_long(number), here, paths[0], here, paths[1], ctypes.c_uint(2)) == 0:
        return True
    found = ctypes.get_errno()
    if found in (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
        return False
    raise OSError(found, os.strerror(found), one)


def replace_file(path: str, content: bytes, mode: int, owner: int = -1, group: int = -1) -> None:
    """Write *path* so that it holds the old content or the new at every instant, on the disk when this returns.

    Parameters:
        mode: of the file, whatever the umask is.
        owner, group: numbers, -1 leaves what the process makes.
    """
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}.new")
    _unlink(fresh)
    try:
        write_file(fresh, content, mode, owner, group)
        put(fresh, path)
    except BaseException:
        _unlink(fresh)
        raise


def write_file(path: str, content: bytes, mode: int, owner: int = -1, group: int = -1) -> None:
    """Write the new file *path*, whose content is on the disk when this returns; parameters as :func:`replace_file`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if (owner, group) != (-1, -1):
            os.fchown(file.fileno(), owner, group)
        sync_file(file.fileno(), mode)


def fresh_file(folder: str, before: str = "", after: str = "") -> Tuple[int, str]:
    """Make an empty file that only its owner may use, and return its descriptor and path.

    As ``tempfile.mkstemp``, which takes longer to import than to run.

    Parameters:
        before, after: the beginning and the end of its name.

    Raises:
        OSError: the folder refuses it.
    """
    path = os.path.join(folder, f"{before}{os.urandom(8).hex()}{after}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), path


def write_all(descriptor: int, data: Union[bytes, memoryview]) -> None:
    """Write *data* to an open file, pipe or terminal, which may take it in parts."""
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)
        while written < len(data):
            written += os.write(descriptor, view[written:])


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write *data* into an open file from byte *offset* on; its position stays what it is."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def sync_file(descriptor: int, mode: int = -1) -> None:
    """Put the content of an open file on the disk, with the permissions *mode* (-1 leaves them)."""
    if mode != -1:
        os.fchmod(descriptor, mode)
    os.fsync(descriptor)


def sync_data(descriptor: int) -> None:
    """Put the bytes of a file that still grows on the disk; :func:`sync_file` has to follow when it is complete."""
    os.fdatasync(descriptor)


def put(fresh: str, path: str, sync: bool = True) -> None:
    """Give the finished file *fresh* the name *path*, in place of what has it, at one instant.

    Parameters:
        sync: the new name is on the disk when this returns; without, after a power loss either file may be there.
    """
    os.replace(fresh, path)
    if sync:
        sync_folder(os.path.dirname(path))


def point(link: str, target: str) -> None:
    """Make *link* a symbolic link to *target*, at one instant when it is another link already.

    ``ln -sfn`` removes the old link first; a new link renamed over the old one leaves no instant without.
    """
    folder, name = os.path.split(link)
    fresh = os.path.join(folder, f".{name}.new")
    _unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, link)
    sync_folder(folder)


def take_lock(
    descriptor: int,
    wait: float,
    held: Callable[[], bool] = lambda: False,
    waits: Callable[[], None] = lambda: None,
    named: Callable[[], bool] = lambda: True,
) -> bool:
    """Take the ``flock`` of an open file, which the kernel frees when its holder dies; return whether it was free.

    Parameters:
        wait: seconds to wait for another holder.
        held: called with the lock taken; True means that it is still in use and must be waited for.
        waits: called once, before the first pause.
        named: called when it was not free; False means that the file does not say yet who has it. A holder needs a
            moment for that, so the lock is tried again, for a few seconds, before anybody is told that it has one.

    Raises:
        OSError: the file system cannot lock.
    """
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not held():
                return True
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if named() or time.monotonic() >= began + _NAMING:
            left = began + wait - time.monotonic()
            if left <= 0:
                return False
            waits()
            waits = _nothing
            time.sleep(min(_POLL, left))
        else:
            time.sleep(_POLL)


def take_fresh(descriptor: int) -> bool:
    """Take the lock of an open file that this process has just made; False: it was taken for abandoned and removed.

    Raises:
        OSError: the file system cannot lock.
    """
    take_lock(descriptor, _REMOVAL)
    return os.fstat(descriptor).st_nlink > 0


@contextlib.contextmanager
def abandoned(path: str) -> Iterator[bool]:
    """Tell whether nobody had the lock of the file *path*, and hold it: what it belongs to may be removed, it first.

    A file that is gone, or cannot be locked, is not abandoned.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        try:
            free = take_lock(descriptor, 0) and os.fstat(descriptor).st_nlink > 0
        except OSError:
            free = False
        yield free
    finally:
        os.close(descriptor)


def _nothing() -> None:
    """Do nothing."""


def write_holder(descriptor: int, text: str) -> None:
    """Write into the open file of a lock that was taken who has it, "" for nobody.

    The file keeps its size and its block, so that what frees space can take the lock on a full disk.
    """
    data = text.encode("utf-8").ljust(_HOLDER)
    write_at(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def holder(descriptor: int) -> str:
    """Return who has a lock, as its open file says; :data:`SOMEBODY` while that is not written to its end."""
    text = os.pread(descriptor, 4096, 0).decode("utf-8", "replace").rstrip(" ")
    return text.strip() if text.endswith("\n") and text.strip() else SOMEBODY


def this_process() -> str:
    """Return what this process writes as the holder of a lock, see :func:`is_gone`."""
    return f"process {os.getpid()} on {os.uname().nodename}\n"


def is_gone(text: str) -> bool:
    """Tell whether *text*, of :func:`this_process`, names a process of this host that has ended.

    A lock that such a process had is held by its workers, which are about to end too, or already by another process.
    """
    words = text.split()
    if len(words) != 4 or not words[1].isdigit() or words[3] != os.uname().nodename:
        return False
    try:
        os.kill(int(words[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def is_named(descriptor: int) -> bool:
    """Tell whether the open file of a lock says who has it, as :func:`this_process`, and that one is not gone."""
    text = holder(descriptor)
    return text != SOMEBODY and not is_gone(text)


def waiting(wait: float, why: str) -> str:
    """Return the line that says what a command waits for, at most *wait* seconds."""
    return f"Waiting up to {wait:g} s: {why}"


def identity(path: str) -> Optional[Identity]:
    """Return what *path* is, links followed; None when there is nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def way_to(path: str) -> Set[Identity]:
    """Return every folder and every link that is passed on the way from ``/`` to what *path* resolves to.

    Removing none of these keeps *path* what it is, however its links are written: with ``.``, ``..``, doubled or
    trailing slashes, absolute, or through other links. What does not exist ends the way.
    """
    passed: Set[Identity] = set()
    place = "/"
    waiting = [part for part in os.path.abspath(path).split("/") if part]
    for _ in range(1024):  # a circle of links ends here too
        if not waiting:
            break
        part = waiting.pop(0)
        if part == "..":
            place = os.path.dirname(place)
            continue
        step = os.path.join(place, part)
        try:
            status = os.lstat(step)
            text = os.readlink(step) if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            break
        passed.add((status.st_dev, status.st_ino))
        if text is None:
            place = step
            continue
        waiting = [one for one in text.split("/") if one not in ("", ".")] + waiting
        place = "/" if text.startswith("/") else place
    return passed


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
