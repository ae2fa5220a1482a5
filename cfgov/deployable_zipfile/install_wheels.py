"""Install wheels from their place in the artifact into a new virtualenv: no pip, no temporary copy.

What PEP 427 and PEP 376 ask of an installer, and what pip does beyond, comes out the same: files, modes, scripts,
``.data`` folders, RECORD, INSTALLER, REQUESTED, bytecode. Wheels are read in place, STORED in the artifact.
"""

from __future__ import annotations

import functools
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

from .artifact import manifests
from .artifact.names import folders_of
from .artifact.wheel import Wheel
from .artifact.zipreader import Artifact
from .definitions import NamedTuple
from .errors import WheelError
from .install.finish import finish
from .install.inventory import Known
from .install.listed import Part, notes_of_part
from .install.plan import OpenedWheel, Place, Plan, is_own, path_in, planned, points_of, relative, untaken
from .install.writer import Job, Taken, making_folders, write_files
from .workers import run

_FEW = 5000  # files whose RECORD one process writes before another one has begun

Progress = Optional[Callable[[int], None]]
Take = Callable[[Plan, int, Progress, Callable[[], None]], Taken]


class Replaced(NamedTuple):
    """A file that two wheels hold with different contents; the later one's is installed, as with pip."""

    path: str  # relative to site-packages, or to the virtualenv
    first: str  # wheel file name
    second: str


def open_wheel(artifact: Artifact, plan: manifests.PlannedWheel, bytecode: bool) -> OpenedWheel:
    """Open a wheel in its place and prove its structure; nothing is written.

    Parameters:
        artifact: verified.
        bytecode: whether the shipped bytecode fits the running interpreter.

    Raises:
        WheelError: naming wheel and inner file.
        ArtifactError: the archive of its bytecode breaks a rule.
    """
    entry = artifact.members[plan.file]
    if entry.size != entry.compressed:
        raise WheelError(plan.file, "is compressed a second time", "Build the artifact again")
    wheel = Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, plan.file)
    if wheel.name != plan.name:
        raise WheelError(plan.file, f"is planned as {plan.name}", "Build the artifact again")
    wheel.check_structure()
    overlay = artifact.nested(plan.bytecode) if bytecode and plan.bytecode else None
    return OpenedWheel(plan, wheel, overlay)


def examine(wheels: Sequence[Wheel], python: str, project: str) -> List[Replaced]:
    """Refuse at build what :func:`install` would refuse on the target; return what wheels replace of each other.

    Parameters:
        wheels: of one plan, in its order.
        python: "3.11".
        project: its name.

    Raises:
        WheelError: naming wheel and inner file.
    """
    for wheel in wheels:
        wheel.check_structure()
    place = Place("/tree", "/destination", python, project)
    sources = [OpenedWheel(_unplanned(wheel), wheel, None) for wheel in wheels]
    planned(sources, place)
    points = {id(source.wheel): points_of(source, python) for source in sources}
    found: Dict[str, Tuple[Wheel, str]] = {}
    replaced = []
    for wheel in wheels:
        for name in wheel.files:
            if is_own(wheel, name):
                continue
            path = path_in(wheel.name, name, place)
            other, inner = found.setdefault(path, (wheel, name))
            if other is not wheel and other.record.get(inner) != wheel.record.get(name):
                replaced.append(Replaced(relative(path, place).replace("../", ""), other.filename, wheel.filename))
            found[path] = (wheel, name)
        for point in points[id(wheel)]:
            path = f"{place.scripts}/{point.name}"
            other, _ = found.setdefault(path, (wheel, ""))
            if other is not wheel and point not in points[id(other)]:
                replaced.append(Replaced(relative(path, place).replace("../", ""), other.filename, wheel.filename))
            found[path] = (wheel, "")
    return replaced


def _unplanned(wheel: Wheel) -> manifests.PlannedWheel:
    return manifests.PlannedWheel(wheel.filename, wheel.name, wheel.version, False, None)


def install(
    plan: Plan,
    workers: int = 0,
    progress: Progress = None,
    known: Optional[Known] = None,
    take: Optional[Take] = None,
    more: Sequence[Job] = (),
    meanwhile: Sequence[Callable[[], None]] = (),
    made: Optional[Set[str]] = None,
) -> int:
    """Write every wheel into the virtualenv of its place; return the number of files.

    The folder ``venv`` itself, with its interpreter, is made elsewhere; folders that exist are an error.

    Parameters:
        plan: what goes where, from :func:`install.plan.planned`.
        workers: processes, as in :func:`workers.run`.
        progress: called with a number of files as they are written.
        known: gets what is known of the files and folders that were written.
        take: gets the files from elsewhere, as far as it can; called with plan, workers, progress and what waits for
            the folders.
        more: files beside the virtualenv, whose folders exist, that the same processes write; not counted.
        meanwhile: done by this process when the virtualenv's folders exist.
        made: folders that were made for other plans; gets those of this one.

    Raises:
        WheelError: a file that is not what RECORD says.
        OSError: the file system refused.
    """
    sources, place = plan.sources, plan.place
    folders = [*plan.folders, place.site, place.scripts]
    compiled: Set[str] = set()
    finishes = [functools.partial(finish, plan, number, compiled) for number in range(len(sources))]
    before = made or ()
    if take:
        with making_folders(place.tree, folders, workers, before) as ready:
            taken = take(plan, workers, progress, ready)
        folders = []
    else:
        taken = untaken(plan)
    compiled.update(taken.compiled)
    later = any(job.compile_as for job in taken.left)  # RECORD says what was compiled
    noted = known.note if known else None
    beside = [] if later else finishes
    jobs, parts = [*more, *taken.left], taken.parts
    if known:
        meanwhile = [*meanwhile, functools.partial(_note, known, parts)]
    compiled.update(write_files(place.tree, jobs, workers, progress, noted, folders, beside, meanwhile, before, parts))
    if made is not None:
        made.update(plan.folders, folders_of([f"{place.site}/", f"{place.scripts}/"]))
    count = len(plan.jobs) + sum(part.last - part.first for part in plan.parts)
    few = count <= _FEW
    for notes in run(lambda number: finishes[number](), len(finishes) if later else 0, 1 if few else workers):
        if known:
            known.note(notes)
    if known:
        for notes in taken.notes or ():
            known.note(notes)
        known.add(plan.folders)
        known.mixed.update(plan.folders if taken.notes is None else (path.rpartition("/")[0] for path in compiled))
    own = len(plan.scripts) + len(plan.points) + sum(2 + source.plan.requested for source in sources)
    return own + count + len(compiled)


def _note(known: Known, parts: Sequence[Part]) -> None:
    """Let the files of *parts* be known; an error while they are written ends everything."""
    for part in parts:
        known.note(notes_of_part(part))
