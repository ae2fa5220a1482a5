"""What the target must have, found out before a byte is written, every problem in one run."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from typing import Iterator, List, Optional, Set, Tuple

from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..errors import DeployableZipfileError, DestinationError, TargetError
from . import host, ownership
from .destination import filled_problem

_SLACK = 1.05  # of the space the files need: folders, journals, rounding
_BLOCK = 4096  # bytes: files take whole blocks
_ST_NOEXEC = getattr(os, "ST_NOEXEC", 8)


def problems(
    manifest: layout.Manifest,
    destination: str,
    replaces: bool = False,
    payloads: Optional[Tuple[int, int]] = None,
    stored: Optional[Set[str]] = None,
) -> List[DeployableZipfileError]:
    """Return everything that would keep *manifest*'s artifact from running in *destination*, worst first.

    Parameters:
        manifest: of the artifact.
        destination: absolute path of the folder to install into.
        replaces: it may hold an installation of this build.
        payloads, stored: as for :func:`space_needed`.
    """
    found: List[DeployableZipfileError] = []
    try:
        target = host.select_target(manifest)
    except TargetError as error:
        found.append(error)
    else:
        found.extend(_machine_problems(target))
        found.extend(_library_problems(target))
    found.extend(_python_problems())
    found.extend(_destination_problems(manifest, destination, replaces, payloads, stored))
    return found


def payload_space(artifact: Artifact) -> Optional[Tuple[int, int]]:
    """Return the bytes, in whole blocks, and the number of files of the project that nested payloads unpack to.

    Raises:
        ArtifactError: a payload or its listing is broken.
    """
    size = files = 0
    for payload in artifact.manifest.payloads:
        listing = artifact.payload_members(payload)[1]
        size += sum(_on_disk(member) for member in listing.values())
        files += len(listing)
    return (size, files) if artifact.manifest.payloads else None


def space_needed(
    manifest: layout.Manifest, payloads: Optional[Tuple[int, int]] = None, stored: Optional[Set[str]] = None
) -> Tuple[int, int]:
    """Return an estimate, on the high side, of the bytes and inodes that an installation needs.

    Wheels and bytecode are known by their packed size only: they count four times, and as files of 2000 bytes packed.

    Parameters:
        payloads: what nested payloads unpack to; None: it is not known, and they count like wheels.
        stored: wheels and bytecode, by member, that a store on the same file system has; None: there is no such store.
            The folders that it takes to link their files count once, those in the store for the others as well.
    """
    guessed = (f"{layout.BYTECODE}/",) if payloads else (f"{layout.BYTECODE}/", f"{layout.PAYLOAD}/")
    tops = (manifest.project + "/", layout.STATIC + "/")
    sizes = {
        name: member.size
        for name, member in manifest.members.items()
        if layout.is_wheel(name) or name.startswith(guessed)
    }
    linked = sum(sizes.values()) if stored is not None else 0
    packed = sum(size for name, size in sizes.items() if name not in (stored or ()))
    plain = [member for name, member in manifest.members.items() if name.startswith(tops)]
    more, files = payloads or (0, 0)
    size = sum(map(_on_disk, plain)) + 4 * packed + linked + more
    inodes = len(plain) + packed // 2000 + linked // 4000 + files
    return int(size * _SLACK), inodes


def _on_disk(member: layout.Member) -> int:
    return -(-member.size // _BLOCK) * _BLOCK


def _machine_problems(target: layout.Target) -> Iterator[TargetError]:
    machine = platform.machine()
    compiled = bool(target.libc_floor)
    values = host.marker_values()
    for name, value in target.markers:
        if values[name] != value and not (compiled and name == "platform_machine"):
            yield TargetError(
                "this machine",
                f"has {name} {values[name]!r}, and which wheels are needed depends on {value!r}",
                "Build it for this machine",
            )
    if compiled and target.machine and machine != target.machine:
        yield TargetError(
            "this machine", f"is {machine}, the artifact holds files for {target.machine}", "Build it for this machine"
        )
    if compiled and sys.maxsize <= 2**32 and target.machine in ("x86_64", "aarch64", "ppc64le", "s390x"):
        yield TargetError("this Python", "is a 32-bit program", "Use a 64-bit Python")
    name, version = host.libc()
    if not compiled:
        return
    if name != target.libc:
        yield TargetError(
            "the C library", f"is {name or 'unknown'}, the artifact needs {target.libc}", "Build it for this system"
        )
    elif _numbers(version) < _numbers(target.libc_floor):
        yield TargetError(
            "the C library",
            f"is {name} {version}, the artifact needs {target.libc_floor} or newer",
            f"Build it with --target {target.abi}-manylinux_{version.replace('.', '_')}_{machine}",
        )


def _library_problems(target: layout.Target) -> Iterator[TargetError]:
    missing = [name for name in target.libraries if not _library_found(name)]
    if missing:
        yield TargetError(
            ", ".join(missing), "shared libraries that compiled files need are missing", "Install their packages"
        )


def _library_found(name: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for folder in _library_folders())


_folders: List[str] = []


def _library_folders() -> List[str]:
    """Return the folders where the dynamic loader looks (ld.so(8)), read once."""
    if not _folders:
        _folders.extend(os.environ.get("LD_LIBRARY_PATH", "").split(":"))
        _folders.extend(_configured("/etc/ld.so.conf", 0))
        machine = host.multiarch() or f"{platform.machine()}-linux-gnu"
        for top in ("/lib", "/usr/lib", "/usr/local/lib"):
            _folders.extend([f"{top}/{machine}", f"{top}64", top])
        _folders.append(f"{sys.base_prefix}/lib")
        _folders[:] = [folder for folder in _folders if folder]
    return _folders


def _configured(path: str, depth: int) -> Iterator[str]:
    """Yield the folders that an ``ld.so.conf`` names, its includes followed."""
    import glob

    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return  # no configuration, or none for us: the loader's own folders remain
    for line in lines:
        line = line.partition("#")[0].strip()
        if line.startswith("include ") and depth < 4:
            for found in sorted(glob.glob(os.path.join(os.path.dirname(path), line[8:].strip()))):
                yield from _configured(found, depth + 1)
        elif line:
            yield line


def _python_problems() -> Iterator[TargetError]:
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        yield TargetError(
            "this Python",
            f"takes file names for {sys.getfilesystemencoding()}, the artifact's are UTF-8",
            "Set PYTHONUTF8=1, or run it with -X utf8",
        )
    for module, package in (("zlib", "zlib"), ("venv", "venv")):
        if importlib.util.find_spec(module) is None:
            yield TargetError(
                f"Python's {module} module",
                f"is missing in {sys.executable}",
                f"Install the operating system's package of it (often pythonX.Y-{package}), or another Python",
            )


def _destination_problems(
    manifest: layout.Manifest,
    destination: str,
    replaces: bool,
    payloads: Optional[Tuple[int, int]],
    stored: Optional[Set[str]],
) -> Iterator[DestinationError]:
    parent = os.path.dirname(destination)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        yield DestinationError(parent, "is not a folder", "Choose another destination")
        return
    if not os.access(parent, os.W_OK | os.X_OK):
        yield DestinationError(
            destination,
            f"cannot be written ({parent} is not writable for uid {os.geteuid()})",
            "Run it as a user who may write there: the tree is prepared beside the destination",
        )
    try:
        ownership.check_folder(parent, sticky=True)
    except DestinationError as error:
        yield error
    filled = None if replaces else filled_problem(destination, manifest.build_id)
    if filled:
        yield filled
    yield from _space_problems(manifest, destination, parent, payloads, stored)


def _space_problems(
    manifest: layout.Manifest,
    destination: str,
    parent: str,
    payloads: Optional[Tuple[int, int]],
    stored: Optional[Set[str]],
) -> Iterator[DestinationError]:
    volume = os.statvfs(parent)
    if volume.f_flag & _ST_NOEXEC:
        yield DestinationError(destination, "is on a file system mounted noexec", "Choose another destination")
    size, inodes = space_needed(manifest, payloads, stored)
    free = volume.f_bavail * volume.f_frsize
    if volume.f_blocks and free < size:  # 0 blocks: a tmpfs without a limit, or a file system that does not tell
        yield DestinationError(
            destination, f"needs {_megabytes(size)} of space, {_megabytes(free)} are free", "Free space there"
        )
    if volume.f_files and volume.f_favail < inodes:
        yield DestinationError(destination, f"needs {inodes} inodes, {volume.f_favail} are free", "Free inodes there")


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"
