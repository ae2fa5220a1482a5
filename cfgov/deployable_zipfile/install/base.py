"""Complete a delta from what is on this machine: an installation of the other build, a store, an artifact.

Whatever a file is taken from, its SHA-256 is compared with the one that the delta names, so nothing here has to be
trusted. The result is a temporary file without a name that is read like any artifact: archives that were left out are
made anew, with the same files in them. What is installed is the same to the last byte.
"""

from __future__ import annotations

import contextlib
import os
from typing import Dict, Iterator, List, Optional, Sequence

from .. import durable
from ..artifact import delta as deltas
from ..artifact import layout, manifests
from ..artifact.container import Container
from ..artifact.delta import Delta, Row
from ..artifact.record import RecordRow
from ..artifact.window import Entry
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import ArtifactError, DestinationError, TargetError
from . import host
from .base_sources import Source, Wanted, Whole, sources_of
from .zip_part import Blocks, ZipPart

_BLOCK = 1024 * 1024


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
        sources = sources_of(paths, found, stack)
        descriptor = _temporary(folder)
        stack.callback(os.close, descriptor)
        try:
            with console.phase(f"Completing {artifact.path}", bar=False):
                made = _Maker(artifact, found, target, sources, descriptor).make()
        except OSError as error:
            what = f"a temporary file there cannot be written ({error.strerror})"
            raise DestinationError(folder, what, "Free space there, or use the complete artifact") from None
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
        self,
        artifact: Artifact,
        delta: Delta,
        target: manifests.Target,
        sources: List[Source],
        descriptor: int,
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
        outer = ZipPart(self._descriptor, 0, manifest.shebang.encode("ascii") + b"\n")
        for name, member in manifest.members.items():
            row = Row(name, member.mode, member.size, member.sha256)
            if name in self._artifact.members:
                entry = self._artifact.members[name]
                outer.copied(entry, _packed(self._artifact.container, entry))
            elif layout.is_index(name):
                continue  # of an archive that is made anew, to other bytes
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
            "Name an installation or the artifact of that build with --base, or use the complete artifact",
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

    def _is_there(self, outer: ZipPart, name: str, member: manifests.Member) -> bool:
        """Copy the archive from an artifact that has the very same; return whether one has."""
        for source in self._sources:
            if isinstance(source, Whole) and source.artifact.manifest.members.get(name) == member:
                entry = source.artifact.members[name]
                outer.copied(entry, _packed(source.artifact.container, entry))
                return True
        return False

    def _add_archive(self, outer: ZipPart, name: str, wheel: Optional[manifests.PlannedWheel]) -> None:
        """Make the archive *name* anew, its files stored."""
        start = outer.begin(name)
        inner = ZipPart(self._descriptor, start, b"")
        rows = self._delta.archives[name]
        for row in rows:
            self._add(inner, Wanted(row, name, wheel))
        if layout.is_wheel(name):
            self._add_record(inner, name, rows)
        inner.finish()
        self._made[name] = outer.ended(name, self._delta.manifest.members[name].mode, inner.size)

    def _add_record(self, inner: ZipPart, name: str, rows: Sequence[Row]) -> None:
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

    def _add(self, target: ZipPart, wanted: Wanted) -> None:
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
        raise DestinationError(folder, what, "Use the complete artifact, or make it writable") from None
    return descriptor


def _packed(container: Container, entry: Entry) -> Blocks:
    """Yield the data of *entry* as they are in its container."""
    at = entry.start + entry.room - entry.compressed  # behind its local header
    for offset in range(at, at + entry.compressed, _BLOCK):
        yield container.pread(offset, min(_BLOCK, at + entry.compressed - offset))


def _is_wheel_file(name: str) -> bool:
    folder, _, inner = name.partition("/")
    return folder.endswith(".dist-info") and inner == "WHEEL"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name
