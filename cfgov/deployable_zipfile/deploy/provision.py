"""The environment file of a release, and the owner of what a host adds to it."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import select
import stat
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from .. import durable, loadenv
from ..artifact import layout
from ..artifact.environment import Contract
from ..definitions import NamedTuple
from ..errors import DeploymentError, UsageError
from ..install.ownership import check_entry

ENVIRONMENT_MODE = 0o640
_BEFORE = layout.ENVIRONMENT_BEFORE
_LARGEST_ID = 2**32 - 2  # of a user or group; the last number means "no change" (chown(2))
_PIPE_TIMEOUT = 60.0  # seconds for an environment file that is a pipe


class Ownership(NamedTuple):
    """Who owns what a host adds; None leaves what the process makes."""

    uid: Optional[int]
    gid: Optional[int]


NOBODY = Ownership(None, None)


def _number(text: str, look_up: Callable[[str], int]) -> int:
    """Return the number that *text* is, or that *look_up* finds for the name.

    Raises:
        KeyError: there is no such name, or the number is larger than a file's owner can be.
    """
    if not (text.isascii() and text.isdigit()):
        return look_up(text)
    if len(text) > 10 or int(text) > _LARGEST_ID:
        raise KeyError(text)
    return int(text)


def ownership(owner: Optional[str], group: Optional[str]) -> Ownership:
    """Return the numbers of the user *owner* and the group *group*, names or numbers.

    Raises:
        UsageError: one of them does not exist, or this process may not give files to it.
    """
    try:
        uid = None if owner is None else _number(owner, lambda name: pwd.getpwnam(name).pw_uid)
    except KeyError:
        raise UsageError(f"--owner {owner}", "there is no such user", "Create it, or name another") from None
    try:
        gid = None if group is None else _number(group, lambda name: grp.getgrnam(name).gr_gid)
    except KeyError:
        raise UsageError(f"--group {group}", "there is no such group", "Create it, or name another") from None
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
        f"{layout.ENVIRONMENT} sets {name}, which the project does not declare. Did you mean {known}?"
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
                raise DeploymentError(path, f"did not end within {_PIPE_TIMEOUT:.0f} s", "Give a regular file")
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


def proven_environment_of(release: Path, as_root: bool) -> Optional[Dict[str, str]]:
    """Return the variables that *release* has or, while new ones are not proven yet, those that it had.

    Parameters:
        as_root: commands get them that this user, maybe root, runs: nobody else may have written them then.

    Raises:
        DeploymentError: as for :func:`read_environment`.
        DestinationError: root would run commands with what somebody else can change.
    """
    before = release / _BEFORE
    if as_root and os.geteuid() == 0:
        check_entry(str(before if before.exists() else release / layout.ENVIRONMENT))
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
        raise DeploymentError(
            path, f"cannot be written ({error.strerror})", "Check disk space and permissions"
        ) from error


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
    durable.put(str(before), str(release / layout.ENVIRONMENT))
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


def loader_variables(variables: Mapping[str, str]) -> List[str]:
    """Return the keys that change which code every process loads."""
    return loadenv.loader_variables(dict(variables))


def write_atomically(path: Path, content: bytes, mode: int, owners: Ownership = NOBODY) -> None:
    """Write *path* at one instant, mode and owner included. See :func:`durable.replace_file`."""
    durable.replace_file(
        str(path), content, mode, -1 if owners.uid is None else owners.uid, -1 if owners.gid is None else owners.gid
    )


def give(file: "int | Path", owners: Ownership) -> None:
    """Give *file* to *owners*."""
    if owners != NOBODY:
        os.chown(file, -1 if owners.uid is None else owners.uid, -1 if owners.gid is None else owners.gid)
