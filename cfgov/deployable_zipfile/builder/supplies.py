"""What comes from the lock: what an earlier build kept of it, or else collected now.

A chapter between ``stock.py``, which finds and keeps it, and ``stocking.py``, which makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Sequence

from . import cache, source, stock
from .options import Context

if TYPE_CHECKING:
    from . import requirements


class Supplies:
    """Everything that one build takes from its lock; the lock is read only when nothing was kept.

    Raises:
        BuildInputError: the lock cannot be read.
    """

    def __init__(self, context: Context, kept: cache.Cache) -> None:
        self._context = context
        self._kept = kept
        self._name = stock.key(context)
        self._found = stock.recall(kept, self._name)
        self._locked = None if self._found else _lock(context)

    @property
    def projects(self) -> List[str]:
        """Folders of Python projects that wheels are built from, absolute."""
        if self._locked is None:
            return []
        from . import stocking

        return stocking.local_projects(self._locked)

    def take(self, files: Sequence[source.File]) -> stock.Stock:
        """Return all that the artifact takes from the lock, with its warnings given.

        Parameters:
            files: of the project and its static folders.

        Raises:
            DeployableZipfileError: a wheel cannot be got or does not fit.
        """
        found = self._found
        if found is None or found.modules != stock.digest(stock.modules(file.name for file in files)):
            return self._collected(files)
        for text in found.steps:
            self._context.console.step(text)
        for text in found.warnings:
            self._context.warn(text)
        source.check_sizes(files, sum(kept.size for _, kept in found.stored[: found.wheels]))
        return found

    def found_in(
        self, files: Sequence[source.File], about: Sequence[Any], find: Callable[[], Sequence[Any]]
    ) -> Sequence[Any]:
        """Return what *find* finds in *files*, kept while they, the settings and the tool are the same.

        Parameters:
            about: what else it follows from.
        """
        memory = self._kept.memory
        known = [(file.name, memory.known(file.path, file.identity, "sha256")) for file in files]
        if not self._name or not all(sha256 for _, sha256 in known):
            return find()
        name = cache.key(self._name, known, about)
        found = self._kept.document("found", name)
        if found is None:
            found = list(find())
            self._kept.keep_document("found", name, found)
        return list(found)

    def _collected(self, files: Sequence[source.File]) -> stock.Stock:
        from . import stocking

        made = stocking.stocked(self._context, self._locked or _lock(self._context), files, self._kept)
        if (
            made.is_pinned and self._name and stock.key(self._context) == self._name
        ):  # the lock was not changed meanwhile
            stock.keep(self._kept, self._name, made)
        return made


def _lock(context: Context) -> requirements.Requirements:
    from . import stocking

    return stocking.lock(context)
