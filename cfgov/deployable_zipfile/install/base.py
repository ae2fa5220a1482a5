"""Complete a delta from what is on this machine: an installation of the other build, a store, an artifact.

Whatever a file is taken from, its SHA-256 is compared with the one that the delta names, so nothing here has to be
trusted. The result is a temporary file without a name that is read like any artifact: archives that were left out are
made anew, with the same files in them. What is installed is the same to the last byte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import zlib
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from .. import durable
from ..artifact import delta as deltas
from ..artifact import headers, layout, manifests
from ..artifact.delta import Delta, Row
from ..artifact.record import RecordRow
from ..artifact.zipreader import STORED, Artifact, Container, Entry
from ..console import Console
from ..errors import ArtifactError, DestinationError, TargetError
from ..install_wheels import Place, path_in
from . import host, installed
from .store import ENTRIES, key_of

_BLOCK = 1024 * 1024
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

Blocks = Iterable[bytes]


class Wanted(NamedTuple):
    """One file that is needed."""

    row: Row
    member: str  # of the artifact: the archive that holds the file, or the file itself
    wheel: Optional[manifests.PlannedWheel]  # whose file, or whose bytecode, it is


class Tree:
    """An installation in the folder *path*."""

    def __init__(self, path: str) -> None:
        self.path = path
        record = installed.read(path)
        self._place = Place("", "", str(record.get("python")), str(record.get("project")))

    def blocks(self, wanted: Wanted) -> Iterator[Blocks]:
        """Yield what may be the content of a file."""
        if wanted.wheel is None:
            inner = wanted.row.name
        elif wanted.member == wanted.wheel.file:
            inner = path_in(wanted.wheel.name, wanted.row.name, self._place)
        else:
            inner = f"{self._place.site}/{wanted.row.name}"
        yield _blocks_of(f"{self.path}/{inner}", wanted.row.size)


class Shelf:
    """A store in the folder *path*."""

    def __init__(self, path: str, manifest: manifests.Manifest) -> None:
        self._entries = os.path.join(path, ENTRIES)
        self._members = manifest.members

    def blocks(self, wanted: Wanted) -> Iterator[Blocks]:
        """Yield what may be the content of a file."""
        wheel = wanted.wheel
        if wheel is None:
            return
        digest = self._members[wheel.file].sha256
        kind = "wheel" if wanted.member == wheel.file else "bytecode"
        for shipped in {wheel.bytecode or "", ""} if kind == "wheel" else {wheel.bytecode or ""}:
            bytecode = self._members[shipped].sha256 if shipped else ""
            key = key_of(digest, bytecode, sys.implementation.cache_tag or "")
            yield _blocks_of(f"{self._entries}/{key}/{kind}/{wanted.row.name}", wanted.row.size)


class Whole:
    """Another artifact, opened."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._nested: Dict[str, Dict[str, Tuple[Container, Entry]]] = {}

    def blocks(self, wanted: Wanted) -> Iterator[Blocks]:
        """Yield what may be the content of a file."""
        found = self._files(wanted.member).get(wanted.row.name)
        if found is not None and found[1].size == wanted.row.size:
            yield found[0].blocks(found[1])

    def _files(self, member: str) -> Dict[str, Tuple[Container, Entry]]:
        """Return the files of the bytecode archive *member*, or else all of the project's, nested or not."""
        artifact = self.artifact
        key = member if member.startswith(f"{layout.BYTECODE}/") and member in artifact.members else ""
        if key not in self._nested:
            containers = [artifact.nested(key)] if key else [artifact.container]
            if not key:
                containers += [artifact.nested(payload.file) for payload in artifact.manifest.payloads]
            self._nested[key] = {
                name: (container, entry) for container in containers for name, entry in container.entries.items()
            }
        return self._nested[key]


Source = Union[Tree, Shelf, Whole]


@contextlib.contextmanager
def completed(
    artifact: Artifact,
    paths: Sequence[str],
    folder: str,
    workers: int,
    console: Console,
) -> Iterator[Artifact]:
    """Yield *artifact* if it is whole; if it is a delta, the artifact that it makes with what is in *paths*.

    Parameters:
        paths: installations, stores and artifacts, the likeliest first; those that are none of these are left out.
        folder: absolute path where a temporary file is made and unlinked at once; it, or one above it, exists.
        workers: processes that verify a delta, 0: one per core.

    Raises:
        ArtifactError: the delta is damaged.
        TargetError: it is for another Python, or something that it needs is not here.
        DestinationError: the temporary file cannot be written.
    """
    found = deltas.read(artifact)
    if found is None:
        yield artifact
        return
    target = host.select_target(found.manifest)
    artifact.verify(workers)
    with contextlib.ExitStack() as stack:
        sources = _sources(paths, found, stack)
        descriptor = _temporary(folder)
        stack.callback(os.close, descriptor)
        try:
            with console.phase(f"Completing {artifact.path}", bar=False):
                made = _Maker(artifact, found, target, sources, descriptor).make()
        except OSError as error:
            what = f"a temporary file there cannot be written ({error.strerror})"
            raise DestinationError(folder, what, "Free space there, or use the whole artifact") from None
        yield _Completed(artifact.path, descriptor, os.fstat(descriptor).st_size, made)


class _Completed(Artifact):
    """The artifact that was made of a delta: members of other targets may be missing, archives were made anew."""

    def __init__(self, path: str, descriptor: int, size: int, made: Dict[str, str]) -> None:
        self._made = made
        super().__init__(path, descriptor, size)

    def _check_members(self) -> None:
        self._check_names()

    def _check_digest(self, name: str, found: str) -> None:
        if name not in self._made:
            super()._check_digest(name, found)
        elif found != self._made[name]:
            raise ArtifactError(name, "changed since it was made", "Run it again")


class _Maker:
    """Writes the temporary file.

    Parameters:
        target: what it is for, with the wheels that this patch release needs.
        sources: what files are taken from.
        descriptor: open for reading and writing, empty.
    """

    def __init__(
        self, artifact: Artifact, delta: Delta, target: manifests.Target, sources: List[Source], descriptor: int
    ) -> None:
        self._artifact = artifact
        self._delta = delta
        self._target = target
        self._sources = sources
        self._descriptor = descriptor
        self._own = artifact.nested(deltas.FILES)
        self._made: Dict[str, str] = {}
        self._missing: List[str] = []

    def make(self) -> Dict[str, str]:
        """Write everything; return the digests of the archives that were made anew, by member.

        Raises:
            TargetError: something is missing.
        """
        manifest = self._delta.manifest
        wheels = self._wheels()
        outer = _Zip(self._descriptor, 0, manifest.shebang.encode("ascii") + b"\n")
        for name, member in manifest.members.items():
            row = Row(name, member.mode, member.size, member.sha256)
            if name in self._artifact.members:
                entry = self._artifact.members[name]
                outer.copied(entry, _packed(self._artifact.container, entry))
            elif not self._is_there(outer, name, member):
                if name not in self._delta.archives:
                    self._add(outer, Wanted(row, name, None))
                elif self._is_needed(name, wheels):
                    self._add_archive(outer, name, wheels.get(name))
        text = self._artifact.read(deltas.MANIFEST)
        outer.add(layout.MANIFEST, 0o644, [text])
        if self._missing:
            raise self._refusal()
        outer.finish()
        return self._made

    def _refusal(self) -> TargetError:
        first, more = self._missing[0], len(self._missing) - 1
        which = f"{first} and {more} more files" if more else first
        return TargetError(
            self._artifact.path,
            f"is a delta against build {self._delta.base}, and {which} of that build are not here",
            "Name an installation or the artifact of that build with --base, or use the whole artifact",
        )

    def _wheels(self) -> Dict[str, manifests.PlannedWheel]:
        """Return the wheel of each member that is one, or that is the bytecode of one, for this target."""
        compiled = host.bytecode_fits(self._target)
        found = {}
        for wheel in self._target.wheels + self._target.bootstrap:
            found[wheel.file] = wheel
            if compiled and wheel.bytecode:
                found[wheel.bytecode] = wheel
        return found

    def _is_needed(self, name: str, wheels: Dict[str, manifests.PlannedWheel]) -> bool:
        payloads = {payload.file for payload in self._delta.manifest.payloads}
        own = self._target.project_bytecode if host.bytecode_fits(self._target) else None
        return name in wheels or name in payloads or name == own

    def _is_there(self, outer: "_Zip", name: str, member: manifests.Member) -> bool:
        """Copy the archive from an artifact that has the very same; return whether one has."""
        for source in self._sources:
            if isinstance(source, Whole) and source.artifact.manifest.members.get(name) == member:
                entry = source.artifact.members[name]
                outer.copied(entry, _packed(source.artifact.container, entry))
                return True
        return False

    def _add_archive(self, outer: "_Zip", name: str, wheel: Optional[manifests.PlannedWheel]) -> None:
        """Make the archive *name* anew, its files stored."""
        start = outer.begin(name)
        inner = _Zip(self._descriptor, start, b"")
        rows = self._delta.archives[name]
        for row in rows:
            self._add(inner, Wanted(row, name, wheel))
        if layout.is_wheel(name):
            self._add_record(inner, name, rows)
        inner.finish()
        self._made[name] = outer.ended(name, self._delta.manifest.members[name].mode, inner.size)

    def _add_record(self, inner: "_Zip", name: str, rows: Sequence[Row]) -> None:
        """Add RECORD, which is not left out as it was but follows from the files (PEP 376)."""
        folder = next((row.name.partition("/")[0] for row in rows if _is_wheel_file(row.name)), "")
        if not folder:
            raise ArtifactError(name, "has no .dist-info folder in the delta", "Copy the artifact again")
        unlisted = (f"{folder}/RECORD.jws", f"{folder}/RECORD.p7s")
        lines = [
            f"{_quoted(row.name)},sha256={RecordRow.encoded(bytes.fromhex(row.sha256))},{row.size}\n"
            for row in rows
            if row.name not in unlisted
        ]
        inner.add(f"{folder}/RECORD", 0o644, ["".join([*lines, f"{folder}/RECORD,,\n"]).encode("utf-8")])

    def _add(self, target: "_Zip", wanted: Wanted) -> None:
        """Add one file from the first source that has it."""
        row = wanted.row
        if target.tried(row, self._own_blocks(row)):
            return
        for source in self._sources:
            for blocks in source.blocks(wanted):
                if target.tried(row, blocks):
                    return
        archive = "" if wanted.member == row.name else f"{wanted.member}/"
        self._missing.append(f"{archive}{row.name}")

    def _own_blocks(self, row: Row) -> Blocks:
        entry = self._own.entries.get(row.sha256)
        return self._own.blocks(entry) if entry is not None else ()


class _Zip:
    """One zip being written into a part of a file, its members stored or copied as they are.

    Parameters:
        descriptor: of the file.
        start: where the zip begins.
        first_line: what comes before its first member.
    """

    def __init__(self, descriptor: int, start: int, first_line: bytes) -> None:
        self._descriptor = descriptor
        self._start = start
        self._directory: List[bytes] = []
        self.size = 0  # bytes
        self._write(first_line)

    def copied(self, entry: Entry, data: Blocks) -> None:
        """Add a member with its packed *data*."""
        name = entry.name.encode("utf-8")
        fields = (entry.method, entry.crc, entry.compressed, entry.size)
        self._directory.append(headers.central(name, entry.mode, *fields, self.size))
        self._write(headers.local(name, *fields))
        for block in data:
            self._write(block)

    def add(self, name: str, mode: int, blocks: Blocks) -> None:
        """Add a member, stored."""
        data = b"".join(blocks)
        encoded, crc = name.encode("utf-8"), zlib.crc32(data)
        self._directory.append(headers.central(encoded, mode, STORED, crc, len(data), len(data), self.size))
        self._write(headers.local(encoded, STORED, crc, len(data), len(data)))
        self._write(data)

    def tried(self, row: Row, blocks: Blocks) -> bool:
        """Add a member, stored, if *blocks* are what *row* says; return whether they are."""
        name, offset = row.name.encode("utf-8"), self.size
        header = headers.local(name, STORED, 0, row.size, row.size)
        self._position(offset + len(header))
        digest, crc, size = hashlib.sha256(), 0, 0
        for block in blocks:
            size += len(block)
            if size > row.size:
                break
            digest.update(block)
            crc = zlib.crc32(block, crc)
            self._write(block)
        if size != row.size or digest.hexdigest() != row.sha256:
            self._position(offset)
            return False
        self._put(headers.local(name, STORED, crc, row.size, row.size), offset)
        self._directory.append(headers.central(name, row.mode, STORED, crc, row.size, row.size, offset))
        return True

    def begin(self, name: str) -> int:
        """Leave room for the header of a member; return where in the file its content begins."""
        return self._start + self.size + len(headers.local(name.encode("utf-8"), STORED, 0, 0, 0))

    def ended(self, name: str, mode: int, size: int) -> str:
        """Add the stored member that was begun, of *size* bytes; return its SHA-256."""
        encoded, start, offset = name.encode("utf-8"), self.begin(name), self.size
        digest, crc = hashlib.sha256(), 0
        for at in range(start, start + size, _BLOCK):
            block = os.pread(self._descriptor, min(_BLOCK, start + size - at), at)
            digest.update(block)
            crc = zlib.crc32(block, crc)
        self._put(headers.local(encoded, STORED, crc, size, size), offset)
        self._directory.append(headers.central(encoded, mode, STORED, crc, size, size, offset))
        self._position(start + size - self._start)
        return digest.hexdigest()

    def finish(self) -> None:
        """Write the directory."""
        directory, offset = b"".join(self._directory), self.size
        if self._start + offset + len(directory) > layout.MAX_SIZE - _BLOCK:
            raise OSError(errno.EFBIG, "it would have 4 GiB or more")
        self._write(directory + headers.end(len(self._directory), len(directory), offset))

    def _write(self, data: bytes) -> None:
        self._put(data, self.size)
        self.size += len(data)

    def _put(self, data: bytes, offset: int) -> None:
        view, at = memoryview(data), self._start + offset
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written

    def _position(self, offset: int) -> None:
        """Go on from *offset*: what was written behind it is overwritten, or cut off."""
        os.ftruncate(self._descriptor, self._start + offset)
        self.size = offset


def _sources(paths: Sequence[str], delta: Delta, stack: contextlib.ExitStack) -> List[Source]:
    """Return what *paths* are, artifacts first: they are the fastest to take from."""
    artifacts: List[Source] = []
    others: List[Source] = []
    for path in dict.fromkeys(paths):
        if os.path.isfile(path):
            artifacts.append(Whole(stack.enter_context(Artifact.open(path))))
        elif installed.read(path):
            others.append(Tree(path))
        elif os.path.isdir(os.path.join(path, ENTRIES)):
            others.append(Shelf(path, delta.manifest))
    return artifacts + others


def _temporary(folder: str) -> int:
    """Return the descriptor of a new file that has no name."""
    folder = durable.nearest_folder(folder)
    path = os.path.join(folder, f".{os.getpid()}-{os.urandom(8).hex()}.partial")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.unlink(path)
    except OSError as error:
        what = f"a temporary file there cannot be written ({error.strerror})"
        raise DestinationError(folder, what, "Use the whole artifact, or make it writable") from None
    return descriptor


def _blocks_of(path: str, size: int) -> Blocks:
    """Yield the content of the regular file *path* if it has *size* bytes, else nothing."""
    try:
        descriptor = os.open(path, _READ)
    except (OSError, ValueError):
        return
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size == size:
            try:
                yield from iter(lambda: file.read(_BLOCK), b"")
            except OSError:
                return  # what is missing then is named


def _packed(container: Container, entry: Entry) -> Blocks:
    """Yield the data of *entry* as they are in its container."""
    at = entry.start + len(entry.header)
    for offset in range(at, at + entry.compressed, _BLOCK):
        yield container.pread(offset, min(_BLOCK, at + entry.compressed - offset))


def _is_wheel_file(name: str) -> bool:
    folder, _, inner = name.partition("/")
    return folder.endswith(".dist-info") and inner == "WHEEL"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name
