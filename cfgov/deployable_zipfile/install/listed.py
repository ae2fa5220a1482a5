"""Wheels that are installed by their index, without a look at their directory and their RECORD.

What the index says was found out and proven when the artifact was packed, and is as much worth as the code beside it:
the manifest has the SHA-256 of both, and every file is compared with the SHA-256 that the index has of it. What is
checked here is what keeps any index from writing to another place, or over another file: then the wheels are read.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import zlib
from bisect import bisect_left
from typing import Iterator, List, Optional, Sequence, Set, Tuple, Union

from ..artifact import layout, manifests
from ..artifact.container import Container
from ..artifact.headers import RATIO, RATIO_FROM
from ..artifact.index import IS_DEFLATED, Index, is_usual, mode_of, of_bytecode, of_member, of_wheel
from ..artifact.versions import normalised
from ..artifact.wheel import OWN, Wheel, is_script
from ..artifact.window import WHOLE, Window
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple
from ..durable import write_all
from ..errors import ArtifactError, WheelError
from .inventory import Notes, notes_of

CHUNK_BYTES = 1024 * 1024
CHUNK_FILES = 64
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 64 * 1024


class Archive(NamedTuple):
    """One archive in the artifact, and its index."""

    window: Window
    files: Index


class Listed(NamedTuple):
    """One planned wheel that is installed by its index."""

    plan: manifests.PlannedWheel
    archives: Tuple[Archive, ...]  # the wheel, and its bytecode if that is shipped
    scripts: Tuple[int, ...] = ()  # numbers of the files of the wheel that are scripts of its .data folder, ascending

    @property
    def wheel(self) -> Window:
        """The wheel."""
        return self.archives[0].window

    @property
    def files(self) -> Index:
        """The index of the wheel."""
        return self.archives[0].files

    @property
    def total(self) -> int:
        """How many files are written as they are."""
        return sum(len(archive.files.names) for archive in self.archives) - len(self.scripts)

    def names(self) -> Iterator[List[str]]:
        """Yield the paths below site-packages that each archive writes to."""
        for archive in self.archives:
            others = set(self.scripts if archive is self.archives[0] else ())
            names = archive.files.names
            yield [name for number, name in enumerate(names) if number not in others] if others else names


class Part(NamedTuple):
    """Files of one archive that follow each other and are written at once."""

    archive: Archive
    folder: str  # that their names begin in, relative to the tree
    first: int
    last: int  # the one after

    @property
    def alone(self) -> int:
        """Bytes of a part that is one large file, else 0."""
        return alone(self.archive.files.sizes[self.first], self.last - self.first)


def listed(artifact: Artifact, plan: manifests.PlannedWheel, bytecode: bool, compiles: bool) -> Optional[Listed]:
    """Return the wheel of *plan* if it can be installed by its index, else None.

    Parameters:
        bytecode: whether the shipped bytecode fits the running interpreter.
        compiles: whether Python files that come without bytecode are compiled, which needs the wheel itself.

    Raises:
        ArtifactError: an index is damaged.
    """
    wheel = _archive(artifact, plan.file)
    if wheel is None or not _is_of(wheel.files, plan):
        return None
    scripts = _data_files(wheel.files)
    if not all(is_script(wheel.files.names[number]) for number in scripts):
        return None
    if not bytecode or plan.bytecode is None:
        if compiles and any(name.endswith(".py") for name in wheel.files.names):
            return None
        return Listed(plan, (wheel,), scripts)
    compiled = _archive(artifact, plan.bytecode)
    return None if compiled is None else Listed(plan, (wheel, compiled), scripts)


def _data_files(index: Index) -> Tuple[int, ...]:
    """Return the numbers of the files in a ``.data`` folder."""
    if not any(folder.endswith(".data") for folder in index.folders):
        return ()
    return tuple(number for number, name in enumerate(index.names) if name.partition("/")[0].endswith(".data"))


def _archive(artifact: Artifact, member: str) -> Optional[Archive]:
    """Return the archive *member* with its index; None when it has none, or that of another archive."""
    index, entry = of_member(artifact, member), artifact.members[member]
    if index is None or index.size != entry.size or entry.size != entry.compressed:
        return None
    if not index.names:  # no archive of a build is empty
        return None
    if any(size > RATIO_FROM and size > RATIO * packed for size, packed in zip(index.sizes, index.packed)):
        return None
    kind = WheelError if layout.is_wheel(member) else ArtifactError
    return Archive(Window(artifact.descriptor, artifact.container.data_start(entry), entry.size, member, kind), index)


def _is_of(index: Index, plan: manifests.PlannedWheel) -> bool:
    """Tell whether *index* can be that of the wheel of *plan*, by its ``.dist-info`` folder."""
    distribution, _, rest = index.dist_info.partition("-")
    is_named = normalised(distribution) == plan.name and rest.endswith(".dist-info") and "/" not in rest
    return is_named and index.dist_info in index.folders


def prove(source: Listed) -> None:
    """Compare the indexes of a wheel and of its bytecode with these: others than this artifact rely on a store.

    Raises:
        ArtifactError, WheelError: they differ, or the wheel breaks a rule.
    """
    for archive in source.archives:
        window, files = archive.window, archive.files
        place = (window.descriptor, window.start, window.size, window.label)
        if archive is source.archives[0]:
            wheel = Wheel(*place)
            wheel.check_structure()
            files.check(of_wheel(wheel, files.sha256), window.label)
        else:
            files.check(of_bytecode(Container(*place), files.sha256, digests=False), window.label)


def are_apart(sources: Sequence[Listed], names: Set[str], folders: Set[str]) -> bool:
    """Tell whether the files of *sources* have plain names, and none that another file or a folder has.

    Parameters:
        names, folders: get those of all *sources*, relative to site-packages.
    """
    count = len(OWN) * len(sources)
    for source in sources:
        for some in source.names():
            names.update(some)
            count += len(some)
        for archive in source.archives:
            folders.update(archive.files.folders)
    folders.difference_update([folder for folder in folders if folder.partition("/")[0].endswith(".data")])
    own = {f"{source.files.dist_info}/{name}" for source in sources for name in OWN}
    names.update(own)
    scripts = [source.files.names[number] for source in sources for number in source.scripts]
    return len(names) == count and is_usual([*names, *scripts]) and names.isdisjoint(folders)


def ranges(sizes: Sequence[int], first: int = 0, last: Optional[int] = None) -> Iterator[Tuple[int, int]]:
    """Cut files into ranges of about one megabyte or 64 files; one that is larger is alone.

    Parameters:
        sizes: bytes of each file.
        first, last: the part of them that is cut, to the end by default.
    """
    last = len(sizes) if last is None else last
    total = list(itertools.accumulate(sizes[first:last]))
    begin = first
    while begin < last:
        before = total[begin - first - 1] if begin > first else 0
        end = first + bisect_left(total, before + CHUNK_BYTES, begin - first) + 1
        end = min(begin + CHUNK_FILES, end, last)
        if end - begin > 1 and sizes[end - 1] > CHUNK_BYTES:
            end -= 1
        yield begin, end
        begin = end


def alone(size: int, files: int) -> int:
    """Return the bytes of a range that is one large file, else 0.

    Parameters:
        size: bytes of the first file.
        files: how many there are.
    """
    return size if files == 1 and size > CHUNK_BYTES else 0


def parts_of(source: Listed, *folders: str) -> Iterator[Part]:
    """Yield the files of *source* in parts of about one megabyte or 64 files.

    Parameters:
        folders: that the names in each archive begin in, relative to the tree; one for all, or one for each.
    """
    for archive, folder in zip(source.archives, folders if len(folders) > 1 else 2 * folders):
        sizes, begin = archive.files.sizes, 0
        for end in (*(source.scripts if archive is source.archives[0] else ()), len(sizes)):
            for first, last in ranges(sizes, begin, end):
                yield Part(archive, folder, first, last)
            begin = end + 1


def notes_of_part(part: Part) -> Notes:
    """Return what is to be known of the files of *part* when they are written."""
    rows = list(part.archive.files.rows(part.first, part.last))
    files = [(f"{part.folder}/{name}", mode_of(kind)) for name, _, _, _, kind, _ in rows]
    return notes_of(files, [digest.hex() for *_, digest in rows])


def write_part(tree: str, part: Part) -> None:
    """Write the files of *part* into *tree*.

    Raises:
        ArtifactError, WheelError: content that is not what the index says.
        OSError: the file system refused.
    """
    (window, index), first, last = part.archive, part.first, part.last
    begin, end = index.starts[first], index.starts[last - 1] + index.packed[last - 1]
    prefix = f"{tree}/{part.folder}/"
    at_once = 0 <= end - begin <= 2 * WHOLE and not part.alone
    raw = memoryview(window.pread(begin, end - begin) if at_once else b"")
    for number, (name, start, packed, size, kind, digest) in enumerate(index.rows(first, last), first):
        descriptor = os.open(prefix + name, CREATE, mode_of(kind))
        try:
            if at_once:
                start -= begin
                write_all(descriptor, _content(window, name, raw[start : start + packed], size, kind, digest))
            else:
                for piece in blocks(part.archive, number):
                    write_all(descriptor, piece)
        finally:
            os.close(descriptor)


def _content(
    window: Window, name: str, data: memoryview, size: int, kind: int, digest: bytes
) -> Union[bytes, memoryview]:
    """Return the content of a file, compared with its digest.

    Parameters:
        data: as they are in the archive.
        size: bytes that the content has.
    """
    content: Union[bytes, memoryview] = data
    if kind & IS_DEFLATED:
        try:
            # Inflating at once is quicker, and deflated data of this size cannot become more than 66 MB (RFC 1951).
            if len(data) <= _AT_ONCE:
                content = zlib.decompress(data, -zlib.MAX_WBITS, size or 1)
            else:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size or 1)
        except zlib.error as error:
            window.refuse(name, f"cannot be inflated ({error})")
    if len(content) != size or hashlib.sha256(content).digest() != digest:
        window.refuse(name, "changed since it was verified")
    return content


def blocks(archive: Archive, number: int) -> Iterator[bytes]:
    """Yield the content of the file *number* in pieces; after the last one its digest has been compared."""
    (window, index), digest, size = archive, hashlib.sha256(), 0
    name, deflated = index.names[number], bool(index.kinds[number] & IS_DEFLATED)
    for piece in window.pieces(name, index.starts[number], index.packed[number], deflated):
        size += len(piece)
        if size > index.sizes[number]:
            break
        digest.update(piece)
        yield piece
    if size != index.sizes[number] or digest.digest() != index.digest(number):
        window.refuse(name, "changed since it was verified")
