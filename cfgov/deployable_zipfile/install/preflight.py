"""The requirements on the target, checked before anything is written, all problems in one run."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Iterator, List, Optional, Tuple

from ..artifact import manifests
from ..errors import DeployableZipfileError, DestinationError, TargetError
from . import host, ownership
from .destination import filled_problem
from .space import Need, Room

_ST_NOEXEC = getattr(os, "ST_NOEXEC", 8)


def problems(
    manifest: manifests.Manifest,
    destination: str,
    replaces: bool = False,
    need: Optional[Need] = None,
) -> List[DeployableZipfileError]:
    """Return everything that would keep *manifest*'s artifact from running in *destination*, worst first.

    Parameters:
        manifest: of the artifact.
        destination: absolute path of the folder to install into.
        replaces: it may hold an installation of this build.
        need: what there must be room for; None: that cannot be known.
    """
    found: List[DeployableZipfileError] = []
    target = None
    try:
        target = host.select_target(manifest)
    except TargetError as error:
        found.append(error)
    else:
        found.extend(_machine_problems(target))
        found.extend(_library_problems(target))
    found.extend(_python_problems())
    found.extend(_destination_problems(manifest, destination, replaces))
    if target is not None and need is not None:
        found.extend(_space_problems(destination, need, target))
    return found


def _machine_problems(target: manifests.Target) -> Iterator[TargetError]:
    machine = host.machine()
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
            "this machine",
            f"is {machine}, the artifact contains files for {target.machine}",
            "Build it for this machine",
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


def _library_problems(target: manifests.Target) -> Iterator[TargetError]:
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
        machine = host.multiarch() or f"{host.machine()}-linux-gnu"
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
            f"uses {sys.getfilesystemencoding()} for file names, the artifact uses UTF-8",
            "Set PYTHONUTF8=1, or run it with -X utf8",
        )
    for module, package in (("zlib", "zlib"), ("venv", "venv")):
        if importlib.util.find_spec(module) is None:
            yield TargetError(
                f"Python's {module} module",
                f"is missing in {sys.executable}",
                f"Install the operating system's package of it (often pythonX.Y-{package}), or another Python",
            )


def _destination_problems(manifest: manifests.Manifest, destination: str, replaces: bool) -> Iterator[DestinationError]:
    parent = _parent(destination)
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
    if os.statvfs(parent).f_flag & _ST_NOEXEC:
        yield DestinationError(destination, "is on a file system mounted noexec", "Choose another destination")


def _parent(destination: str) -> str:
    """Return the first folder above *destination* that there is, or what there is in its place."""
    parent = os.path.dirname(destination)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    return parent


def _space_problems(destination: str, need: Need, target: manifests.Target) -> Iterator[DestinationError]:
    try:
        volume = os.statvfs(_parent(destination))
    except OSError:
        return  # it is no folder, which has been said
    # 0: a tmpfs without a limit, or a file system that does not tell
    free = Room(
        volume.f_bavail * volume.f_frsize if volume.f_blocks else sys.maxsize,
        volume.f_favail if volume.f_files else sys.maxsize,
    )
    if need.surely_fits(free):
        return
    needed = need.room(target, host.bytecode_fits(target), volume.f_frsize)
    if free.size < needed.size:
        shown = f"needs {_megabytes(needed.size)} of space, {_megabytes(free.size)} are free"
        yield DestinationError(destination, shown, "Free space there")
    if free.inodes < needed.inodes:
        shown = f"needs {needed.inodes} inodes, {free.inodes} are free"
        yield DestinationError(destination, shown, "Free inodes there")


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"
