"""The file that a build writes, completely or not at all, with its checksum beside it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from types import TracebackType
from typing import FrozenSet, Iterator, List, Optional, Tuple, Type

from .. import durable, workers
from ..definitions import NamedTuple
from ..errors import BuildInputError

_MODE = 0o755
_BLOCK = 1024 * 1024
_PARTIAL = ".partial"


class Written(NamedTuple):
    """A finished artifact."""

    path: str
    size: int  # bytes
    sha256: str


class Output:
    """A temporary file beside ``BASENAME.zip`` that takes its place in one step.

    Parameters:
        basename: path without ``.zip``, relative to the working directory.

    Attributes:
        path: absolute path of the artifact.
        temporary: path to write to; removed unless :meth:`commit` is reached.

    Raises:
        BuildInputError: the folder is missing, cannot be written, or there is a folder in the artifact's place.
    """

    def __init__(self, basename: str) -> None:
        self.path = os.path.abspath(basename + ".zip")
        self._folder, name = os.path.split(self.path)
        if os.path.isdir(self.path):
            raise BuildInputError(self.path, "is a folder, where the artifact would be written", "Remove it")
        if not os.path.isdir(self._folder):
            raise BuildInputError(
                self._folder, "is not a folder that the artifact can be written to", "Create it first"
            )
        self._prefix = f".{name}."
        self._remove_leftovers()
        try:
            self._descriptor, self.temporary = self._fresh()
        except OSError as error:
            raise BuildInputError(
                self._folder, f"cannot be written ({error.strerror})", "Give another folder"
            ) from None

    def __enter__(self) -> "Output":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for path in (self.temporary, self.temporary + ".sha256"):
            if os.path.lexists(path):
                os.unlink(path)
        os.close(self._descriptor)

    @property
    def names(self) -> FrozenSet[str]:
        """Real paths that this build writes; they are no part of what is packed."""
        path = os.path.join(os.path.realpath(self._folder), os.path.basename(self.path))
        temporary = os.path.join(os.path.dirname(path), os.path.basename(self.temporary))
        return frozenset([path, path + ".sha256", temporary])

    @contextlib.contextmanager
    def sent(self) -> Iterator[None]:
        """Put the temporary file on the disk while the ``with`` block reads it; its end waits until all of it is there.

        Raises:
            BuildInputError: the disk is full or fails, of which the kernel tells only once.
        """
        errors: List[OSError] = []

        def send() -> None:
            try:
                durable.sync_data(self._descriptor)
            except OSError as error:
                errors.append(error)

        with contextlib.ExitStack() as stack:
            with contextlib.suppress(BlockingIOError):  # then the commit waits for all of it
                stack.callback(workers.in_thread(send).join)
            yield
        if errors:
            raise self._unwritten(errors[0])

    def commit(self, digest: str = "") -> Written:
        """Flush the temporary file to the disk and put it, then its checksum, in place.

        The checksum file has the form that ``sha256sum -c`` reads, with a relative name.

        Parameters:
            digest: SHA-256 of the temporary file; found by reading it when it is not given.

        Raises:
            BuildInputError: the disk is full or fails; what stood there before still does.
        """
        try:
            size, digest = self._flushed(digest)
            checksum = self.temporary + ".sha256"
            durable.write_file(checksum, self._checksum(digest), 0o644)
            durable.put(self.temporary, self.path, sync=False)
            durable.put(checksum, self.path + ".sha256")
        except OSError as error:
            raise self._unwritten(error) from None
        return Written(self.path, size, digest)

    def stay(self, size: int, digest: str) -> Written:
        """Leave the artifact that is in place there, and mend what is beside it or its mode if they do not fit.

        Parameters:
            size, digest: of the artifact, known to be right.

        Raises:
            BuildInputError: the disk is full or fails.
        """
        try:
            if stat.S_IMODE(os.stat(self.path).st_mode) != _MODE:
                os.chmod(self.path, _MODE)
            if not self._has_checksum(digest):
                durable.replace_file(self.path + ".sha256", self._checksum(digest), 0o644)
        except OSError as error:
            raise self._unwritten(error) from None
        return Written(self.path, size, digest)

    def _unwritten(self, error: OSError) -> BuildInputError:
        return BuildInputError(self.path, f"cannot be written ({error.strerror})", "Free space, or give another folder")

    def _has_checksum(self, digest: str) -> bool:
        expected = self._checksum(digest)
        try:
            return durable.read_file(self.path + ".sha256", len(expected)) == expected
        except OSError:
            return False

    def _checksum(self, digest: str) -> bytes:
        return f"{digest}  {os.path.basename(self.path)}\n".encode("utf-8", "surrogateescape")

    def _flushed(self, known: str) -> Tuple[int, str]:
        digest = hashlib.sha256()
        with open(self.temporary, "rb+", buffering=0) as file:
            if not known:
                for block in iter(lambda: file.read(_BLOCK), b""):
                    digest.update(block)
            durable.sync_file(file.fileno(), _MODE)
            return os.fstat(file.fileno()).st_size, known or digest.hexdigest()

    def _fresh(self) -> Tuple[int, str]:
        """Make the temporary file, locked as long as this build lives: the next one removes what nobody holds."""
        while True:
            descriptor, path = durable.fresh_file(self._folder, f"{self._prefix}{os.getpid()}.", _PARTIAL)
            if durable.take_fresh(descriptor):
                return descriptor, path
            os.close(descriptor)  # a build that began at the same time took it for one that was left

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self._folder):
            if name.startswith(self._prefix) and _PARTIAL in name:
                self._remove_leftover(os.path.join(self._folder, name))

    def _remove_leftover(self, path: str) -> None:
        """Remove a file of an earlier build if that is gone: its process is, and nobody holds its lock.

        The process is not enough: containers count their own. A checksum is written last, under the lock of the file
        that it is of, which has the name of the artifact by then.
        """
        number = os.path.basename(path).split(".zip.")[-1].partition(".")[0]
        if number.isdigit() and int(number) != os.getpid() and os.path.exists(f"/proc/{number}"):
            return
        with contextlib.ExitStack() as held:
            if path.endswith(".sha256"):
                beside = [one for one in (path[: -len(".sha256")], self.path) if os.path.lexists(one)]
                free = all(held.enter_context(durable.abandoned(one)) for one in beside)
            else:
                free = held.enter_context(durable.abandoned(path))
            if free:
                with contextlib.suppress(FileNotFoundError):  # another build removed it first
                    os.unlink(path)
