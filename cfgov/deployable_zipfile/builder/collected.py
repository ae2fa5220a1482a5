"""The wheels that a build has collected: what it knows of each, and what several need together."""

from __future__ import annotations

import functools
import os
from typing import Any, Dict, Iterable, Sequence, Tuple
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from ..definitions import NamedTuple, expression
from ..errors import WheelError
from .elf import Elf
from .embedded import Embedded

FORMAT = 4  # of CollectedWheel, for caches
# Libraries that are glibc itself, on every architecture that manylinux knows.
_LIBC_OWN = expression(
    r"(?:libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl|ld-linux[a-z0-9_-]*|ld64)\.so\.[0-9]+\Z"
)


class CollectedWheel(NamedTuple):
    """One wheel: where it is, and all that the build needs to know of it, found out once."""

    file: str  # file name
    path: str  # on disk
    name: str  # normalised (PEP 503)
    version: str
    sha256: str
    size: int  # bytes
    crc: int
    tags: Tuple[str, ...]
    requires: Tuple[str, ...]  # Requires-Dist
    requires_python: str
    licence: str
    startup: Tuple[str, ...]  # .pth and .start files, which run at every start of Python
    elves: Tuple[Elf, ...]
    python_files: Tuple[Tuple[str, str], ...]  # (member, name relative to site-packages)
    built_from: str  # "NAME-VERSION.tar.gz sha256:..." when it was built here
    pkg_resources: str = ""  # the first of its modules that imports pkg_resources in any case
    doubts: Tuple[str, ...] = ()  # what deserves a look, a clause each
    embedded: Tuple[Embedded, ...] = ()

    @property
    def origin(self) -> str:
        """The file name of the sdist that it was built from here, "" when it was downloaded."""
        return unquote(os.path.basename(urlsplit(self.built_from.partition(" ")[0]).path))

    @property
    def floors(self) -> Tuple[str, ...]:
        """For each architecture the glibc that it needs, and the file of it that does: "MACHINE GLIBC FILE"."""
        return tuple(f"{elf.machine} {_dotted(elf.glibc)} {elf.glibc_file}" for elf in self.elves if any(elf.glibc))

    @property
    def requirements(self) -> Tuple[Requirement, ...]:
        """Its Requires-Dist lines, parsed."""
        return parsed(self.requires)


@functools.lru_cache(maxsize=None)
def parsed(requires: Tuple[str, ...]) -> Tuple[Requirement, ...]:
    """Return Requires-Dist lines, parsed.

    Raises:
        InvalidRequirement: one of them cannot be read.
    """
    return tuple(map(Requirement, requires))


def to_document(wheel: CollectedWheel) -> Dict[str, Any]:
    """Return *wheel* as JSON objects, without where it is."""
    document = dict(wheel._asdict(), elves=[elf._asdict() for elf in wheel.elves])
    del document["path"]
    return document


def from_document(document: Dict[str, Any], path: str) -> CollectedWheel:
    """Return the wheel at *path* that :func:`to_document` described."""
    elves = [
        Elf(
            elf["machine"],
            (elf["glibc"][0], elf["glibc"][1]),
            elf["glibc_file"],
            tuple(elf["needed"]),
            tuple(elf["provided"]),
        )
        for elf in document["elves"]
    ]
    pairs = tuple((member, name) for member, name in document["python_files"])
    lists = {key: tuple(document[key]) for key in ("tags", "requires", "startup", "doubts")}
    embedded = tuple(Embedded(*one) for one in document["embedded"])
    return CollectedWheel(
        **dict(document, **lists, path=path, elves=tuple(elves), python_files=pairs, embedded=embedded)
    )


def check_fits(wheel: CollectedWheel, label: str, tags: Iterable[str], machine: str, glibc: Tuple[int, int]) -> None:
    """Refuse a wheel that cannot run on a target.

    Parameters:
        label: the target's name, for the message.
        tags: every wheel tag that runs there (PEP 425).
        machine, glibc: of the target.

    Raises:
        WheelError: naming wheel, target and reason.
    """
    if not set(wheel.tags) & set(tags):
        raise WheelError(wheel.file, f"does not run on {label}", "Lock a version that has a wheel for it")
    platforms = {tag.rpartition("-")[2] for tag in wheel.tags}
    compiled = [elf for elf in wheel.elves if elf.machine == machine]
    if wheel.elves and not compiled and "any" not in platforms:
        found = ", ".join(elf.machine for elf in wheel.elves)
        raise WheelError(
            wheel.file, f"holds compiled files for {found}, {label} needs {machine}", "Report it to its maintainers"
        )
    for elf in compiled:
        if elf.glibc > glibc:
            raise WheelError(
                wheel.file,
                f"needs glibc {_dotted(elf.glibc)} ({elf.glibc_file}), {label} has {_dotted(glibc)}",
                "Build on an older system, or lock a version whose wheel needs less",
            )


def glibc_floor(wheels: Sequence[CollectedWheel], machine: str) -> str:
    """Return the lowest glibc that loads every compiled file of *wheels*: "2.17", "" when nothing is compiled."""
    versions = [elf.glibc for wheel in wheels for elf in wheel.elves if elf.machine == machine]
    return _dotted(max(versions)) if versions else ""


def system_libraries(wheels: Sequence[CollectedWheel], machine: str) -> Tuple[str, ...]:
    """Return the sonames that *wheels* need and neither contain nor find in glibc."""
    elves = [elf for wheel in wheels for elf in wheel.elves if elf.machine == machine]
    provided = {name for elf in elves for name in elf.provided}
    needed = {name for elf in elves for name in elf.needed}
    return tuple(sorted(name for name in needed - provided if not _LIBC_OWN.match(name)))


def _dotted(version: Tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
