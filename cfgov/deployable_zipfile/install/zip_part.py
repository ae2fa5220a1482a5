"""A zip written into a part of a file, nested or not."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from typing import Iterable, List

from .. import durable
from ..artifact import headers, layout
from ..artifact.delta import Row
from ..artifact.headers import STORED
from ..artifact.window import Entry

_BLOCK = 1024 * 1024

Blocks = Iterable[bytes]


class ZipPart:
    """One zip being written into a part of a file, its members stored or copied as they are.

    Parameters:
        descriptor: of the file.
        start: where the zip begins.
        first_line: what comes before its first member.
    """

    def __init__(self, descriptor: int, start: int, first_line: bytes) -> None:
        self._descriptor = descriptor
        self._start = start
        self._directory: List[bytes] = []
        self.size = 0  # bytes
        self._write(first_line)

    def copied(self, entry: Entry, data: Blocks) -> None:
        """Add a member with its packed *data*."""
        name = entry.name.encode("utf-8")
        fields = (entry.method, entry.crc, entry.compressed, entry.size)
        self._directory.append(headers.central(name, entry.mode, *fields, self.size))
        self._write(headers.local(name, *fields))
        for block in data:
            self._write(block)

    def add(self, name: str, mode: int, blocks: Blocks) -> None:
        """Add a member, stored."""
        data = b"".join(blocks)
        encoded, crc = name.encode("utf-8"), zlib.crc32(data)
        self._directory.append(headers.central(encoded, mode, STORED, crc, len(data), len(data), self.size))
        self._write(headers.local(encoded, STORED, crc, len(data), len(data)))
        self._write(data)

    def tried(self, row: Row, blocks: Blocks) -> bool:
        """Add a member, stored, if *blocks* are what *row* says; return whether they are."""
        name, offset = row.name.encode("utf-8"), self.size
        header = headers.local(name, STORED, 0, row.size, row.size)
        self._position(offset + len(header))
        digest, crc, size = hashlib.sha256(), 0, 0
        for block in blocks:
            size += len(block)
            if size > row.size:
                break
            digest.update(block)
            crc = zlib.crc32(block, crc)
            self._write(block)
        if size != row.size or digest.hexdigest() != row.sha256:
            self._position(offset)
            return False
        self._put(headers.local(name, STORED, crc, row.size, row.size), offset)
        self._directory.append(headers.central(name, row.mode, STORED, crc, row.size, row.size, offset))
        return True

    def begin(self, name: str) -> int:
        """Leave room for the header of a member; return where in the file its content begins."""
        return self._start + self.size + len(headers.local(name.encode("utf-8"), STORED, 0, 0, 0))

    def ended(self, name: str, mode: int, size: int) -> str:
        """Add the stored member that was begun, of *size* bytes; return its SHA-256."""
        encoded, start, offset = name.encode("utf-8"), self.begin(name), self.size
        digest, crc = hashlib.sha256(), 0
        for at in range(start, start + size, _BLOCK):
            block = os.pread(self._descriptor, min(_BLOCK, start + size - at), at)
            digest.update(block)
            crc = zlib.crc32(block, crc)
        self._put(headers.local(encoded, STORED, crc, size, size), offset)
        self._directory.append(headers.central(encoded, mode, STORED, crc, size, size, offset))
        self._position(start + size - self._start)
        return digest.hexdigest()

    def finish(self) -> None:
        """Write the directory."""
        directory, offset = b"".join(self._directory), self.size
        if self._start + offset + len(directory) > layout.MAX_SIZE - _BLOCK:
            raise OSError(errno.EFBIG, "it would have 4 GiB or more")
        self._write(directory + headers.end(len(self._directory), len(directory), offset))

    def _write(self, data: bytes) -> None:
        self._put(data, self.size)
        self.size += len(data)

    def _put(self, data: bytes, offset: int) -> None:
        durable.write_at(self._descriptor, data, self._start + offset)

    def _position(self, offset: int) -> None:
        """Go on from *offset*: what was written behind it is overwritten, or cut off."""
        os.ftruncate(self._descriptor, self._start + offset)
        self.size = offset
