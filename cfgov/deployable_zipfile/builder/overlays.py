"""Bytecode archives: one nested zip of ``.pyc`` files per wheel and interpreter, and one for the project; cached.

With ``collect.py`` and ``pack.py`` one of the modules that tell how the steps in this folder follow each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import __version__
from ..artifact import layout, manifests
from ..console import Console
from ..errors import BuildInputError
from ..workers import cores
from . import bytecode, cache, contents, zipwriter

if TYPE_CHECKING:
    from . import stock
    from .collected import CollectedWheel

_PROJECT, _RUNTIME = "project", "runtime"
_Found = Tuple[Optional[cache.Kept], int]  # an archive, None where nothing could be compiled; files that were skipped


class Overlay(NamedTuple):
    """One bytecode archive in the cache."""

    member: str  # its name in the artifact
    kept: cache.Kept
    skipped: int  # files that are no Python of this version


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
        """Return the archives of *chosen*, by wheel file name; a wheel without Python files has none.

        Parameters:
            goal: its interpreter compiles.

        Raises:
            BuildInputError: the interpreter failed.
        """
        keys = {wheel.file: self._key(goal, wheel.sha256) for wheel in chosen}
        found = {file: self._found(key) for file, key in keys.items()}
        missing = [wheel for wheel in chosen if found[wheel.file] is None]
        if missing:
            units = [bytecode.Unit(wheel.file, wheel.path, wheel.python_files) for wheel in missing]
            results = self._compiled(f"Compiling {len(missing)} wheels for Python {goal.python}", units, goal)
            for wheel in missing:
                found[wheel.file] = self._keep(keys[wheel.file], wheel.file[: -len(".whl")], results[wheel.file])
        return {file: one for file in keys for one in _overlay(goal, found[file], file[: -len(".whl")])}

    def of_project(
        self, goal: stock.Goal, files: Mapping[str, str], members: Mapping[str, manifests.Member]
    ) -> Optional[Overlay]:
        """Return the archive of the project's own files; None when none of them is Python of this version.

        Parameters:
            files: path of each file, by its name in the destination.
            members: what was packed of them; another content now is an error.

        Raises:
            BuildInputError: a file changed since it was packed, or the interpreter failed.
        """
        digests = {name: members[name].sha256 for name in files}
        return self._of_files(goal, _PROJECT, "files of the project", files, digests)

    def of_runtime(self, goal: stock.Goal, files: Mapping[str, str], digests: Mapping[str, str]) -> Optional[Overlay]:
        """Return the archive of the tool's own modules.

        Parameters:
            files: path of each module, by its path in the package.
            digests: their SHA-256 as packed.

        Raises:
            BuildInputError: as for :meth:`of_project`.
        """
        return self._of_files(goal, _RUNTIME, "modules of its own", files, digests)

    def _of_files(
        self, goal: stock.Goal, stem: str, what: str, files: Mapping[str, str], digests: Mapping[str, str]
    ) -> Optional[Overlay]:
        key = self._key(goal, cache.key([[name, digests[name]] for name in sorted(files)]))
        found = self._found(key)
        if found is None:
            unit = bytecode.Unit(stem, None, tuple((files[name], name) for name in sorted(files)))
            result = self._compiled(f"Compiling {len(files)} {what} for Python {goal.python}", [unit], goal)[stem]
            for name, digest in result.digests.items():
                if digest != digests[name]:
                    raise BuildInputError(files[name], "changed while it was being packed", "Build again")
            found = self._keep(key, stem, result)
        return next(iter(_overlay(goal, found, stem)), None)

    def _compiled(self, text: str, units: Sequence[bytecode.Unit], goal: stock.Goal) -> Dict[str, bytecode.Result]:
        workers = self._workers or cores()
        with self._console.phase(text, sum(len(unit.files) for unit in units)) as advance:
            return bytecode.compile_units(units, goal.interpreter, goal.cache_tag, self._cache.work, workers, advance)

    def _key(self, goal: stock.Goal, content: str) -> str:
        return cache.key(__version__, bytecode.FORMAT, contents.LEVEL, goal.identity, goal.magic, content)

    def _keep(self, key: str, stem: str, result: bytecode.Result) -> _Found:
        file: List[str] = []
        kept = None
        if result.compiled:
            path = os.path.join(self._cache.work, f"{stem}.zip")
            with zipwriter.Archive(path, workers=self._workers) as archive:
                archive.add([_item(one) for one in result.compiled])
            kept = self._cache.keep_file(path)
            file = [kept.sha256, os.path.basename(path)]
        self._cache.keep_document("bytecode", key, {"file": file, "skipped": len(result.skipped)})
        return kept, len(result.skipped)

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
