"""Files in the zip of a wheel: one pass over headers of the usual form, else a reader that says what is wrong."""

from __future__ import annotations

import stat
import struct
from typing import Any, Dict, List, Optional, Set, Tuple

from .headers import DEFLATED, DESCRIPTOR, ENCRYPTED, RATIO, RATIO_FROM, STORED, UNIX, UTF8_NAME
from .names import MAX_FOLDERS, UNSAFE, are_plain, folders_of
from .window import Entry, Header, Window

MAX_FILES = 65_535

# A central header without what nothing of a wheel depends on: versions, times, disk number, internal attributes.
_CENTRAL = struct.Struct("<4sxB2x2H4x3L3H4x2L")
_ZIP64_EXTRA = 0x0001  # APPNOTE 4.5.3
_KEPT_FLAGS = UTF8_NAME | DESCRIPTOR | ENCRYPTED


def files_of(wheel: Window) -> Dict[str, Entry]:
    """Return every file of *wheel* by name.

    Raises:
        the window's error: naming the first file that breaks a rule.
    """
    directory_at, directory, total = wheel.directory(MAX_FILES)
    return quick_files(directory, total, directory_at) or strict_files(wheel, directory, total, directory_at)


def strict_files(wheel: Window, directory: bytes, total: int, directory_at: int) -> Dict[str, Entry]:
    """Return the files by name; say which rule the first wrong one breaks."""
    found = [_sizes(wheel, header) for header in wheel.headers(directory, total)]
    rooms = _rooms(wheel, found, directory_at)
    files: Dict[str, Entry] = {}
    folders: Set[str] = set()
    for number, header in enumerate(found):
        entry = _entry(wheel, header, rooms[number])
        if entry.name.endswith("/"):
            if entry.size or entry.compressed > 2:
                wheel.refuse(entry.name, "is a folder with content")
            folders.add(entry.name[:-1])
            continue
        if entry.name in files:
            wheel.refuse(entry.name, "is a member twice")
        files[entry.name] = entry
    folders.update(folders_of(files, wheel.refuse))
    for name in folders.intersection(files):
        wheel.refuse(name, "is a file and a folder")
    return files


def _rooms(wheel: Window, found: List[Header], directory_at: int) -> Dict[int, int]:
    """Return how far it is from each member to the next, after proving that none overlaps another."""
    order = sorted(range(len(found)), key=lambda number: found[number].offset)
    rooms: Dict[int, int] = {}
    position = 0
    for number, following in zip(order, [*order[1:], -1]):
        header = found[number]
        if header.offset != position:
            wheel.refuse(_decoded(header), f"is at offset {header.offset}, expected at {position}")
        position = found[following].offset if following >= 0 else directory_at
        rooms[number] = position - header.offset
        if rooms[number] < 30 + len(header.name) + header.compressed:
            wheel.refuse(_decoded(header), "overlaps the member after it")
    return rooms


def _sizes(wheel: Window, header: Header) -> Header:
    """Return *header* with the 64-bit sizes of its ZIP64 extra field, where it has one (APPNOTE 4.5.3)."""
    if 0xFFFFFFFF not in (header.size, header.compressed, header.offset):
        return header
    extra, position = header.extra, 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == _ZIP64_EXTRA and position + 4 + length <= len(extra):
            values = list(struct.unpack_from(f"<{length // 8}Q", extra, position + 4))
            wide: Dict[str, Any] = {}
            for field in ("size", "compressed", "offset"):
                if getattr(header, field) == 0xFFFFFFFF and values:
                    wide[field] = values.pop(0)
            return header._replace(**wide)
        position += 4 + length
    wheel.refuse(_decoded(header), "its ZIP64 sizes are missing")


def _entry(wheel: Window, header: Header, room: int) -> Entry:
    name = _decoded(header)
    if header.flags & UTF8_NAME == 0 and not header.name.isascii():
        wheel.refuse(name, "its name is neither ASCII nor marked as UTF-8")
    problem = _name_problem(name)
    if problem:
        wheel.refuse(name, problem)
    if header.flags & ENCRYPTED or header.method not in (STORED, DEFLATED):
        wheel.refuse(name, f"is encrypted or compressed by method {header.method}")
    mode = _mode(header.made_by, header.external, name.endswith("/"))
    if mode is None:
        wheel.refuse(name, "is a link or a device")
    if header.size > RATIO_FROM and header.size > RATIO * header.compressed:
        wheel.refuse(name, f"would inflate {header.compressed} bytes to {header.size}")
    return Entry(
        name,
        mode,
        header.method,
        header.flags & _KEPT_FLAGS,
        header.crc,
        header.compressed,
        header.size,
        header.offset,
        room,
        b"",
    )


def quick_files(directory: bytes, total: int, directory_at: int) -> Optional[Dict[str, Entry]]:
    """Return what the strict reader would, in one pass over headers of the usual form, in the order of their members.

    None: a header is of another form, or wrong, and only the strict reader can tell which.
    """
    found: List[Tuple[Any, ...]] = []
    ends: List[int] = []
    modes: Dict[Tuple[int, int, bool], Optional[int]] = {}
    unpack, at = _CENTRAL.unpack_from, 0
    try:
        for _ in range(total):
            signature, maker, flags, method, crc, packed, size, length, extra, comment, external, offset = unpack(
                directory, at
            )
            at += _CENTRAL.size
            name = directory[at : at + length].decode("utf-8" if flags & UTF8_NAME else "ascii")
            at += length + extra + comment
            key = (maker, external, name[-1:] == "/")
            mode = modes[key] if key in modes else modes.setdefault(key, _mode(*key))
            if signature != b"PK\x01\x02" or flags & ENCRYPTED or (method != DEFLATED and method != STORED):
                return None
            if mode is None or size > RATIO_FROM or packed > RATIO_FROM or offset == 0xFFFFFFFF:
                return None
            found.append((name, mode, method, flags & _KEPT_FLAGS, crc, packed, size, offset, length))
            ends.append(offset)
    except (UnicodeDecodeError, struct.error):
        return None
    if at != len(directory) or not ends or ends.pop(0) != 0:
        return None
    return _quick_checked(found, [*ends, directory_at])


def _quick_checked(found: List[Tuple[Any, ...]], ends: List[int]) -> Optional[Dict[str, Entry]]:
    """Return the files among the members *found*, None when two of them touch or a name is unusual.

    Parameters:
        ends: where each member ends: the offset of the next one.
    """
    files: Dict[str, Entry] = {}
    folders: Set[str] = set()
    new = tuple.__new__
    for (*values, offset, length), end in zip(found, ends):
        name, _, _, _, _, packed, size = values
        room = end - offset
        if room < 30 + length + packed:
            return None
        if name[-1:] == "/":
            if size or packed > 2:
                return None
            folders.add(name[:-1])
        elif name in files:
            return None
        else:
            files[name] = new(Entry, (*values, offset, room, b""))
    names = [*files, *folders]
    if not are_plain(names) and any(map(_name_problem, names)):
        return None
    folders |= folders_of(files)
    return None if len(folders) > MAX_FOLDERS or folders & files.keys() else files


def _mode(maker: int, external: int, is_folder: bool) -> Optional[int]:
    """Return the mode that a member is installed with, None for what is neither a file nor a folder.

    Parameters:
        maker: system that made the header (APPNOTE 4.4.2).
        external: its external attributes (4.4.15): the mode of a file in the upper half, where Unix made it.
    """
    mode = external >> 16 if maker == UNIX else 0
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG) and not (kind == stat.S_IFDIR and is_folder):
        return None
    return 0o755 if kind == stat.S_IFREG and mode & 0o111 else 0o644


def _name_problem(name: str) -> str:
    bare = name[:-1] if name.endswith("/") else name
    if "\\" in bare:
        return "its name holds a backslash"
    if any(part in ("", ".", "..") for part in bare.split("/")):
        return "its name leaves its folder or has an empty part"
    if UNSAFE.search(bare):
        return "its name holds control characters"
    if len(bare.encode("utf-8")) > 1024 or max(len(part.encode("utf-8")) for part in bare.split("/")) > 255:
        return "its name is too long"
    return ""


def _decoded(header: Header) -> str:
    return header.name.decode("utf-8", "backslashreplace")
