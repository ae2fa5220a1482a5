"""From files, wheels and plans to the artifact: every member, the bill of materials, the manifest.

With ``collect.py`` and ``overlays.py`` one of the modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from .. import __version__
from ..artifact import headers, layout, manifests
from ..console import Console
from ..definitions import NamedTuple
from . import cache, last, overlays, payloads, provenance, runtime, stock, zipwriter
from .contents import FileContent, Item, of_bytes
from .files import File, Files

_MANIFEST_ENTRY = 130  # bytes of one member in the manifest beside its name
_quoted = json.encoder.encode_basestring_ascii


class PackSettings(NamedTuple):
    """How the artifact is packed."""

    project: str  # its name
    shebang: str
    site: manifests.Site
    bytecode: bool = True
    workers: int = 0  # processes, 0: one per core
    environment: bytes = b""  # schema of the variables that the project declares, b"": it declares none


class Packed(NamedTuple):
    """What came of packing."""

    sha256: str  # of the artifact
    again: Optional[manifests.Manifest]  # of the last artifact, if it would be that again and nothing was written


class Packer:
    """Writes the members of the artifact, in the order in which they are read.

    Parameters:
        taken: what comes from the lock.
        chosen: files of the project and of the static folders, and where they came from.
        kept: the cache.
    """

    def __init__(
        self,
        settings: PackSettings,
        taken: stock.Stock,
        chosen: provenance.Chosen,
        kept: cache.Cache,
        console: Console,
    ) -> None:
        self._settings = settings
        self._taken = taken
        self._chosen = chosen
        self._kept = kept
        self._console = console
        self._overlays = overlays.Overlays(kept, console, settings.workers)
        self._bytecode: Dict[str, str] = {}  # member with the project's bytecode, by cache tag
        self._packed: Dict[str, manifests.Member] = {}  # the project's modules, in the artifact or in its payloads
        self._began = time.time_ns()

    def pack(self, path: str, former: Optional[last.Last] = None) -> Packed:
        """Write the artifact to *path*, unless it would be the *former* one again.

        Raises:
            BuildInputError: a file changed meanwhile, or there is more than a zip can hold.
        """
        stored = [_of_kept(member, kept) for member, kept in self._taken.stored]
        own = runtime.with_path(self._own(), self._settings.project, self._settings.site.path)
        if self._is_too_much([*own, *stored]):
            nested = payloads.Payloads(self._chosen.files, self._kept, former.former if former else None)
            files: Optional[Iterable[Item]] = self._all_before(nested)
        else:
            nested, files = None, _Items(self._chosen.files, self._of_file)
        if former and files is not None and former.first_line == self._settings.shebang:
            manifest = self._again(former, own, files, stored, nested)
            if manifest is not None:
                return Packed(former.sha256, manifest)
        sha256 = self._packed_to(path, former.former if former else None, own, files or (), stored, nested)
        return Packed(sha256, None)

    def _packed_to(
        self,
        path: str,
        former: Optional[zipwriter.Former],
        own: Sequence[Item],
        files: Iterable[Item],
        stored: Sequence[Item],
        nested: Optional[payloads.Payloads],
    ) -> str:
        """Write the artifact, with the project's *files* as members, or as *nested* archives if there are too many.

        Returns: the SHA-256 of the whole file.
        """
        chosen = self._chosen.files
        text = f"Packing {len(chosen)} files and {self._taken.wheels} wheels"
        total = sum(item.size for item in [*own, *stored]) + sum(file.size for file in chosen)
        line, workers = self._settings.shebang, self._settings.workers
        with self._console.phase(text, total) as advance, open(self._taken.own.path, "rb") as ready:
            formers = [zipwriter.Former(ready.fileno(), {one.name: one for one in self._taken.members})]
            formers = [former, *formers] if former else formers
            with zipwriter.Archive(path, line, workers, advance, formers, True) as target:
                target.add(own)
                made = self._add_payloads(target, nested, advance) if nested else self._add_files(target, files)
                bytecode = self._project_bytecode()
                target.hash_behind()
                target.add([*stored, *bytecode])
                target.add(self._documents())
                target.add([self._listed(self._manifest(target.members, made))])
        return target.sha256

    def _own(self) -> List[Item]:
        """Return the members that run on the target, to be copied from the archive that has them."""
        archive = self._taken.own
        return [
            Item(one.name, FileContent(archive.path, one.size), one.mode, one.method == headers.STORED, one.sha256)
            for one in self._taken.members
        ]

    def _all_before(self, nested: payloads.Payloads) -> Optional[List[Item]]:
        """Return the members of *nested* as the last artifact has them, None if it lacks some."""
        before = nested.all_before()
        for one in before:
            self._packed.update(one.modules)
        return [item for one in before for item in one.items] or None

    def _again(
        self,
        former: last.Last,
        own: Sequence[Item],
        files: Iterable[Item],
        stored: Sequence[Item],
        nested: Optional[payloads.Payloads],
    ) -> Optional[manifests.Manifest]:
        """Return the manifest if the artifact would be *former* again, byte for byte; else None.

        The same members in the same order make the same bytes; the manifest, one of them, says all that is not in the
        others. Of a file whose content is not known nothing is assumed.
        """
        again = _Again(former.members)
        if not (again.has(own) and again.has(files)):
            return None
        self._packed.update((item.name, _member(item)) for item in files if item.name.endswith(".py"))
        others = [*stored, *self._project_bytecode(), *self._documents()]
        if not again.has(others):
            return None
        members = {item.name: _member(item) for item in itertools.chain(own, files, others)}
        manifest = self._manifest(members, nested.names if nested else ())
        return manifest if again.has([self._listed(manifest)]) and again.is_whole else None

    def _documents(self) -> List[Item]:
        """Return what is said of the content beside the manifest."""
        items = [of_bytes(layout.SBOM, self._bill())]
        if self._settings.environment:
            items.insert(0, of_bytes(layout.ENVIRONMENT_SCHEMA, self._settings.environment))
        return items

    def _of_file(self, file: File) -> Item:
        content = FileContent(file.path, file.size, inode=file.inode)
        sha256 = self._kept.memory.known(file.path, file.identity, "sha256") or ""
        return Item(file.name, content, file.mode, sha256=sha256)

    def _note(self, files: Iterable[File], members: Mapping[str, manifests.Member]) -> None:
        """Note what *files* hold: for the next build, as long as they are the same, and of modules for this one."""
        for file in files:
            member = members[file.name]
            self._kept.memory.keep(file.path, file.identity, "sha256", member.sha256, self._began)
            if file.name.endswith(".py"):
                self._packed[file.name] = member

    def _project_bytecode(self) -> List[Item]:
        project = self._chosen.selections[0]
        files = {file.name: file.path for file in project.files if file.name.endswith(".py")}
        items = []
        for goal in self._taken.goals:
            overlay = self._overlays.of_project(goal, project.root, files, self._packed)
            if overlay is not None:
                self._bytecode[goal.cache_tag] = overlay.member
                items.append(_of_kept(overlay.member, overlay.kept))
        return items

    def _is_too_much(self, others: Sequence[Item]) -> bool:
        """Say whether the project's files must be nested: the manifest lists them all, and *others*."""
        files = self._chosen.files
        count = len(files) + len(others) + 3 + len(self._taken.targets)  # bill of materials, schema, manifest, bytecode
        names = itertools.chain(files.names, (item.name for item in others))
        listed = sum(map(len, map(_quoted, names))) + (len(files) + len(others)) * _MANIFEST_ENTRY
        return count > layout.MAX_MEMBERS or listed > layout.MAX_MANIFEST // 2

    def _add_files(self, target: zipwriter.Archive, files: Iterable[Item]) -> Tuple[manifests.Payload, ...]:
        target.add(files)
        self._note(self._chosen.files, target.members)
        return ()

    def _add_payloads(
        self, target: zipwriter.Archive, nested: payloads.Payloads, advance: Callable[[int], None]
    ) -> Tuple[manifests.Payload, ...]:
        """Pack the project's files as *nested* archives, each with its listing; only one is in memory.

        Those that the last artifact has are copied from there.
        """
        for portion in nested:
            before = nested.before(portion)
            if before:
                target.add(before.items)
                self._packed.update(before.modules)
                advance(sum(file.size for file in portion.files))
                continue
            path = os.path.join(self._kept.work, os.path.basename(portion.payload.file))
            members = self._nested(path, portion.files, advance)
            listing = of_bytes(portion.payload.listing, manifests.listing_to_json(members))
            items = [_of_kept(portion.payload.file, cache.measured(path)), listing]
            nested.keep(portion.payload, members, items)
            del members
            target.add(items)
            os.unlink(path)
        return nested.names

    def _nested(self, path: str, files: Files, advance: Callable[[int], None]) -> Dict[str, manifests.Member]:
        """Pack *files* as one archive and return what it holds."""
        with zipwriter.Archive(path, workers=self._settings.workers, progress=advance) as archive:
            archive.add(map(self._of_file, files))
        self._note(files, archive.members)
        return archive.members

    def _manifest(
        self, members: Dict[str, manifests.Member], payloads: Tuple[manifests.Payload, ...]
    ) -> manifests.Manifest:
        return manifests.Manifest(
            tool_version=__version__,
            project=self._settings.project,
            shebang=self._settings.shebang,
            source=self._chosen.state,
            targets=tuple(self._target(target) for target in self._taken.targets),
            members=members,
            directories=tuple(sorted(name for selection in self._chosen.selections for name in selection.directories)),
            payloads=payloads,
            site=self._settings.site,
        )

    def _listed(self, manifest: manifests.Manifest) -> Item:
        """Return the member that *manifest* is, from a scratch file: it may have megabytes."""
        path = os.path.join(self._kept.work, os.path.basename(layout.MANIFEST))
        with open(path, "wb") as file:
            file.writelines(manifest.parts())
        made = cache.measured(path)
        return Item(layout.MANIFEST, FileContent(path, made.size), sha256=made.sha256)

    def _target(self, target: manifests.Target) -> manifests.Target:
        """Return *target* with the project's bytecode, or without a word of bytecode when none is shipped."""
        same = [one for one in self._taken.targets if one.cache_tag == target.cache_tag]
        project = self._bytecode.get(target.cache_tag)
        if project or any(wheel.bytecode for one in same for wheel in one.wheels + one.bootstrap):
            return target._replace(project_bytecode=project)
        return target._replace(cache_tag="", magic="")

    def _bill(self) -> bytes:
        """Return the bill of materials; making one takes longer than packing, so it is cached."""
        state, pythons = self._chosen.state, {target.python for target in self._taken.targets}
        known = (self._settings.project, state.commit, state.epoch)
        ordered = sorted(pythons, key=lambda python: int(python.split(".")[1]))
        key = cache.key(*known, ordered, self._taken.bill)
        text = self._kept.document("sbom", key)
        if text is None:
            from . import sbom

            text = sbom.document(*known, list(self._taken.parts()), ordered).decode("ascii")
            self._kept.keep_document("sbom", key, text)
        return str(text).encode("ascii")


class _Items(Iterable[Item]):
    """What is packed of *files*, made anew by each iteration: there may be very many."""

    def __init__(self, files: Files, make: Callable[[File], Item]) -> None:
        self._files = files
        self._make = make

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, self._files)


class _Again:
    """Compares members, one after the other, with those of the last artifact."""

    def __init__(self, former: Mapping[str, zipwriter.Written]) -> None:
        self._former = former
        self._count = 0
        self._end = 0  # of the last one

    def has(self, items: Iterable[Item]) -> bool:
        """Say whether *items* are there, behind those before, as far as what they hold is known."""
        for item in items:
            one = self._former.get(item.name)
            if one is None or one.offset < self._end or (one.mode, one.sha256) != (item.mode, item.sha256):
                return False
            self._count += 1
            self._end = one.end
        return True

    @property
    def is_whole(self) -> bool:
        """Whether there are no others."""
        return self._count == len(self._former)


def _member(item: Item) -> manifests.Member:
    """Return *item* as the manifest lists it."""
    return manifests.Member(item.size, item.mode, item.sha256)


def _of_kept(name: str, kept: cache.Kept) -> Item:
    return Item(name, FileContent(kept.path, kept.size), stored=True, sha256=kept.sha256, crc=kept.crc)
