"""The folder beside a destination: its lock, the tree that becomes the destination, and the commit by one rename."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from typing import List, NoReturn

from .. import durable
from ..console import Console
from ..errors import DestinationError
from ..signals import unbroken
from . import ownership

_MOST_LOST = 250  # looks at a folder that vanishes, about 5 seconds
_DYING = 10.0  # seconds that workers of a killed installation may take to end


class Staging:
    """The folder beside the destination: a lock, and the tree that becomes the destination.

    A lock file is held by ``flock``, which ends with the process, so a killed installation blocks nobody; the next one
    finds the lock free, and removes what was left.
    """

    def __init__(self, destination: str, wait: float, console: Console) -> None:
        self._destination = destination
        self._wait = wait
        self._console = console
        parent, name = os.path.split(destination)
        self.folder = os.path.join(parent, f".{name}.partial")
        self._lock_path = os.path.join(self.folder, "lock")
        self.tree = os.path.join(self.folder, "tree")
        self._old = os.path.join(self.folder, "old")  # what stood at the destination, between two renames
        self._told = False  # for whom it waits
        self._made: List[str] = []  # folders above the destination, the innermost first
        self._lost = 0  # how often the folder vanished, or could not be made, one time after the other
        self._lock = -1

    def __enter__(self) -> "Staging":
        try:
            self._acquire(time.monotonic() + self._wait)
            self._bring_back()
            if os.path.lexists(self.tree):
                _remove(self.tree)
            os.mkdir(self.tree, 0o755)
            self._inherit_group()
        except OSError as error:
            self._clean_up()
            raise disk_error(error, self._destination) from None
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._clean_up()

    def commit(self, replaces: bool = False, sync: bool = True) -> None:
        """Make the tree the destination, in one step.

        Parameters:
            replaces: the destination may hold an installation, which is removed afterwards.
            sync: wait until this step is on the disk. Of no use, and wrong after a power failure, if the files are not.
        """
        try:
            self._keep_rights()
            if replaces and os.path.isdir(self._destination):
                self._exchange()
            else:
                os.rename(self.tree, self._destination)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise DestinationError(
                    self._destination, "was filled in the meantime", "Check who else installs there"
                ) from None
            if error.errno in (errno.EBUSY, errno.EXDEV):
                raise DestinationError(
                    self._destination, "is a mount point and cannot be replaced", "Install into a folder inside it"
                ) from None
            raise disk_error(error, self._destination) from None
        if not sync:
            return
        try:
            durable.sync_folder(os.path.dirname(self._destination))
        except OSError as error:
            self._console.warn(f"{self._destination} is complete, but a power failure could undo it ({error.strerror})")

    def _inherit_group(self) -> None:
        """Begin the tree with the group that a setgid destination gives to what is made in it."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            status = os.lstat(self._destination)
            if status.st_mode & stat.S_ISGID:
                os.chown(self.tree, -1, status.st_gid)
                os.chmod(self.tree, 0o2755)

    def _keep_rights(self) -> None:
        """Give the tree owner, group and mode of the folder that it replaces."""
        try:
            old = os.lstat(self._destination)
        except FileNotFoundError:
            return
        new = os.lstat(self.tree)
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            try:
                os.chown(self.tree, old.st_uid, old.st_gid)
            except PermissionError:
                self._console.warn(f"{self._destination}: owner and group are yours now; only root can keep others'")
        os.chmod(self.tree, stat.S_IMODE(old.st_mode))

    def _exchange(self) -> None:
        """Let the tree and the destination change places; where the system cannot, by two renames."""
        if durable.exchange(self.tree, self._destination):
            return
        with unbroken():
            os.rename(self._destination, self._old)
            try:
                os.rename(self.tree, self._destination)
            except OSError:
                os.rename(self._old, self._destination)
                raise

    def _bring_back(self) -> None:
        """Undo the first of two renames when the second one was never made; else remove what was replaced."""
        if os.path.lexists(self._old):
            try:
                os.rename(self._old, self._destination)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _remove(self._old)

    def _clean_up(self) -> None:
        """Remove everything beside the destination, the lock last; who waits for it looks for a new one."""
        with unbroken():
            try:
                if self._lock >= 0:
                    self._bring_back()
                    if os.path.lexists(self.tree):
                        _remove(self.tree)
                    os.unlink(self._lock_path)
                _try_rmdir(self.folder)
                if not os.path.isdir(self._destination):
                    for folder in self._made:
                        _try_rmdir(folder)
            except OSError as error:
                self._console.warn(
                    f"{self.folder} could not be removed ({error.strerror}); the next installation there tries again"
                )
            finally:
                if self._lock >= 0:
                    os.close(self._lock)
                self._lock = -1

    def _make_parents(self) -> None:
        """Make missing folders above the destination; several installations may do so at once."""
        parent = os.path.dirname(self._destination)
        missing = []
        while not os.path.isdir(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        for folder in reversed(missing):
            try:
                os.mkdir(folder, 0o755)
            except FileExistsError:
                if not os.path.isdir(folder):
                    raise
            else:
                self._made.insert(0, folder)

    def _acquire(self, deadline: float) -> None:
        while True:
            self._make_parents()
            # Once more, now that all of them exist: somebody else may have made one first.
            ownership.check_folder(os.path.dirname(self._destination), sticky=True)
            descriptor = self._open_lock()
            if descriptor >= 0:
                self._lost = 0
                holder = self._try_lock(descriptor)
                if self._lock >= 0:
                    return
                os.close(descriptor)
                gone = durable.is_gone(holder)
                if gone:  # the process that the file names, which cannot hold it
                    holder = durable.SOMEBODY
                if holder and time.monotonic() >= deadline + (_DYING if gone else 0):
                    raise DestinationError(
                        self._destination, f"is being installed by {holder}", "Wait for it, or use --wait SECONDS"
                    )
                if holder and not self._told and time.monotonic() < deadline:
                    self._told = True
                    self._console.step(
                        durable.waiting(self._wait, f"{self._destination} is being installed by {holder}")
                    )
            time.sleep(0.02)

    def _try_lock(self, descriptor: int) -> str:
        """Take the lock if it is free and still the one in the folder; else return who holds it, "" for nobody."""
        try:
            free = durable.take_lock(descriptor, 0, named=lambda: durable.is_named(descriptor))
        except OSError as error:
            os.close(descriptor)
            raise DestinationError(
                self._destination,
                f"is on a file system that cannot lock files ({error.strerror})",
                "Choose another destination",
            ) from None
        if not free:
            return durable.holder(descriptor)
        if self._is_current(descriptor):
            self._lock = descriptor
            durable.write_holder(descriptor, durable.this_process())
        return ""

    def _open_lock(self) -> int:
        """Return the open lock file, -1 when its folder vanished in between."""
        try:
            try:
                os.mkdir(self.folder, 0o700)
            except FileExistsError:
                status = os.lstat(self.folder)
                if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                    raise DestinationError(
                        self.folder, "is not a folder of this user", "Remove it, or choose another destination"
                    ) from None
            return os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            # The process that held the lock is just removing the folder. On /proc and the like it can never be made.
            self._lost += 1
            if self._lost > _MOST_LOST and os.path.isdir(os.path.dirname(self._destination)):
                raise
            return -1

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self._lock_path))
        except FileNotFoundError:
            return False


def remove_leftovers(destination: str, console: Console) -> None:
    """Remove what an installation that was killed after its commit left beside *destination*."""
    staging = Staging(destination, 0.0, console)
    if os.path.lexists(staging.folder):
        # Held by somebody, or not ours: then it is no leftover, and the destination is complete in any case.
        with contextlib.suppress(DestinationError), staging:
            pass


class WriteBehind:
    """Writes the tree to the disk while it still grows, so that little is left to wait for before the commit.

    One process of its own asks the kernel again and again to write out the file system of the tree; at the end the
    caller asks once more, and by then nearly all is done.
    """

    def __init__(self, tree: str, wanted: bool) -> None:
        self._tree = tree
        self._wanted = wanted
        self._process = self._stop = -1

    def __enter__(self) -> None:
        if not self._wanted:
            return
        watched, self._stop = os.pipe()
        with unbroken():
            with contextlib.suppress(OSError):  # no process to spare: all is left to the end
                self._process = os.fork()
            if self._process == 0:
                self._write_out(watched)
        os.close(watched)

    def _write_out(self, watched: int) -> NoReturn:
        """Work until the pipe ends: with the installation, or with the process that does it."""
        status = 1
        try:
            os.close(self._stop)
            while not select.select([watched], [], [], 0.05)[0]:
                durable.sync_file_system(self._tree)
            status = 0
        except OSError as error:
            status = min(error.errno or errno.EIO, 255)
        finally:
            os._exit(status)

    def __exit__(self, kind: object, *_: object) -> None:
        if not self._wanted:
            return
        os.close(self._stop)
        status = os.waitpid(self._process, 0)[1] if self._process > 0 else 0
        if kind is not None:
            return
        # The kernel tells of each failed write once: to whichever process asked first.
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise OSError(os.WEXITSTATUS(status), os.strerror(os.WEXITSTATUS(status)), self._tree)
        durable.sync_file_system(self._tree)


def disk_error(error: OSError, destination: str) -> DestinationError:
    """Say what the file system refused; the staging path would mean nothing to the reader."""
    advice = {
        errno.ENOSPC: "Free space or inodes on that file system",
        errno.EDQUOT: "Raise the quota of this user",
        errno.EROFS: "Mount the file system for writing",
        errno.EACCES: "Run it as a user who may write to the folder above it",
        errno.EPERM: "Run it as a user who may write to the folder above it",
        errno.EMFILE: "Raise the limit of open files (ulimit -n)",
        errno.ENAMETOOLONG: "Choose a folder with a shorter path",
        errno.EAGAIN: "Raise the limit of processes (ulimit -u)",
        errno.ENOMEM: "Free memory, or use --workers 1",
    }
    return DestinationError(
        destination,
        f"cannot be written ({error.strerror or error})",
        advice.get(error.errno or 0, "Check the file system"),
    )


def _remove(tree: str) -> None:
    import shutil

    shutil.rmtree(tree)


def _try_rmdir(folder: str) -> None:
    """Remove *folder* if it is empty; one that somebody else uses meanwhile stays."""
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY):
            raise
