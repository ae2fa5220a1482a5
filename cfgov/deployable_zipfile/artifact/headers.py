"""Headers of a zip (APPNOTE 6.3.10): 4.3.7 local, 4.3.12 central, 4.3.16 end; ours as R4 and R6 require."""

from __future__ import annotations

import stat
import struct

STORED, DEFLATED = 0, 8  # APPNOTE 4.4.5
UTF8_NAME = 0x800  # APPNOTE 4.4.4, bit 11
DESCRIPTOR = 0x008  # bit 3: sizes follow the data
ENCRYPTED = 0x2041  # bits 0, 6 and 13

END = struct.Struct("<4s4H2LH")
CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
LOCAL = struct.Struct("<4s2B4HL2L2H")
FORM = struct.Struct("<4s2B4H")  # the part of LOCAL before CRC-32 and sizes
REST = struct.Struct("<3L2H")  # and the part from there on
END_SIGNATURE, CENTRAL_SIGNATURE, LOCAL_SIGNATURE = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
UNIX = 3  # APPNOTE 4.4.2: made by
NEEDED = 20  # version 2.0

RATIO, RATIO_FROM = 50, 64 * 1024 * 1024  # PyPI's rule: at most 50:1 above 64 MiB

_TIME, _DATE = 0, 0x0021  # 1980-01-01 00:00, the first moment a zip can name (APPNOTE 4.4.6)


def local(name: bytes, method: int, crc: int, compressed: int, size: int) -> bytes:
    """Return the local header of a member."""
    fields = (NEEDED, 0, _flags(name), method, _TIME, _DATE, crc, compressed, size, len(name), 0)
    return LOCAL.pack(LOCAL_SIGNATURE, *fields) + name


def central(name: bytes, mode: int, method: int, crc: int, compressed: int, size: int, offset: int) -> bytes:
    """Return the header in the directory of a regular file of *mode*, whose local header is at *offset*."""
    versions = (NEEDED, UNIX, NEEDED, 0)
    fields = (*versions, _flags(name), method, _TIME, _DATE, crc, compressed, size, len(name), 0, 0, 0, 0)
    return CENTRAL.pack(CENTRAL_SIGNATURE, *fields, (stat.S_IFREG | mode) << 16, offset) + name


def end(count: int, length: int, offset: int) -> bytes:
    """Return the end record of a directory of *count* headers and *length* bytes at *offset*."""
    return END.pack(END_SIGNATURE, 0, 0, count, count, length, offset, 0)


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else UTF8_NAME
