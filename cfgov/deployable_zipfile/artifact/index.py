"""The index of an archive: what it holds, found out when it was packed, so that an installation need not do it again.

Reading the directory and RECORD of every wheel takes a fifth of an installation, and before it ends nothing can be
written. An index is of one wheel, or of one archive of bytecode, and names the SHA-256 of that archive: for any other
it counts for nothing. It says where the data of each file begin, how long they are, and their SHA-256, so that nothing
else of the archive has to be read. Only archives of the usual form have one (:func:`of_wheel`); others are read.

The member is one line of text, then a zlib stream (RFC 1950) of names and numbers, then the digests.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import Collection, Iterable, Iterator, List, Mapping, NoReturn, Optional, Sequence, Tuple

from ..definitions import NamedTuple, expression
from ..errors import ArtifactError
from . import layout
from .container import Container
from .headers import DEFLATED
from .names import are_plain, folders_of
from .record import digest_bytes
from .wheel import OWN, EntryPoint, Wheel, is_sound
from .window import Entry, Window
from .zipreader import Artifact

DIGEST = 32  # bytes of a SHA-256
FORMAT = 1
_HEAD = expression(rb"index 1 ([0-9a-f]{64}) ([0-9]{1,10}) ([0-9]{1,5}) ([0-9]{1,8})\n")
_MAX_TEXT = layout.MAX_MANIFEST  # bytes of names and numbers
_MAX_POINTS = 2 * 1024 * 1024  # characters: twice what entry_points.txt may have
_LEVEL = 9
IS_DEFLATED, IS_EXECUTABLE = 1, 2  # bits of a kind


class Index(NamedTuple):
    """What an archive holds: its files in the order of their data, without those that the installer writes itself."""

    sha256: str  # of the archive
    size: int  # bytes of the archive
    names: List[str]
    starts: Sequence[int]  # where the data of each file begin, from the first byte of the archive
    packed: Sequence[int]  # bytes there
    sizes: Sequence[int]  # bytes, inflated
    kinds: bytes  # of each file: whether it is deflated, and executable
    digests: bytes  # SHA-256 of each file, one after the other
    folders: List[str]  # that the files are in, and those above them, sorted: they follow from the names
    dist_info: str  # of a wheel
    points: List[EntryPoint]  # of a wheel

    def rows(self, first: int, last: int) -> Iterator[Tuple[str, int, int, int, int, bytes]]:
        """Yield name, start, bytes there, bytes inflated, kind and digest of files, from *first* to before *last*."""
        digests = [self.digests[at : at + DIGEST] for at in range(first * DIGEST, last * DIGEST, DIGEST)]
        columns = (self.names, self.starts, self.packed, self.sizes, self.kinds)
        return zip(*(column[first:last] for column in columns), digests)

    def digest(self, number: int) -> bytes:
        """Return the SHA-256 of the file *number*."""
        return self.digests[number * DIGEST : (number + 1) * DIGEST]

    def as_tuples(self) -> "Index":
        """Return the same, with numbers that can be compared."""
        return self._replace(starts=tuple(self.starts), packed=tuple(self.packed), sizes=tuple(self.sizes))

    def check(self, right: "Optional[Index]", member: str) -> None:
        """Compare with the index that was made of the archive *member* now; without its digests, if it has none.

        Raises:
            ArtifactError: they differ.
        """
        own = self.as_tuples()
        if right is None or right != (own if right.digests else own._replace(digests=b"")):
            raise ArtifactError(layout.index_of(member), f"is not what {member} holds", "Build the artifact again")

    def to_bytes(self) -> bytes:
        """Return the content of the member."""
        points = ["\t".join((*point[:3], "gui" if point.gui else "")) for point in self.points]
        text = "\0".join(map("\n".join, (self.names, [self.dist_info], points))).encode("utf-8")
        numbers = [struct.pack(f"<{len(self.names)}L", *column) for column in (self.starts, self.packed, self.sizes)]
        stream = zlib.compress(b"".join([text, b"\0", *numbers, self.kinds]), _LEVEL)
        head = b"index %d %s %d %d %d\n" % (
            FORMAT,
            self.sha256.encode("ascii"),
            self.size,
            len(self.names),
            len(stream),
        )
        return b"".join([head, stream, self.digests])


def of_member(artifact: Artifact, member: str) -> Optional[Index]:
    """Return the index that *artifact* has of its archive *member*; None when it has none, or that of another archive.

    Raises:
        ArtifactError: it is damaged.
    """
    name = layout.index_of(member)
    if name not in artifact.members or member not in artifact.manifest.members:
        return None
    try:
        found = read(artifact.read(name))
    except ValueError as error:
        raise ArtifactError(name, str(error), "Build the artifact again") from None
    return found if found is not None and found.sha256 == artifact.manifest.members[member].sha256 else None


def read(data: bytes) -> Optional[Index]:
    """Return the index that the member *data* is, None when it is of a form that this version does not know.

    Raises:
        ValueError: saying what is wrong with it.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    size, count, length = (int(number) for number in head.groups()[1:])
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data[head.end() : head.end() + length], _MAX_TEXT)
    except zlib.error as error:
        raise ValueError(f"cannot be inflated ({error})") from None
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
        raise ValueError("does not end where its data end")
    digests = data[head.end() + length :]
    numbers_at = len(text) - 13 * count
    if len(digests) != count * DIGEST or numbers_at < 1 or text[numbers_at - 1] != 0:
        raise ValueError("has another length than its files need")
    columns = _numbers(text[numbers_at:-count] if count else b"")
    try:
        lines, dist_info, points = text[: numbers_at - 1].decode("utf-8").split("\0")
    except ValueError:  # UnicodeDecodeError is one
        raise ValueError("has names of another form") from None
    # Before there is an object for each: a few kilobytes can be millions of lines.
    if (lines.count("\n") + 1 if lines else 0) != count or len(points) > _MAX_POINTS:
        raise ValueError("has another number of names than its files need")
    names = lines.split("\n") if lines else []
    try:
        found = [_point(line) for line in points.split("\n") if line]
    except ValueError:
        raise ValueError("has names of another form") from None
    return Index(
        sha256=head.group(1).decode("ascii"),
        size=size,
        names=names,
        starts=columns[:count],
        packed=columns[count : 2 * count],
        sizes=columns[2 * count :],
        kinds=text[-count:] if count else b"",
        digests=digests,
        folders=_folders(names),
        dist_info=dist_info,
        points=found,
    )


def mode_of(kind: int) -> int:
    """Return the mode that a file of this kind is installed with."""
    return 0o755 if kind & IS_EXECUTABLE else 0o644


def of_wheel(wheel: Wheel, sha256: str, starts: Optional[Mapping[str, int]] = None) -> Optional[Index]:
    """Return the index of *wheel*, which was proven; None when it is not of the usual form.

    That is: plain names, and a SHA-256 in RECORD for every file but those that the installer writes itself.

    Parameters:
        sha256: of the wheel, in hexadecimal.
        starts: where the data of each file begin, if that is known; the wheel is read for it otherwise.
    """
    own = {f"{wheel.dist_info}/{name}" for name in OWN}
    entries = [entry for entry in wheel.files.values() if entry.name not in own]
    rows = [wheel.record.get(entry.name) for entry in entries]
    if any(row is None or row.algorithm != "sha256" for row in rows):
        return None
    entries.sort(key=lambda entry: entry.start)
    digests = b"".join(digest_bytes(wheel.record[entry.name].digest) for entry in entries)
    if starts is not None:
        return _made(wheel, sha256, entries, digests, [starts[entry.name] for entry in entries])
    return _made(wheel, sha256, entries, digests, wheel.data_starts(entries))


def of_bytecode(archive: Container, sha256: str, digests: bool = True) -> Optional[Index]:
    """Return the index of an *archive* of bytecode; None when a name in it is unusual.

    Parameters:
        sha256: of the archive, in hexadecimal.
        digests: whether every file is read for its digest; there are none otherwise.
    """
    entries = list(archive.entries.values())
    found = [bytes.fromhex(archive.digest(entry)) for entry in entries] if digests else []
    return _made(archive, sha256, entries, b"".join(found), archive.data_starts(entries))


def _made(window: Window, sha256: str, entries: List[Entry], digests: bytes, starts: Iterable[int]) -> Optional[Index]:
    names = [entry.name for entry in entries]
    if not is_usual(names) or sum(map(len, names)) > _MAX_TEXT // 2:
        return None
    return Index(
        sha256=sha256,
        size=window.size,
        names=names,
        starts=tuple(starts),
        packed=tuple(entry.compressed for entry in entries),
        sizes=tuple(entry.size for entry in entries),
        kinds=bytes(
            IS_DEFLATED * (entry.method == DEFLATED) + IS_EXECUTABLE * bool(entry.mode & 0o111) for entry in entries
        ),
        digests=digests,
        folders=_folders(names),
        dist_info=window.dist_info if isinstance(window, Wheel) else "",
        points=window.entry_points() if isinstance(window, Wheel) else [],
    )


def is_usual(names: Collection[str]) -> bool:
    """Say whether all *names* are plain, and need no quotes in RECORD (PEP 376: a CSV file)."""
    text = "".join(names)
    return are_plain(names) and "," not in text and '"' not in text


def _folders(names: Sequence[str]) -> List[str]:
    def refuse(name: str, why: str) -> NoReturn:
        raise ValueError(f"{name} {why}")

    return sorted(folders_of(names, refuse))


def _numbers(data: bytes) -> Sequence[int]:
    """Return unsigned integers of 32 bits, little-endian: as they are where that is possible, which saves memory."""
    if sys.byteorder == "little":
        return memoryview(data).cast("I")
    return struct.unpack(f"<{len(data) // 4}L", data)


def _point(line: str) -> EntryPoint:
    name, module, attributes, gui = line.split("\t")
    point = EntryPoint(name, module, attributes, gui == "gui")
    if not is_sound(point):
        raise ValueError("has a script that no wheel may have")
    return point
