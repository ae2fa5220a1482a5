"""One installation takes the files of its wheels from a store, and unpacks into the store what it lacks."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union

from .. import durable
from ..artifact import manifests
from ..console import Console
from ..definitions import NamedTuple
from ..errors import DestinationError
from ..workers import run
from . import links
from .entries import Damaged, Entry, Seen, key_of, seen_in, seen_of, state_of, write_seen
from .inventory import LINKED, Notes, notes_of
from .listed import Archive, Listed, Part
from .plan import Place, Plan, Source, untaken
from .store import Store
from .unpacking import BYTECODE, WHEEL, unpacked
from .writer import Job, Taken, bytecode_path, compiled

_WAIT = 60.0  # seconds for another installation that uses the store
_BATCH = 256  # files


class _Use(NamedTuple):
    """One file of the installation, and the file of an entry that it can be taken from."""

    path: str  # relative to the tree
    entry: Entry
    inner: str
    job: Union[Job, Archive]  # what writes it otherwise: a job, or the archive whose index has it
    number: int  # in that index


class Sharing:
    """What one installation has to do with a store.

    Parameters:
        path: absolute path of the store.
        manifest: of the artifact.
        console: gets warnings about the store.

    """

    def __init__(self, path: str, manifest: manifests.Manifest, console: Console) -> None:
        self._store = Store(path)
        self._manifest = manifest
        self._console = console
        self._used: List[str] = []  # keys of entries

    def take(
        self, plan: Plan, workers: int, progress: Optional[Callable[[int], None]], folders: Callable[[], None]
    ) -> Taken:
        """Put the files of *plan* into its tree as far as the store can give them.

        A store that cannot be used is a warning: everything is written from the artifact then.

        Parameters:
            folders: waits for the folders of these files.

        Raises:
            DestinationError: somebody else can change the store.
            ArtifactError, WheelError: content that is not what it should be.
            OSError: the file system of the tree refused.
        """
        if not plan.sources:
            return untaken(plan)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._store.locked(_WAIT, self._console.step))
                entries = self._entries(plan.sources, workers)
            except OSError as error:
                self._console.warn(f"store {self._store.path}: not used, {_reason(error)}")
                return untaken(plan)
            folders()
            done = self._shared(plan, entries, workers, progress)
            self._remember(plan.place, entries)
            return done

    def _remember(self, place: Place, entries: List[Entry]) -> None:
        """Keep for the next use what the files are like now, and that this installation has them."""
        try:
            for entry in entries:
                write_seen(entry)
            self._used += [entry.key for entry in entries]
            self._store.refer(place.destination, self._manifest.build_id, self._used)
        except OSError as error:
            self._console.warn(f"store {self._store.path}: {_reason(error)}; the next use takes longer")

    def _entries(self, sources: Sequence[Source], workers: int) -> List[Entry]:
        """Return the entry of each source; those that are missing or damaged are made."""
        found: Dict[int, Entry] = {}
        for number, source in enumerate(sources):
            key = self._key(source)
            try:
                entry = self._store.entry(key)
            except Damaged as error:
                self._say_damaged(source.wheel.label.rpartition("/")[2], str(error))
                continue
            if entry is not None:
                found[number] = entry
        missing = [number for number in range(len(sources)) if number not in found]
        for number, entry in zip(missing, self._made([sources[one] for one in missing], workers)):
            found[number] = entry
        return [found[number] for number in range(len(sources))]

    def _say_damaged(self, label: str, what: str) -> None:
        self._console.warn(f"store {self._store.path}: {label} was changed there ({what}); it is unpacked again")

    def _made(self, sources: Sequence[Source], workers: int) -> List[Entry]:
        return unpacked(self._store, sources, [self._key(source) for source in sources], workers)

    def _key(self, source: Source) -> str:
        members = self._manifest.members
        has_bytecode = len(source.archives) > 1 if isinstance(source, Listed) else source.bytecode is not None
        shipped = source.plan.bytecode if has_bytecode else None
        bytecode = members[shipped].sha256 if shipped else ""
        return key_of(members[source.plan.file].sha256, bytecode, sys.implementation.cache_tag or "")

    def _shared(
        self, plan: Plan, entries: List[Entry], workers: int, progress: Optional[Callable[[int], None]]
    ) -> Taken:
        """Share what the entries have; a damaged entry is made again and shared once more."""
        place, (uses, left, parts) = plan.place, _uses(plan, entries)
        how = links.ways(f"{uses[0].entry.folder}/{uses[0].inner}", place.tree) if uses else []
        damaged, made, notes = self._share(uses, place, how, workers, progress)
        if not damaged:
            return Taken(left, parts, made, notes)
        lost = self._withdrawn(damaged, uses, place)
        if self._repaired(plan.sources, entries, {use.entry.key for use in lost}, workers):
            again, more, _ = self._share(lost, place, how, workers, None)
            made |= more
            lost = [lost[index] for index in again]
        left += [use.job for use in lost if isinstance(use.job, Job)]
        parts += [Part(use.job, place.site, use.number, use.number + 1) for use in lost if isinstance(use.job, Archive)]
        return Taken(left, parts, made, None)

    def _share(
        self,
        uses: List[_Use],
        place: Place,
        how: List[links.Way],
        workers: int,
        progress: Optional[Callable[[int], None]],
    ) -> Tuple[List[int], Set[str], List[Notes]]:
        """Share the files of *uses*; return the numbers of those that are damaged, what was compiled, and notes."""
        owner = os.lstat(place.tree)
        ids = (owner.st_uid, owner.st_gid)

        def share(number: int) -> Tuple[int, List[Tuple[int, Seen]], List[int], List[str], Notes]:
            seen: List[Tuple[int, Seen]] = []
            files: List[Tuple[str, int]] = []
            digests: List[str] = []
            damaged: List[int] = []
            made: List[str] = []
            first, last = number * _BATCH, min((number + 1) * _BATCH, len(uses))
            for index in range(first, last):
                use = uses[index]
                found = _share_one(use, place.tree, how, ids)
                if found is None:
                    damaged.append(index)
                    continue
                now, linked = found
                seen.append((index, now))
                row = use.entry.rows[use.inner]
                files.append((use.path, row.mode | LINKED if linked else row.mode))
                digests.append(row.sha256)
                if isinstance(use.job, Job) and use.job.compile_as:
                    made += _compiled(use.job, place.tree)
            return last - first, seen, damaged, made, notes_of(files, digests)

        bad: List[int] = []
        compiled_here: Set[str] = set()
        everything: List[Notes] = []
        for count, seen, damaged, made, notes in run(share, -(-len(uses) // _BATCH), workers):
            for index, one in seen:
                uses[index].entry.seen[uses[index].inner] = one
            bad += damaged
            compiled_here.update(made)
            everything.append(notes)
            if progress:
                progress(count)
        return sorted(bad), compiled_here, everything

    def _withdrawn(self, damaged: List[int], uses: List[_Use], place: Place) -> List[_Use]:
        """Remove from the tree what came from the entries of the *damaged* uses; return all uses of these."""
        names: Dict[str, str] = {}
        for index in damaged:
            names.setdefault(uses[index].entry.key, uses[index].inner)
        lost = [use for use in uses if use.entry.key in names]
        for label, inner in {use.entry.label: names[use.entry.key] for use in lost}.items():
            self._say_damaged(label, inner)
        for use in lost:
            paths = [use.path]
            if isinstance(use.job, Job) and use.job.compile_as:
                paths.append(bytecode_path(use.path, sys.implementation.cache_tag or ""))
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{place.tree}/{path}")
        return lost

    def _repaired(self, sources: Sequence[Source], entries: List[Entry], keys: Set[str], workers: int) -> bool:
        """Make the entries *keys* again; return whether that went well."""
        numbers = [number for number, entry in enumerate(entries) if entry.key in keys]
        try:
            for key in keys:
                self._store.take_out(key)
            fresh = self._made([sources[number] for number in numbers], workers)
        except OSError as error:
            self._console.warn(f"store {self._store.path}: not used, {_reason(error)}")
            return False
        for number, entry in zip(numbers, fresh):
            entries[number].folder, entries[number].rows, entries[number].seen = entry.folder, entry.rows, entry.seen
        return True


def normal_store(store: str, destination: str) -> str:
    """Return *store* absolute.

    Raises:
        DestinationError: it is in *destination*, or the other way round.
    """
    path = os.path.abspath(store)
    one, other = os.path.realpath(path), os.path.realpath(destination)
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise DestinationError(path, f"is a store, and one of it and {destination} is in the other", "Keep them apart")
    return path


def stored_members(store: str, manifest: manifests.Manifest, destination: str) -> Optional[Set[str]]:
    """Return the members whose files the store has already, by its index; nothing is written.

    None is returned for a store that is not on the file system of *destination*: it saves no space there.
    """
    one, other = (os.stat(durable.nearest_folder(path)).st_dev for path in (store, os.path.dirname(destination)))
    if one != other:
        return None
    shelf, tag = Store(store), sys.implementation.cache_tag or ""
    found: Set[str] = set()
    for target in manifest.targets:
        for wheel in target.wheels + target.bootstrap:
            for shipped in {"", wheel.bytecode or ""}:
                digest = manifest.members[shipped].sha256 if shipped else ""
                if shelf.has(key_of(manifest.members[wheel.file].sha256, digest, tag)):
                    found.update(filter(None, (wheel.file, shipped)))
    return found


def _uses(plan: Plan, entries: List[Entry]) -> Tuple[List[_Use], List[Job], List[Part]]:
    """Return what can be taken from *entries*, which are those of the plan's wheels, and what has to be written."""
    by_window: Dict[int, Tuple[int, str]] = {}
    uses: List[_Use] = []
    parts: List[Part] = []
    for number, source in enumerate(plan.sources):
        if not isinstance(source, Listed):
            by_window[id(source.wheel)] = (number, WHEEL)
            if source.bytecode is not None:
                by_window[id(source.bytecode)] = (number, BYTECODE)
    owners = {id(archive): (number, kind) for number, kind, archive in _archives(plan)}
    for part in plan.parts:
        number, kind = owners[id(part.archive)]
        for file in range(part.first, part.last):
            name = part.archive.files.names[file]
            inner = f"{kind}/{name}"
            if inner in entries[number].rows:
                uses.append(_Use(f"{part.folder}/{name}", entries[number], inner, part.archive, file))
            else:
                parts.append(Part(part.archive, part.folder, file, file + 1))
    left: List[Job] = []
    for job in plan.jobs.values():
        number, kind = by_window.get(id(job.window), (-1, ""))
        inner = f"{kind}/{job.entry.name}"
        if number >= 0 and inner in entries[number].rows:
            uses.append(_Use(job.path, entries[number], inner, job, 0))
        else:
            left.append(job)
    return uses, left, parts


def _archives(plan: Plan) -> Iterator[Tuple[int, str, Archive]]:
    """Yield the archives of the wheels that are installed by their indexes: number of the wheel, and what it is."""
    for number, source in enumerate(plan.sources):
        if isinstance(source, Listed):
            for kind, archive in zip((WHEEL, BYTECODE), source.archives):
                yield number, kind, archive


def _share_one(use: _Use, tree: str, how: List[links.Way], ids: Tuple[int, int]) -> Optional[Tuple[Seen, bool]]:
    """Share one file; return what it is like now, and whether by a link, None when it is not what it should be.

    In the latter case nothing is shared.
    """
    source = f"{use.entry.folder}/{use.inner}"
    row = use.entry.rows[use.inner]
    target = f"{tree}/{use.path}"
    try:
        status = os.lstat(source)
    except OSError:
        return None
    before = seen_in(status, row)
    if before is None or (before != use.entry.seen.get(use.inner) and state_of(source, row)):
        return None
    ways = how if (status.st_uid, status.st_gid) == ids else [way for way in how if way is not links.link]
    try:
        way = links.share(source, target, row.mode, ways)
    except links.SourceError:
        return None
    after = seen_of(use.entry, use.inner)
    linked = way is links.link
    if after is None or after[:2] != before[:2] or (not linked and after != before):
        os.unlink(target)  # it was written to at this very moment
        return None
    return after, linked


def _compiled(job: Job, tree: str) -> List[str]:
    with open(f"{tree}/{job.path}", "rb") as file:
        return compiled(tree, job, file.read())


def _reason(error: OSError) -> str:
    return str(error.strerror or error)
