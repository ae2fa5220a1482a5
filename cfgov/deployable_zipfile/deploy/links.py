"""What leads from a release to its host: shared folders, links and SELinux labels."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Sequence

from .. import durable, process
from ..artifact import layout
from ..definitions import NamedTuple
from ..errors import DeploymentError, UsageError
from .commands import Log
from .provision import Ownership, give, write_atomically

_SELINUX = Path("/sys/fs/selinux/enforce")
_LABEL_TIMEOUT = 600.0  # seconds


class Shared(NamedTuple):
    """A folder that all releases have in common."""

    name: str  # under ROOT/shared
    path: str  # where a release sees it, relative to the release


class Link(NamedTuple):
    """A symbolic link inside the release to something of the host."""

    path: str  # relative to the release
    target: str  # absolute, or relative to the link's folder and below it


def parse_shared(text: str) -> Shared:
    """Return the shared folder written ``NAME=PATH``, or ``NAME`` for the same path in the release.

    Raises:
        UsageError: the name is not a plain name, or the path leaves the release or hides a part of it.
    """
    name, equals, path = text.partition("=")
    if not name or "/" in name or name.startswith("."):
        raise UsageError(f"--shared {text}", "its name is not a plain name", "Example: media=cfgov/media")
    return Shared(name, _inner_path("--shared", text, path if equals else name))


def parse_link(text: str) -> Link:
    """Return the link written ``PATH=TARGET``.

    Raises:
        UsageError: the path leaves the release or hides a part of it, or the target is empty or leads upwards.
    """
    path, _, target = text.partition("=")
    if not target or ".." in target.split("/"):
        raise UsageError(f"--link {text}", "its target is empty or leads upwards", "Example: site/run=/run/httpd")
    return Link(_inner_path("--link", text, path), target)


def place_shared(root_shared: Path, release: Path, shared: Shared, owners: Ownership) -> None:
    """Make the shared folder if it is missing, and link the release's path to it.

    Raises:
        DeploymentError: the artifact holds files at that path, or it cannot be made.
    """
    folder = root_shared / shared.name
    try:
        for made in (root_shared, folder):
            if not made.is_dir():
                made.mkdir(mode=0o755)
                os.chmod(str(made), 0o755)
                if made == folder:
                    give(folder, owners)
        place = release / shared.path
        _link(place, os.path.relpath(str(folder), str(place.parent)))
    except OSError as error:
        raise DeploymentError(
            shared.path, f"cannot be linked to {folder} ({error.strerror})", "Leave that path out of the artifact"
        ) from error


def record_links(release: Path, paths: Sequence[str]) -> None:
    """Write down which links a deployment made at *paths*, so that ``verify`` can tell them from what crept in.

    Raises:
        DeploymentError: it cannot be written.
    """
    path = release / layout.LINKS
    try:
        links = {one: os.readlink(str(release / one)) for one in paths}
        write_atomically(path, json.dumps(links, indent=1, sort_keys=True).encode("ascii") + b"\n", 0o644)
    except OSError as error:
        raise DeploymentError(
            path, f"cannot be written ({error.strerror})", "Check disk space and permissions"
        ) from error


def place_link(release: Path, link: Link) -> None:
    """Make one link to the host.

    Raises:
        DeploymentError: the artifact holds files at that path, or it cannot be made.
    """
    try:
        _link(release / link.path, link.target)
    except OSError as error:
        raise DeploymentError(
            link.path, f"cannot be linked to {link.target} ({error.strerror})", "Leave that path out of the artifact"
        ) from error


def check_inner(option: str, path: str, instead: str) -> None:
    """Refuse a *path* in the release, that the project's *option* names, where a link would hide a part of it.

    Parameters:
        instead: path that the settings may name.

    Raises:
        DeploymentError: it belongs to the release.
    """
    try:
        _inner_path(option, path, path)
    except UsageError as error:
        fix = f"Let the settings name another folder, {instead} for instance, which then leads to the collected files"
        raise DeploymentError(error.what, error.why, fix) from None


def place_inner_link(release: Path, path: str, to: str) -> None:
    """Let *path* in the release lead to *to*, another path in it: over nothing, an empty folder or this very link.

    Raises:
        DeploymentError: something else is there, or the way to it leads out of the release.
    """
    place = release / path
    target = os.path.relpath(to, os.path.dirname(path) or ".")
    try:
        if place.is_symlink() and os.readlink(str(place)) != target:
            raise FileExistsError(17, "a link is there")
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not f"{place.parent.resolve()}/".startswith(f"{release.resolve()}/"):
            raise FileExistsError(17, "the way there leads out of the release")
        _link(place, target)
    except OSError as error:
        why = f"cannot be linked to {to} ({error.strerror})"
        raise DeploymentError(place, why, "Leave that path out of the artifact") from error


def relabel(release: Path, log: Log, selinux: Path = _SELINUX) -> str:
    """Give the release's files the labels that the policy has for their paths, when SELinux is on.

    Returns:
        what was done, in a few words.

    Raises:
        DeploymentError: SELinux is on and ``restorecon`` is missing or fails.
    """
    if not selinux.exists():
        return "SELinux is off"
    command = shutil.which("restorecon", path=process.search_path())
    if command is None:
        raise DeploymentError("restorecon", "is missing, although SELinux is enabled", "Install policycoreutils")
    log.run("labels", [command, "-RF", str(release)], _LABEL_TIMEOUT)
    return "SELinux labels restored"


def _inner_path(option: str, text: str, path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts):
        raise UsageError(f"{option} {text}", "its path is not relative and plain", "Example: cfgov/media")
    if parts[0] in (layout.VENV, layout.DEPLOY, layout.ENVIRONMENT):
        raise UsageError(f"{option} {text}", f"{parts[0]} belongs to the release", "Choose a path in the project")
    return path


def _link(place: Path, target: str) -> None:
    """Link *place* to *target*: over nothing, an empty folder, or another link."""
    if place.is_symlink():
        if os.readlink(str(place)) == target:
            return
    elif place.is_dir():
        os.rmdir(str(place))
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if place.exists() and not place.is_symlink():
        raise FileExistsError(17, "the artifact holds a file there")
    durable.point(str(place), target)
