"""Strict reader of our container, and the parts of it that read other people's zips too.

``zipfile`` and ``zipimport`` accept archives that two readers understand differently, trust declared sizes, and check
no digest (measured: a reader built on them takes 95 of 239 hostile variants of one artifact). This module accepts
exactly one form, the container rules R1-R12 of ``docs/artifact.md``, and reads by ``pread`` from one descriptor that
is opened once: what was verified is what is extracted, and a file that is cut while it is read is an error, not a
signal.

Field names and offsets are those of PKWARE's APPNOTE 6.3.10: 4.3.7 local header, 4.3.12 central directory header,
4.3.16 end of central directory record.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import struct
import zlib
from typing import Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Sequence, Set, Tuple, Type

from ..errors import ArtifactError, DeployableZipfileError
from ..workers import run, started
from . import layout, manifest_reader, manifests
from .names import are_plain, check_distinct, folders_of, name_problem, project_name_problem

STORED, DEFLATED = 0, 8  # APPNOTE 4.4.5
UTF8_NAME = 0x800  # APPNOTE 4.4.4, bit 11
DESCRIPTOR = 0x008  # bit 3: sizes follow the data
ENCRYPTED = 0x2041  # bits 0, 6 and 13

END = struct.Struct("<4s4H2LH")
CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
LOCAL = struct.Struct("<4s2B4HL2L2H")
# A central header of ours: versions, then the fields that vary, and between them what must be 0 (R4, R10).
_OWN = struct.Struct("<8s2H4x3LH8s2L")
_OWN_VERSIONS, _NOTHING = b"PK\x01\x02\x14\x03\x14\0", bytes(8)
END_SIGNATURE, CENTRAL_SIGNATURE, LOCAL_SIGNATURE = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
UNIX = 3  # APPNOTE 4.4.2: made by
NEEDED = 20  # version 2.0

BLOCK = 256 * 1024  # bytes inflated at a time: caps memory whatever a member's size
WHOLE = 1024 * 1024  # members up to this size, both ways, are read in one piece
RATIO, RATIO_FROM = 50, 64 * 1024 * 1024  # PyPI's rule: at most 50:1 above 64 MiB

_OWN_MODES = {(stat.S_IFREG | mode) << 16: mode for mode in layout.FILE_MODES}
_AGAIN = "Copy the artifact again"
_GIVE = "Give the path of an artifact"
# What people give instead, by the first bytes.
_OTHERS = {
    b"PK\x03\x04": "a zip file",
    b"PK\x05\x06": "a zip file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x7fELF": "a program",
}
_SHEBANG = re.compile(rb"#![\x20-\x7e]{1,125}\n")


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
    header: bytes  # the exact local header of a container of ours; b"" in a wheel, whose local headers vary


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
        self.advice = _AGAIN  # what errors tell to do

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
        at = entry.start + self._data_at(entry, self.pread(entry.start, min(entry.room, LOCAL.size + 2 * 65535)))
        crc = size = 0
        pieces = self._inflated(entry, at) if entry.method == DEFLATED else self._ranges(at, entry.compressed)
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
        return self.start + entry.start + self._data_at(entry, self.pread(entry.start, min(entry.room, 2048)))

    def content(self, entry: Entry, raw: bytes, base: int = 0) -> bytes:
        """Return the content of *entry*, of at most ``WHOLE`` bytes both ways, proven as by :meth:`blocks`.

        Parameters:
            raw: bytes of the archive.
            base: where the member's ``room`` bytes begin in *raw*.
        """
        at = base + self._data_at(entry, raw, base)
        end = at + entry.compressed
        if entry.method == STORED:
            data = raw[at:end]
        else:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = inflater.decompress(memoryview(raw)[at:end], entry.size + 1)
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

    def _inflated(self, entry: Entry, at: int) -> Iterator[bytes]:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        for piece in self._ranges(at, entry.compressed):
            while piece:
                try:
                    data = inflater.decompress(piece, BLOCK)
                except zlib.error as error:
                    self.refuse(entry.name, f"cannot be inflated ({error})")
                if inflater.unused_data:
                    self.refuse(entry.name, "its compressed stream does not end where its data ends")
                piece = inflater.unconsumed_tail
                if data:
                    yield data
        while not inflater.eof:
            # Input is used up; what is still inside the inflater comes out in blocks, or the stream was cut.
            try:
                data = inflater.decompress(b"", BLOCK)
            except zlib.error as error:
                self.refuse(entry.name, f"cannot be inflated ({error})")
            if not data:
                break
            yield data
        if not inflater.eof:
            self.refuse(entry.name, "its compressed stream does not end where its data ends")

    def _ranges(self, at: int, size: int) -> Iterator[bytes]:
        for offset in range(at, at + size, BLOCK):
            yield self.pread(offset, min(BLOCK, at + size - offset))

    def _data_at(self, entry: Entry, raw: bytes, base: int = 0) -> int:
        """Return how many bytes the local header at byte *base* of *raw* has, compared with the directory."""
        if entry.header:
            if not raw.startswith(entry.header, base):
                self.refuse(entry.name, "its local header differs from the directory")
            return len(entry.header)
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


class Container(Window):
    """One zip of ours, outer or nested, read by rules R1-R11.

    Parameters:
        descriptor, start, size, label: as for :class:`Window`.
        first_line: whether a ``#!`` line comes first (the artifact itself).

    Attributes:
        entries: every member by name, in the order of the file.
        first_line: the line without its newline, "" in a nested container.

    Raises:
        ArtifactError: naming the member, or the offset where there is none.
    """

    def __init__(self, descriptor: int, start: int, size: int, label: str, first_line: bool = False) -> None:
        super().__init__(descriptor, start, size, label)
        self.bare = first_line
        prefix = self._prefix() if first_line else b""
        self.first_line = prefix[:-1].decode("ascii")
        directory_at, directory, total = self.directory(layout.MAX_MEMBERS)
        found = quick_entries(directory, total, len(prefix))
        self.entries, position = found or self._strict_entries(directory, total, len(prefix))
        if position != directory_at:
            gap = directory_at - position
            why = (
                f"{gap} bytes before its directory belong to no member"
                if gap > 0
                else "its members overlap its directory"
            )
            self.refuse("", why)
        check_distinct(self.entries, self.refuse)

    def _strict_entries(self, directory: bytes, total: int, position: int) -> Tuple[Dict[str, Entry], int]:
        """Return the members by name, and where the last one ends; say which rule the first wrong one breaks."""
        entries: Dict[str, Entry] = {}
        for header in self.headers(directory, total):
            entry = self._entry(header, position)
            if entry.name in entries:
                self.refuse(entry.name, "is a member twice")
            entries[entry.name] = entry
            position += entry.room
        return entries, position

    def _prefix(self) -> bytes:
        begin = self.pread(0, min(self.size, 128))
        match = _SHEBANG.match(begin)
        if match is None or b"python" not in match.group():
            self._refuse_as_other(begin)
        return match.group()

    def _refuse_as_other(self, begin: bytes) -> NoReturn:
        if not begin:
            self.refuse("", "is empty")
        kind = next((kind for magic, kind in _OTHERS.items() if begin.startswith(magic)), "")
        if kind == "a zip file" and self.label.endswith(".whl"):
            kind = "a wheel"
        self.advice = f"{_GIVE}, or copy it again"
        what = f"is {kind}, not an artifact" if kind else "is not an artifact"
        self.refuse("", f"{what}: it does not begin with one line '#!...python...' (at offset 0)")

    def _entry(self, header: Header, position: int) -> Entry:
        if (header.made_by, header.made_by_version) != (UNIX, NEEDED) or header.needed > NEEDED:
            self.refuse(_lossy(header.name), "was not written by this tool (version fields)")
        if header.flags & ~(UTF8_NAME | 0x006) or header.method not in (STORED, DEFLATED):
            self.refuse(_lossy(header.name), f"uses flags {header.flags:#06x} or method {header.method}")
        name = self._name(header)
        if header.extra or header.comment or header.disk or header.internal:
            self.refuse(name, "carries an extra field, a comment, a disk number or internal attributes")
        if 0xFFFFFFFF in (header.size, header.compressed, header.offset):
            self.refuse(name, "needs ZIP64, which is not supported")
        mode = header.external >> 16
        if header.external & 0xFFFF or mode not in [stat.S_IFREG | allowed for allowed in layout.FILE_MODES]:
            self.refuse(name, f"has mode {mode:o}, allowed are regular files of 644 and 755")
        if header.offset != position:
            self.refuse(name, f"starts at offset {header.offset}, the member before it ends at {position}")
        if header.method == STORED and header.compressed != header.size:
            self.refuse(name, "is stored but its two sizes differ")
        if header.size > RATIO_FROM and header.size > RATIO * header.compressed:
            self.refuse(name, f"would inflate {header.compressed} bytes to {header.size}")
        local = (
            LOCAL.pack(
                LOCAL_SIGNATURE,
                header.needed & 0xFF,
                header.needed >> 8,
                header.flags,
                header.method,
                header.time,
                header.date,
                header.crc,
                header.compressed,
                header.size,
                len(header.name),
                0,
            )
            + header.name
        )
        return Entry(
            name,
            stat.S_IMODE(mode),
            header.method,
            header.flags,
            header.crc,
            header.compressed,
            header.size,
            position,
            len(local) + header.compressed,
            local,
        )

    def _name(self, header: Header) -> str:
        try:
            name = header.name.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(_lossy(header.name), "its name is not UTF-8")
        if bool(header.flags & UTF8_NAME) == name.isascii():
            self.refuse(name, "its name and its UTF-8 flag do not fit together")
        problem = name_problem(name)
        if problem:
            self.refuse(name, problem)
        return name


def quick_entries(directory: bytes, total: int, position: int) -> Optional[Tuple[Dict[str, Entry], int]]:
    """Return what :meth:`Container._strict_entries` would, in one pass over headers of the usual form.

    None: a header is of another form, or wrong, and only the strict reader can tell which.

    Parameters:
        position: where the first member begins.
    """
    entries: Dict[str, Entry] = {}
    marked: Set[str] = set()
    unpack, new, at = _OWN.unpack_from, tuple.__new__, 0
    try:
        for _ in range(total):
            versions, flags, method, crc, packed, size, length, nothing, external, offset = unpack(directory, at)
            at += CENTRAL.size
            raw = directory[at : at + length]
            at += length
            name = raw.decode("utf-8")
            if flags:
                marked.add(name)
                if flags != UTF8_NAME:
                    return None
            if versions != _OWN_VERSIONS or nothing != _NOTHING or offset != position:
                return None
            if (
                (method != DEFLATED and (method != STORED or packed != size))
                or size > RATIO_FROM
                or packed > RATIO_FROM
            ):
                return None
            room = LOCAL.size + length + packed
            header = LOCAL_SIGNATURE + directory[at - length - 40 : at - length - 14] + raw
            values = (name, _OWN_MODES[external], method, flags, crc, packed, size, position, room, header)
            entries[name] = new(Entry, values)
            position += room
    except (KeyError, UnicodeDecodeError, struct.error):
        return None
    if at != len(directory) or len(entries) != total or any(name.isascii() or name_problem(name) for name in marked):
        return None
    plain = entries.keys() - marked if marked else entries.keys()
    return (entries, position) if not plain or are_plain(plain) else None


class Artifact:
    """One artifact, opened once.

    Use :meth:`open`, as a context manager. Opening checks the form of the container and the manifest;
    :meth:`verify` proves every byte.

    Attributes:
        path: absolute path it was opened by.
        size: bytes.
        container: the strict reader.
        manifest: what it says of itself.
        build_id: the manifest's.
    """

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self.descriptor = descriptor
        self.container = Container(descriptor, 0, size, path, first_line=True)
        self.manifest, self.build_id = manifest_reader.read_with_build_id(self._manifest_text())
        self._check_members()

    @classmethod
    def open(cls, path: str) -> "Artifact":
        """Open *path* and read its directory and manifest.

        Raises:
            ArtifactError: it cannot be read, is not a regular file, or breaks a rule of the container.
        """
        try:
            path = os.path.abspath(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ArtifactError(path, f"cannot be read ({error.strerror})", _GIVE) from None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise _folder_error(path)
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(path, "is not a regular file", _GIVE)
            return cls(path, descriptor, status.st_size)
        except OSError as error:
            os.close(descriptor)
            raise ArtifactError(path, f"cannot be read ({error.strerror})", _AGAIN) from None
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> "Artifact":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    @property
    def members(self) -> Dict[str, Entry]:
        """Every member by name, in the order of the file."""
        return self.container.entries

    @property
    def sha256(self) -> str:
        """Digest of the whole file, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, WHOLE):
            digest.update(self.container.pread(offset, min(WHOLE, self.size - offset)))
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Return the content of member *name*, at most ``MAX_MANIFEST`` bytes, compared with the manifest."""
        self._check_size(name)
        data = self.container.read(self.members[name])
        self._check_digest(name, hashlib.sha256(data).hexdigest())
        return data

    def verify(self, workers: int = 0, progress: Optional[Callable[[int], None]] = None) -> None:
        """Prove every byte: each member against the manifest, each nested archive of ours by the same rules (R12).

        Wheels are proven as members here; ``wheel.Wheel`` looks inside them.

        Parameters:
            workers: processes to use, 0 for one per core.
            progress: called with a number of bytes as they are proven.

        Raises:
            ArtifactError: naming the first member that is not what the manifest says.
        """
        with self.verifying(workers, progress) as finish:
            finish()

    @contextlib.contextmanager
    def verifying(
        self, workers: int = 0, progress: Optional[Callable[[int], None]] = None
    ) -> Iterator[Callable[[], None]]:
        """Begin :meth:`verify` in other processes; yield a function that waits for the end and raises what it found."""
        batches = self._batches()
        with started(lambda number: self.verify_members(batches[number]), len(batches), workers) as answers:

            def finish() -> None:
                for done in answers:
                    if progress:
                        progress(done)
                for payload in self.manifest.payloads:
                    self.verify_payload(payload, workers)

            yield finish

    def nested(self, name: str) -> Container:
        """Open the nested container *name* (bytecode or payload).

        Raises:
            ArtifactError: it is compressed, or breaks a rule.
        """
        entry = self.members[name]
        if entry.method != STORED:
            self.container.refuse(name, "is compressed, a nested archive must be stored")
        return Container(self.descriptor, self.container.data_start(entry), entry.size, name)

    def payload_members(self, payload: manifests.Payload) -> Tuple[Container, Dict[str, manifests.Member]]:
        """Open one nested payload with its listing; both must name the same members."""
        container = self.nested(payload.file)
        listing = manifest_reader.read_listing(payload.listing, self.read(payload.listing))
        _check_same(container, listing)
        for name in container.entries:
            if not self._is_project_file(name):
                container.refuse(name, "does not belong into a payload")
        return container, listing

    def _manifest_text(self) -> bytes:
        entry = self.members.get(layout.MANIFEST)
        if entry is None:
            self.container.refuse(layout.MANIFEST, "is missing")
        self._check_size(layout.MANIFEST)
        return self.container.read(entry)

    def _check_size(self, name: str) -> None:
        """Refuse a member that would be read whole and is larger than any such member of ours can be."""
        size = self.members[name].size
        if size > layout.MAX_MANIFEST:
            self.container.refuse(name, f"has {size} bytes, more than {layout.MAX_MANIFEST}")

    def _check_members(self) -> None:
        manifest = self.manifest
        if manifest.shebang != self.container.first_line:
            self.container.refuse("", f"begins with {self.container.first_line!r}, the manifest says otherwise")
        stated = dict(manifest.members)
        if layout.MANIFEST in stated:
            self.container.refuse(layout.MANIFEST, "lists itself")
        entry = self.members[layout.MANIFEST]
        stated[layout.MANIFEST] = manifests.Member(entry.size, entry.mode, "")
        _check_same(self.container, stated)
        self._check_names()

    def _check_names(self) -> None:
        manifest = self.manifest
        problem = project_name_problem(manifest.project)
        if problem:
            self.container.refuse(layout.MANIFEST, f"its project name {problem}")
        own = f"{manifest.project}/"
        for name in self.members:
            if not (name.startswith(own) or self._is_allowed(name)):
                self.container.refuse(name, "unexpected member")
        for name in (layout.MAIN, layout.INSTALL_WHEELS, layout.LOADENV, layout.LOADENV_PTH, layout.LOADENV_START):
            if name not in self.members:
                self.container.refuse(name, "is missing")
        for name in manifest.directories:
            if name_problem(name) or not self._is_project_file(name):
                self.container.refuse(name, "directory not allowed")
        needed = folders_of((f"{name}/" for name in manifest.directories), self.container.refuse)
        for name in needed.intersection(self.members):
            self.container.refuse(name, "is a file and a folder")

    def _is_allowed(self, name: str) -> bool:
        top, _, rest = name.partition("/")
        if not rest:
            return name in (
                layout.MAIN,
                layout.INSTALL_WHEELS,
                layout.LOADENV,
                layout.LOADENV_PTH,
                layout.project_pth_name(self.manifest.project),
            )
        if top in (layout.WHEELS, layout.BOOTSTRAP_WHEELS):
            return rest.endswith(".whl") and "/" not in rest
        return top == layout.DEPLOY or self._is_project_file(name)

    def _is_project_file(self, name: str) -> bool:
        top, _, rest = name.partition("/")
        if top == self.manifest.project:
            return bool(rest)
        number = rest.split("/")[0]
        return top == layout.STATIC and number.isascii() and number.isdigit()

    def _batches(self) -> List[List[Entry]]:
        """Return the members in groups of about one megabyte, the largest first."""
        batches: List[List[Entry]] = [[]]
        room = 0
        for entry in self.members.values():
            batches[-1].append(entry)
            room += entry.size + 4096
            if room >= WHOLE:
                batches.append([])
                room = 0
        return sorted(filter(None, batches), key=lambda batch: -sum(entry.room for entry in batch))

    def verify_members(self, batch: List[Entry]) -> int:
        """Compare some members with the manifest; return how many bytes of the file they take."""
        for entry in batch:
            digest = self.container.digest(entry)
            if entry.name != layout.MANIFEST:
                self._check_digest(entry.name, digest)
        return sum(entry.room for entry in batch)

    def _check_digest(self, name: str, found: str) -> None:
        expected = self.manifest.members[name].sha256
        if found != expected:
            self.container.refuse(name, f"its SHA-256 is {found[:12]}..., the manifest says {expected[:12]}...")

    def verify_payload(self, payload: manifests.Payload, workers: int) -> None:
        """Compare the members of a nested payload with its listing."""
        container, listing = self.payload_members(payload)
        entries = list(container.entries.values())
        step = 64

        def verify(number: int) -> int:
            for entry in entries[number * step : number * step + step]:
                if container.digest(entry) != listing[entry.name].sha256:
                    container.refuse(entry.name, "its content is not what its listing says")
            return 0

        for _ in run(verify, (len(entries) + step - 1) // step, workers):
            pass


def _folder_error(path: str) -> ArtifactError:
    """Return what to say about a folder in place of an artifact."""
    if os.path.lexists(os.path.join(path, layout.INSTALLED)):
        fix = f"{_GIVE}; verify {path} compares what was installed there"
        return ArtifactError(path, "is a folder that an artifact was installed into, not an artifact", fix)
    if os.path.lexists(os.path.join(path, layout.JOURNAL)):
        return ArtifactError(path, "is the root of a site, not an artifact", f"{_GIVE}, or of a release in releases/")
    return ArtifactError(path, "is a folder, not an artifact", _GIVE)


def _check_same(container: Container, stated: Dict[str, manifests.Member]) -> None:
    """Compare what a container holds with what is said of it: names, sizes and modes (R12)."""
    missing = [name for name in stated if name not in container.entries]
    if missing:
        count = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        container.refuse(min(missing), f"is listed but missing{count}")
    for name, entry in container.entries.items():
        member = stated.get(name)
        if member is None:
            container.refuse(name, "is not listed")
        if (member.size, member.mode) != (entry.size, entry.mode):
            container.refuse(name, "its size or mode is not what the manifest says")


def _lossy(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
