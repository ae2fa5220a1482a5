"""Writer of our container: exactly the bytes that rules R1-R11 of ``docs/artifact.md`` allow, and no others.

The standard library's ``zipfile`` adds ZIP64 fields, local times and flags that depend on its version; this writer
depends on the members alone. Field names are those of PKWARE's APPNOTE 6.3.10.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import zlib
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Type, Union

from ..artifact import layout, zipreader
from ..errors import BuildInputError
from ..workers import run

LEVEL = 6  # zlib's own default: 9 costs much time for little
_TIME, _DATE = 0, 0x0021  # 1980-01-01 00:00, the first moment a zip can name (APPNOTE 4.4.6)
_LARGE = 4 * 1024 * 1024  # bytes; larger files are not held in memory
_BATCH = 1024 * 1024  # bytes of content per piece of work for another process
_BLOCK = 1024 * 1024
_WINDOW = 64  # batches on their way at a time: bounds memory


class FileContent(NamedTuple):
    """Content that lies in a file, or in a part of one."""

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
    sha256: str = ""  # of a stored file whose digest and CRC-32 are known: it is copied without being read here
    crc: int = 0


class _Packed(NamedTuple):
    method: int
    crc: int
    size: int
    sha256: str
    data: bytes


class Archive:
    """One zip being written, member after member.

    Parameters:
        path: where; an existing file is replaced.
        first_line: text before the first member, without its newline; "" for a nested archive.
        workers: processes that deflate; 0 means one per core.
        progress: called with the number of bytes of content packed since the last call.

    Attributes:
        members: what was written so far, as the manifest lists it.

    Raises:
        BuildInputError: a file changed or vanished while it was read; more members or bytes than a zip without
            ZIP64 records can hold (R2, R3). OSErrors of the output file come through.
    """

    def __init__(
        self, path: str, first_line: str = "", workers: int = 0, progress: Optional[Callable[[int], None]] = None
    ) -> None:
        self.members: Dict[str, layout.Member] = {}
        self._workers = workers
        self._progress = progress or _ignore
        self._path = path
        self._directory: List[bytes] = []
        self._position = 0
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__
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
            self._file.close()

    def add(self, items: Sequence[Item]) -> None:
        """Write *items* in their order; small ones are read, hashed and deflated by several processes."""
        batches = _batches(items)
        for first in range(0, len(batches), _WINDOW):
            self._add_batches(batches[first : first + _WINDOW])

    def _add_batches(self, batches: List[List[Item]]) -> None:
        waiting: Dict[int, List[_Packed]] = {}
        written = 0

        def work(number: int) -> Tuple[int, List[Tuple[Any, ...]]]:
            return number, [tuple(packed) for packed in _pack_batch(batches[number])]

        for number, answers in run(work, len(batches), self._workers):
            waiting[number] = [_Packed(*answer) for answer in answers]
            while written in waiting:
                self._write_batch(batches[written], waiting.pop(written))
                written += 1

    def _write_batch(self, items: List[Item], packed: List[_Packed]) -> None:
        if not packed:
            self._write_large(items[0])
            return
        for item, member in zip(items, packed):
            self._begin(item, member.method, member.crc, len(member.data), member.size, member.sha256)
            self._write(member.data)
            self._progress(member.size)

    def _write_large(self, item: Item) -> None:
        """Write one member whose content is not held in memory: copied if stored, deflated in blocks if not."""
        content = item.content
        if isinstance(content, bytes):
            raise TypeError(item.name)
        if item.stored and item.sha256:
            self._begin(item, zipreader.STORED, item.crc, content.size, content.size, item.sha256)
            self._copy(content)
            return
        crc, digest, compressed = _measured(content)
        deflate = not item.stored and _worth_deflating(content.size, compressed)
        method = zipreader.DEFLATED if deflate else zipreader.STORED
        self._begin(item, method, crc, compressed if deflate else content.size, content.size, digest)
        again = hashlib.sha256()
        for piece in _deflated(_hashed(content, again)) if deflate else _hashed(content, again):
            self._write(piece)
        if again.hexdigest() != digest:
            raise _changed(content.path)
        self._progress(content.size)

    def _begin(self, item: Item, method: int, crc: int, compressed: int, size: int, sha256: str) -> None:
        if len(self.members) >= layout.MAX_MEMBERS:
            raise BuildInputError(self._path, f"would hold more than {layout.MAX_MEMBERS} files", "Pack fewer files")
        if item.name in self.members:
            raise BuildInputError(item.name, "would be in the artifact twice", "Rename one of the two")
        name = item.name.encode("utf-8")
        if self._position + len(name) + zipreader.LOCAL.size + compressed > layout.MAX_SIZE:
            raise _too_large(item.name)
        self._directory.append(_central(name, item.mode, method, crc, compressed, size, self._position))
        self.members[item.name] = layout.Member(size, item.mode, sha256)
        self._write(_local(name, method, crc, compressed, size))

    def _copy(self, content: FileContent) -> None:
        """Let the kernel copy a file's bytes; on file systems that can, the blocks are shared."""
        self._file.flush()
        with open(content.path, "rb") as source:
            left, offset = content.size, content.offset
            while left:
                copied = _kernel_copy(source.fileno(), self._file.fileno(), left, offset)
                if not copied:
                    raise _changed(content.path)
                left -= copied
                offset += copied
        self._position += content.size
        self._file.seek(0, os.SEEK_END)
        self._progress(content.size)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._position += len(data)

    def _finish(self) -> None:
        directory = b"".join(self._directory)
        if self._position + len(directory) + zipreader.END.size > layout.MAX_SIZE:
            raise _too_large(self._path)
        count = len(self._directory)
        end = zipreader.END.pack(zipreader.END_SIGNATURE, 0, 0, count, count, len(directory), self._position, 0)
        self._write(directory + end)
        self._file.flush()


def _batches(items: Sequence[Item]) -> List[List[Item]]:
    """Return *items* in groups of about one megabyte; a large file stands alone and is handled by the writer."""
    batches: List[List[Item]] = []
    room = 0
    for item in items:
        size = len(item.content) if isinstance(item.content, bytes) else item.content.size
        if _is_large(item):
            batches.append([item])
            room = 0
            continue
        if room <= 0:
            batches.append([])
            room = _BATCH
        batches[-1].append(item)
        room -= size + 4096
    return batches


def _is_large(item: Item) -> bool:
    return not isinstance(item.content, bytes) and (item.content.size > _LARGE or bool(item.stored and item.sha256))


def _pack_batch(items: List[Item]) -> Iterator[_Packed]:
    if len(items) == 1 and _is_large(items[0]):
        return
    for item in items:
        content = item.content if isinstance(item.content, bytes) else b"".join(_blocks(item.content))
        data = content if item.stored else b"".join(_deflated([content]))
        method = zipreader.DEFLATED
        if item.stored or not _worth_deflating(len(content), len(data)):
            method, data = zipreader.STORED, content
        yield _Packed(method, zlib.crc32(content), len(content), hashlib.sha256(content).hexdigest(), data)


def _worth_deflating(size: int, compressed: int) -> bool:
    """Say whether the deflated form is smaller, and not so much smaller that readers take it for a bomb (R11)."""
    return compressed < size and not (size > zipreader.RATIO_FROM and size > zipreader.RATIO * compressed)


def _measured(content: FileContent) -> Tuple[int, str, int]:
    """Return CRC-32, SHA-256 and deflated size of a large file."""
    crc, digest, compressed = 0, hashlib.sha256(), 0
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    for block in _hashed(content, digest):
        crc = zlib.crc32(block, crc)
        compressed += len(deflater.compress(block))
    return crc, digest.hexdigest(), compressed + len(deflater.flush())


def _hashed(content: FileContent, digest: "hashlib._Hash") -> Iterator[bytes]:
    for block in _blocks(content):
        digest.update(block)
        yield block


def _deflated(blocks: Iterable[bytes]) -> Iterator[bytes]:
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
            raise _changed(content.path)
        whole = content.offset == 0 and content.inode != 0
        if whole and before.st_size != content.size:
            raise _changed(content.path)
        file.seek(content.offset)
        left = content.size
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise _changed(content.path)
            left -= len(block)
            yield block
        if whole and os.fstat(descriptor).st_size != content.size:
            raise _changed(content.path)


def _ignore(size: int) -> None:
    del size


def _changed(path: str) -> BuildInputError:
    return BuildInputError(path, "changed while it was being packed", "Build again when nothing writes to it")


def _too_large(what: str) -> BuildInputError:
    return BuildInputError(what, "makes the artifact reach 4 GiB", "Pack less: see `exclude` in docs/build.md")


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


def _local(name: bytes, method: int, crc: int, compressed: int, size: int) -> bytes:
    flags = 0 if name.isascii() else zipreader.UTF8_NAME
    fields = (zipreader.NEEDED, 0, flags, method, _TIME, _DATE, crc, compressed, size, len(name), 0)
    return zipreader.LOCAL.pack(zipreader.LOCAL_SIGNATURE, *fields) + name


def _central(name: bytes, mode: int, method: int, crc: int, compressed: int, size: int, offset: int) -> bytes:
    flags = 0 if name.isascii() else zipreader.UTF8_NAME
    external = (stat.S_IFREG | mode) << 16
    fields = (zipreader.NEEDED, zipreader.UNIX, zipreader.NEEDED, 0, flags, method, _TIME, _DATE, crc, compressed, size)
    return zipreader.CENTRAL.pack(zipreader.CENTRAL_SIGNATURE, *fields, len(name), 0, 0, 0, 0, external, offset) + name
