"""Bytecode archives: one nested zip of ``.pyc`` files per wheel and interpreter, and one for the project; cached.

With ``collect.py`` and ``pack.py`` one of the modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING, Callable, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from .. import __version__
from ..artifact import layout, manifests
from ..console import Console
from ..definitions import NamedTuple
from ..errors import BuildInputError
from ..workers import cores
from . import bytecode, cache, contents, zipwriter

if TYPE_CHECKING:
    from . import stock
    from .collected import CollectedWheel

_PROJECT, _RUNTIME = "project", "runtime"
_MOST = layout.MAX_MEMBERS  # files whose bytecode one archive holds
_Found = Tuple[Optional[cache.Kept], int]  # an archive, None where nothing could be compiled; files that were skipped


class Overlay(NamedTuple):
    """One bytecode archive in the cache."""

    member: str  # its name in the artifact
    kept: cache.Kept
    skipped: int  # files that are no Python of this version


class _Before(NamedTuple):
    """The archive that was made last of the files of one place."""

    sources: Mapping[str, str]  # SHA-256 of each file that it was made of, by name
    path: str
    members: Mapping[str, zipwriter.Written]


class Overlays:
    """Makes bytecode archives, or finds those that an earlier build made of the same content.

    Parameters:
        kept: the cache.
        workers: processes; 0: one per core.
    """

    def __init__(self, kept: cache.Cache, console: Console, workers: int) -> None:
        self._cache = kept
        self._console = console
        self._workers = workers

    def of_wheels(self, goal: stock.Goal, chosen: Sequence[CollectedWheel]) -> Dict[str, Overlay]:
        """Return the archives of *chosen*, by wheel file name; a wheel with no or too many Python files has none.

        Parameters:
            goal: its interpreter compiles.

        Raises:
            BuildInputError: the interpreter failed.
        """
        chosen = [
            wheel for wheel in chosen if not self._are_too_many(f"Python files of {wheel.file}", wheel.python_files)
        ]
        keys = {wheel.file: self._key(goal, wheel.sha256) for wheel in chosen}
        found = {file: self._found(key) for file, key in keys.items()}
        missing = [wheel for wheel in chosen if found[wheel.file] is None]
        if missing:
            units = [bytecode.Unit(wheel.file, wheel.path, wheel.python_files) for wheel in missing]
            total = sum(len(unit.files) for unit in units)
            with self._console.phase(f"Compiling {len(missing)} wheels for Python {goal.python}", total) as advance:
                results = self._compiled(units, goal, advance)
            for wheel in missing:
                result = results[wheel.file]
                items = [_item(one) for one in result.compiled]
                found[wheel.file], _ = self._keep(
                    keys[wheel.file], wheel.file[: -len(".whl")], items, len(result.skipped)
                )
        return {file: one for file in keys for one in _overlay(goal, found[file], file[: -len(".whl")])}

    def of_project(
        self, goal: stock.Goal, root: str, files: Mapping[str, str], members: Mapping[str, manifests.Member]
    ) -> Optional[Overlay]:
        """Return the archive of the project's files; None when none of them is Python of this version or too many are.

        Only files that are not as they were when the last archive was made are compiled.

        Parameters:
            root: the project's folder.
            files: path of each file, by its name in the destination.
            members: what was packed of them; another content now is an error.

        Raises:
            BuildInputError: a file changed since it was packed, or the interpreter failed.
        """
        if self._are_too_many("Python files of the project", files):
            return None
        digests = {name: members[name].sha256 for name in files}
        return self._of_files(goal, _PROJECT, "files of the project", files, digests, root)

    def of_runtime(self, goal: stock.Goal, files: Mapping[str, str], digests: Mapping[str, str]) -> Optional[Overlay]:
        """Return the archive of the tool's own modules.

        Parameters:
            files: path of each module, by its path in the package.
            digests: their SHA-256 as packed.

        Raises:
            BuildInputError: as for :meth:`of_project`.
        """
        return self._of_files(goal, _RUNTIME, "modules of its own", files, digests)

    def _are_too_many(self, what: str, files: Collection[object]) -> bool:
        """Tell whether one archive cannot hold the bytecode of *files*, and warn."""
        if len(files) <= _MOST:
            return False
        why = f"their bytecode does not fit into one archive ({_MOST} files), so each installation compiles them"
        self._console.warn(f"{len(files)} {what}: {why}")
        return True

    def _of_files(
        self,
        goal: stock.Goal,
        stem: str,
        what: str,
        files: Mapping[str, str],
        digests: Mapping[str, str],
        place: str = "",
    ) -> Optional[Overlay]:
        key = self._key(goal, cache.key([[name, digests[name]] for name in sorted(files)]))
        found = self._found(key)
        if found is None:
            found = self._made(key, goal, stem, what, files, digests, place)
        return next(iter(_overlay(goal, found, stem)), None)

    def _made(
        self,
        key: str,
        goal: stock.Goal,
        stem: str,
        what: str,
        files: Mapping[str, str],
        digests: Mapping[str, str],
        place: str,
    ) -> _Found:
        """Make an archive; what the last one of *place* was made of is taken from it, by path and digest."""
        targets = {name: bytecode.target_name(name, goal.cache_tag) for name in files}
        if len({target.casefold() for target in targets.values()}) < len(targets):
            place = ""  # of two that differ by case only one is packed: which one, all of them together decide
        last = self._key(goal, cache.key(stem, zlib.ZLIB_RUNTIME_VERSION, place)) if place else ""
        before = self._before(last) if last else _Before({}, "", {})
        same = [name for name in sorted(files) if before.sources.get(name) == digests[name]]
        others = tuple((files[name], name) for name in sorted({*files} - {*same}))
        results = self._results(goal, stem, what, others, apart=bool(place)) if others else []
        for name, digest in [pair for result in results for pair in result.digests.items()]:
            if digest != digests[name]:
                raise BuildInputError(files[name], "changed while it was being packed", "Build again")
        again = [before.members[targets[name]] for name in same if targets[name] in before.members]
        items = [
            contents.Item(one.name, contents.FileContent(before.path, one.size), sha256=one.sha256) for one in again
        ]
        items += [_item(one) for result in results for one in result.compiled]
        with _former(before) as formers:
            found, members = self._keep(
                key, stem, sorted(items, key=lambda item: item.name), len(files) - len(items), formers
            )
        if last and found[0] is not None:
            about = {"file": [found[0].sha256, os.path.basename(found[0].path)], "sources": digests, "members": members}
            self._cache.keep_document("compiled", last, about)
        return found

    def _before(self, key: str) -> _Before:
        document = self._cache.document("compiled", key)
        kept = self._cache.file(*document["file"]) if document else None
        if not document or kept is None:
            return _Before({}, "", {})
        members = [zipwriter.Written(*fields) for fields in document["members"]]
        return _Before(document["sources"], kept.path, {one.name: one for one in members})

    def _results(
        self, goal: stock.Goal, stem: str, what: str, files: Sequence[Tuple[str, str]], apart: bool
    ) -> List[bytecode.Result]:
        """Compile *files*: here what is the same everywhere, if they are packed *apart*, then the rest."""
        unit = bytecode.Unit(stem, None, tuple(files))
        with self._console.phase(f"Compiling {len(files)} {what} for Python {goal.python}", len(files)) as advance:
            results = []
            if apart:
                results.append(bytecode.compiled_here(unit, goal.interpreter, goal.cache_tag, self._cache.work))
            done = {name for result in results for name in result.digests}
            advance(len(done))
            left = unit._replace(files=tuple(pair for pair in files if pair[1] not in done))
            if left.files:
                results.append(self._compiled([left], goal, advance)[stem])
        return results

    def _compiled(
        self, units: Sequence[bytecode.Unit], goal: stock.Goal, advance: Callable[[int], None]
    ) -> Dict[str, bytecode.Result]:
        workers = self._workers or cores()
        return bytecode.compile_units(units, goal.interpreter, goal.cache_tag, self._cache.work, workers, advance)

    def _key(self, goal: stock.Goal, content: str) -> str:
        return cache.key(__version__, bytecode.FORMAT, contents.LEVEL, goal.identity, goal.magic, content)

    def _keep(
        self,
        key: str,
        stem: str,
        items: Sequence[contents.Item],
        skipped: int,
        formers: Sequence[zipwriter.Former] = (),
    ) -> Tuple[_Found, List[zipwriter.Written]]:
        """Write the archive of *items*; return it, and its members."""
        file: List[str] = []
        members: List[zipwriter.Written] = []
        kept = None
        if items:
            path = os.path.join(self._cache.work, f"{stem}.zip")
            with zipwriter.Archive(path, workers=self._workers, formers=formers) as archive:
                archive.add(items)
            members = archive.written
            kept = self._cache.keep_file(path)
            file = [kept.sha256, os.path.basename(path)]
        self._cache.keep_document("bytecode", key, {"file": file, "skipped": skipped})
        return (kept, skipped), members

    def _found(self, key: str) -> Optional[_Found]:
        """Return what the cache has under *key* and how many files were skipped; None when it has to be made."""
        document = self._cache.document("bytecode", key)
        if document is None:
            return None
        if not document["file"]:
            return None, document["skipped"]
        kept = self._cache.file(*document["file"])
        return (kept, document["skipped"]) if kept else None


def _overlay(goal: stock.Goal, found: Optional[_Found], stem: str) -> List[Overlay]:
    """Return the archive that was *found*: one or none."""
    kept, skipped = found or (None, 0)
    return [] if kept is None else [Overlay(f"{layout.BYTECODE}/{goal.cache_tag}/{stem}.zip", kept, skipped)]


def _item(one: bytecode.Compiled) -> contents.Item:
    return contents.Item(one.name, contents.FileContent(one.path, one.size, one.offset))


@contextlib.contextmanager
def _former(before: _Before) -> Iterator[List[zipwriter.Former]]:
    """Yield the archive *before* for copying members from it, if there is one."""
    if not before.path:
        yield []
        return
    with open(before.path, "rb") as file:
        yield [zipwriter.Former(file.fileno(), before.members)]
