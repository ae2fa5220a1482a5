"""What comes from the lock: what an earlier build kept of it, or else collected now.

A chapter between ``stock.py``, which finds and keeps it, and ``stocking.py``, which makes it.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, List, Mapping, Sequence, Set

from . import cache, source, stock
from .files import File, Files
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
        self._began = time.time_ns()
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

    def take(self, files: Files) -> stock.Stock:
        """Return all that the artifact takes from the lock, with its warnings given.

        Parameters:
            files: of the project and its static folders.

        Raises:
            DeployableZipfileError: a wheel cannot be got or does not fit.
        """
        found = self._found
        if found is None or found.modules != stock.digest(stock.modules(files.names)):
            return self._collected(files)
        for text in found.steps:
            self._context.console.step(text)
        for text in found.warnings:
            self._context.warn(text)
        source.check_sizes(files, sum(kept.size for _, kept in found.stored[: found.wheels]))
        return found

    def found_in(
        self,
        files: Mapping[str, File],
        about: Sequence[Any],
        find: Callable[[Mapping[str, str]], Sequence[Any]],
    ) -> Sequence[Any]:
        """Return what *find* finds in *files*, kept while those that it reads, the settings and the tool are the same.

        Parameters:
            files: by the names that *find* knows them by, in their order.
            about: what else it follows from.
            find: gets the path of each file by its name; reads no other file.
        """
        asked = _Asked(files)
        if not self._name:
            return find(asked)
        name = cache.key(self._name, _digest_of(files), about)
        document = self._kept.document("found", name)
        if document is not None and all(self._digest(files[one]) == own for one, own in document["read"].items()):
            return list(document["found"])
        found = list(find(asked))
        read = {one: self._digest(files[one]) for one in sorted(asked.read)}
        if all(read.values()):
            self._kept.keep_document("found", name, {"read": read, "found": found})
        return found

    def _digest(self, file: File) -> Any:
        """Return the SHA-256 of *file*, None when no build has read it as it is."""
        return self._kept.memory.known(file.path, file.identity, "sha256")

    def _collected(self, files: Files) -> stock.Stock:
        from . import stocking

        made = stocking.stocked(self._context, self._locked or _lock(self._context), files, self._kept)
        if (
            made.is_pinned and self._name and stock.key(self._context) == self._name
        ):  # the lock was not changed meanwhile
            stock.keep(self._kept, self._name, made, self._began)
        return made


class _Asked(Mapping[str, str]):
    """Path of each of *files*, by name, and the names of those whose path was asked for.

    Which names there are may be asked without that.
    """

    def __init__(self, files: Mapping[str, File]) -> None:
        self.read: Set[str] = set()
        self._files = files

    def __getitem__(self, name: str) -> str:
        path = self._files[name].path
        self.read.add(name)
        return path

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _digest_of(names: Iterable[str]) -> str:
    """Return one digest for *names*, of which there may be very many; none holds a zero byte."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _lock(context: Context) -> requirements.Requirements:
    from . import stocking

    return stocking.lock(context)
