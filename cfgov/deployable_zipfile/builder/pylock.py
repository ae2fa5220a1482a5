"""Reads a ``pylock.toml``: PEP 751, as ``packaging.pylock`` checks it.

Extras and dependency groups are chosen here, once, by replacing their clauses in the markers; what remains are markers
of PEP 508, which each target evaluates. Paths are relative to the lock.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any, FrozenSet, Iterable, List, Mapping, NoReturn, Optional, Sequence, Tuple, Union
from urllib.parse import quote, unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockValidationError,
)
from packaging.utils import canonicalize_name
from packaging.version import Version

from ..definitions import NamedTuple, expression
from ..errors import BuildInputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logging.getLogger("packaging.pylock").setLevel(logging.ERROR)  # a newer minor version is a warning of ours
_VERSION = Version("1.0")
_STRONG = {"sha256": 64, "sha384": 96, "sha512": 128}  # hexadecimal digits of what pip compares
_CLAUSE = expression(r'"(?P<name>[^"]*)" (?P<operator>in|not in) (?P<set>extras|dependency_groups)')
_ALWAYS, _NEVER = 'python_version >= "0"', 'python_version < "0"'
_FILE_NAME = expression(r"pylock(?:\.[^.]+)?\.toml\Z")


class File(NamedTuple):
    """One file of a package."""

    name: str
    url: str
    hashes: Tuple[str, ...]  # "sha256:..."
    size: int = -1  # bytes, -1: not said


class Locked(NamedTuple):
    """One package."""

    place: str  # "pylock.toml:packages[3]", for messages
    name: str
    version: str  # "" when the lock leaves it open
    marker: str
    requires_python: str
    url: str  # of a checkout, a folder or an archive; "" when it is one of files
    hashes: Tuple[str, ...]  # of an archive
    files: Tuple[File, ...]  # wheels, and the sdist last


class Lock(NamedTuple):
    """What a lock says."""

    requires_python: str
    environments: Tuple[str, ...]  # markers, of which one must hold
    packages: Tuple[Locked, ...]
    doubt: str = ""  # why it may mean something else than what was understood


def is_lock(path: str) -> bool:
    """Say whether *path* has the name of such a lock."""
    return _FILE_NAME.match(os.path.basename(path)) is not None


def parsed(path: str, content: bytes, groups: Sequence[str] = (), extras: Sequence[str] = ()) -> Lock:
    """Return what the lock *content* says.

    Parameters:
        path: of the lock, for messages; paths inside start at its folder.
        groups: dependency groups to take; without any, the lock's own ``default-groups``.
        extras: to take.

    Raises:
        BuildInputError: it is not such a lock, or needs something that pip cannot do; the package is named.
    """
    document = _toml(path, content)
    try:
        lock = Pylock.from_dict(document)
    except PylockValidationError as error:
        name = _name_at(document, error.context or "")
        _refuse(f"{path}:{error.context}" if error.context else path, f"{name}{error.message}")
    chosen = groups or lock.default_groups or ()
    _check_known(path, "group", groups, [*(lock.dependency_groups or ()), *(lock.default_groups or ())])
    unknown = lock.lock_version > _VERSION
    doubt = f"is of version {lock.lock_version}, and only what {_VERSION} knows is understood" if unknown else ""
    _check_known(path, "extra", extras, lock.extras or ())
    packages = [
        _locked(path, f"{path}:packages[{number}]", package, _normal(chosen), _normal(extras))
        for number, package in enumerate(lock.packages)
    ]
    return Lock(str(lock.requires_python or ""), tuple(map(str, lock.environments or ())), tuple(packages), doubt)


def _toml(path: str, content: bytes) -> Mapping[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _refuse(path, f"is not TOML ({error})")


def _name_at(document: Mapping[str, Any], context: str) -> str:
    """Return the name of the package that *context* ("packages[3].wheels") is about, and a blank."""
    match = re.match(r"packages\[(\d+)\]", context)
    try:
        return f"{document['packages'][int(match[1])]['name']}: " if match else ""
    except (LookupError, TypeError):
        return ""


def _locked(path: str, place: str, package: Package, groups: FrozenSet[str], extras: FrozenSet[str]) -> Locked:
    url, hashes = "", ()  # type: Tuple[str, Tuple[str, ...]]
    files: List[File] = []
    if package.vcs:
        url = _checkout(path, place, package.name, package.vcs)
    elif package.directory:
        folder = os.path.join(package.directory.path, package.directory.subdirectory or "")
        url = _file_url(path, folder)
    elif package.archive:
        url, hashes = _archive(path, place, package.name, package.archive)
    else:
        offered: List[Union[PackageWheel, PackageSdist]] = [*(package.wheels or ())]
        offered += [package.sdist] if package.sdist else []
        for file in offered:
            hashes_of_file = _strong(place, package.name, file.hashes)
            files.append(File(file.filename, _place(path, file.path, file.url), hashes_of_file, _size(file.size)))
    marker = _CLAUSE.sub(lambda match: _decided(match, groups, extras), str(package.marker or ""))
    return Locked(
        place, package.name, str(package.version or ""), marker, str(package.requires_python or ""),
        url, hashes, tuple(files),
    )  # fmt: skip


def _decided(match: "re.Match[str]", groups: FrozenSet[str], extras: FrozenSet[str]) -> str:
    found = canonicalize_name(match["name"]) in (groups if match["set"] == "dependency_groups" else extras)
    return _ALWAYS if found == (match["operator"] == "in") else _NEVER


def _checkout(path: str, place: str, name: str, vcs: PackageVcs) -> str:
    if vcs.type != "git":
        _refuse(place, f"{name} comes from version control other than git ({vcs.type})", "Lock a released version")
    if not re.match(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z", vcs.commit_id, re.IGNORECASE):
        _refuse(place, f"{name} comes from git without a full commit ({vcs.commit_id})", "Lock it again")
    url = _place(path, vcs.path, vcs.url)
    url = url if url.startswith("git+") else f"git+{url}"
    return f"{url}@{vcs.commit_id}" + (f"#subdirectory={vcs.subdirectory}" if vcs.subdirectory else "")


def _archive(path: str, place: str, name: str, archive: PackageArchive) -> Tuple[str, Tuple[str, ...]]:
    url = _place(path, archive.path, archive.url)
    if url.startswith("file:") and archive.size is not None:
        check_size(place, unquote(urlsplit(url).path), archive.size)
    url += f"#subdirectory={archive.subdirectory}" if archive.subdirectory else ""
    return url, _strong(place, name, archive.hashes)


def _strong(place: str, name: str, hashes: Mapping[str, str]) -> Tuple[str, ...]:
    """Return the hashes that prove a content; a weak one beside them adds nothing."""
    found = tuple(
        f"{kind}:{value.lower()}"
        for kind, value in sorted(hashes.items())
        if re.match(rf"[0-9a-f]{{{_STRONG.get(kind, 0)}}}\Z", value.lower()) and kind in _STRONG
    )
    if not found:
        _refuse(place, f"{name} has no sha256, sha384 or sha512 hash, only {', '.join(sorted(hashes))}")
    return found


def _check_known(path: str, kind: str, wanted: Sequence[str], known: Iterable[str]) -> None:
    names = set(known)
    for name in wanted:
        if canonicalize_name(name) not in _normal(names):
            shown = f"known are {', '.join(sorted(names))}" if names else "it has none"
            _refuse(path, f"has no {kind} {name!r}, {shown}", f"Correct --{kind}")


def check_size(place: str, file: str, size: int) -> None:
    """Refuse a *file* that has not the *size* in bytes that the lock gives (PEP 751, "Installation").

    Raises:
        BuildInputError: it has another one; naming the place in the lock.
    """
    if os.path.isfile(file) and os.path.getsize(file) != size:
        why = f"{os.path.basename(file)} has {os.path.getsize(file)} bytes, the lock says {size}"
        _refuse(place, why, "Lock again, and find out why it changed")


def _size(size: Optional[int]) -> int:
    return -1 if size is None else size


def _normal(names: Iterable[str]) -> FrozenSet[str]:
    return frozenset(map(canonicalize_name, names))


def _place(path: str, own: Optional[str], url: Optional[str]) -> str:
    """Return the URL of a file or repository: that of the path if there is one, else the one that the lock names."""
    here = _file_url(path, own) if own else ""
    return here if here and (not url or os.path.exists(unquote(urlsplit(here).path))) else str(url)


def _file_url(path: str, value: str) -> str:
    return "file://" + quote(os.path.abspath(os.path.join(os.path.dirname(path), value.replace("\\", "/"))))


def _refuse(place: str, why: str, fix: Optional[str] = None) -> NoReturn:
    raise BuildInputError(place, why, fix or "Export the lock again")
