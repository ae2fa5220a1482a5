"""How much disk space an installation needs on the file system of its destination.

The directories of the wheels and of the other archives in the artifact say how large every file will be. They are read
only where room is scarce.
"""

from __future__ import annotations

import sys
from typing import Dict, Iterable, Optional, Set

from ..artifact import layout, manifests
from ..artifact.names import folders_of
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple
from ..install_wheels import open_wheel
from .plan import OpenedWheel, Place, is_own, path_in
from .writer import bytecode_path

_SLACK = 1.02  # for what file systems keep of their own
_PLENTY = 32  # times its size: no artifact of ours came near that, with the smallest files on the largest blocks
_FILE_EACH = 250  # bytes of an artifact for which it has at most one file
_ROW = 200  # bytes of a file's row in the list of the installation and in RECORD, beside its path
_SCRIPTS = 12  # files and folders that the virtualenv has without any wheel


class Room(NamedTuple):
    """Room on a file system."""

    size: int  # bytes
    inodes: int


class Need(NamedTuple):
    """What is to be installed.

    Parameters:
        artifact: opened, and whole.
        stored: wheels and bytecode, by member, that a store on the same file system has; None: there is no such store.
    """

    artifact: Artifact
    stored: Optional[Set[str]] = None

    def surely_fits(self, free: Room) -> bool:
        """Return whether *free* is so much that nothing need be counted."""
        size = self.artifact.size
        return free.size > _PLENTY * size and free.inodes > size // _FILE_EACH

    def room(self, target: manifests.Target, compiled: bool, block: int) -> Room:
        """Return what an installation takes, at most a few percent more than it does.

        Parameters:
            target: that is installed.
            compiled: the shipped bytecode fits this Python; it is compiled otherwise.
            block: bytes that files take whole numbers of.

        Raises:
            ArtifactError, WheelError: an archive in the artifact is broken.
        """
        count = _Count(block)
        place = Place("", "", target.python, self.artifact.manifest.project)
        for wheel in target.wheels + target.bootstrap:  # one at a time
            count.wheel(open_wheel(self.artifact, wheel, compiled), place, self.stored)
        self._add_project(count, target, compiled)
        return count.total(place)

    def _add_project(self, count: "_Count", target: manifests.Target, compiled: bool) -> None:
        artifact = self.artifact
        manifest = artifact.manifest
        tops = (manifest.project + "/", layout.STATIC + "/")
        kept = {layout.MANIFEST: artifact.members[layout.MANIFEST].size}
        kept.update((name, member.size) for name, member in manifest.members.items() if _is_kept(name))
        files = {name: member.size for name, member in manifest.members.items() if name.startswith(tops)}
        for payload in manifest.payloads:
            files.update((name, member.size) for name, member in artifact.payload_members(payload)[1].items())
        shipped = target.project_bytecode if compiled else None
        if shipped:
            kept.update((name, entry.size) for name, entry in artifact.nested(shipped).entries.items())
        else:
            kept.update(_bytecode(files))
        count.files({**files, **kept})
        count.folders.update(manifest.directories)


class _Count:
    """Files and folders of an installation, by their paths in it."""

    def __init__(self, block: int) -> None:
        self.folders: Set[str] = set()
        self._block = block
        self._sizes: Dict[str, int] = {}  # bytes on the disk
        self._of_store: Set[str] = set()  # folders that a store gets too

    def files(self, sizes: Dict[str, int]) -> None:
        """Add files of these sizes; of two with one path the later counts."""
        for path, size in sizes.items():
            self._sizes[path] = self._whole(size)

    def wheel(self, source: OpenedWheel, place: Place, stored: Optional[Set[str]]) -> None:
        """Add what is written for one wheel."""
        wheel = source.wheel
        files = {path_in(wheel.name, name, place): entry.size for name, entry in wheel.files.items()}
        own = {path_in(wheel.name, name, place) for name in wheel.files if is_own(wheel, name)}
        if source.bytecode is not None:
            files.update((f"{place.site}/{name}", entry.size) for name, entry in source.bytecode.entries.items())
        else:
            files.update(_bytecode({path: size for path, size in files.items() if path.startswith(place.site)}))
        info = f"{place.site}/{wheel.dist_info}"
        scripts = {f"{place.scripts}/{point.name}": 1 for point in wheel.entry_points()}
        rows = sum(len(path) for path in files) + len(files) * _ROW // 2
        written = {**scripts, f"{info}/INSTALLER": 1, f"{info}/RECORD": rows}
        kept = {path: size for path, size in files.items() if path not in own}
        if stored is not None and source.plan.file in stored:
            kept = dict.fromkeys(kept, 0)  # links to the files that the store has
        elif stored is not None:
            self._of_store |= folders_of(kept)
        self.files(kept)
        self.files(written)

    def total(self, place: Place) -> Room:
        """Return the sum, with the folders and what is written for any artifact."""
        folders = self.folders | folders_of([*self._sizes, *self.folders, f"{place.scripts}/", f"{place.site}/"])
        rows = sum(map(len, self._sizes)) + _ROW * (len(self._sizes) + len(folders))
        entries = sum(map(len, self._sizes)) // 2  # names in folders, which grow beyond one block with them
        size = sum(self._sizes.values()) + self._whole(rows) + entries
        others = len(folders) + len(self._of_store) + _SCRIPTS
        size += self._block * others
        inodes = len(self._sizes) + others
        return Room(int(size * _SLACK), int(inodes * _SLACK))

    def _whole(self, size: int) -> int:
        return -(-size // self._block) * self._block


def _is_kept(name: str) -> bool:
    """Tell whether an installation keeps the member *name* beside the project."""
    listings = name.startswith(f"{layout.PAYLOAD}/") and name.endswith(".json")
    return bool(layout.runtime_path(name)) or name == layout.SBOM or listings or "/" not in name


def _bytecode(files: Dict[str, int]) -> Dict[str, int]:
    """Return the bytecode of those of *files* that are modules, which is about as large as they are."""
    tag = sys.implementation.cache_tag or ""
    modules: Iterable[str] = [path for path in files if path.endswith(".py")]
    return {bytecode_path(path, tag): files[path] for path in modules}
