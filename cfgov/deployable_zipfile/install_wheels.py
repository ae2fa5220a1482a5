"""Install wheels from their place in the artifact into a new virtualenv: no pip, no temporary copy.

What PEP 427 and PEP 376 ask of an installer, and what pip does beyond, comes out the same: files, modes, scripts,
``.data`` folders, RECORD, INSTALLER, REQUESTED, bytecode. Wheels are read in place, STORED in the artifact.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from typing import Callable, Collection, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from .artifact import layout, manifests
from .artifact.names import folders_of
from .artifact.record import RecordRow
from .artifact.wheel import EntryPoint, Wheel
from .artifact.zipreader import Artifact, Container, Entry
from .errors import ArtifactError, WheelError
from .install.inventory import Known
from .install.writer import Job, bytecode_path, make_folders, write_bytes, write_files
from .workers import run

INSTALLER = b"deployable-zipfile\n"  # PEP 376: the tool that installed
MAX_SHEBANG = 127  # bytes: what kernels before 5.1 read, newline not counted

# No wheel may replace what makes the virtualenv one.
_VIRTUALENV = ("pyvenv.cfg", "bin", "include", "lib", "lib64")
_PROTECTED_SCRIPT = re.compile(r"(python[0-9.]*|activate(\..*)?|Activate\.ps1)\Z")
# Names at the top of a wheel that go elsewhere, or could replace the loader.
_CLOSER_LOOK = re.compile(r"(.*\.data|__pycache__|loadenv(\..*)?)\Z", re.DOTALL)
_UNSIGNED = RecordRow("", "", None)  # RECORD.jws and RECORD.p7s are not in RECORD (PEP 427)
_MAX_PART = 255  # bytes of a file name, on every file system of Linux
_FEW = 5000  # files whose RECORD one process writes before another one has begun
# Written here, whatever a wheel has of that name.
_OWN = ("RECORD", "INSTALLER", "REQUESTED")


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


class Source(NamedTuple):
    """One planned wheel, opened."""

    plan: manifests.PlannedWheel
    wheel: Wheel
    bytecode: Optional[Container]


Progress = Optional[Callable[[int], None]]
Take = Callable[[List[Source], Place, List[Job], int, Progress], Tuple[List[Job], Set[str]]]


class Replaced(NamedTuple):
    """A file that two wheels hold with different content; the later one's is installed, as with pip."""

    path: str  # relative to site-packages, or to the virtualenv
    first: str  # wheel file name
    second: str


class _Layout(NamedTuple):
    """Where the files of all wheels go, by destination path. Of two wheels with one path, the later in the plan wins,

    of a wheel's own scripts the entry point, as with pip.
    """

    jobs: Dict[str, Job]
    scripts: Dict[str, Tuple[int, Entry]]  # .data scripts: source number, entry
    points: Dict[str, Tuple[int, EntryPoint]]  # scripts to be made: source number, entry point
    folders: Set[str]  # that these files and the installer's own need, with all above them


def open_wheels(artifact: Artifact, target: manifests.Target, bytecode: bool) -> List[Source]:
    """Open every wheel of the plan in its place and prove its structure; nothing is written.

    Parameters:
        artifact: verified.
        target: whose plan to follow.
        bytecode: whether the shipped bytecode fits the running interpreter.

    Raises:
        WheelError: naming wheel and inner file.
        ArtifactError: bytecode that belongs to no source file.
    """
    sources = []
    for plan in target.wheels + target.bootstrap:
        entry = artifact.members[plan.file]
        if entry.size != entry.compressed:
            raise WheelError(plan.file, "is compressed a second time", "Build the artifact again")
        wheel = Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, plan.file)
        if wheel.name != plan.name:
            raise WheelError(plan.file, f"is planned as {plan.name}", "Build the artifact again")
        wheel.check_structure()
        overlay = artifact.nested(plan.bytecode) if bytecode and plan.bytecode else None
        sources.append(Source(plan, wheel, overlay))
    return sources


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
    _planned([Source(_unplanned(wheel), wheel, None) for wheel in wheels], place)
    found: Dict[str, Tuple[Wheel, str]] = {}
    replaced = []
    for wheel in wheels:
        for name in wheel.files:
            if is_own(wheel, name):
                continue
            path = path_in(wheel.name, name, place)
            other, inner = found.setdefault(path, (wheel, name))
            if other is not wheel and other.record.get(inner) != wheel.record.get(name):
                replaced.append(Replaced(_relative(path, place).replace("../", ""), other.filename, wheel.filename))
            found[path] = (wheel, name)
        for point in _points(wheel, python):
            path = f"{place.scripts}/{point.name}"
            other, _ = found.setdefault(path, (wheel, ""))
            if other is not wheel and point not in _points(other, python):
                replaced.append(Replaced(_relative(path, place).replace("../", ""), other.filename, wheel.filename))
            found[path] = (wheel, "")
    return replaced


def _unplanned(wheel: Wheel) -> manifests.PlannedWheel:
    return manifests.PlannedWheel(wheel.filename, wheel.name, wheel.version, False, None)


def install(
    sources: List[Source],
    place: Place,
    workers: int = 0,
    progress: Optional[Callable[[int], None]] = None,
    known: Optional[Known] = None,
    take: Optional[Take] = None,
    more: Sequence[Job] = (),
) -> int:
    """Write every wheel into the virtualenv of *place*; return the number of files.

    The folder ``venv`` itself, with its interpreter, is made elsewhere; folders that exist are an error.

    Parameters:
        sources: from :func:`open_wheels`.
        place: where.
        workers: processes, as in :func:`workers.run`.
        progress: called with a number of files as they are written.
        known: gets what is known of the files and folders that were written.
        take: gets the folder's files from elsewhere, as far as it can; called with sources, place, jobs, workers and
            progress, it returns the jobs that are left and the bytecode files that it compiled.
        more: files beside the virtualenv, whose folders exist, that the same processes write; not counted.

    Raises:
        WheelError: a file that is not what RECORD says, or a path that no wheel may write.
        OSError: the file system refused.
    """
    planned = _planned(sources, place)
    folders = [*planned.folders, place.site, place.scripts]
    jobs = list(planned.jobs.values())
    compiled: Set[str] = set()

    def finishing(number: int) -> Callable[[], None]:
        return lambda: _finish(sources[number], number, planned, compiled, place)

    finishes = [finishing(number) for number in range(len(sources))]
    later = take is not None or any(job.compile_as for job in jobs)  # RECORD says what was compiled
    if take:
        make_folders(place.tree, folders, workers)
        jobs, compiled = take(sources, place, jobs, workers, progress)
        folders = []
    digests = known.digests if known else None
    beside = [] if later else finishes
    compiled |= write_files(place.tree, [*more, *jobs], workers, progress, digests, folders, beside)
    for _ in run(
        lambda number: finishes[number](), len(sources) if later else 0, workers if len(planned.jobs) > _FEW else 1
    ):
        pass
    if known and not take:
        _note(known, planned, compiled, sources, place)
    own = len(planned.scripts) + len(planned.points) + sum(2 + source.plan.requested for source in sources)
    return own + len(planned.jobs) + len(compiled)


def _note(known: Known, planned: _Layout, compiled: Set[str], sources: List[Source], place: Place) -> None:
    """Add to *known* what was written."""
    known.modes.update((job.path, job.mode) for job in planned.jobs.values())
    known.folders.update(planned.folders)
    others = [*planned.scripts, *planned.points, *compiled]
    others += [path for source in sources for path in _own_paths(source.wheel, place)]
    known.mixed.update(path.rpartition("/")[0] for path in others)


def shebang(interpreter: str) -> bytes:
    """Return the first line or lines of a Python script for *interpreter*, an absolute path.

    The kernel reads at most 127 bytes before 5.1 and splits at the first blank; where that does not do, the script is
    started by ``sh``, to which the lines are an ``exec`` and to Python a string.
    """
    line = f"#!{interpreter}"
    if len(os.fsencode(line)) <= MAX_SHEBANG and " " not in line and "\t" not in line:
        return os.fsencode(line) + b"\n"
    return os.fsencode(f"#!/bin/sh\n'''exec' {shlex.quote(interpreter)} \"$0\" \"$@\"\n' '''\n")


def script_text(interpreter: str, point: EntryPoint) -> bytes:
    """Return the text of a console or GUI script."""
    first = point.attributes.partition(".")[0]
    return (
        shebang(interpreter)
        + (
            f"import sys\n\n"
            f"from {point.module} import {first}\n\n"
            f'if __name__ == "__main__":\n'
            f"    sys.exit({point.attributes}())\n"
        ).encode()
    )


def _planned(sources: List[Source], place: Place) -> _Layout:
    planned = _Layout({}, {}, {}, set())
    for number, source in enumerate(sources):
        compiled = _bytecode_jobs(source, place)
        for entry in _plan_plain(planned, source, place):
            if not is_own(source.wheel, entry.name):
                _plan_file(planned, source, number, entry, place)
        planned.jobs.update(compiled)
        for point in _points(source.wheel, place.python):
            path = f"{place.scripts}/{point.name}"
            _refuse_protected(source.wheel, f"{source.wheel.dist_info}/entry_points.txt", path)
            _forget(planned, path)
            planned.points[path] = (number, point)
    tag = sys.implementation.cache_tag or ""
    for path in [path for path, job in planned.jobs.items() if job.compile_as]:
        planned.jobs.pop(bytecode_path(path, tag), None)  # a wheel's own bytecode gives way to what is compiled here
    _refuse_folders(planned, sources, place)
    return planned


def _plan_plain(planned: _Layout, source: Source, place: Place) -> List[Entry]:
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
    own = {f"{wheel.dist_info}/{name}" for name in _OWN}
    site, new = place.site + "/", tuple.__new__
    jobs: Dict[str, Job] = {
        site + entry.name: new(Job, (site + entry.name, wheel, entry, entry.mode, "", ""))
        for entry in entries
        if entry.name not in own
    }
    if not planned.jobs.keys().isdisjoint(jobs):
        return list(wheel.files.values())
    if source.bytecode is None and place.compiles:
        for path in [path for path in jobs if path.endswith(".py") and _has_bytecode(path)]:
            jobs[path] = jobs[path]._replace(compile_as=f"{place.destination}/{path}")
    planned.jobs.update(jobs)
    return rest


def _plan_file(planned: _Layout, source: Source, number: int, entry: Entry, place: Place) -> None:
    path = path_in(source.wheel.name, entry.name, place)
    _forget(planned, path)
    if is_script(entry.name):
        _refuse_protected(source.wheel, entry.name, path)
        planned.scripts[path] = (number, entry)
        return
    _refuse_outside(source.wheel, entry.name, path, place)
    wants = source.bytecode is None and place.compiles and _is_module(path, place) and _has_bytecode(path)
    planned.jobs[path] = Job(path, source.wheel, entry, entry.mode, "", f"{place.destination}/{path}" if wants else "")


def _forget(planned: _Layout, path: str) -> None:
    """Drop what an earlier wheel would have written to *path*, its bytecode too."""
    if planned.jobs.pop(path, None) and path.endswith(".py"):
        planned.jobs.pop(bytecode_path(path, sys.implementation.cache_tag or ""), None)
    planned.scripts.pop(path, None)
    planned.points.pop(path, None)


def _refuse_folders(planned: _Layout, sources: List[Source], place: Place) -> None:
    """Refuse a file that would be where other files need a folder, or that the installer writes itself."""
    paths = [*planned.jobs, *planned.scripts, *planned.points]
    owners = {path: source.wheel for source in sources for path in _own_paths(source.wheel, place)}
    planned.folders.update(folders_of([*paths, *owners]))
    planned.folders.update(
        f"{os.path.dirname(job.path)}/__pycache__" for job in planned.jobs.values() if job.compile_as
    )
    folders = planned.folders
    for path in folders.intersection(paths):
        if path in planned.jobs:
            planned.jobs[path].window.refuse(
                planned.jobs[path].entry.name, "is a file, and other files need a folder there"
            )
        number = (planned.scripts.get(path) or planned.points[path])[0]
        sources[number].wheel.refuse(path.rpartition("/")[2], "is a script, and other files need a folder there")
    for path in owners:
        if path in planned.jobs:
            job = planned.jobs[path]
            job.window.refuse(job.entry.name, "would replace what the installer writes")
        if path in folders:
            owners[path].refuse(path[len(place.site) + 1 :], "is a folder, and the installer writes a file there")


def _own_paths(wheel: Wheel, place: Place) -> List[str]:
    return [f"{place.site}/{wheel.dist_info}/{name}" for name in _OWN]


def _is_module(path: str, place: Place) -> bool:
    return path.endswith(".py") and path.startswith(place.site + "/")


def _has_bytecode(path: str) -> bool:
    """Return whether the bytecode of *path* has a name that a file can have; Python writes none otherwise."""
    name = bytecode_path(path, sys.implementation.cache_tag or "").rpartition("/")[2]
    return len(os.fsencode(name)) <= _MAX_PART


def _bytecode_jobs(source: Source, place: Place) -> Dict[str, Job]:
    """Return one job per shipped bytecode file; each must stand beside a source file of the same wheel."""
    if source.bytecode is None:
        return {}
    allowed = _bytecode_paths(source.wheel, place)
    jobs: Dict[str, Job] = {}
    new = tuple.__new__
    for entry in source.bytecode.entries.values():
        path = f"{place.site}/{entry.name}"
        # A module at the top of site-packages has its bytecode in "__pycache__" without a folder before it.
        if path not in allowed:
            raise ArtifactError(f"{source.plan.bytecode}/{entry.name}", "is the bytecode of no file", "Build it again")
        jobs[path] = new(Job, (path, source.bytecode, entry, 0o644, "", ""))
    return jobs


def _bytecode_paths(wheel: Wheel, place: Place) -> Set[str]:
    """Return where the bytecode of the modules of *wheel* can be."""
    tag = sys.implementation.cache_tag or ""
    modules = [name for name in wheel.files if name.endswith(".py")]
    if any(top.endswith(".data") for top in wheel.tops):
        paths = [path_in(wheel.name, name, place) for name in modules]
        return {bytecode_path(path, tag) for path in paths if _is_module(path, place)}
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


def is_script(name: str) -> bool:
    """Tell whether *name* is a script in a wheel's ``.data`` folder (PEP 427)."""
    top, _, rest = name.partition("/")
    return top.endswith(".data") and rest.startswith("scripts/")


def is_own(wheel: Wheel, name: str) -> bool:
    """Tell whether *name* is a file of *wheel* that the installer writes itself."""
    folder, _, inner = name.rpartition("/")
    return folder == wheel.dist_info and inner in _OWN


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


def _refuse_protected(wheel: Wheel, name: str, path: str) -> None:
    if _PROTECTED_SCRIPT.match(path.rpartition("/")[2]):
        wheel.refuse(name, "would replace a part of the virtualenv")


def _finish(source: Source, number: int, planned: _Layout, compiled: Set[str], place: Place) -> None:
    """Write scripts, INSTALLER, REQUESTED and at last RECORD of one wheel."""
    wheel = source.wheel
    rows = _file_rows(wheel, planned, compiled, place)
    own: Dict[str, str] = {}
    for path, (owner, entry) in planned.scripts.items():
        if owner == number:
            own[path] = _write_script(wheel, entry, path, place)
    for path, (owner, point) in planned.points.items():
        if owner == number:
            own[path] = _write_own(path, script_text(place.interpreter, point), 0o755, place)
    folder = f"{place.site}/{wheel.dist_info}"
    own["INSTALLER"] = _write_own(f"{folder}/INSTALLER", INSTALLER, 0o644, place)
    if source.plan.requested:
        own["REQUESTED"] = _write_own(f"{folder}/REQUESTED", b"", 0o644, place)
    record = f"{wheel.dist_info}/RECORD"
    own["RECORD"] = _row(record, "", "")
    text = "".join([*rows.values(), *own.values()])
    write_bytes(f"{place.tree}/{place.site}/{record}", text.encode("utf-8"))


def _file_rows(wheel: Wheel, planned: _Layout, compiled: Set[str], place: Place) -> Dict[str, str]:
    """Return RECORD's rows of the files that were written for *wheel* and of their bytecode, by destination path."""
    rows: Dict[str, str] = {}
    tag = sys.implementation.cache_tag or ""
    signatures = {name: _UNSIGNED for name in wheel.files if name not in wheel.record}
    for name, row in {**wheel.record, **signatures}.items():
        path = path_in(wheel.name, name, place)
        job = planned.jobs.get(path)
        if job is None or is_script(name) or is_own(wheel, name) or isinstance(job.window, Container):
            continue  # not written, written below, or replaced by bytecode
        digest = f"{row.algorithm}={row.digest}" if row.algorithm else ""
        rows[path] = _row(_relative(path, place), digest, str(wheel.files[name].size))
        pyc = bytecode_path(path, tag) if _is_module(path, place) else ""
        if pyc and (pyc in compiled or pyc in planned.jobs):
            rows.setdefault(pyc, _row(_relative(pyc, place), "", ""))
    return rows


def _points(wheel: Wheel, python: str) -> List[EntryPoint]:
    """Return the scripts a wheel asks for; pip's come as ``pip``, ``pip3`` and ``pip3.11``, as everywhere."""
    points = wheel.entry_points()
    if wheel.name == "pip":
        main = next((point for point in points if point.name == "pip"), None)
        if main:
            names = ("pip", f"pip{python.partition('.')[0]}", f"pip{python}")
            points = [main._replace(name=name) for name in names]
    return points


def _write_script(wheel: Wheel, entry: Entry, path: str, place: Place) -> str:
    """Write a ``.data`` script; a first line ``#!python`` becomes the virtualenv's (PEP 427)."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(f"{place.tree}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755)
    with open(descriptor, "wb") as file:
        for number, block in enumerate(wheel.proven_blocks(entry)):
            if number == 0 and block.startswith(b"#!python"):
                block = shebang(place.interpreter) + block.partition(b"\n")[2]
            digest.update(block)
            size += len(block)
            file.write(block)
    return _row(_relative(path, place), _record_digest(digest.digest()), str(size))


def _write_own(path: str, data: bytes, mode: int, place: Place) -> str:
    write_bytes(f"{place.tree}/{path}", data, mode)
    return _row(_relative(path, place), _record_digest(hashlib.sha256(data).digest()), str(len(data)))


def _relative(path: str, place: Place) -> str:
    """Return *path* as RECORD has it: relative to site-packages."""
    if path.startswith(place.site + "/"):
        return path[len(place.site) + 1 :]
    return "../../../" + path[len(layout.VENV) + 1 :]


def _record_digest(digest: bytes) -> str:
    return f"sha256={RecordRow.encoded(digest)}"


def _row(path: str, digest: str, size: str) -> str:
    if "," in path or '"' in path:
        path = '"' + path.replace('"', '""') + '"'
    return f"{path},{digest},{size}\n"
