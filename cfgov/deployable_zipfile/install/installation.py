"""Install an artifact into a destination that is, at every instant, absent (or empty, as it was) or complete.

The story: prove everything, prepare beside the destination, commit by one rename. ``rename`` onto a folder that is
not empty fails and onto an empty one is atomic (POSIX), so a race has one winner and the loser learns it. Nothing
below ``.NAME.partial/`` survives: it holds the lock, and the tree until it is renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..artifact import layout
from ..artifact.names import folders_of
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import ArtifactError, DeployableZipfileError, DestinationError
from ..install_wheels import Place, Source, open_wheels
from ..install_wheels import install as install_wheels
from . import inventory, preflight, replacement, soundness
from .sharing import Sharing, normal_store, stored_members
from .staging import Staging, WriteBehind, disk_error, remove_leftovers
from .virtualenv import base_interpreter, make_virtualenv
from .writer import Job, bytecode, bytecode_path, write_bytes, write_files


class Installed(NamedTuple):
    """What an installation came to."""

    destination: str
    build_id: str
    python: str  # "3.11"
    already: bool  # a complete installation of the same build was there: nothing was written
    files: int  # written
    seconds: float


def install(
    artifact: Artifact,
    destination: str,
    *,
    workers: int = 0,
    wait: float = 0.0,
    sync: bool = True,
    force: bool = False,
    console: Optional[Console] = None,
    store: str = "",
) -> Installed:
    """Verify *artifact*, then install it into *destination*.

    Parameters:
        artifact: opened.
        destination: path of a folder that is absent or empty; folders above it are made.
        workers: processes, 0 for one per core.
        wait: seconds to wait for another installation into the same destination.
        sync: put everything on the disk before the commit, so that a power loss leaves nothing or all.
        force: an installation of this build, in whatever state, is replaced by a new one.
        console: told about each step.
        store: path of a store of unpacked wheels to take files from, "": none.

    Raises:
        ArtifactError, WheelError: before anything is written, or with nothing left behind.
        TargetError: this Python or machine does not fit.
        DestinationError: the folder is not empty, busy, not writable, or too small, or what it holds does not run.
    """
    console = console or Console(quiet=True)
    began = time.monotonic()
    destination = normal_destination(destination)
    target = preflight.select_target(artifact.manifest)
    build = artifact.manifest.build_id

    def is_there() -> bool:
        return not force and is_sound(destination, build, target.python)

    if is_there():
        remove_leftovers(destination, console)
        return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
    sharing = Sharing(normal_store(store, destination), artifact.manifest, console) if store else None
    stored = stored_members(store, artifact.manifest, destination) if store else None
    problems = preflight.problems(artifact.manifest, destination, force, preflight.payload_space(artifact), stored)
    refused = replacement.refusal(destination, build) if force else None
    if problems and is_there():  # another run finished it meanwhile
        return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
    problems += [refused] if refused else []
    for problem in problems[1:]:
        console.warn(str(problem))
    if problems:
        raise problems[0]
    compiled = preflight.bytecode_fits(target)
    sources = _verified(artifact, target, compiled, workers, console)
    with Staging(destination, wait, console) as staging:
        if is_there():
            return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
        filled = replacement.refusal(destination, build) if force else preflight.filled_problem(destination, build)
        if filled:
            raise filled
        place = Place(staging.tree, destination, target.python, artifact.manifest.project)
        text = f"Installing {artifact.manifest.project} for Python {target.python}"
        total = sum(len(source.wheel.files) for source in sources) + len(artifact.manifest.members)
        try:
            with WriteBehind(staging.tree, sync), console.phase(text, total) as advance:
                count = _write_tree(artifact, target, sources, place, compiled, workers, advance, sharing)
                if force and os.path.isdir(destination):
                    replacement.carry_over(destination, staging.tree)
        except OSError as error:
            raise _tree_error(error, place) from None
        staging.commit(replaces=force)
    return Installed(destination, build, target.python, False, count, time.monotonic() - began)


def _verified(
    artifact: Artifact, target: layout.Target, compiled: bool, workers: int, console: Console
) -> List[Source]:
    """Compare every byte of *artifact* with its manifest, and open its wheels while other processes do so."""
    with _verifying(artifact, workers, console) as finish:
        try:
            sources = open_wheels(artifact, target, compiled)
        except DeployableZipfileError:
            finish()  # a damaged file is told before what it makes of the wheels in it
            raise
        finish()
        return sources


@contextlib.contextmanager
def _verifying(artifact: Artifact, workers: int, console: Console) -> Iterator[Callable[[], None]]:
    total = sum(one.room for one in artifact.members.values())
    with console.phase(f"Verifying {artifact.path}", total) as advance, artifact.verifying(workers, advance) as finish:
        yield finish


def verify(artifact: Artifact, workers: int, console: Console) -> None:
    """Compare every byte of *artifact* with its manifest, and show it.

    Raises:
        ArtifactError: what differs.
    """
    with _verifying(artifact, workers, console) as finish:
        finish()


def normal_destination(destination: str) -> str:
    """Return *destination* absolute, a link to a folder resolved.

    Raises:
        DestinationError: a path that scripts and ``.pth`` files cannot carry, or that is not a folder.
    """
    path = _absolute(destination)
    if os.path.islink(path):
        resolved = os.path.realpath(path)
        if not os.path.isdir(resolved):
            raise DestinationError(
                path, "is a link that leads to no folder", "Remove the link or choose another folder"
            )
        path = _absolute(resolved)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise DestinationError(path, "is not a folder", "Remove it or choose another folder")
    if path == "/":
        raise DestinationError(path, "is the root of the file system", "Choose another folder")
    longest = max(len(os.fsencode(part)) for part in path.split("/"))
    if longest > 255 or len(os.fsencode(os.path.basename(path))) > 240 or len(os.fsencode(path)) > 3800:
        raise DestinationError(path, "is too long for a path", "Choose a shorter one")
    return path


def _absolute(path: str) -> str:
    """Return *path* absolute, after proving that it can stand in scripts, ``.pth`` files and messages."""
    if not path:
        raise DestinationError("the destination", "is empty", "Name a folder")
    try:
        # A leading "//" is kept by abspath (POSIX lets it mean something else); on Linux it is the root.
        path = "/" + os.path.abspath(path).lstrip("/")
    except OSError as error:
        raise DestinationError(
            path, f"is relative to a current folder that cannot be read ({error.strerror})", "Give an absolute path"
        ) from None
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        advice = "Choose another folder"
        if sys.getfilesystemencoding().lower() != "utf-8":
            advice = "Set PYTHONUTF8=1 if the name is UTF-8"
        raise DestinationError(path, "is not UTF-8", advice) from None
    if "\\" in path or not path.isprintable():
        raise DestinationError(path, "holds a backslash or characters that cannot be printed", "Choose another folder")
    return path


def is_complete(destination: str, build_id: str, python: str) -> bool:
    """Return whether *destination* holds build *build_id* for *python* ("3.11"), complete and where it was installed.

    A tree that was copied or moved is not complete: its scripts name the place it comes from.
    """
    found = preflight.installed(destination)
    if (found.get("build_id"), found.get("python")) != (build_id, python):
        return False
    try:
        return os.path.samefile(str(found.get("destination")), destination)
    except OSError:
        return False


def is_sound(destination: str, build_id: str, python: str) -> bool:
    """Return whether *destination* holds build *build_id* for *python*, complete as :func:`is_complete` says.

    Raises:
        DestinationError: it does by its record, and cannot run.
    """
    if not is_complete(destination, build_id, python):
        return False
    fault = soundness.fault(destination)
    if fault:
        raise DestinationError(
            destination, f"holds build {build_id}, but {fault}", "Install it again in its place with --force"
        )
    return True


def _write_tree(
    artifact: Artifact,
    target: layout.Target,
    sources: List[Source],
    place: Place,
    compiled: bool,
    workers: int,
    progress: Callable[[int], None],
    sharing: Optional[Sharing],
) -> int:
    """Write everything the destination will hold; return the number of files."""
    count = 0
    digests: Dict[str, str] = {}
    for jobs, folders in _project(artifact, target, place, compiled):
        make_folders_once(place.tree, folders)
        write_files(place.tree, jobs, workers, progress, digests)
        count += len(jobs)
    count += install_wheels(sources, place, workers, progress, digests, sharing.take if sharing else None)
    if sharing:
        digests.update(sharing.digests)
    make_virtualenv(place)
    _write_own_files(artifact, place)
    files = inventory.written(place.tree, workers, digests)
    write_bytes(f"{place.tree}/{layout.FILES}", files)
    record = _installed_document(artifact, target, place, hashlib.sha256(files).hexdigest())
    write_bytes(f"{place.tree}/{layout.INSTALLED}", record)
    return count


def make_folders_once(tree: str, folders: List[str]) -> None:
    """Make those of *folders* that earlier payloads have not made."""
    wanted = set()
    for folder in folders:
        while folder and folder not in wanted and not os.path.isdir(f"{tree}/{folder}"):
            wanted.add(folder)
            folder = folder.rpartition("/")[0]
    for folder in sorted(wanted):
        os.mkdir(f"{tree}/{folder}", 0o755)


def _project(
    artifact: Artifact, target: layout.Target, place: Place, compiled: bool
) -> Iterator[Tuple[List[Job], List[str]]]:
    """Yield jobs and folders of the project and the static folders, one container after the other."""
    manifest = artifact.manifest
    tops = (manifest.project + "/", layout.STATIC + "/")
    shipped = artifact.nested(target.project_bytecode) if compiled and target.project_bytecode else None

    def compile_as(name: str) -> str:
        return f"{place.destination}/{name}" if shipped is None and name.endswith(".py") else ""

    def with_folders(jobs: List[Job], more: Tuple[str, ...] = ()) -> Tuple[List[Job], List[str]]:
        folders = {job.path.rpartition("/")[0] for job in jobs}
        folders.update(os.path.dirname(job.path) + "/__pycache__" for job in jobs if job.compile_as)
        return jobs, [*folders, *more]

    sources = set()
    jobs = []
    for name, entry in artifact.members.items():
        if name.startswith(tops):
            sources.add(name)
            expected = manifest.members[name].sha256
            jobs.append(Job(name, artifact.container, entry, entry.mode, expected, compile_as(name)))
    yield with_folders(jobs, manifest.directories)
    for payload in manifest.payloads:
        container, listing = artifact.payload_members(payload)
        sources.update(name for name in container.entries if name.endswith(".py"))
        yield with_folders(
            [
                Job(name, container, entry, entry.mode, listing[name].sha256, compile_as(name))
                for name, entry in container.entries.items()
            ]
        )
    if shipped is not None:
        allowed = {bytecode_path(name, target.cache_tag) for name in sources if name.endswith(".py")}
        for name in shipped.entries:
            if name not in allowed:
                raise ArtifactError(f"{target.project_bytecode}/{name}", "is the bytecode of no file", "Build it again")
        yield with_folders([Job(name, shipped, entry, 0o644, "", "") for name, entry in shipped.entries.items()])


def _write_own_files(artifact: Artifact, place: Place) -> None:
    """Write the files of the artifact that make the virtualenv the site's."""
    project = artifact.manifest.project
    site = f"{place.tree}/{place.site}"
    pth = layout.project_pth_name(project)
    for member in (layout.LOADENV, layout.LOADENV_PTH, layout.LOADENV_START, pth):
        write_bytes(f"{site}/{os.path.basename(member)}", artifact.read(member))
    _compile_loadenv(artifact.read(layout.LOADENV), place)
    os.mkdir(f"{place.tree}/{layout.DEPLOY}", 0o755)
    for member in (layout.MANIFEST, layout.SBOM):
        if member in artifact.members:
            entry = artifact.members[member]
            write_bytes(f"{place.tree}/{member}", artifact.container.read(entry))
    if artifact.manifest.payloads:
        os.mkdir(f"{place.tree}/{layout.PAYLOAD}", 0o755)
    for payload in artifact.manifest.payloads:
        write_bytes(f"{place.tree}/{payload.listing}", artifact.read(payload.listing))
    modules = {f"{layout.RUNTIME}/{layout.runtime_path(member)}": member for member in runtime_members(artifact)}
    for folder in sorted(folders_of(modules) - {layout.DEPLOY}):
        os.mkdir(f"{place.tree}/{folder}", 0o755)
    for path, member in modules.items():
        write_bytes(f"{place.tree}/{path}", artifact.read(member))


def runtime_members(artifact: Artifact) -> List[str]:
    """Return the members that are modules of this package: the destination keeps them to verify and roll back."""
    return [name for name in artifact.members if layout.runtime_path(name)]


def _compile_loadenv(source: bytes, place: Place) -> None:
    """Compile the module that every start of Python imports, which may run as a user who cannot write here."""
    path = f"{place.site}/{layout.LOADENV}"
    compiled = bytecode(source, f"{place.destination}/{path}")
    if compiled is None:
        raise ArtifactError(layout.LOADENV, "is no Python that this interpreter compiles", "Build the artifact again")
    target = f"{place.tree}/{bytecode_path(path, sys.implementation.cache_tag or '')}"
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    write_bytes(target, compiled)


def _installed_document(artifact: Artifact, target: layout.Target, place: Place, files: str) -> bytes:
    document: Dict[str, Any] = {
        "build_id": artifact.manifest.build_id,
        "project": artifact.manifest.project,
        "commit": artifact.manifest.source.commit,
        "dirty": artifact.manifest.source.dirty,
        "python": target.python,
        "executable": base_interpreter(),
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "destination": place.destination,
        "files_sha256": files,
        "installed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "tool": artifact.manifest.tool_version,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def _tree_error(error: OSError, place: Place) -> DeployableZipfileError:
    """Say what kept a file of the tree from being written. The tree was new: what stands in a way came with it."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    inner = path[len(place.tree) + 1 :] if path.startswith(place.tree + "/") else ""
    if inner and error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
        return ArtifactError(inner, "comes twice, or as a file and as a folder", "Build the artifact again")
    if inner and error.errno == errno.ENAMETOOLONG:
        return DestinationError(
            place.destination, f"is too long a path to hold {inner}", "Choose a folder with a shorter path"
        )
    return disk_error(error, place.destination)
