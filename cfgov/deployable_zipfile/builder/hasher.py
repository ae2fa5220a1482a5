"""Hashes a file behind its writer. A part of ``zipwriter.py``."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from typing import Optional

_BLOCK = 1024 * 1024


class Hasher:
    """Finds the SHA-256 of a file in a thread: most of that needs no lock of the interpreter's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._digest = hashlib.sha256()
        self._done = 0
        self._until = 0
        self._ended = False
        self._change = threading.Condition()
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[BaseException] = None

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def start(self, position: int) -> None:
        """Start the thread, if there is none yet, and let it hash the file up to *position*."""
        self.follow(position)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def follow(self, position: int) -> None:
        """Hash the file up to *position*: everything before it is written."""
        with self._change:
            self._until = position
            self._change.notify()

    def end(self) -> str:
        """Wait for the last byte and return the digest."""
        with self._change:
            self._ended = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def _run(self) -> None:
        block = bytearray(_BLOCK)
        view = memoryview(block)
        try:
            while True:
                with self._change:
                    while self._done == self._until and not self._ended:
                        self._change.wait()
                    until = self._until
                if self._done == until:
                    return
                while self._done < until:
                    count = os.preadv(self._descriptor, [view[: min(_BLOCK, until - self._done)]], self._done)
                    if not count:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    self._digest.update(view[:count])
                    self._done += count
        except OSError as error:  # handed to the thread that waits
            self._error = error
