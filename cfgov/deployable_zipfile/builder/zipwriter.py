"""Writer of our container: exactly the bytes that rules R1-R11 of ``docs/artifact.md`` allow, and no others.

The standard library's ``zipfile`` adds ZIP64 fields, local times and flags that depend on its version; this writer
depends only on the members. Field names are those of PKWARE's APPNOTE 6.3.10.

A member whose content is known to be that of an archive written before is not deflated again: its bytes, neighbours
together, are copied, by the kernel where they need not be hashed. The result is the same, byte for byte.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from types import TracebackType
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
)

from ..artifact import headers, layout, manifests
from ..definitions import NamedTuple
from ..errors import BuildInputError
from ..workers import run
from . import contents
from .contents import FileContent, Item, Packed
from .hasher import Hasher

_LARGE = 4 * 1024 * 1024  # bytes; larger files are not held in memory
_BATCH = 1024 * 1024  # bytes of content per piece of work for another process
_BLOCK = 1024 * 1024
_NEIGHBOURS = 256  # members that are copied together
_WINDOW = 32  # batches on their way at a time: bounds memory


class Written(NamedTuple):
    """One member of a finished archive."""

    name: str
    mode: int
    method: int
    crc: int
    compressed: int  # bytes
    size: int  # bytes
    offset: int  # of its local header
    sha256: str  # of its content

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + headers.LOCAL.size + len(self.name.encode("utf-8")) + self.compressed


class Former(NamedTuple):
    """An archive that was written before by this writer, with the same zlib, and is open for reading."""

    descriptor: int
    members: Mapping[str, Written]


class Archive:
    """One zip being written, member after member.

    Parameters:
        path: where; an existing file is replaced.
        first_line: text before the first member, without its newline; "" for a nested archive.
        workers: processes that deflate; 0 means one per core.
        progress: called with the number of bytes of content packed since the last call.
        formers: archives to copy unchanged members from.
        digest: also find the SHA-256 of the whole file.

    Attributes:
        members: what was written so far, as the manifest lists it.
        sha256: of the whole file, once it is closed; "" unless asked for.

    Raises:
        BuildInputError: a file changed or vanished while it was read; more members or bytes than a zip without
            ZIP64 records can hold (R2, R3). OSErrors of the output file come through.
    """

    def __init__(
        self,
        path: str,
        first_line: str = "",
        workers: int = 0,
        progress: Optional[Callable[[int], None]] = None,
        formers: Sequence[Former] = (),
        digest: bool = False,
    ) -> None:
        self.members: Dict[str, manifests.Member] = {}
        self.sha256 = ""
        self._workers = workers
        self._progress = progress or _ignore
        self._path = path
        self._directory = bytearray()
        self._position = 0
        self._formers = formers
        self._file = open(path, "wb+")  # noqa: SIM115 - closed by __exit__
        self._hasher = Hasher(self._file.fileno()) if digest else None
        self._write(first_line.encode("ascii") + b"\n" if first_line else b"")

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._hasher:
                self._hasher.stop()
            self._file.close()

    def add(self, items: Iterable[Item]) -> None:
        """Write *items* in their order; small ones are read, hashed and deflated by several processes.

        Only some of them are in memory at a time, as far as *items* makes them one by one.
        """
        batches = _batches(items, self._same)
        for window in iter(lambda: list(itertools.islice(batches, _WINDOW)), []):
            self._add_batches(window)

    @property
    def written(self) -> List[Written]:
        """What was written so far, with the place of each. Read from the directory: there may be many."""
        found, at = [], 0
        for name, member in self.members.items():
            fields = headers.CENTRAL.unpack_from(self._directory, at)
            method, crc, compressed, offset = fields[6], fields[9], fields[10], fields[18]
            found.append(Written(name, member.mode, method, crc, compressed, member.size, offset, member.sha256))
            at += headers.CENTRAL.size + fields[12]  # and its name
        return found

    def hash_behind(self) -> None:
        """Hash what is written, and write and hash what follows, in a thread: from now on no process is forked here."""
        if self._hasher:
            self._file.flush()
            self._hasher.start(self._position)

    def _same(self, item: Item) -> Tuple[int, Optional[Written]]:
        """Return the member of a former archive that *item* would become again, and that archive's descriptor."""
        for former in self._formers if item.sha256 else ():
            found = former.members.get(item.name)
            if found is None or (found.sha256, found.mode) != (item.sha256, item.mode):
                continue
            if not item.stored or found.method == headers.STORED:
                return former.descriptor, found
        return -1, None

    def _add_batches(self, batches: List[_Batch]) -> None:
        waiting: Dict[int, List[Packed]] = {}
        deflated = [number for number, batch in enumerate(batches) if batch.deflate]
        written = 0

        def work(number: int) -> Tuple[int, List[Tuple[Any, ...]]]:
            return deflated[number], [tuple(packed) for packed in contents.packed(batches[deflated[number]].items)]

        little = sum(item.size for number in deflated for item in batches[number].items) < _BATCH
        # A process that was forked while a thread runs may find a lock taken for ever.
        serial = little or (self._hasher is not None and self._hasher.is_running)
        answered = run(work, len(deflated), 1 if serial else self._workers)
        while written < len(batches):
            if batches[written].deflate and written not in waiting:
                number, answers = next(answered)
                waiting[number] = [Packed(*answer) for answer in answers]
                continue
            self._write_batch(batches[written], waiting.pop(written, []))
            written += 1
        for _ in answered:  # to its end, which ends the processes
            pass

    def _write_batch(self, batch: _Batch, packed: List[Packed]) -> None:
        items = batch.items
        if batch.former:
            self._copy_former(batch)
            return
        if not batch.deflate:
            self._write_large(items[0])
            return
        for item, member in zip(items, packed):
            self._begin(item, member.method, member.crc, len(member.data), member.size, member.sha256)
            self._write(member.data)
            self._progress(member.size)

    def _copy_former(self, batch: _Batch) -> None:
        """Copy members of a former archive, neighbours there and here, with their local headers."""
        first = batch.former[0].offset
        distance = self._position - first
        for item, found in zip(batch.items, batch.former):
            self._list(found._replace(offset=found.offset + distance))
            self._progress(item.size)
        self._copied(batch.descriptor, first, batch.former[-1].end - first, self._path)  # see last.Last.check

    def _write_large(self, item: Item) -> None:
        """Write one member whose content is not held in memory: copied if stored, deflated in blocks if not."""
        content = item.content
        if isinstance(content, bytes):
            raise TypeError(item.name)
        if item.stored and item.sha256:
            self._begin(item, headers.STORED, item.crc, content.size, content.size, item.sha256)
            self._copy(content)
            return
        crc, digest, compressed = contents.measured(content)
        deflate = not item.stored and contents.worth_deflating(content.size, compressed)
        method = headers.DEFLATED if deflate else headers.STORED
        self._begin(item, method, crc, compressed if deflate else content.size, content.size, digest)
        again = hashlib.sha256()
        for piece in contents.deflated(contents.hashed(content, again)) if deflate else contents.hashed(content, again):
            self._write(piece)
        if again.hexdigest() != digest:
            raise contents.changed(content.path)
        self._progress(content.size)

    def _begin(self, item: Item, method: int, crc: int, compressed: int, size: int, sha256: str) -> None:
        self._list(Written(item.name, item.mode, method, crc, compressed, size, self._position, sha256))
        self._write(headers.local(item.name.encode("utf-8"), method, crc, compressed, size))

    def _list(self, member: Written) -> None:
        if len(self.members) >= layout.MAX_MEMBERS:
            raise BuildInputError(self._path, f"would hold more than {layout.MAX_MEMBERS} files", "Pack fewer files")
        if member.name in self.members:
            raise BuildInputError(member.name, "would be in the artifact twice", "Rename one of the two")
        if member.end > layout.MAX_SIZE:
            raise _too_large(member.name)
        about = (member.method, member.crc, member.compressed, member.size, member.offset)
        self._directory += headers.central(member.name.encode("utf-8"), member.mode, *about)
        self.members[member.name] = manifests.Member(member.size, member.mode, member.sha256)

    def _copy(self, content: FileContent) -> None:
        if self._hasher and self._hasher.is_running:
            self._copied(content.path, content.offset, content.size, content.path)
        else:
            with open(content.path, "rb") as source:
                self._copied(source.fileno(), content.offset, content.size, content.path)
        self._progress(content.size)

    def _copied(self, source: Union[int, str], offset: int, size: int, what: str) -> None:
        """Copy *size* bytes of a file, which is open unless the thread that hashes opens it."""
        if self._hasher and self._hasher.is_running:
            self._hasher.copy(source, offset, size, what)
        else:
            self._file.flush()
            _copy_by_kernel(int(source), self._file.fileno(), offset, size, what)
            self._file.seek(0, os.SEEK_END)
        self._position += size

    def _write(self, data: bytes) -> None:
        if self._hasher and self._hasher.is_running:
            self._hasher.write(data)
        else:
            self._file.write(data)
        self._position += len(data)

    def _finish(self) -> None:
        size = len(self._directory)
        if self._position + size + headers.END.size > layout.MAX_SIZE:
            raise _too_large(self._path)
        self._directory += headers.end(len(self.members), size, self._position)
        for at in range(0, len(self._directory), _BLOCK):
            self._write(bytes(self._directory[at : at + _BLOCK]))
        if self._hasher:
            self.hash_behind()
            self.sha256 = self._hasher.end()


class _Batch(NamedTuple):
    """Members that are written together."""

    items: List[Item]
    former: List[Written]  # the same members of a former archive, one after another there too
    deflate: bool = False  # by another process
    descriptor: int = -1  # of the former archive


def _batches(items: Iterable[Item], same: Callable[[Item], Tuple[int, Optional[Written]]]) -> Iterator[_Batch]:
    """Yield *items* in groups: some neighbours of a former archive; a large file by itself; about a megabyte of others.

    Parameters:
        same: returns the member of a former archive that an item would become again, and that one's descriptor.
    """
    batch = _Batch([], [])
    room = 0
    for item in items:
        descriptor, former = same(item)
        before = batch
        if former is not None:
            ends = batch.former[-1].end if 0 < len(batch.former) < _NEIGHBOURS else -1
            if ends != former.offset or batch.descriptor != descriptor:
                batch = _Batch([], [], descriptor=descriptor)
            batch.former.append(former)
            room = 0
        elif _is_large(item):
            batch = _Batch([], [])
            room = 0
        else:
            if room <= 0:
                batch = _Batch([], [], deflate=True)
                room = _BATCH
            room -= item.size + 4096
        if batch is not before and before.items:
            yield before
        batch.items.append(item)
    if batch.items:
        yield batch


def _is_large(item: Item) -> bool:
    return not isinstance(item.content, bytes) and (item.content.size > _LARGE or bool(item.stored and item.sha256))


def _ignore(size: int) -> None:
    del size


def _too_large(what: str) -> BuildInputError:
    return BuildInputError(what, "makes the artifact reach 4 GiB", "Pack less: see `exclude` in docs/build.md")


def _copy_by_kernel(source: int, target: int, offset: int, size: int, what: str) -> None:
    end = offset + size
    while offset < end:
        copied = _kernel_copy(source, target, end - offset, offset)
        if not copied:
            raise contents.changed(what)
        offset += copied


def _kernel_copy(source: int, target: int, count: int, offset: int) -> int:
    """Copy up to *count* bytes from *offset* of *source* to the position of *target*; return how many."""
    try:
        return os.copy_file_range(source, target, count, offset)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) not in (None, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
    # Linux before 5.3 across file systems, file systems without the call, other systems.
    data = os.pread(source, min(count, _BLOCK), offset)
    return os.write(target, data)
