"""Headers of a zip as our container has them (R4, R6): PKWARE's APPNOTE 6.3.10, 4.3.7 and 4.3.12."""

from __future__ import annotations

import stat

from . import zipreader

_TIME, _DATE = 0, 0x0021  # 1980-01-01 00:00, the first moment a zip can name (APPNOTE 4.4.6)


def local(name: bytes, method: int, crc: int, compressed: int, size: int) -> bytes:
    """Return the local header of a member."""
    fields = (zipreader.NEEDED, 0, _flags(name), method, _TIME, _DATE, crc, compressed, size, len(name), 0)
    return zipreader.LOCAL.pack(zipreader.LOCAL_SIGNATURE, *fields) + name


def central(name: bytes, mode: int, method: int, crc: int, compressed: int, size: int, offset: int) -> bytes:
    """Return the header in the directory of a regular file of *mode*, whose local header is at *offset*."""
    versions = (zipreader.NEEDED, zipreader.UNIX, zipreader.NEEDED, 0)
    fields = (*versions, _flags(name), method, _TIME, _DATE, crc, compressed, size, len(name), 0, 0, 0, 0)
    return zipreader.CENTRAL.pack(zipreader.CENTRAL_SIGNATURE, *fields, (stat.S_IFREG | mode) << 16, offset) + name


def end(count: int, length: int, offset: int) -> bytes:
    """Return the end record of a directory of *count* headers and *length* bytes at *offset*."""
    return zipreader.END.pack(zipreader.END_SIGNATURE, 0, 0, count, count, length, offset, 0)


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else zipreader.UTF8_NAME
