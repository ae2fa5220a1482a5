"""The files of a destination: project, wheels, virtualenv, and what the tool needs there later."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional, Set, Tuple

from ..artifact import layout, manifests
from ..artifact.zipreader import Artifact
from ..errors import ArtifactError
from ..install_wheels import install as install_wheels
from . import host, installed, inventory
from .plan import Place
from .portions import Portions
from .virtualenv import make_virtualenv
from .writer import Job, bytecode, bytecode_path, write_bytes, write_files

if TYPE_CHECKING:
    from .sharing import Sharing

_FEW = 5000  # files of the project that wait for those of the wheels


def write(
    artifact: Artifact,
    target: manifests.Target,
    portions: Portions,
    workers: int,
    progress: Callable[[int], None],
    sharing: Optional[Sharing],
) -> int:
    """Write everything the destination will hold; return the number of files."""
    count, place = 0, portions.place
    # The loader's bytecode, and what makes the virtualenv, are written beside what wheels bring and not noted.
    known = inventory.Known([place.site, f"{place.site}/__pycache__", place.scripts, layout.VENV])
    waiting: List[Job] = []  # for the processes that write the wheels' files: starting others takes longer
    for jobs, folders in project_jobs(artifact, target, place):
        known.add(make_folders_once(place.tree, folders))
        known.mixed.update(f"{os.path.dirname(job.path)}/__pycache__" for job in jobs if job.compile_as)
        waiting += jobs
        count += len(jobs)
        jobs.clear()  # so that they are gone when the next payload is read
        if len(waiting) > _FEW:
            write_files(place.tree, waiting, workers, progress, known.note)
            waiting.clear()
    own = _own_jobs(artifact, place)
    folders = [os.path.dirname(job.path) for job in own if job.path.startswith(f"{layout.DEPLOY}/")]
    known.add(make_folders_once(place.tree, folders))
    waiting += own
    take = sharing.take if sharing else None
    others = [lambda: make_virtualenv(place), lambda: _compile_loadenv(artifact.read(layout.LOADENV), place)]
    made: Set[str] = set()
    left = len(portions)  # enumerate() would keep each plan until it has the next one
    for plan in portions:
        left -= 1  # when the others begin, all folders of the wheels exist
        count += install_wheels(plan, workers, progress, known, take, waiting, () if left else others, made)
        del plan  # so that it is gone when the next one is made
        waiting = []
    record = installed.document(artifact, target, place, inventory.write(place.tree, known))
    write_bytes(f"{place.tree}/{layout.INSTALLED}", record)
    return count


def make_folders_once(tree: str, folders: List[str]) -> Set[str]:
    """Make those of *folders* that earlier payloads have not made, and those above them; return what was made."""
    wanted: Set[str] = set()
    for folder in folders:
        while folder and folder not in wanted and not os.path.isdir(f"{tree}/{folder}"):
            wanted.add(folder)
            folder = folder.rpartition("/")[0]
    for folder in sorted(wanted):
        os.mkdir(f"{tree}/{folder}", 0o755)
    return wanted


def project_jobs(artifact: Artifact, target: manifests.Target, place: Place) -> Iterator[Tuple[List[Job], List[str]]]:
    """Yield jobs and folders of the project and the static folders, one container after the other.

    Raises:
        ArtifactError: bytecode that belongs to no source file, or a payload that is not what its listing says.
    """
    manifest = artifact.manifest
    tops = (manifest.project + "/", layout.STATIC + "/")
    shipped = (
        artifact.nested(target.project_bytecode) if host.bytecode_fits(target) and target.project_bytecode else None
    )

    def compile_as(name: str) -> str:
        wanted = shipped is None and place.compiles and name.endswith(".py")
        return f"{place.destination}/{name}" if wanted else ""

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
        yield with_folders(_payload_jobs(artifact, payload, compile_as, sources))
    if shipped is not None:
        allowed = {bytecode_path(name, target.cache_tag) for name in sources if name.endswith(".py")}
        for name in shipped.entries:
            if name not in allowed:
                raise ArtifactError(
                    f"{target.project_bytecode}/{name}", "is bytecode without a source file", "Build it again"
                )
        yield with_folders([Job(name, shipped, entry, 0o644, "", "") for name, entry in shipped.entries.items()])


def _payload_jobs(
    artifact: Artifact, payload: manifests.Payload, compile_as: Callable[[str], str], sources: Set[str]
) -> List[Job]:
    """Return the jobs of one payload; add its Python files to *sources*."""
    container, listing = artifact.payload_members(payload)
    sources.update(name for name in container.entries if name.endswith(".py"))
    return [
        Job(name, container, entry, entry.mode, listing[name].sha256, compile_as(name))
        for name, entry in container.entries.items()
    ]


def _own_jobs(artifact: Artifact, place: Place) -> List[Job]:
    """Return the jobs of what makes the virtualenv the site's, and of what the tool needs in the destination later."""
    loaders = (layout.LOADENV, layout.LOADENV_PTH, layout.LOADENV_START, layout.project_pth_name(place.project))
    kept = [layout.MANIFEST, layout.SBOM, *(payload.listing for payload in artifact.manifest.payloads)]
    wanted = [(member, f"{place.site}/{os.path.basename(member)}") for member in loaders]
    wanted += [(member, member) for member in kept if member in artifact.members]
    wanted += [(member, f"{layout.RUNTIME}/{layout.runtime_path(member)}") for member in runtime_members(artifact)]
    stated = artifact.manifest.members
    return [
        Job(path, artifact.container, artifact.members[name], 0o644, stated[name].sha256 if name in stated else "", "")
        for name, path in wanted
    ]


def runtime_members(artifact: Artifact) -> List[str]:
    """Return the members that are modules of this package: the destination keeps them to verify and roll back."""
    return [name for name in artifact.members if layout.runtime_path(name)]


def _compile_loadenv(source: bytes, place: Place) -> None:
    """Compile the module that every start of Python imports, which may run as a user who cannot write here."""
    path = f"{place.site}/{layout.LOADENV}"
    compiled = bytecode(source, f"{place.destination}/{path}")
    if compiled is None:
        raise ArtifactError(layout.LOADENV, "cannot be compiled by this interpreter", "Build the artifact again")
    target = f"{place.tree}/{bytecode_path(path, sys.implementation.cache_tag or '')}"
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    write_bytes(target, compiled)
