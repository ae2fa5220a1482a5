"""Compare an installed tree with what was installed: files changed, missing or added.

``.deploy/files.mtree`` knows everything that was installed: kind, mode, owner and content, bytecode included. The
manifest, whose hash is the build id, knows the project once more. Installations of older versions have no such list:
there RECORD (PEP 376) takes the place of the wheels, and bytecode caches are left out.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import stat
from typing import Callable, Dict, Iterator, Set, Tuple

from .. import durable
from ..artifact import layout, manifest_reader, manifests, patches, strict_json
from ..artifact.record import RecordRow, parse_record
from ..artifact.versions import normalised
from ..definitions import NamedTuple
from ..errors import ArtifactError, DestinationError
from . import exposure, inventory
from .installed import MAX_RECORD
from .inventory import Drift

_IGNORED_FOLDERS = ("__pycache__",)
_RUN = (".py", ".pyc", ".pyo", ".so", ".pth")  # what Python would run, were it added
_BLOCK = 1024 * 1024
# Belongs to the virtualenv or comes later; not in any RECORD.
_OWN = (layout.LOADENV, layout.LOADENV_PTH, os.path.basename(layout.LOADENV_START))
_SCRIPTS = f"{layout.VENV}/bin"
_OWN_SCRIPTS = ("python", "python3", "activate", "activate.csh", "activate.fish", "Activate.ps1")


def recorded(destination: str) -> Tuple[Dict[str, str], manifests.Manifest]:
    """Return what the installation in *destination* says of itself: its record, and its manifest.

    Raises:
        DestinationError: there is no complete installation in it.
    """
    try:
        installed = strict_json.bounded_json(durable.read_file(os.path.join(destination, layout.INSTALLED), MAX_RECORD))
        text = durable.read_file(os.path.join(destination, layout.MANIFEST), layout.MAX_MANIFEST)
        manifest = manifest_reader.read(text)
        if not isinstance(installed.get("python"), str):
            raise ValueError("its record does not name a Python")
        patches.parsed(str(installed.get("version")))
    except (OSError, ValueError, AttributeError, RecursionError, ArtifactError) as error:
        if not os.path.lexists(destination):
            raise DestinationError(destination, "does not exist", "Give the folder of an installation") from None
        if os.path.lexists(os.path.join(destination, layout.JOURNAL)):
            fix = f"Give {os.path.join(destination, 'current')} or a release in {os.path.join(destination, 'releases')}"
            raise DestinationError(destination, "is the root of a site, not an installation", fix) from None
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, FileNotFoundError):
            reason = f"there is no {os.path.relpath(os.fsdecode(error.filename), destination)}"
        if isinstance(error, ArtifactError):
            reason = f"{error.what} {error.why}"
        fix = "Give the folder of an installation, or install the artifact again"
        raise DestinationError(destination, f"contains no complete installation ({reason})", fix) from None
    return installed, manifest


class _Compared(NamedTuple):
    """What became of the files that are known."""

    changed: Set[str]
    missing: Set[str]
    is_known: Callable[[str], bool]  # says so of the path of a file or link, or of an empty folder and its slash
    known: int  # how many they are


def compare(destination: str) -> Drift:
    """Compare the tree in *destination* with its manifest and its RECORD files.

    Raises:
        DestinationError: there is no complete installation in it.
    """
    installed, manifest = recorded(destination)
    version = str(installed.get("version"))
    site = f"{layout.VENV}/lib/python{installed['python']}/site-packages"
    listed = "files_sha256" in installed
    compared = (_by_list if listed else _by_record)(destination, manifest, installed, site, version)
    if _interpreter_moved(destination, installed):
        compared.changed.add(f"{layout.VENV}/bin/python")
    tops = (manifest.project, layout.STATIC, layout.VENV if listed else site, layout.DEPLOY, _SCRIPTS)
    unrecorded = {*_unrecorded(manifest), *linked(destination), f"{_SCRIPTS}/python{installed['python']}"}
    present = _present(destination, tops, () if listed else _IGNORED_FOLDERS)
    new = {path for path in present if not compared.is_known(path) and path not in unrecorded}
    collection = _collection(destination, manifest)
    added = [path for path in sorted(new) if not _is_collected(destination, path, *collection)]
    changed, missing, _, known = compared
    exposed = exposure.open_to_others(destination)
    return Drift(sorted(changed), sorted(missing), added, known, manifest.build_id, manifest.project, exposed)


def _by_list(
    destination: str, manifest: manifests.Manifest, installed: Dict[str, str], _site: str, _version: str
) -> _Compared:
    """Return what is changed, missing, and known at all, by the list that was made at installation."""
    try:
        found = inventory.read(destination, installed["files_sha256"])
    except inventory.Changed:
        return _Compared({layout.FILES}, set(), lambda path: path == layout.FILES, 1)
    except FileNotFoundError:
        return _Compared(set(), {layout.FILES}, lambda path: path == layout.FILES, 1)
    except (OSError, ValueError) as error:
        raise DestinationError(destination, f"its {layout.FILES} cannot be read ({error})", "Install again") from None
    links = set(linked(destination))
    states: Dict[str, Set[str]] = {"changed": set(), "missing": set()}
    for path, entry in found.entries():
        state = "" if path in links else inventory.state(destination, path, entry, found)
        if state:
            states[state].add(path)
    for folder, digests in _project_folders(destination, manifest):
        entries = found.entries_of(folder)
        for path, digest in digests.items():
            if path not in entries or entries[path].detail != digest:
                states["changed"].add(path)

    def is_known(path: str) -> bool:
        entry = found.entry(path.rstrip("/"))
        return path == layout.FILES or (entry is not None and (entry.kind == "dir") == path.endswith("/"))

    return _Compared(states["changed"], states["missing"], is_known, found.count + 1)


def _by_record(
    destination: str, manifest: manifests.Manifest, _installed: Dict[str, str], site: str, version: str
) -> _Compared:
    """Return the same by the manifest and the wheels' RECORD files."""
    # Two wheels may hold one path with two contents, of which one was written: either digest is as installed.
    expected: Dict[str, Set[str]] = {}
    for path, digest in _all_files(destination, manifest, version, site):
        expected.setdefault(path, set()).add(digest)
    states: Dict[str, Set[str]] = {"changed": set(), "missing": set(), "": set()}
    for path, digests in expected.items():
        states[_state(os.path.join(destination, path), digests)].add(path)

    def is_known(path: str) -> bool:
        return path.endswith("/") or path in expected  # RECORD lists no folders

    return _Compared(states["changed"], states["missing"], is_known, len(expected))


def _all_files(destination: str, manifest: manifests.Manifest, version: str, site: str) -> Iterator[Tuple[str, str]]:
    """Yield path and digest of everything that an installation writes; "" for a file that may hold anything."""
    for _, digests in _project_folders(destination, manifest):
        yield from digests.items()
    yield from _wheel_files(destination, manifest, version, site)
    yield from _runtime_files(manifest, site)


def _project_folders(destination: str, manifest: manifests.Manifest) -> Iterator[Tuple[str, Dict[str, str]]]:
    """Yield the project's folders, one archive after the other, each with the digests of its files by path."""
    for members in _listings(destination, manifest):
        folders: Dict[str, Dict[str, str]] = {}
        for name, member in members.items():
            if name.startswith((manifest.project + "/", layout.STATIC + "/")):
                folders.setdefault(name.rpartition("/")[0], {})[name] = member.sha256
        yield from folders.items()


def _listings(destination: str, manifest: manifests.Manifest) -> Iterator[Dict[str, manifests.Member]]:
    """Yield the members of the artifact, and those of each payload as the installation kept them."""
    yield manifest.members
    for payload in manifest.payloads:
        path = os.path.join(destination, payload.listing)
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError as error:
            raise DestinationError(path, f"cannot be read ({error.strerror})", "Install again elsewhere") from None
        if hashlib.sha256(text).hexdigest() != manifest.members[payload.listing].sha256:
            raise DestinationError(path, "was changed", "Install again elsewhere")
        yield manifest_reader.read_listing(payload.listing, text)


def _runtime_files(manifest: manifests.Manifest, site: str) -> Iterator[Tuple[str, str]]:
    for name, member in manifest.members.items():
        base = os.path.basename(name)
        module = layout.runtime_path(name)
        if module:
            yield f"{layout.RUNTIME}/{module}", member.sha256
        if base in _OWN and name in (layout.LOADENV, layout.LOADENV_PTH, layout.LOADENV_START):
            yield f"{site}/{base}", member.sha256
        if name == layout.project_pth_name(manifest.project):
            yield f"{site}/{base}", member.sha256
        if name == layout.SBOM:
            yield name, member.sha256


def _wheel_files(destination: str, manifest: manifests.Manifest, version: str, site: str) -> Iterator[Tuple[str, str]]:
    """Yield path and digest of every file that a RECORD lists, and a file of every wheel that is gone whole."""
    try:
        names = sorted(os.listdir(os.path.join(destination, site)))
    except OSError:
        names = []  # every wheel is gone then
    folders = [name for name in names if name.endswith(".dist-info")]
    # A .dist-info folder may spell the name otherwise than the file name does (PEP 427 allows both).
    there = {normalised(folder.partition("-")[0]) for folder in folders}
    for target in manifest.targets:
        if target.python == version.rpartition(".")[0]:
            planned = target.installed_on(patches.parsed(version))
            for wheel in planned.wheels + planned.bootstrap:
                if wheel.name not in there:
                    distribution, version = os.path.basename(wheel.file).split("-")[:2]
                    yield f"{site}/{distribution}-{version}.dist-info/INSTALLER", ""
    for folder in folders:
        yield from _recorded(destination, site, folder)


def _recorded(destination: str, site: str, folder: str) -> Iterator[Tuple[str, str]]:
    record = f"{site}/{folder}/RECORD"
    try:
        with open(os.path.join(destination, record), encoding="utf-8") as file:
            rows = parse_record(file.read())
    except (OSError, ValueError):
        yield record, "missing or broken"
        return
    for path, row in rows.items():
        if "/__pycache__/" not in f"/{path}":
            yield os.path.normpath(f"{site}/{path}"), _hexadecimal(row)


def _hexadecimal(row: RecordRow) -> str:
    return row.sha256 if row.algorithm in ("", "sha256") else f"{row.algorithm}:{row.digest}"


def _state(path: str, digests: Set[str]) -> str:
    """Return "missing", "changed", or "" when the file is as it was."""
    known = [digest for digest in digests if digest]

    def same() -> bool:
        is_file = stat.S_ISREG(os.lstat(path).st_mode)
        return is_file and (not known or any(_digest(path, digest) == digest for digest in known))

    return durable.state(same)


def _digest(path: str, like: str) -> str:
    """Return the digest of a file in the form of *like*: SHA-256 in hexadecimal, or "ALGORITHM:" and RECORD's form."""
    algorithm, colon, _ = like.partition(":")
    found = hashlib.new(algorithm if colon else "sha256")
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            found.update(block)
    return f"{algorithm}:{RecordRow.encoded(found.digest())}" if colon else found.hexdigest()


def _interpreter_moved(destination: str, installed: Dict[str, str]) -> bool:
    """Return whether the Python under the virtualenv is gone or another than at installation."""
    path = os.path.join(destination, layout.VENV, "bin", "python")
    return not os.path.exists(path) or os.path.realpath(path) != os.path.realpath(str(installed.get("executable")))


def _present(destination: str, tops: Tuple[str, ...], ignored: Tuple[str, ...]) -> Iterator[str]:
    """Yield every file, link and empty folder below *tops*, folder after folder; a link to a folder is a link."""
    start = os.path.join(destination, "")
    for top in tops:
        for folder, folders, names in os.walk(start + top):
            folders[:] = [name for name in folders if name not in ignored]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in [*names, *links]:
                yield f"{folder[len(start) :]}/{name}"
            if not names and not folders:
                yield f"{folder[len(start) :]}/"


def linked(destination: str) -> Iterator[str]:
    """Yield the links that a deployment made and that lead where it made them lead.

    None of them may be in the virtualenv or in our state: who writes there decides which code runs.
    """
    try:
        links = strict_json.bounded_json(durable.read_file(os.path.join(destination, layout.LINKS), MAX_RECORD))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DestinationError(destination, f"its {layout.LINKS} cannot be read ({error})", "Deploy it again") from None
    for path, target in links.items() if isinstance(links, dict) else ():
        place = os.path.join(destination, path)
        if path != os.path.normpath(path) or path.partition("/")[0] in (layout.VENV, layout.DEPLOY, "..", ""):
            continue
        if os.path.islink(place) and os.readlink(place) == target:
            yield path


def _collection(destination: str, manifest: manifests.Manifest) -> Tuple[str, str]:
    """Return the folder of the project that a deployment added the static files to, and where they were collected.

    Both are empty when there is none: the folder is a link then, or the project's STATIC_ROOT is elsewhere.
    """
    try:
        record = strict_json.bounded_json(durable.read_file(os.path.join(destination, layout.STATIC_FILES), MAX_RECORD))
        inner, link = str(record["inner"]), str(record["link"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "", ""  # without the record what is there was added
    plain = inner == os.path.normpath(inner) and link and "/" not in link and not link.startswith(".")
    if not plain or not inner.startswith(manifest.project + "/") or link in (layout.VENV, manifest.project):
        return "", ""
    return inner, link


def _is_collected(destination: str, path: str, inner: str, link: str) -> bool:
    """Say whether *path* is a copy of a collected static file, and not one that Python or Django would run."""
    if not inner or not path.startswith(inner + "/") or path.endswith(_RUN) or "templates" in path.split("/"):
        return False
    collected = os.path.join(destination, link, os.path.relpath(path, inner))
    place = os.path.join(destination, path)
    if path.endswith("/"):
        return os.path.isdir(collected)
    try:
        plain = stat.S_ISREG(os.lstat(place).st_mode) and not os.stat(place).st_mode & 0o7022
        return plain and filecmp.cmp(place, collected, shallow=False)
    except OSError:
        return False


def _unrecorded(manifest: manifests.Manifest) -> Set[str]:
    listings = {payload.listing for payload in manifest.payloads}
    scripts = {f"{_SCRIPTS}/{name}" for name in _OWN_SCRIPTS}
    return {
        layout.MANIFEST,
        layout.INSTALLED,
        layout.LINKS,
        layout.STATIC_FILES,
        layout.ENVIRONMENT_BEFORE,
        layout.SBOM,
        *listings,
        *scripts,
    }
