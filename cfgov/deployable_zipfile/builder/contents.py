"""The members of a zip before they are written: what they hold, read, hashed and deflated.

A part of ``zipwriter.py``.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from typing import Iterable, Iterator, List, Tuple, Union

from ..artifact import headers
from ..definitions import NamedTuple
from ..errors import BuildInputError

LEVEL = 6  # zlib's own default: 9 costs much time for little
_BLOCK = 1024 * 1024


class FileContent(NamedTuple):
    """Content that is in a file, or in a part of one."""

    path: str
    size: int  # bytes
    offset: int = 0
    inode: int = 0  # as it was when the file was chosen; 0: any


class Item(NamedTuple):
    """One member to write."""

    name: str
    content: Union[bytes, FileContent]
    mode: int = 0o644
    stored: bool = False  # never try to deflate
    sha256: str = ""  # of the content where it is known; a stored file is then copied without being read here
    crc: int = 0  # of a stored file whose digest is known

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.size


def of_bytes(name: str, content: bytes) -> Item:
    """Return the member *name* with *content*."""
    return Item(name, content, sha256=hashlib.sha256(content).hexdigest())


class Packed(NamedTuple):
    """One member as it is written, but for its name."""

    method: int
    crc: int
    size: int
    sha256: str
    data: bytes


def packed(items: List[Item]) -> Iterator[Packed]:
    """Yield each of *items*, deflated where that makes it smaller.

    Raises:
        BuildInputError: a file changed or vanished.
    """
    for item in items:
        content = item.content if isinstance(item.content, bytes) else b"".join(_blocks(item.content))
        data = content if item.stored else b"".join(deflated([content]))
        method = headers.DEFLATED
        if item.stored or not worth_deflating(len(content), len(data)):
            method, data = headers.STORED, content
        yield Packed(method, zlib.crc32(content), len(content), hashlib.sha256(content).hexdigest(), data)


def worth_deflating(size: int, compressed: int) -> bool:
    """Say whether the deflated form is smaller, and not so much smaller that readers take it for a bomb (R11)."""
    return compressed < size and not (size > headers.RATIO_FROM and size > headers.RATIO * compressed)


def measured(content: FileContent) -> Tuple[int, str, int]:
    """Return CRC-32, SHA-256 and deflated size (bytes) of a large file.

    Raises:
        BuildInputError: it changed or vanished.
    """
    crc, digest, compressed = 0, hashlib.sha256(), 0
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    for block in hashed(content, digest):
        crc = zlib.crc32(block, crc)
        compressed += len(deflater.compress(block))
    return crc, digest.hexdigest(), compressed + len(deflater.flush())


def hashed(content: FileContent, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield the blocks of *content*, and put them into *digest*."""
    for block in _blocks(content):
        digest.update(block)
        yield block


def deflated(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of what *blocks* are deflated to (RFC 1951)."""
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    for block in blocks:
        yield deflater.compress(block)
    yield deflater.flush()


def _blocks(content: FileContent) -> Iterator[bytes]:
    """Yield the bytes of *content*, and notice a file that is not, or no longer, the one that was chosen.

    Opened without waiting and without following a link, so that a FIFO or a link put in its place cannot act.
    """
    try:
        descriptor = os.open(content.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise BuildInputError(content.path, f"cannot be read ({error.strerror})", "Build again") from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or content.inode not in (0, before.st_ino):
            raise changed(content.path)
        whole = content.offset == 0 and content.inode != 0
        if whole and before.st_size != content.size:
            raise changed(content.path)
        file.seek(content.offset)
        left = content.size
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise changed(content.path)
            left -= len(block)
            yield block
        if whole and os.fstat(descriptor).st_size != content.size:
            raise changed(content.path)


def changed(path: str) -> BuildInputError:
    """Return the error about a file that is not the one that was chosen."""
    return BuildInputError(path, "changed while it was being packed", "Build again when nothing writes to it")
