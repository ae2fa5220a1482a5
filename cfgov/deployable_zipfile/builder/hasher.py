"""Writes the end of a file in a thread, and hashes all of it there. A part of ``zipwriter.py``.

A second thread lets the kernel write it to the disk meanwhile, so that little is left to wait for at the end.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import os
import threading
from typing import Deque, List, Optional, Union

from .. import durable, workers
from ..definitions import NamedTuple
from . import contents

_BLOCK = 512 * 1024  # bytes; what was just read is still in the processor's cache when it is hashed and written
_AHEAD = 32 * 1024 * 1024  # bytes that may be handed over and not yet be written
_OUT = 16 * 1024 * 1024  # bytes that are written before the kernel is asked to put them on the disk


class _Part(NamedTuple):
    """Bytes of an open file, or of one that is opened when it is its turn."""

    source: Union[int, str]
    offset: int
    size: int
    name: str  # for messages


class Hasher:
    """Finds the SHA-256 of a file in a thread: what it takes over from the writer is read once, hashed and written.

    Parameters:
        descriptor: of the file, at its end.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._block = memoryview(bytearray(_BLOCK))
        self._waiting: Deque[Union[bytes, _Part]] = collections.deque()
        self._ahead = 0  # bytes
        self._ended = False
        self._change = threading.Condition()
        self._threads: List[threading.Thread] = []
        self._position = 0  # up to which the file was written before there were threads
        self._error: Optional[BaseException] = None
        self._unsent = 0  # bytes that were written since the kernel was asked to put them on the disk
        self._written = False  # whether nothing more will be

    @property
    def is_running(self) -> bool:
        """Whether there is a thread; then it alone writes."""
        return bool(self._threads)

    def start(self, position: int) -> None:
        """Start the threads, if there are none yet; everything up to *position* is written.

        Where the system gives no thread, the writer goes on writing, and :meth:`end` hashes.
        """
        if not self._threads:
            self._position = self._unsent = position
            with contextlib.suppress(BlockingIOError):
                for work in (self._run, self._send):
                    self._threads.append(workers.in_thread(work))

    def write(self, data: bytes) -> None:
        """Let the thread write *data*.

        Raises:
            OSError, BuildInputError: what it was handed before could not be written or read.
        """
        self._hand_over(data, len(data))

    def copy(self, source: Union[int, str], offset: int, size: int, name: str) -> None:
        """Let the thread write *size* bytes of a file.

        Parameters:
            source: path, or descriptor that stays open until :meth:`end` or :meth:`stop`.
            name: of the file, for messages.

        Raises:
            OSError, BuildInputError: as :meth:`write`.
        """
        self._hand_over(_Part(source, offset, size, name), size)

    def end(self) -> str:
        """Wait for the last byte and return the digest.

        Raises:
            OSError, BuildInputError: as :meth:`write`.
        """
        self._finish()
        if not self._threads:
            self._run()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def stop(self) -> None:
        """Leave out what is not yet written, and end the threads."""
        with self._change:
            self._waiting.clear()
        self._finish()

    def _finish(self) -> None:
        with self._change:
            self._ended = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def _hand_over(self, what: Union[bytes, _Part], size: int) -> None:
        with self._change:
            while self._ahead > _AHEAD and self._error is None:
                self._change.wait()
            if self._error is not None:
                raise self._error
            self._waiting.append(what)
            self._ahead += size
            self._change.notify_all()

    def _run(self) -> None:
        try:
            self._hash(self._descriptor, 0, self._position, "", write=False)
            while True:
                with self._change:
                    while not self._waiting and not self._ended:
                        self._change.wait()
                    if not self._waiting:
                        break
                    what = self._waiting.popleft()
                size = self._taken(what)
                with self._change:
                    self._ahead -= size
                    self._change.notify_all()
        except BaseException as error:  # handed to the thread that waits
            self._fail(error)
        with self._change:
            self._written = True
            self._change.notify_all()

    def _send(self) -> None:
        """Put what is written on the disk, again and again; who commits the file waits for the rest."""
        try:
            while True:
                with self._change:
                    while self._unsent < _OUT and not self._written:
                        self._change.wait()
                    if self._written:
                        return
                    self._unsent = 0
                durable.sync_data(self._descriptor)
        except BaseException as error:  # the kernel tells of a failed write once
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._change:
            self._error = self._error or error
            self._change.notify_all()

    def _taken(self, what: Union[bytes, _Part]) -> int:
        """Hash and write *what* was handed over; return its size."""
        if isinstance(what, bytes):
            self._digest.update(what)
            self._write(memoryview(what))
            return len(what)
        if isinstance(what.source, int):
            self._hash(what.source, what.offset, what.size, what.name)
        else:
            with open(what.source, "rb", buffering=0) as file:
                self._hash(file.fileno(), what.offset, what.size, what.name)
        return what.size

    def _hash(self, descriptor: int, offset: int, size: int, name: str, write: bool = True) -> None:
        """Hash *size* bytes of an open file, and write them unless they are the file's own."""
        end = offset + size
        while offset < end:
            count = os.preadv(descriptor, [self._block[: end - offset]], offset)
            if not count:
                raise contents.changed(name) if write else OSError(errno.EIO, os.strerror(errno.EIO))
            self._digest.update(self._block[:count])
            if write:
                self._write(self._block[:count])
            offset += count

    def _write(self, data: memoryview) -> None:
        size = len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]
        with self._change:
            self._unsent += size
            if self._unsent >= _OUT:
                self._change.notify_all()
