"""What a delta is completed from: an installation, a store, an artifact.

Each yields what may be the content of a file; nothing of that has been compared yet.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

from ..artifact import layout, manifests
from ..artifact.container import Container
from ..artifact.delta import Delta, Row
from ..artifact.window import Entry
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple
from . import installed
from .entries import key_of
from .plan import Place, path_in
from .store import ENTRIES
from .unpacking import BYTECODE, WHEEL
from .zip_part import Blocks

_BLOCK = 1024 * 1024
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


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
        kind = WHEEL if wanted.member == wheel.file else BYTECODE
        for shipped in {wheel.bytecode or "", ""} if kind == WHEEL else {wheel.bytecode or ""}:
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


def sources_of(paths: Sequence[str], delta: Delta, stack: contextlib.ExitStack) -> List[Source]:
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
