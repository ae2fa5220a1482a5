"""Strict reader of our zips: exactly one form, the container rules R1-R11 of ``docs/artifact.md``.

``zipfile`` and ``zipimport`` accept archives that two readers understand differently, trust declared sizes, and check
no digest (measured: a reader built on them takes 95 of 239 hostile variants of one artifact).
"""

from __future__ import annotations

import stat
import struct
from typing import Dict, NoReturn, Optional, Set, Tuple

from ..definitions import expression
from . import layout
from .headers import (
    CENTRAL,
    DEFLATED,
    FORM,
    LOCAL,
    LOCAL_SIGNATURE,
    NEEDED,
    RATIO,
    RATIO_FROM,
    STORED,
    UNIX,
    UTF8_NAME,
)  # fmt: skip
from .names import are_plain, check_distinct, name_problem
from .window import GIVE, Entry, Header, Window

# A central header of ours: versions, then the fields that vary, and between them what must be 0 (R4, R10).
_OWN = struct.Struct("<8s2H4x3LH8s2L")
_OWN_VERSIONS, _NOTHING = b"PK\x01\x02\x14\x03\x14\0", bytes(8)
_OWN_MODES = {(stat.S_IFREG | mode) << 16: mode for mode in layout.FILE_MODES}
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
_SHEBANG = expression(rb"#![\x20-\x7e]{1,125}\n")


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
        self.advice = f"{GIVE}, or copy it again"
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
        fields = (header.needed & 0xFF, header.needed >> 8, header.flags, header.method, header.time, header.date)
        return Entry(
            name,
            stat.S_IMODE(mode),
            header.method,
            header.flags,
            header.crc,
            header.compressed,
            header.size,
            position,
            LOCAL.size + len(header.name) + header.compressed,
            FORM.pack(LOCAL_SIGNATURE, *fields),
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
    forms: Dict[bytes, bytes] = {}  # nearly always one
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
            begin = directory[at - length - 40 : at - length - 30]
            form = forms.get(begin) or forms.setdefault(begin, LOCAL_SIGNATURE + begin)
            values = (name, _OWN_MODES[external], method, flags, crc, packed, size, position, room, form)
            entries[name] = new(Entry, values)
            position += room
    except (KeyError, UnicodeDecodeError, struct.error):
        return None
    if at != len(directory) or len(entries) != total or any(name.isascii() or name_problem(name) for name in marked):
        return None
    plain = entries.keys() - marked if marked else entries.keys()
    return (entries, position) if not plain or are_plain(plain) else None


def _lossy(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
