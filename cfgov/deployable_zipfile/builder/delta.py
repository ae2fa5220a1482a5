"""Writes a delta: an artifact with what one artifact lacks of another.

What an installation of the old build has under a path that is known is left out; the rest is packed: members that the
old build has not, and files of archives that are left out (scripts, whose first line each installation writes, and
what another wheel replaced there).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Dict, Iterator, List, Set, Tuple

from ..artifact import delta as deltas
from ..artifact import headers, layout, manifests
from ..artifact.delta import Delta, Row
from ..artifact.wheel import Wheel, is_script
from ..artifact.zipreader import Artifact
from ..console import Console
from ..definitions import NamedTuple
from ..errors import ArtifactError, BuildInputError
from ..install.plan import Place, is_own, path_in
from ..install.writer import bytecode_path
from . import cache, contents, zipwriter
from .output import Output, Written

ENDING = ".delta"  # before ".zip"
_WITHOUT_DIGEST = ("RECORD", "RECORD.jws", "RECORD.p7s")


class _Archives(NamedTuple):
    """What is left out, and the files of it that are packed nevertheless."""

    rows: Dict[str, Tuple[Row, ...]]
    packed: Dict[str, bytes]  # by SHA-256


@contextlib.contextmanager
def opened_base(path: str) -> Iterator[Artifact]:
    """Open the artifact that a delta shall be against.

    Raises:
        BuildInputError: it is not a whole artifact.
    """
    with contextlib.ExitStack() as stack:
        try:
            artifact = stack.enter_context(Artifact.open(path))
        except ArtifactError as error:
            raise BuildInputError(f"--against {path}", f"{error.what} {error.why}", "Give an artifact") from None
        if deltas.is_delta(artifact.manifest):
            raise BuildInputError(f"--against {path}", "is a delta itself", "Give the complete artifact of that build")
        yield artifact


def write(new: Written, old: Artifact, basename: str, workers: int, console: Console) -> Written:
    """Write the delta of *new* against *old* to ``BASENAME.delta.zip``.

    Raises:
        BuildInputError: it cannot be written.
        ArtifactError, WheelError: *old* is damaged.
    """
    with Artifact.open(new.path) as artifact, Output(basename + ENDING) as output:
        with console.phase(f"Packing the difference from build {old.manifest.build_id}", bar=False):
            old.verify(workers)
            _Packer(artifact, old, new, workers).pack(output.temporary)
            with Artifact.open(output.temporary) as made:
                deltas.read(made)  # our own strict reader takes it
        return output.commit()


class _Packer:
    def __init__(self, new: Artifact, old: Artifact, written: Written, workers: int) -> None:
        self._new = new
        self._old = old
        self._written = written
        self._workers = workers
        self._files = dict(old.manifest.members)  # of the old build's project, and everything else it holds
        for payload in old.manifest.payloads:
            self._files.update(old.payload_members(payload)[1])
        self._nested_rows: Dict[Tuple[bool, str], Tuple[Row, ...]] = {}

    def pack(self, path: str) -> None:
        """Write the delta to *path*."""
        manifest = self._new.manifest
        found = self._archives()
        items = []
        indexes = {layout.index_of(name) for name in found.rows}  # of no use for an archive that is made anew
        for name, member in manifest.members.items():
            same = deltas.is_found_by_path(manifest, name) and self._files.get(name) == member
            if name in found.rows or name in indexes or same:
                continue
            items.append(self._item(name))
        nested = f"{path}.files"
        try:
            with zipwriter.Archive(nested, workers=self._workers) as archive:
                archive.add([contents.Item(digest, found.packed[digest]) for digest in sorted(found.packed)])
            items += self._own(found, nested)
            with zipwriter.Archive(path, manifest.shebang, self._workers) as archive:
                archive.add(items)
                own = manifest._replace(targets=(), directories=(), payloads=(), members=dict(archive.members))
                archive.add([contents.Item(layout.MANIFEST, own.to_json())])
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(nested)

    def _own(self, found: _Archives, nested: str) -> List[contents.Item]:
        manifest, old = self._new.manifest, self._old
        stated = Delta(
            base=old.manifest.build_id,
            base_sha256=old.sha256,
            sha256=self._written.sha256,
            size=self._written.size,
            archives=found.rows,
            manifest=manifest,
        )
        plan = stated.to_json()
        if len(plan) > layout.MAX_MANIFEST:
            raise BuildInputError("--against", "the delta would name too many files", "Build without it")
        kept = cache.measured(nested)
        files = contents.Item(
            deltas.FILES, contents.FileContent(nested, kept.size), stored=True, sha256=kept.sha256, crc=kept.crc
        )
        return [
            contents.Item(deltas.MANIFEST, manifest.to_json()),
            contents.Item(deltas.PLAN, plan),
            files,
        ]

    def _item(self, name: str) -> contents.Item:
        """Return a member as it is in the whole artifact."""
        entry, container = self._new.members[name], self._new.container
        if entry.method == headers.STORED:
            place = contents.FileContent(self._new.path, entry.size, container.data_start(entry))
            digest = self._new.manifest.members[name].sha256
            return contents.Item(name, place, entry.mode, stored=True, sha256=digest, crc=entry.crc)
        return contents.Item(name, container.read(entry), entry.mode)

    def _archives(self) -> _Archives:
        """Return what every archive that is left out holds."""
        found = _Archives({}, {_digest(b""): b""})
        manifest = self._new.manifest
        refused: Set[str] = set()
        for target in manifest.targets:
            there = self._installed(target)
            for planned in target.wheels + target.bootstrap:
                if not self._leave_out_wheel(found, planned, target, there):
                    refused.update([planned.file, planned.bytecode or planned.file])
        for name in refused:  # needed whole by one target: it is packed for all
            found.rows.pop(name, None)
        nested = [payload.file for payload in manifest.payloads]
        nested += [target.project_bytecode for target in manifest.targets if target.project_bytecode]
        for name in dict.fromkeys(nested):
            self._leave_out_nested(found, name)
        return found

    def _installed(self, target: manifests.Target) -> Dict[str, str]:
        """Return the SHA-256 of what an installation of the old build for *target* has of wheels, by path."""
        found: Dict[str, str] = {}
        for old in self._old.manifest.targets:
            if (old.python, old.machine) != (target.python, target.machine):
                continue
            place = Place("", "", old.python, self._old.manifest.project)
            for planned in old.wheels + old.bootstrap:
                wheel = _wheel(self._old, planned.file)
                for name, row in wheel.record.items():
                    if not is_own(wheel, name) and not is_script(name):
                        path = path_in(wheel.name, name, place)
                        found[path] = row.sha256
                        found.pop(bytecode_path(path, old.cache_tag), None)
                for inner in self._nested(self._old, planned.bytecode) if planned.bytecode else ():
                    found[f"{place.site}/{inner.name}"] = inner.sha256
            for path in [path for path in found if path.startswith(f"{place.scripts}/")]:
                del found[path]  # an entry point may have taken its place
        return found

    def _leave_out_wheel(
        self, found: _Archives, planned: manifests.PlannedWheel, target: manifests.Target, there: Dict[str, str]
    ) -> bool:
        """Leave out a wheel that the old build has, with its bytecode; return whether that can be done."""
        if self._old.manifest.members.get(planned.file) != self._new.manifest.members[planned.file]:
            return False
        wheel = _wheel(self._new, planned.file)
        place = Place("", "", target.python, self._new.manifest.project)
        rows = []
        own = [f"{wheel.dist_info}/{name}" for name in _WITHOUT_DIGEST]
        for name in [*wheel.record, *(name for name in wheel.files if name not in wheel.record)]:
            if name == own[0]:
                continue  # it follows from the others
            entry = wheel.files[name]
            digest = wheel.record[name].sha256 if name in wheel.record else ""
            if not digest and name not in own:
                return False  # its RECORD has another kind of digest, and could not be made anew
            inline = not digest or is_own(wheel, name) or is_script(name)
            if inline or there.get(path_in(wheel.name, name, place)) != digest:
                content = wheel.read(entry)
                digest = _digest(content)
                found.packed[digest] = content
            rows.append(Row(name, entry.mode, entry.size, digest))
        found.rows[planned.file] = tuple(rows)
        if planned.bytecode:
            inner = found.rows[planned.bytecode] = self._nested(self._new, planned.bytecode)
            lacking = [row for row in inner if there.get(f"{place.site}/{row.name}") != row.sha256]
            self._pack(found, planned.bytecode, lacking)
        return True

    def _leave_out_nested(self, found: _Archives, name: str) -> None:
        """Leave out an archive of the project's; files that the old build has not are packed."""
        old = self._old
        same = {row.name: row for row in self._nested(old, name)} if name in old.members else {}
        payload = name.startswith(f"{layout.PAYLOAD}/")
        found.rows[name] = self._nested(self._new, name)
        lacking = []
        for row in found.rows[name]:
            if payload:
                is_there = self._files.get(row.name) == manifests.Member(row.size, row.mode, row.sha256)
            else:
                is_there = same.get(row.name) == row
            lacking += [] if is_there else [row]
        self._pack(found, name, lacking)

    def _pack(self, found: _Archives, archive: str, rows: List[Row]) -> None:
        if rows:
            container = self._new.nested(archive)
            for row in rows:
                found.packed[row.sha256] = container.read(container.entries[row.name])

    def _nested(self, artifact: Artifact, name: str) -> Tuple[Row, ...]:
        """Return the files of a nested archive."""
        key = (artifact is self._new, name)
        if key not in self._nested_rows:
            container = artifact.nested(name)
            self._nested_rows[key] = tuple(
                Row(entry.name, entry.mode, entry.size, container.digest(entry)) for entry in container.entries.values()
            )
        return self._nested_rows[key]


def _wheel(artifact: Artifact, name: str) -> Wheel:
    entry = artifact.members[name]
    return Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, name)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
