"""Install an artifact into a destination that is, at every instant, absent (or empty, as it was) or complete.

The story: prove everything, prepare beside the destination, commit by one rename. ``rename`` onto a folder that is
not empty fails and onto an empty one is atomic (POSIX), so a race has one winner and the loser learns it. Nothing
below ``.NAME.partial/`` survives: it holds the lock, and the tree until it is renamed.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import time
from typing import TYPE_CHECKING, Callable, Iterator, Optional, Sequence, Set, Tuple

from ..artifact import manifests
from ..artifact.zipreader import Artifact
from ..console import Console
from ..definitions import NamedTuple
from ..errors import ArtifactError, DeployableZipfileError, DestinationError
from ..install_wheels import open_wheel
from . import host, preflight, soundness, tree
from .destination import filled_problem, normal_destination
from .listed import Listed, listed
from .plan import Place
from .portions import Portions
from .space import Need
from .staging import Staging, WriteBehind, disk_error, remove_leftovers

if TYPE_CHECKING:
    from .sharing import Sharing


class Installed(NamedTuple):
    """What an installation came to."""

    destination: str
    build_id: str
    python: str  # "3.11"
    already: bool  # a complete installation of the same build was there: nothing was written
    files: int  # written
    seconds: float


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage: hundreds of thousands of objects stay until the end, and none is in a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_uncollected()
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
    compiles: bool = True,
) -> Installed:
    """Verify *artifact*, then install it into *destination*.

    Parameters:
        artifact: opened.
        destination: path of a folder that is absent or empty; folders above it are made.
        workers: processes, 0 for one per core.
        wait: seconds to wait for another installation into the same destination.
        sync: put everything on the disk before the commit, so that a power loss leaves nothing or all.
        force: an installation of this build, in whatever state, is replaced by a new one.
        console: gets each step.
        store: path of a store of unpacked wheels to take files from, "": none.
        compiles: compile Python files for which the artifact has no bytecode that this Python reads.

    Raises:
        ArtifactError, WheelError: before anything is written, or with nothing left behind.
        TargetError: this Python or machine does not fit.
        DestinationError: the folder is not empty, busy, not writable, or too small, or what it holds does not run.
    """
    console, began = console or Console(quiet=True), time.monotonic()
    destination = normal_destination(destination)
    target, build = host.select_target(artifact.manifest), artifact.manifest.build_id

    def is_there() -> bool:
        return not force and soundness.is_sound(destination, build, target.python)

    if is_there():
        remove_leftovers(destination, console)
        return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
    sharing, stored = _shared(store, destination, artifact.manifest, console)
    problems = preflight.problems(artifact.manifest, destination, force, Need(artifact, stored))
    if problems and is_there():  # another run finished it meanwhile
        return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
    _refuse([*problems, _replacing(destination, build) if force else None], console)
    staging = Staging(destination, wait, console)
    place = Place(staging.tree, destination, target.python, artifact.manifest.project, compiles)
    wheels = _verified(artifact, target, place, workers, console)
    with staging:
        if is_there():
            return Installed(destination, build, target.python, True, 0, time.monotonic() - began)
        _refuse([_replacing(destination, build) if force else filled_problem(destination, build)], console)
        with _writing(wheels, artifact.manifest, sync, console) as advance:
            count = tree.write(artifact, target, wheels, workers, advance, sharing)
            if force and os.path.isdir(destination):
                from . import replacement

                replacement.carry_over(destination, place.tree)
        staging.commit(force, sync)
    return Installed(destination, build, target.python, False, count, time.monotonic() - began)


def _shared(
    store: str, destination: str, manifest: manifests.Manifest, console: Console
) -> "Tuple[Optional[Sharing], Optional[Set[str]]]":
    """Return what takes files from *store*, and the members that it has already."""
    if not store:
        return None, None
    from .sharing import Sharing, normal_store, stored_members

    return Sharing(normal_store(store, destination), manifest, console), stored_members(store, manifest, destination)


def _replacing(destination: str, build_id: str) -> Optional[DestinationError]:
    from . import replacement

    return replacement.refusal(destination, build_id)


def _refuse(problems: Sequence[Optional[DeployableZipfileError]], console: Console) -> None:
    """Raise the first of *problems*, after warnings of the others; None is no problem."""
    found = [problem for problem in problems if problem is not None]
    for problem in found[1:]:
        console.warn(str(problem))
    if found:
        raise found[0]


def _verified(artifact: Artifact, target: manifests.Target, place: Place, workers: int, console: Console) -> Portions:
    """Compare every byte of *artifact* with its manifest, and plan where its wheels go while other processes do so."""
    wheels, fits = target.wheels + target.bootstrap, host.bytecode_fits(target)

    def with_index(number: int) -> Optional[Listed]:
        return listed(artifact, wheels[number], fits, place.compiles)

    with _verifying(artifact, workers, console) as finish:
        try:
            portions = Portions(
                lambda number: open_wheel(artifact, wheels[number], fits), len(wheels), place, with_index
            )
        except DeployableZipfileError:
            finish()  # a damaged file is told before what it makes of the wheels in it
            raise
        finish()
        return portions


@contextlib.contextmanager
def _verifying(artifact: Artifact, workers: int, console: Console) -> Iterator[Callable[[], None]]:
    total = sum(one.room for one in artifact.members.values())
    with console.phase(f"Verifying {artifact.path}", total) as advance, artifact.verifying(workers, advance) as finish:
        yield finish


@contextlib.contextmanager
def _writing(
    wheels: Portions, manifest: manifests.Manifest, sync: bool, console: Console
) -> Iterator[Callable[[int], None]]:
    """Show how many files are written; whatever keeps one from being written becomes an error of ours."""
    place = wheels.place
    total = wheels.files + len(manifest.members)
    text = f"Installing {place.project} for Python {place.python}"
    try:
        with WriteBehind(place.tree, sync), console.phase(text, total) as advance:
            yield advance
    except OSError as error:
        raise _tree_error(error, place) from None


def verify(artifact: Artifact, workers: int, console: Console) -> None:
    """Compare every byte of *artifact* with its manifest, and show it.

    Raises:
        ArtifactError: what differs.
    """
    with _verifying(artifact, workers, console) as finish:
        finish()


def _tree_error(error: OSError, place: Place) -> DeployableZipfileError:
    """Say what kept a file of the tree from being written. The tree was new: what is in the way came with it."""
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    inner = path[len(place.tree) + 1 :] if path.startswith(place.tree + "/") else ""
    if inner and error.errno in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
        return ArtifactError(inner, "appears twice, or both as a file and as a folder", "Build the artifact again")
    if inner and error.errno == errno.ENAMETOOLONG:
        return DestinationError(
            place.destination, f"is too long a path to hold {inner}", "Choose a folder with a shorter path"
        )
    return disk_error(error, place.destination)
