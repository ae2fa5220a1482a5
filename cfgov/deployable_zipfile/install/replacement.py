"""What stays when an installation is replaced by a new one of the same build.

Kept are the environment file, the links of deployments and what they collected. A file that no installation wrote would
be lost, so it keeps the old one where it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import Dict, Iterator, List, Set

from .. import durable, removal
from ..artifact import layout, manifest_reader, strict_json
from ..definitions import expression
from ..errors import ArtifactError, DestinationError
from . import drift, installed
from .destination import content_of

_BOOKS = (layout.LINKS, layout.STATIC_FILES, layout.ENVIRONMENT_BEFORE)
_MOST = 64 * 1024 * 1024  # bytes of each of these files
_COLLECTED = expression(r"[A-Za-z]+-[ab]\Z")  # the folder that the link of collected files leads to


def refusal(destination: str, build_id: str) -> "DestinationError | None":
    """Return why *destination* is not replaced by an installation of *build_id*, None when it can be."""
    advice = "Install into a new folder"
    try:
        if not content_of(destination):
            return None
    except DestinationError as error:
        return error
    found = str(installed.read(destination).get("build_id") or _build_by_manifest(destination))
    if not found:
        return DestinationError(destination, "contains no installation, so --force replaces nothing", advice)
    if found != build_id:
        return DestinationError(destination, f"holds build {found}, and --force installs the same build again", advice)
    mounts = removal.mounts_below(destination)
    if mounts:
        return DestinationError(destination, f"is not replaced: {mounts[0]} is mounted", f"Run: umount {mounts[0]}")
    return None


def carry_over(destination: str, tree: str) -> None:
    """Take over from *destination* into *tree*, a new installation of the same build, what deployments added.

    Raises:
        DestinationError: a file is there that neither an installation nor a deployment wrote.
        OSError: the file system refuses.
    """
    links = {path: os.readlink(os.path.join(destination, path)) for path in drift.linked(destination)}
    links.update(_collection(destination))
    for path in _strays(destination, tree, links):
        why = f"is not replaced: the installation did not write {path}"
        raise DestinationError(destination, why, "Move that file out of it first")
    for path in (layout.ENVIRONMENT, *_BOOKS):
        _copy(os.path.join(destination, path), os.path.join(tree, path))
    for path, target in links.items():
        if _COLLECTED.match(target) and os.path.dirname(path) == "":
            _link_tree(os.path.join(destination, target), os.path.join(tree, target))
        _place(tree, path, target)


def _build_by_manifest(destination: str) -> str:
    """Return the build of the manifest that *destination* holds, "" for none: the record may be what is damaged."""
    try:
        text = durable.read_file(os.path.join(destination, layout.MANIFEST), layout.MAX_MANIFEST)
        return manifest_reader.read(text).build_id
    except (OSError, ArtifactError):
        return ""


def _collection(destination: str) -> Dict[str, str]:
    """Return the link to the files that a deployment collected in the release, {} when there is none."""
    try:
        record = strict_json.bounded_json(durable.read_file(os.path.join(destination, layout.STATIC_FILES), _MOST))
        name = str(record["link"])
        target = os.readlink(os.path.join(destination, name))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    plain = "/" not in name and name not in (layout.VENV, layout.DEPLOY)
    return {name: target} if plain and _COLLECTED.match(target) and target.startswith(f"{name}-") else {}


def _strays(destination: str, tree: str, links: Dict[str, str]) -> Iterator[str]:
    """Yield the files outside the virtualenv that would be lost."""
    known = {layout.ENVIRONMENT, *links}
    skipped: Set[str] = {layout.VENV, layout.DEPLOY, *(f"{name}-{letter}" for name in links for letter in "ab")}
    for folder, folders, names in os.walk(destination):
        inner = os.path.relpath(folder, destination)
        prefix = "" if inner == "." else f"{inner}/"
        folders[:] = sorted(name for name in folders if prefix + name not in skipped)
        entries: List[str] = names + [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted(entries):
            path = prefix + name
            is_cache = os.path.basename(folder) == "__pycache__" and name.endswith(".pyc")
            if path not in known and not is_cache and not os.path.lexists(os.path.join(tree, path)):
                yield path


def _copy(source: str, target: str) -> None:
    """Copy a regular file with mode and owner; nothing when there is none."""
    try:
        content = durable.read_file(source, _MOST)
    except FileNotFoundError:
        return
    status = os.lstat(source)
    owner, group = (status.st_uid, status.st_gid) if os.geteuid() == 0 else (-1, -1)
    durable.replace_file(target, content, stat.S_IMODE(status.st_mode), owner, group)
    if os.geteuid() != 0:
        with contextlib.suppress(PermissionError):  # a group of ours is kept, another one cannot be
            os.chown(target, -1, status.st_gid)


def _link_tree(source: str, target: str) -> None:
    """Let *target* hold the files of *source*: the same ones by another name, copies where that is not possible."""
    if os.path.isdir(source) and not os.path.islink(source):
        shutil.copytree(source, target, symlinks=True, copy_function=_linked)
        _give_like(source, target)
        for folder, folders, _ in os.walk(source):
            for name in folders:
                path = os.path.join(folder, name)
                if not os.path.islink(path):
                    _give_like(path, os.path.join(target, os.path.relpath(path, source)))


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        if os.geteuid() == 0:
            raise
        shutil.copy2(source, target, follow_symlinks=False)  # somebody else's file, which we may read
    return target


def _give_like(source: str, target: str) -> None:
    if os.geteuid() == 0:
        status = os.lstat(source)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


def _place(tree: str, path: str, target: str) -> None:
    """Make one link: over nothing or an empty folder, and never through another link."""
    place = os.path.join(tree, path)
    parent = os.path.dirname(place)
    os.makedirs(parent, mode=0o755, exist_ok=True)
    if os.path.realpath(parent) != os.path.realpath(tree) + parent[len(tree) :]:
        raise DestinationError(path, "leads through another link", "Install into a new folder")
    if os.path.isdir(place) and not os.path.islink(place):
        os.rmdir(place)
    os.symlink(target, place)
