"""An artifact, opened once: its members, its manifest, and the proof of every byte (R12 of ``docs/artifact.md``)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import Callable, Dict, Iterator, List, Optional, Tuple

from ..errors import ArtifactError
from ..workers import run, started
from . import layout, manifest_reader, manifests
from .container import Container
from .headers import STORED
from .names import folders_of, name_problem, project_name_problem
from .window import AGAIN, GIVE, WHOLE, Entry

_LITTLE = 16 * 1024 * 1024  # bytes that are compared sooner than other processes start


class Artifact:
    """One artifact, opened once.

    Use :meth:`open`, as a context manager. Opening checks the form of the container and the manifest;
    :meth:`verify` proves every byte.

    Attributes:
        path: absolute path it was opened by.
        size: bytes.
        container: the strict reader.
        manifest: what it says of itself.
        build_id: the manifest's.
    """

    def __init__(self, path: str, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self.descriptor = descriptor
        self.container = Container(descriptor, 0, size, path, first_line=True)
        self.manifest, self.build_id = manifest_reader.read_with_build_id(self._manifest_text(), self.members)
        self._check_members()

    @classmethod
    def open(cls, path: str) -> "Artifact":
        """Open *path* and read its directory and manifest.

        Raises:
            ArtifactError: it cannot be read, is not a regular file, or breaks a rule of the container.
        """
        try:
            path = os.path.abspath(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ArtifactError(path, f"cannot be read ({error.strerror})", GIVE) from None
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise _folder_error(path)
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(path, "is not a regular file", GIVE)
            return cls(path, descriptor, status.st_size)
        except OSError as error:
            os.close(descriptor)
            raise ArtifactError(path, f"cannot be read ({error.strerror})", AGAIN) from None
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> "Artifact":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    @property
    def members(self) -> Dict[str, Entry]:
        """Every member by name, in the order of the file."""
        return self.container.entries

    @property
    def sha256(self) -> str:
        """Digest of the whole file, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, WHOLE):
            digest.update(self.container.pread(offset, min(WHOLE, self.size - offset)))
        return digest.hexdigest()

    def read(self, name: str) -> bytes:
        """Return the content of member *name*, at most ``MAX_MANIFEST`` bytes, compared with the manifest."""
        self._check_size(name)
        data = self.container.read(self.members[name])
        self._check_digest(name, hashlib.sha256(data).hexdigest())
        return data

    def verify(self, workers: int = 0, progress: Optional[Callable[[int], None]] = None) -> None:
        """Prove every byte: each member against the manifest, each nested archive of ours by the same rules (R12).

        Wheels are proven as members here; ``wheel.Wheel`` looks inside them.

        Parameters:
            workers: processes to use, 0 for one per core.
            progress: called with a number of bytes as they are proven.

        Raises:
            ArtifactError: naming the first member that is not what the manifest says.
        """
        with self.verifying(workers, progress) as finish:
            finish()

    @contextlib.contextmanager
    def verifying(
        self, workers: int = 0, progress: Optional[Callable[[int], None]] = None
    ) -> Iterator[Callable[[], None]]:
        """Begin :meth:`verify` in other processes; yield a function that waits for the end and raises what it found.

        The other processes leave a core to this one, as long as it does something else.
        """
        batches = self._batches()

        def verify(number: int) -> int:
            return self.verify_members(batches[number])

        little = sum(entry.room for entry in self.members.values()) < _LITTLE
        with started(verify, len(batches), 1 if little else workers, yielding=True) as answers:

            def finish() -> None:
                for done in answers:
                    if progress:
                        progress(done)
                for payload in self.manifest.payloads:
                    self.verify_payload(payload, workers)

            yield finish

    def nested(self, name: str) -> Container:
        """Open the nested container *name* (bytecode or payload).

        Raises:
            ArtifactError: it is compressed, or breaks a rule.
        """
        entry = self.members[name]
        if entry.method != STORED:
            self.container.refuse(name, "is compressed, a nested archive must be stored")
        return Container(self.descriptor, self.container.data_start(entry), entry.size, name)

    def payload_members(self, payload: manifests.Payload) -> Tuple[Container, Dict[str, manifests.Member]]:
        """Open one nested payload with its listing; both must name the same members."""
        container = self.nested(payload.file)
        listing = manifest_reader.read_listing(payload.listing, self.read(payload.listing), container.entries)
        _check_same(container, listing)
        for name in container.entries:
            if not self._is_project_file(name):
                container.refuse(name, "does not belong into a payload")
        return container, listing

    def _manifest_text(self) -> bytes:
        entry = self.members.get(layout.MANIFEST)
        if entry is None:
            self.container.refuse(layout.MANIFEST, "is missing")
        self._check_size(layout.MANIFEST)
        return self.container.read(entry)

    def _check_size(self, name: str) -> None:
        """Refuse a member that would be read whole and is larger than any such member of ours can be."""
        size = self.members[name].size
        if size > layout.MAX_MANIFEST:
            self.container.refuse(name, f"has {size} bytes, more than {layout.MAX_MANIFEST}")

    def _check_members(self) -> None:
        manifest = self.manifest
        if manifest.shebang != self.container.first_line:
            self.container.refuse("", f"begins with {self.container.first_line!r}, the manifest says otherwise")
        if layout.MANIFEST in manifest.members:
            self.container.refuse(layout.MANIFEST, "lists itself")
        _check_same(self.container, manifest.members, layout.MANIFEST)
        self._check_names()

    def _check_names(self) -> None:
        manifest = self.manifest
        problem = project_name_problem(manifest.project)
        if problem:
            self.container.refuse(layout.MANIFEST, f"its project name {problem}")
        own = f"{manifest.project}/"
        for name in self.members:
            if not (name.startswith(own) or self._is_allowed(name)):
                self.container.refuse(name, "unexpected member")
        for name in (layout.MAIN, layout.INSTALL_WHEELS, layout.LOADENV, layout.LOADENV_PTH, layout.LOADENV_START):
            if name not in self.members:
                self.container.refuse(name, "is missing")
        for name in manifest.directories:
            if name_problem(name) or not self._is_project_file(name):
                self.container.refuse(name, "directory not allowed")
        needed = folders_of((f"{name}/" for name in manifest.directories), self.container.refuse)
        for name in needed.intersection(self.members):
            self.container.refuse(name, "is a file and a folder")

    def _is_allowed(self, name: str) -> bool:
        top, _, rest = name.partition("/")
        if not rest:
            return name in (
                layout.MAIN,
                layout.INSTALL_WHEELS,
                layout.LOADENV,
                layout.LOADENV_PTH,
                layout.project_pth_name(self.manifest.project),
            )
        if top in (layout.WHEELS, layout.BOOTSTRAP_WHEELS):
            return rest.endswith(".whl") and "/" not in rest
        return top == layout.DEPLOY or self._is_project_file(name)

    def _is_project_file(self, name: str) -> bool:
        top, _, rest = name.partition("/")
        if top == self.manifest.project:
            return bool(rest)
        number = rest.split("/")[0]
        return top == layout.STATIC and number.isascii() and number.isdigit()

    def _batches(self) -> List[List[Entry]]:
        """Return the members in groups of about one megabyte, the largest first."""
        batches: List[List[Entry]] = [[]]
        room = 0
        for entry in self.members.values():
            batches[-1].append(entry)
            room += entry.size + 4096
            if room >= WHOLE:
                batches.append([])
                room = 0
        return sorted(filter(None, batches), key=lambda batch: -sum(entry.room for entry in batch))

    def verify_members(self, batch: List[Entry]) -> int:
        """Compare some members with the manifest; return how many bytes of the file they take."""
        for entry in batch:
            digest = self.container.digest(entry)
            if entry.name != layout.MANIFEST:
                self._check_digest(entry.name, digest)
        return sum(entry.room for entry in batch)

    def _check_digest(self, name: str, found: str) -> None:
        expected = self.manifest.members[name].sha256
        if found != expected:
            self.container.refuse(name, f"its SHA-256 is {found[:12]}..., the manifest says {expected[:12]}...")

    def verify_payload(self, payload: manifests.Payload, workers: int) -> None:
        """Compare the members of a nested payload with its listing."""
        container, listing = self.payload_members(payload)
        entries = list(container.entries.values())
        step = 64

        def verify(number: int) -> int:
            for entry in entries[number * step : number * step + step]:
                if container.digest(entry) != listing[entry.name].sha256:
                    container.refuse(entry.name, "its content is not what its listing says")
            return 0

        for _ in run(verify, (len(entries) + step - 1) // step, workers):
            pass


def _folder_error(path: str) -> ArtifactError:
    """Return what to say about a folder in place of an artifact."""
    if os.path.lexists(os.path.join(path, layout.INSTALLED)):
        fix = f"{GIVE}; verify {path} compares what was installed there"
        return ArtifactError(path, "is a folder that an artifact was installed into, not an artifact", fix)
    if os.path.lexists(os.path.join(path, layout.JOURNAL)):
        return ArtifactError(path, "is the root of a site, not an artifact", f"{GIVE}, or of a release in releases/")
    return ArtifactError(path, "is a folder, not an artifact", GIVE)


def _check_same(container: Container, stated: Dict[str, manifests.Member], but: str = "") -> None:
    """Compare what a container holds, *but* the member of that name, with what is said of it (R12)."""
    missing = [name for name in stated if name not in container.entries]
    if missing:
        count = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        container.refuse(min(missing), f"is listed but missing{count}")
    for name, entry in container.entries.items():
        member = stated.get(name)
        if member is None:
            if name == but:
                continue
            container.refuse(name, "is not listed")
        if (member.size, member.mode) != (entry.size, entry.mode):
            container.refuse(name, "its size or mode is not what the manifest says")
