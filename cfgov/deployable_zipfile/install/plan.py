"""Where every file of the wheels of one plan goes in a destination, and what no wheel may write."""

from __future__ import annotations

import os
import re
import sys
from typing import Collection, Dict, List, Optional, Sequence, Set, Tuple, Union

from ..artifact import layout, manifests
from ..artifact.container import Container
from ..artifact.names import folders_of
from ..artifact.wheel import OWN, EntryPoint, Wheel, is_script
from ..artifact.window import Entry, Window
from ..definitions import NamedTuple, expression
from ..errors import ArtifactError
from .listed import Listed, Part, are_apart, parts_of
from .writer import Job, Taken, bytecode_path

# No wheel may replace what makes the virtualenv one.
_VIRTUALENV = ("pyvenv.cfg", "bin", "include", "lib", "lib64")
_PROTECTED_SCRIPT = expression(r"(python[0-9.]*|activate(\..*)?|Activate\.ps1)\Z")
# Names at the top of a wheel that go elsewhere, or could replace the loader.
_CLOSER_LOOK = expression(r"(.*\.data|__pycache__|loadenv(\..*)?)\Z", re.DOTALL)
_MAX_PART = 255  # bytes of a file name, on every file system of Linux


class Place(NamedTuple):
    """Where things go inside the destination."""

    tree: str  # absolute path that is written to: the staging tree
    destination: str  # absolute path that everything will have afterwards
    python: str  # "3.11"
    project: str  # its name: its .pth file is in site-packages
    compiles: bool = True  # Python files that come without bytecode

    @property
    def site(self) -> str:
        """site-packages, relative to the destination."""
        return f"{layout.VENV}/lib/python{self.python}/site-packages"

    @property
    def scripts(self) -> str:
        """The folder of the scripts, relative to the destination."""
        return f"{layout.VENV}/bin"

    @property
    def interpreter(self) -> str:
        """The virtualenv's Python, absolute and final."""
        return f"{self.destination}/{layout.VENV}/bin/python"


class OpenedWheel(NamedTuple):
    """One planned wheel, opened."""

    plan: manifests.PlannedWheel
    wheel: Wheel
    bytecode: Optional[Container]


Source = Union[OpenedWheel, Listed]


class Contested(Exception):
    """Wheels that were to be installed by their indexes have files in common with others: they must be opened."""


class Plan(NamedTuple):
    """Where the files of all wheels go, by destination path. Of two wheels with one path, the later in the plan wins,

    of a wheel's own scripts the entry point, as with pip.
    """

    sources: Sequence[Source]
    place: Place
    jobs: Dict[str, Job]
    scripts: Dict[str, Tuple[int, str]]  # .data scripts: source number, name in the wheel
    points: Dict[str, Tuple[int, EntryPoint]]  # scripts to be made: source number, entry point
    folders: Set[str]  # that these files and the installer's own need, with all above them
    parts: List[Part]  # files of wheels that are installed by their indexes


def planned(sources: Sequence[Source], place: Place) -> Plan:
    """Return where every file of *sources* goes in *place*; nothing is written.

    Raises:
        WheelError: a path that no wheel may write.
        ArtifactError: bytecode that belongs to no source file.
        Contested: files that only opened wheels may have.
    """
    plan = Plan(sources, place, {}, {}, {}, set(), [])
    for number, source in enumerate(sources):
        if isinstance(source, OpenedWheel):
            compiled = _bytecode_jobs(source, place)
            for entry in _plan_plain(plan, source, place):
                if not is_own(source.wheel, entry.name):
                    _plan_file(plan, source, number, entry, place)
            plan.jobs.update(compiled)
        else:
            plan.parts.extend(parts_of(source, place.site))
            for name in [source.files.names[one] for one in source.scripts]:
                path = path_in(source.plan.name, name, place)
                _refuse_protected(source.wheel, name, path)
                _forget(plan, path)
                plan.scripts[path] = (number, name)
        for point in points_of(source, place.python):
            path = f"{place.scripts}/{point.name}"
            _refuse_protected(source.wheel, f"{dist_info_of(source)}/entry_points.txt", path)
            _forget(plan, path)
            plan.points[path] = (number, point)
    tag = sys.implementation.cache_tag or ""
    for path in [path for path, job in plan.jobs.items() if job.compile_as]:
        plan.jobs.pop(bytecode_path(path, tag), None)  # a wheel's own bytecode gives way to what is compiled here
    _refuse_folders(plan)
    _add_listed(plan)
    return plan


def untaken(plan: Plan) -> Taken:
    """Return what is to be written when nothing of *plan* was taken from elsewhere: everything."""
    return Taken(list(plan.jobs.values()), plan.parts, set(), [])


def _add_listed(plan: Plan) -> None:
    """Add the folders of the wheels that are installed by their indexes, which have no path in common with another."""
    found = [source for source in plan.sources if isinstance(source, Listed)]
    if not found:
        return
    names: Set[str] = set()
    folders: Set[str] = set()
    site = plan.place.site + "/"
    others = {path[len(site) :] for path in (*plan.jobs, *plan.folders) if path.startswith(site)}
    apart = are_apart(found, names, folders) and names.isdisjoint(others)
    if not apart or any(site + folder in plan.jobs for folder in folders):
        raise Contested
    plan.folders.update(map(site.__add__, folders), folders_of([site]))


def is_plain(source: Listed, place: Place) -> bool:
    """Tell whether all of a wheel's files go to site-packages and none needs a closer look, by its index."""
    index = source.files
    tops = {name for name in (*index.names, *index.folders) if "/" not in name}
    if source.scripts:
        tops = {top for top in tops if not top.endswith(".data")}
    if any(map(_CLOSER_LOOK.match, tops)) or not tops.isdisjoint(_own_names(place)):
        return False
    if any(folder.endswith("__pycache__") for folder in index.folders):
        return False  # bytecode in a wheel may have to give way to that of another
    if len(source.archives) == 1:
        return True
    tag = sys.implementation.cache_tag or ""
    allowed = {bytecode_path(f"/{name}", tag)[1:] for name in index.names if name.endswith(".py")}
    return allowed.issuperset(source.archives[1].files.names)


def _plan_plain(plan: Plan, source: OpenedWheel, place: Place) -> List[Entry]:
    """Plan the files of a wheel that need no closer look, all at once, and return the others.

    Those are files in a ``.data`` folder and of a name at the top that could be protected; of a wheel that has a file
    in common with an earlier one, all.
    """
    wheel = source.wheel
    special = {top for top in wheel.tops if _CLOSER_LOOK.match(top)}.union(wheel.tops.intersection(_own_names(place)))
    entries: Collection[Entry] = wheel.files.values()
    rest: List[Entry] = []
    if special:
        rest = [entry for entry in entries if entry.name.partition("/")[0] in special]
        entries = [entry for entry in entries if entry.name.partition("/")[0] not in special]
    own = set(own_names(wheel))
    site, new = place.site + "/", tuple.__new__
    jobs: Dict[str, Job] = {
        (path := site + entry.name): new(Job, (path, wheel, entry, entry.mode, "", ""))
        for entry in entries
        if entry.name not in own
    }
    if not plan.jobs.keys().isdisjoint(jobs):
        return list(wheel.files.values())
    if source.bytecode is None and place.compiles:
        for path in [path for path in jobs if path.endswith(".py") and _has_bytecode(path)]:
            jobs[path] = jobs[path]._replace(compile_as=f"{place.destination}/{path}")
    plan.jobs.update(jobs)
    return rest


def _plan_file(plan: Plan, source: OpenedWheel, number: int, entry: Entry, place: Place) -> None:
    path = path_in(source.wheel.name, entry.name, place)
    _forget(plan, path)
    if is_script(entry.name):
        _refuse_protected(source.wheel, entry.name, path)
        plan.scripts[path] = (number, entry.name)
        return
    _refuse_outside(source.wheel, entry.name, path, place)
    wants = source.bytecode is None and place.compiles and is_module(path, place) and _has_bytecode(path)
    plan.jobs[path] = Job(path, source.wheel, entry, entry.mode, "", f"{place.destination}/{path}" if wants else "")


def _forget(plan: Plan, path: str) -> None:
    """Drop what an earlier wheel would have written to *path*, its bytecode too."""
    if plan.jobs.pop(path, None) and path.endswith(".py"):
        plan.jobs.pop(bytecode_path(path, sys.implementation.cache_tag or ""), None)
    plan.scripts.pop(path, None)
    plan.points.pop(path, None)


def _refuse_folders(plan: Plan) -> None:
    """Refuse a file that would be where other files need a folder, or that the installer writes itself."""
    paths = [*plan.jobs, *plan.scripts, *plan.points]
    owners = {path: source.wheel for source in plan.sources for path in own_paths(source, plan.place)}
    plan.folders.update(folders_of([*paths, *owners]))
    plan.folders.update(f"{os.path.dirname(job.path)}/__pycache__" for job in plan.jobs.values() if job.compile_as)
    folders = plan.folders
    for path in folders.intersection(paths):
        if path in plan.jobs:
            plan.jobs[path].window.refuse(plan.jobs[path].entry.name, "is a file, and other files need a folder there")
        number = (plan.scripts.get(path) or plan.points[path])[0]
        plan.sources[number].wheel.refuse(path.rpartition("/")[2], "is a script, and other files need a folder there")
    for path in owners:
        if path in plan.jobs:
            job = plan.jobs[path]
            job.window.refuse(job.entry.name, "would replace what the installer writes")
        if path in folders:
            owners[path].refuse(path[len(plan.place.site) + 1 :], "is a folder, and the installer writes a file there")


def dist_info_of(source: Source) -> str:
    """Return the name of the ``.dist-info`` folder of a wheel."""
    return source.files.dist_info if isinstance(source, Listed) else source.wheel.dist_info


def own_names(wheel: Wheel) -> List[str]:
    """Return what the installer writes itself in the ``.dist-info`` folder of *wheel*, as the wheel would name it."""
    return [f"{wheel.dist_info}/{name}" for name in OWN]


def own_paths(source: Source, place: Place) -> List[str]:
    """Return where the installer writes its own files about a wheel, below the destination."""
    return [f"{place.site}/{dist_info_of(source)}/{name}" for name in OWN]


def is_module(path: str, place: Place) -> bool:
    """Tell whether *path* is a Python file below site-packages."""
    return path.endswith(".py") and path.startswith(place.site + "/")


def _has_bytecode(path: str) -> bool:
    """Return whether the bytecode of *path* has a name that a file can have; Python writes none otherwise."""
    name = bytecode_path(path, sys.implementation.cache_tag or "").rpartition("/")[2]
    return len(os.fsencode(name)) <= _MAX_PART


def _bytecode_jobs(source: OpenedWheel, place: Place) -> Dict[str, Job]:
    """Return one job per shipped bytecode file; each must be beside a source file of the same wheel."""
    if source.bytecode is None:
        return {}
    allowed = _bytecode_paths(source.wheel, place)
    jobs: Dict[str, Job] = {}
    new = tuple.__new__
    for entry in source.bytecode.entries.values():
        path = f"{place.site}/{entry.name}"
        # A module at the top of site-packages has its bytecode in "__pycache__" without a folder before it.
        if path not in allowed:
            raise ArtifactError(
                f"{source.plan.bytecode}/{entry.name}", "is bytecode without a source file", "Build it again"
            )
        jobs[path] = new(Job, (path, source.bytecode, entry, 0o644, "", ""))
    return jobs


def _bytecode_paths(wheel: Wheel, place: Place) -> Set[str]:
    """Return where the bytecode of the modules of *wheel* can be."""
    tag = sys.implementation.cache_tag or ""
    modules = [name for name in wheel.files if name.endswith(".py")]
    if any(top.endswith(".data") for top in wheel.tops):
        paths = [path_in(wheel.name, name, place) for name in modules]
        return {bytecode_path(path, tag) for path in paths if is_module(path, place)}
    site = place.site
    return {bytecode_path(f"{site}/{name}", tag) for name in modules}


def path_in(distribution: str, name: str, place: Place) -> str:
    """Return where the file *name* of the wheel of *distribution* goes, below the destination (PEP 427, "Spread")."""
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return f"{place.site}/{name}"
    scheme, _, inner = rest.partition("/")
    if scheme in ("purelib", "platlib"):
        return f"{place.site}/{inner}"
    if scheme == "scripts":
        return f"{place.scripts}/{inner}"
    if scheme == "headers":
        return f"{layout.VENV}/include/site/python{place.python}/{distribution}/{inner}"
    # lib64 is a link to lib in a virtualenv.
    return f"{layout.VENV}/lib/{inner[6:]}" if inner.startswith("lib64/") else f"{layout.VENV}/{inner}"


def is_own(wheel: Wheel, name: str) -> bool:
    """Tell whether *name* is a file of *wheel* that the installer writes itself."""
    folder, _, inner = name.rpartition("/")
    return folder == wheel.dist_info and inner in OWN


def _refuse_outside(wheel: Wheel, name: str, path: str, place: Place) -> None:
    """Refuse what would change the virtualenv itself or what the artifact puts into site-packages."""
    inner = path[len(place.site) + 1 :] if path.startswith(place.site + "/") else ""
    own = _own_names(place)
    # A package, an extension or bytecode of that name would be found before loadenv.py.
    below = inner[len("__pycache__/") :] if inner.startswith("__pycache__/") else inner
    loader = re.split("[/.]", below, maxsplit=1)[0] == layout.LOADENV[:-3]
    if inner in own or loader or path.partition("/")[2] in _VIRTUALENV:
        wheel.refuse(name, "would replace a part of the virtualenv")
    if path.startswith(f"{place.scripts}/"):
        _refuse_protected(wheel, name, path)


def _own_names(place: Place) -> Tuple[str, ...]:
    """Return the names at the top of site-packages that the artifact itself puts there, beside the loader."""
    pth = layout.project_pth_name(place.project)
    return layout.LOADENV_PTH, os.path.basename(layout.LOADENV_START), pth


def _refuse_protected(wheel: Window, name: str, path: str) -> None:
    if _PROTECTED_SCRIPT.match(path.rpartition("/")[2]):
        wheel.refuse(name, "would replace a part of the virtualenv")


def points_of(source: Source, python: str) -> List[EntryPoint]:
    """Return the scripts a wheel asks for; pip's come as ``pip``, ``pip3`` and ``pip3.11``, as everywhere."""
    points = source.files.points if isinstance(source, Listed) else source.wheel.entry_points()
    if source.plan.name == "pip":
        main = next((point for point in points if point.name == "pip"), None)
        if main:
            names = ("pip", f"pip{python.partition('.')[0]}", f"pip{python}")
            points = [main._replace(name=name) for name in names]
    return points


def relative(path: str, place: Place) -> str:
    """Return *path* as RECORD has it: relative to site-packages."""
    if path.startswith(place.site + "/"):
        return path[len(place.site) + 1 :]
    return "../../../" + path[len(layout.VENV) + 1 :]
