"""What can be inspected and compared: an artifact's file, or a destination that one was installed into."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Dict, Iterator, List, Optional, Tuple

from .. import durable
from ..artifact import delta, environment, layout, manifest_reader, manifests
from ..artifact.container import Container
from ..artifact.wheel import Wheel
from ..artifact.zipreader import Artifact
from ..errors import ArtifactError, DestinationError
from . import bill

MAX_SOURCE = 4 * 1024 * 1024  # bytes of one Python file that is parsed


class Side:
    """One of the two things that are compared.

    Attributes:
        path: absolute.
        manifest: what it says of itself.
        build_id: the manifest's.
        size: bytes of the artifact's file; None for a destination.
        files: the project's files by name, those in nested payloads included.
    """

    path: str
    manifest: manifests.Manifest
    build_id: str
    size: Optional[int]
    files: Dict[str, manifests.Member]

    def source(self, name: str) -> Optional[bytes]:
        """Return the content of the project's file *name*; None when it is too large to be a Python file, or gone."""
        raise NotImplementedError

    def bill(self) -> Dict[str, bill.Entry]:
        """Return what the bill of materials says of each wheel, by member name; nothing when there is none."""
        text = self._bill_text()
        return bill.read(text) if text is not None else {}

    def scripts(self, member: str) -> Optional[List[str]]:
        """Return the scripts that the wheel *member* asks for, as ``NAME = MODULE:ATTRIBUTE``; None: not known.

        Not known is what an installation does not keep: its wheels.
        """
        del member
        return None

    def variables(self) -> Optional[Dict[str, str]]:
        """Return what is declared of each variable of environment.json, in words; None: not known, as of scripts."""
        return None

    def drifted(self) -> List[Tuple[str, str]]:
        """Return change and path of every file that is not as it was installed."""
        return []

    def _bill_text(self) -> Optional[bytes]:
        raise NotImplementedError


class ArtifactSide(Side):
    """An artifact's file.

    Parameters:
        lists: read what nested payloads list, for ``files``.
    """

    def __init__(self, artifact: Artifact, lists: bool = True) -> None:
        delta.refuse(artifact)
        self.artifact = artifact
        self.path, self.size = artifact.path, artifact.size
        self.manifest, self.build_id = artifact.manifest, artifact.build_id
        self._nested: Dict[str, str] = {}  # payload of each file that is in one
        self._opened: Tuple[str, Optional[Container]] = ("", None)
        self.files = _project_files(self.manifest, self.manifest.members)
        for payload in self.manifest.payloads if lists else ():
            _, listing = artifact.payload_members(payload)
            self.files.update(listing)
            self._nested.update(dict.fromkeys(listing, payload.file))

    def source(self, name: str) -> Optional[bytes]:
        """Return the content of the file *name*, compared with the manifest."""
        if self.files[name].size > MAX_SOURCE:
            return None
        if name not in self._nested:
            return self.artifact.read(name)
        container = self._container(self._nested[name])
        data = container.read(container.entries[name])
        if hashlib.sha256(data).hexdigest() != self.files[name].sha256:
            container.refuse(name, "its content is not what its listing says")
        return data

    def _container(self, payload: str) -> Container:
        """Open the nested *payload*, unless it was the last one: all of them at a time would take much memory."""
        name, container = self._opened
        if container is None or name != payload:
            container = self.artifact.nested(payload)
            self._opened = (payload, container)
        return container

    def wheel(self, member: str) -> Wheel:
        """Open the wheel *member* in its place."""
        return open_wheel(self.artifact, member)

    def scripts(self, member: str) -> Optional[List[str]]:
        """Return the wheel's scripts."""
        points = self.wheel(member).entry_points()
        return sorted(f"{point.name} = {point.module}:{point.attributes}" for point in points)

    def variables(self) -> Optional[Dict[str, str]]:
        """Return what the project declares."""
        contract = environment.contract_of(self.artifact)
        return {name: "; ".join(one.facts()) for name, one in contract.variables.items()} if contract else {}

    def _bill_text(self) -> Optional[bytes]:
        return self.artifact.read(layout.SBOM) if layout.SBOM in self.artifact.members else None


class InstalledSide(Side):
    """A destination: its manifest says what was installed, its files what is there."""

    size = None

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            self.manifest, self.build_id = manifest_reader.read_with_build_id(self._kept(layout.MANIFEST))
            self.files = _project_files(self.manifest, self.manifest.members)
            for payload in self.manifest.payloads:
                text = self._kept(payload.listing)
                if hashlib.sha256(text).hexdigest() != self.manifest.members[payload.listing].sha256:
                    raise ArtifactError(payload.listing, "is not what the manifest says", "Install it again")
                self.files.update(manifest_reader.read_listing(payload.listing, text))
        except (OSError, ArtifactError) as error:
            why = error.strerror if isinstance(error, OSError) else f"{error.what} {error.why}"
            what = f"contains no complete installation ({why})"
            raise DestinationError(
                self.path, what, "Give an artifact or a folder that one was installed into"
            ) from None

    def source(self, name: str) -> Optional[bytes]:
        """Return the content of the file *name* as it is now; what is gone or unreadable is named by the drift."""
        with contextlib.suppress(OSError):
            return durable.read_file(os.path.join(self.path, name), MAX_SOURCE)
        return None

    def drifted(self) -> List[Tuple[str, str]]:
        """Return what ``verify DEST`` finds."""
        from ..install import drift  # only of an installation

        found = drift.compare(self.path)
        groups = (("changed", found.changed), ("removed", found.missing), ("added", found.added))
        return [(change, path) for change, paths in groups for path in paths]

    def _bill_text(self) -> Optional[bytes]:
        if layout.SBOM not in self.manifest.members:
            return None
        try:
            return self._kept(layout.SBOM)
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
            raise DestinationError(os.path.join(self.path, layout.SBOM), why, "Install it again") from None

    def _kept(self, name: str) -> bytes:
        return durable.read_file(os.path.join(self.path, name), layout.MAX_MANIFEST)


@contextlib.contextmanager
def opened(path: str) -> Iterator[Side]:
    """Open the artifact or the destination *path*.

    Raises:
        ArtifactError: a file that is not an artifact.
        DestinationError: a folder without a complete installation.
    """
    if os.path.isdir(path):
        yield InstalledSide(path)
        return
    with Artifact.open(path) as artifact:
        yield ArtifactSide(artifact)


def open_wheel(artifact: Artifact, member: str) -> Wheel:
    """Open the wheel *member* of *artifact* in its place."""
    entry = artifact.members[member]
    return Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, member)


def _project_files(manifest: manifests.Manifest, members: Dict[str, manifests.Member]) -> Dict[str, manifests.Member]:
    tops = (f"{manifest.project}/", f"{layout.STATIC}/")
    return {name: member for name, member in members.items() if name.startswith(tops)}
