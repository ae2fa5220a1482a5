"""The files of a project that are too many for members, as nested archives; which of these the last artifact has.

A chapter beside ``pack.py``.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..artifact import layout, manifests
from ..definitions import NamedTuple
from . import cache, zipwriter
from .contents import FileContent, Item
from .files import Files

_PORTION = 5_000  # files of one nested archive
_FORMAT = 1  # of the documents in the cache


class Before(NamedTuple):
    """A nested archive that the last artifact has."""

    items: Tuple[Item, ...]  # the archive and its listing, to be copied from there
    modules: Dict[str, manifests.Member]  # the Python files in it


class Portion(NamedTuple):
    """Some of the files, which one nested archive holds."""

    payload: manifests.Payload
    files: Files


class Payloads:
    """The portions of a project's files.

    Parameters:
        files: in the order of the artifact.
        kept: the cache.
        former: the last artifact, None for none.
    """

    def __init__(self, files: Files, kept: cache.Cache, former: Optional[zipwriter.Former]) -> None:
        self._files = files
        self._kept = kept
        self._former = former
        self._before: Dict[str, Optional[Before]] = {}  # by the name of the archive
        self._step = min(_PORTION, layout.MAX_PAYLOAD_MEMBERS)

    @property
    def names(self) -> Tuple[manifests.Payload, ...]:
        """The names of all archives and their listings."""
        numbers = range(-(-len(self._files) // self._step))
        stems = [f"{layout.PAYLOAD}/{number:03}" for number in numbers]
        return tuple(manifests.Payload(f"{stem}.zip", f"{stem}.json") for stem in stems)

    def __iter__(self) -> Iterator[Portion]:
        for number, payload in enumerate(self.names):
            yield Portion(payload, self._files[number * self._step : (number + 1) * self._step])

    def all_before(self) -> List[Before]:
        """Return what the last artifact has of all portions, nothing when it lacks one."""
        found: List[Before] = []
        for portion in self:
            before = self._before[portion.payload.file] = self._found(portion)
            if before is None:
                return []
            found.append(before)
        return found

    def before(self, portion: Portion) -> Optional[Before]:
        """Return what the last artifact has of *portion*, None when a file of it is another or not known."""
        name = portion.payload.file
        return self._before.pop(name) if name in self._before else self._found(portion)

    def keep(self, payload: manifests.Payload, members: Dict[str, manifests.Member], items: List[Item]) -> None:
        """Remember the archive that was made of files, for the next build.

        Parameters:
            members: the files.
            items: the archive and its listing, with their digests.
        """
        about = [(name, member.mode, member.sha256) for name, member in members.items()]
        self._kept.keep_document("payload", _key(payload, about), [[item.size, item.sha256] for item in items])

    def _found(self, portion: Portion) -> Optional[Before]:
        if self._former is None:
            return None
        about: List[Tuple[str, int, str]] = []
        modules: Dict[str, manifests.Member] = {}
        for file in portion.files:
            sha256 = self._kept.memory.known(file.path, file.identity, "sha256")
            if not sha256:
                return None
            about.append((file.name, file.mode, sha256))
            if file.name.endswith(".py"):
                modules[file.name] = manifests.Member(file.size, file.mode, sha256)
        document = self._kept.document("payload", _key(portion.payload, about))
        if document is None:
            return None
        items = []
        for name, stored, (size, sha256) in zip(portion.payload, (True, False), document):
            has = self._former.members.get(name)
            if has is None or has.sha256 != sha256:
                return None
            items.append(Item(name, FileContent("", size), stored=stored, sha256=sha256))
        return Before(tuple(items), modules)


def _key(payload: manifests.Payload, about: List[Tuple[str, int, str]]) -> str:
    parts: Any = [_FORMAT, list(payload), about]
    return cache.key(*parts)
