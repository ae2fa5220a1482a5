"""A zip in a range of an open file: its directory, and the content of its members, proven as it is read.

Everything is read by ``pread`` from one descriptor that is opened once: what was verified is what is extracted, and a
file that is cut while it is read is an error, not a signal.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import Iterator, NoReturn, Sequence, Tuple, Type

from ..definitions import NamedTuple
from ..errors import ArtifactError, DeployableZipfileError
from .headers import (
    CENTRAL,
    CENTRAL_SIGNATURE,
    DEFLATED,
    DESCRIPTOR,
    ENCRYPTED,
    END,
    END_SIGNATURE,
    LOCAL,
    LOCAL_SIGNATURE,
    REST,
    STORED,
    UTF8_NAME,
)  # fmt: skip

BLOCK = 256 * 1024  # bytes inflated at a time: caps memory whatever a member's size
WHOLE = 1024 * 1024  # members up to this size, both ways, are read in one piece

AGAIN = "Copy the artifact again"
GIVE = "Give the path of an artifact"


class Entry(NamedTuple):
    """One file inside an archive."""

    name: str
    mode: int  # permission bits
    method: int  # STORED or DEFLATED
    flags: int
    crc: int
    compressed: int  # bytes
    size: int  # bytes, uncompressed
    start: int  # of the local header, from byte 0 of the file
    room: int  # bytes from there to the next local header or the directory
    form: bytes  # FORM of the local header in a container of ours; b"" in a wheel, whose local headers vary


class Header(NamedTuple):
    """One central directory header as it is in the file."""

    name: bytes
    made_by_version: int
    made_by: int
    needed: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    compressed: int
    size: int
    extra: bytes
    comment: int  # length
    disk: int
    internal: int
    external: int
    offset: int  # of the local header, from the first byte of the archive


class Window:
    """A range of bytes of an open file: the whole artifact, or one STORED member of it.

    Parameters:
        descriptor: open for reading; stays the caller's.
        start, size: the range in bytes.
        label: how errors name it.
        error: class of the errors it raises.
    """

    def __init__(
        self, descriptor: int, start: int, size: int, label: str, error: Type[DeployableZipfileError] = ArtifactError
    ) -> None:
        self.descriptor = descriptor
        self.start = start
        self.size = size
        self.label = label
        self.error = error
        self.bare = False  # whether errors name only the member: one of the outermost archive
        self.advice = AGAIN  # what errors tell to do

    def refuse(self, name: str, why: str) -> NoReturn:
        """Raise this window's error for member *name* ("" for the archive itself)."""
        what = name if name and self.bare else f"{self.label}/{name}" if name else self.label
        raise self.error(what, why, self.advice)

    def pread(self, offset: int, size: int) -> bytes:
        """Return *size* bytes from *offset* of the range.

        Raises:
            the window's error: the range or the file ends before.
        """
        if offset < 0 or offset + size > self.size:
            self.refuse("", f"is cut: {size} bytes at offset {offset} are outside its {self.size} bytes")
        try:
            data = os.pread(self.descriptor, size, self.start + offset)
            while len(data) < size:
                more = os.pread(self.descriptor, size - len(data), self.start + offset + len(data))
                if not more:
                    self.refuse("", f"became shorter while it was read (at offset {offset + len(data)})")
                data += more
        except OSError as error:
            self.refuse("", f"cannot be read at offset {offset} ({error.strerror})")
        return data

    def directory(self, maximum: int) -> Tuple[int, bytes, int]:
        """Return the offset of the central directory, its bytes, and how many headers it must hold.

        The end record must be the last 22 bytes, without a comment, and the directory must end where it begins: no
        reader can then find another directory (R2, R3).
        """
        if self.size < END.size:
            self.refuse("", f"is cut: {self.size} bytes are not a zip")
        signature, disk, first_disk, here, total, length, offset, comment = END.unpack(
            self.pread(self.size - END.size, END.size)
        )
        if signature != END_SIGNATURE or comment:
            self.refuse("", "does not end with a zip's end record: it was cut, or bytes were added")
        if disk or first_disk or here != total:
            self.refuse("", "multi-disk archives are not supported")
        if not 1 <= total <= maximum:
            self.refuse("", f"its end record counts {total} members, allowed are 1 to {maximum}")
        if offset + length + END.size != self.size:
            self.refuse("", f"its directory of {length} bytes at offset {offset} does not end at the end record")
        return offset, self.pread(offset, length), total

    def headers(self, directory: bytes, total: int) -> Iterator[Header]:
        """Yield the *total* headers of *directory*, in their order, read as they are taken."""
        at = 0
        for number in range(total):
            if at + CENTRAL.size > len(directory):
                self.refuse("", f"its directory ends after {number} of {total} members")
            fields = CENTRAL.unpack_from(directory, at)
            name_length, extra_length, comment_length = fields[12:15]
            name_at = at + CENTRAL.size
            extra_at = name_at + name_length
            at = extra_at + extra_length + comment_length
            if fields[0] != CENTRAL_SIGNATURE or at > len(directory):
                where = self.size - END.size - len(directory) + name_at - CENTRAL.size
                self.refuse("", f"its directory is broken at offset {where}")
            name, extra = directory[name_at:extra_at], directory[extra_at : extra_at + extra_length]
            needed = fields[3] | fields[4] << 8
            yield Header(name, fields[1], fields[2], needed, *fields[5:12], extra, *fields[14:])  # type: ignore[call-arg]
        if at != len(directory):
            self.refuse("", f"its directory holds {len(directory) - at} bytes more than its {total} members")

    def blocks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of *entry* in pieces of at most ``WHOLE`` bytes, proven as it goes.

        Local header, CRC-32, length and the end of the compressed stream are checked (R6, R11); the last check comes
        after the last piece, so a caller must take all of them before it trusts any.
        """
        if entry.room <= WHOLE and entry.size <= WHOLE:
            yield self.content(entry, self.pread(entry.start, entry.room))
            return
        at = entry.start + self.data_at(entry, self.pread(entry.start, min(entry.room, LOCAL.size + 2 * 65535)))
        crc = size = 0
        pieces = self.pieces(entry.name, at, entry.compressed, entry.method == DEFLATED)
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
            size += len(piece)
            if size > entry.size:
                break
            yield piece
        self._check_end(entry, size, crc)

    def read(self, entry: Entry) -> bytes:
        """Return the whole content of *entry*, proven."""
        return b"".join(self.blocks(entry))

    def digest(self, entry: Entry) -> str:
        """Return the SHA-256 of the content of *entry*, 64 hexadecimal digits; the content is proven on the way."""
        digest = hashlib.sha256()
        for block in self.blocks(entry):
            digest.update(block)
        return digest.hexdigest()

    def data_start(self, entry: Entry) -> int:
        """Return where the data of *entry* begin, from the first byte of the file (not of the range)."""
        return self.start + entry.start + self.data_at(entry, self.pread(entry.start, min(entry.room, 2048)))

    def data_starts(self, entries: Sequence[Entry]) -> Iterator[int]:
        """Yield where the data of each of *entries* begin, from the first byte of the range, local headers compared."""
        for entry, raw, base in self.neighbours(entries):
            yield entry.start + self.data_at(entry, raw, base) if raw else self.data_start(entry) - self.start

    def content(self, entry: Entry, raw: bytes, base: int = 0) -> bytes:
        """Return the content of *entry*, of at most ``WHOLE`` bytes both ways, proven as by :meth:`blocks`.

        Parameters:
            raw: bytes of the archive.
            base: where the member's ``room`` bytes begin in *raw*.
        """
        return self.content_at(entry, raw, base + self.data_at(entry, raw, base))

    def content_at(self, entry: Entry, raw: bytes, at: int) -> bytes:
        """Return the same, if its data begin at byte *at* of *raw*: :meth:`data_at` says so."""
        end = at + entry.compressed
        if entry.method == STORED:
            data = raw[at:end]
        else:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflater.decompress(memoryview(raw)[at:end], entry.size or 1)  # 0 would be no limit
                if len(data) == entry.size and not inflater.eof:
                    # The stream may still owe its end mark: it has to come, and nothing with it.
                    data += inflater.decompress(inflater.unconsumed_tail, 1)
            except zlib.error as error:
                self.refuse(entry.name, f"cannot be inflated ({error})")
            if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
                self.refuse(entry.name, "its compressed stream does not end where its data ends")
        if len(data) != entry.size or zlib.crc32(data) != entry.crc:
            self._check_end(entry, len(data), zlib.crc32(data))
        return data

    def neighbours(self, entries: Sequence[Entry]) -> Iterator[Tuple[Entry, bytes, int]]:
        """Yield each of *entries* with bytes of the archive and where the member begins in them, for :meth:`content`.

        Members that follow each other, up to ``WHOLE`` bytes of them, are read at once. One that is larger comes with
        no bytes: it is read by :meth:`blocks`.
        """
        number = 0
        while number < len(entries):
            first = entries[number]
            if first.room > WHOLE or first.size > WHOLE:
                yield first, b"", 0
                number += 1
                continue
            end, last = first.start, number
            while last < len(entries):
                entry = entries[last]
                after = entry.start + entry.room
                if entry.start < end or after - first.start > WHOLE or entry.size > WHOLE:
                    break
                end, last = after, last + 1
            raw = self.pread(first.start, end - first.start)
            for entry in entries[number:last]:
                yield entry, raw, entry.start - first.start
            number = last

    def pieces(self, name: str, at: int, size: int, deflated: bool) -> Iterator[bytes]:
        """Yield what *size* bytes from byte *at* of the range are, in pieces: the data of the member *name*."""
        return self._inflated(name, at, size) if deflated else self._ranges(at, size)

    def _inflated(self, name: str, at: int, size: int) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        for piece in self._ranges(at, size):
            while piece:
                try:
                    data = inflater.decompress(piece, BLOCK)
                except zlib.error as error:
                    self.refuse(name, f"cannot be inflated ({error})")
                if inflater.unused_data:
                    self.refuse(name, "its compressed stream does not end where its data ends")
                piece = inflater.unconsumed_tail
                if data:
                    yield data
        while not inflater.eof:
            # Input is used up; what is still inside the inflater comes out in blocks, or the stream was cut.
            try:
                data = inflater.decompress(b"", BLOCK)
            except zlib.error as error:
                self.refuse(name, f"cannot be inflated ({error})")
            if not data:
                break
            yield data
        if not inflater.eof:
            self.refuse(name, "its compressed stream does not end where its data ends")

    def _ranges(self, at: int, size: int) -> Iterator[bytes]:
        for offset in range(at, at + size, BLOCK):
            yield self.pread(offset, min(BLOCK, at + size - offset))

    def data_at(self, entry: Entry, raw: bytes, base: int = 0) -> int:
        """Return how many bytes the local header at byte *base* of *raw* has, compared with the directory."""
        if entry.form:
            name = entry.name.encode("utf-8")
            header = entry.form + REST.pack(entry.crc, entry.compressed, entry.size, len(name), 0) + name
            if not raw.startswith(header, base):
                self.refuse(entry.name, "its local header differs from the directory")
            return len(header)
        return self._foreign_data_at(entry, raw, base)

    def _foreign_data_at(self, entry: Entry, raw: bytes, base: int) -> int:
        if len(raw) - base < LOCAL.size:
            self.refuse(entry.name, "its local header is cut")
        signature, _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL.unpack_from(
            raw, base
        )
        at: int = LOCAL.size + name_length + extra_length
        name_at = base + LOCAL.size
        encoding = "utf-8" if entry.flags & UTF8_NAME else "ascii"
        if signature != LOCAL_SIGNATURE or raw[name_at : name_at + name_length] != entry.name.encode(encoding):
            self.refuse(entry.name, "its local header names another member")
        if method != entry.method or (flags ^ entry.flags) & (ENCRYPTED | DESCRIPTOR | UTF8_NAME):
            self.refuse(entry.name, "its local header differs from the directory")
        if not flags & DESCRIPTOR and (
            crc != entry.crc or compressed not in (entry.compressed, 0xFFFFFFFF) or size not in (entry.size, 0xFFFFFFFF)
        ):
            self.refuse(entry.name, "its local header differs from the directory")
        slack = entry.room - at - entry.compressed
        # Data descriptors are 12 bytes, 16 with their signature, 8 more with ZIP64 sizes (APPNOTE 4.3.9).
        if slack not in ((12, 16, 20, 24) if flags & DESCRIPTOR else (0,)):
            self.refuse(entry.name, f"{slack} bytes that belong to no member follow it")
        return at

    def _check_end(self, entry: Entry, size: int, crc: int) -> None:
        if size != entry.size:
            held = "more than" if size > entry.size else f"{size} of"
            self.refuse(entry.name, f"holds {held} its {entry.size} bytes")
        if crc != entry.crc:
            self.refuse(entry.name, f"its CRC-32 is {crc:08x}, the directory says {entry.crc:08x}")
