"""What a release gets on its host that is not in the artifact: environment, shared folders, links, labels."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import select
import shutil
import stat
import time
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import durable, loadenv, process
from ..artifact import layout
from ..artifact.environment import Contract
from ..errors import DeploymentError, UsageError
from .commands import Log

ENVIRONMENT_MODE = 0o640
_BEFORE = layout.ENVIRONMENT_BEFORE
_PIPE_TIMEOUT = 60.0  # seconds for an environment file that is a pipe
_SELINUX = Path("/sys/fs/selinux/enforce")
_LABEL_TIMEOUT = 600.0  # seconds


class Ownership(NamedTuple):
    """Who owns what a host adds; None leaves what the process makes."""

    uid: Optional[int]
    gid: Optional[int]


NOBODY = Ownership(None, None)


class Shared(NamedTuple):
    """A folder that all releases have in common."""

    name: str  # under ROOT/shared
    path: str  # where a release sees it, relative to the release


class Link(NamedTuple):
    """A symbolic link inside the release to something of the host."""

    path: str  # relative to the release
    target: str  # absolute, or relative to the link's folder and below it


def ownership(owner: Optional[str], group: Optional[str]) -> Ownership:
    """Return the numbers of the user *owner* and the group *group*, names or numbers.

    Raises:
        UsageError: one of them does not exist, or this process may not give files to it.
    """
    try:
        uid = None if owner is None else int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise UsageError(f"--owner {owner}", "there is no such user", "Make it, or name another") from None
    try:
        gid = None if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"--group {group}", "there is no such group", "Make it, or name another") from None
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()):
            raise UsageError(f"--owner {owner}", "only root can give files away", "Run it as root")
        if gid is not None and gid not in {os.getegid(), *os.getgroups()}:
            raise UsageError(f"--group {group}", "is not a group of this user", "Run it as root")
    return Ownership(uid, gid)


def read_environment(path: Path) -> Dict[str, str]:
    """Return the variables in the environment file *path*, held to the rules that hold at every start.

    Raises:
        DeploymentError: the file is missing or bad; the message names the place and never a value.
    """
    with _as_deployment_error():
        return loadenv.read_environment(str(path))


def compared(contract: Contract, variables: Mapping[str, str]) -> Tuple[List[str], List[DeploymentError]]:
    """Return hints, and what is wrong with *variables* by the project's *contract*; never a value."""
    hints = [
        f"{layout.ENVIRONMENT} sets {name}, which the project does not declare: {known} is meant?"
        for name, known in contract.hints(variables)
    ]
    fix = "Correct the file of --env-file; info --environment-example shows what the project reads"
    return hints, [
        DeploymentError(f"{layout.ENVIRONMENT}, {name}", why, fix) for name, why in contract.problems(variables)
    ]


@contextlib.contextmanager
def _as_deployment_error() -> Iterator[None]:
    try:
        yield
    except loadenv.EnvironmentFileError as error:
        what, _, rest = str(error).partition(": ")
        why, _, fix = rest.rstrip(".").rpartition(". ")
        raise DeploymentError(what, why or rest.rstrip("."), fix or None) from None


class EnvironmentFile:
    """The file of --env-file, read as often as asked; a pipe (/dev/stdin, ``<(command)``) once, and remembered."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._piped: Optional[Dict[str, str]] = None

    def read(self) -> Dict[str, str]:
        """Return its variables.

        Raises:
            DeploymentError: as for :func:`read_environment`.
        """
        if self._piped is not None:
            return self._piped
        try:
            status = os.stat(str(self._path))
        except OSError:
            return read_environment(self._path)
        if not stat.S_ISFIFO(status.st_mode):
            return read_environment(self._path)
        with _as_deployment_error():
            self._piped = loadenv.parse_environment(str(self._path), _drained(self._path))
        return self._piped

    def is_open_to_all(self) -> bool:
        """Tell whether everybody may read it."""
        status = os.stat(str(self._path))
        return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o007)


def _drained(path: Path) -> bytes:
    """Return what comes through the pipe *path*."""
    content = b""
    deadline = time.monotonic() + _PIPE_TIMEOUT
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                part = os.read(descriptor, 65_536)
                content += part
                if not part or len(content) > loadenv.MAX_FILE:
                    break
            else:
                raise DeploymentError(path, f"does not end within {_PIPE_TIMEOUT:.0f} s", "Give a regular file")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DeploymentError(path, f"cannot be read ({error.strerror})", "Give a regular file") from error
    if len(content) > loadenv.MAX_FILE:
        raise DeploymentError(path, f"has more than {loadenv.MAX_FILE} bytes", "Make it smaller")
    return content


def environment_of(release: Path) -> Optional[Dict[str, str]]:
    """Return the variables that *release* has, None when it has no file.

    Raises:
        DeploymentError: as for :func:`read_environment`.
    """
    path = release / layout.ENVIRONMENT
    return read_environment(path) if os.path.lexists(str(path)) else None


def proven_environment_of(release: Path) -> Optional[Dict[str, str]]:
    """Return the variables that *release* has or, while new ones are not proven yet, those that it had.

    Raises:
        DeploymentError: as for :func:`read_environment`.
    """
    before = release / _BEFORE
    return read_environment(before) if before.exists() else environment_of(release)


def place_environment(release: Path, variables: Mapping[str, str], owners: Ownership) -> None:
    """Write the release's environment file at one instant, mode 0640; what it replaces is kept aside.

    It stays the file of the user who deploys, and the group of *owners* may read it: a site that could write its own
    environment could choose what the next command of its release does.

    Raises:
        DeploymentError: it cannot be written.
    """
    path, before = release / layout.ENVIRONMENT, release / _BEFORE
    owners = _readers(owners)
    try:
        # What was proven is kept; a second try after a crash must not overwrite it with what the first try wrote.
        if path.exists() and not before.exists():
            write_atomically(before, path.read_bytes(), ENVIRONMENT_MODE, owners)
        text = json.dumps(dict(variables), indent=1, sort_keys=True, ensure_ascii=True) + "\n"
        write_atomically(path, text.encode("ascii"), ENVIRONMENT_MODE, owners)
    except OSError as error:
        raise DeploymentError(path, f"cannot be written ({error.strerror})", "Check space and rights") from error


def _readers(owners: Ownership) -> Ownership:
    """Return who gets a file that *owners* may read and not write: their group, or the first group of their user."""
    if owners.gid is not None or owners.uid is None:
        return Ownership(None, owners.gid)
    try:
        return Ownership(None, pwd.getpwuid(owners.uid).pw_gid)
    except KeyError:  # a number without an entry has no group of its own
        return owners


def restore_environment(release: Path) -> bool:
    """Bring back the environment file that :func:`place_environment` replaced; return whether it replaced one."""
    before = release / _BEFORE
    if not before.exists():
        return False
    os.replace(str(before), str(release / layout.ENVIRONMENT))
    durable.sync_folder(str(release))
    return True


def environment_is_unproven(release: Path) -> bool:
    """Tell whether a replaced file is still kept: the new one was not proven, the deployment was cut short."""
    return (release / _BEFORE).exists()


def forget_environment(release: Path) -> None:
    """Drop the replaced file: the new one is proven."""
    before = release / _BEFORE
    if before.exists():
        os.unlink(str(before))
        durable.sync_folder(
            str(before.parent)
        )  # come back after a power failure, it would be what a failure goes back to


def parse_shared(text: str) -> Shared:
    """Return the shared folder written ``NAME=PATH``, or ``NAME`` for the same path in the release.

    Raises:
        UsageError: the name is no plain name, or the path leaves the release or hides a part of it.
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
                    _give(folder, owners)
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
        raise DeploymentError(path, f"cannot be written ({error.strerror})", "Check space and rights") from error


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


def check_inner(option: str, path: str) -> None:
    """Refuse a *path* in the release, that the project's *option* names, where a link would hide a part of it.

    Raises:
        DeploymentError: it belongs to the release.
    """
    try:
        _inner_path(option, path, path)
    except UsageError as error:
        raise DeploymentError(error.what, error.why, error.fix) from None


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
        raise DeploymentError("restorecon", "is missing though SELinux is on", "Install policycoreutils")
    log.run("labels", [command, "-RF", str(release)], _LABEL_TIMEOUT)
    return "SELinux labels restored"


def loader_variables(variables: Mapping[str, str]) -> List[str]:
    """Return the keys that change which code every process loads."""
    return loadenv.loader_variables(dict(variables))


def write_atomically(path: Path, content: bytes, mode: int, owners: Ownership = NOBODY) -> None:
    """Write *path* at one instant, mode and owner included. See :func:`durable.replace_file`."""
    durable.replace_file(
        str(path), content, mode, -1 if owners.uid is None else owners.uid, -1 if owners.gid is None else owners.gid
    )


def _give(file: "int | Path", owners: Ownership) -> None:
    if owners != NOBODY:
        os.chown(file, -1 if owners.uid is None else owners.uid, -1 if owners.gid is None else owners.gid)


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
    fresh = place.with_name(f".{place.name}.new")
    if fresh.is_symlink():
        os.unlink(str(fresh))
    os.symlink(target, str(fresh))
    if place.exists() and not place.is_symlink():
        os.unlink(str(fresh))
        raise FileExistsError(17, "the artifact holds a file there")
    os.replace(str(fresh), str(place))
