"""One file as it can be packed: regular, inside its folder, with a portable name."""

from __future__ import annotations

import errno
import os
import stat
from typing import Callable, List, NoReturn, Tuple

from ..artifact.names import name_problem
from ..definitions import NamedTuple
from ..errors import BuildInputError


class Candidate(NamedTuple):
    """A file that may be packed: where its bytes are, and whether a symbolic link leads there."""

    path: str
    status: os.stat_result
    link: bool

    @classmethod
    def at(cls, root: str, name: str) -> "Candidate":
        """Look at the file *name* below *root* without opening it (a FIFO would wait for ever)."""
        path = os.path.join(root, name)
        try:
            status = os.lstat(path)
        except OSError as error:
            raise BuildInputError(path, f"cannot be read ({error.strerror})", "Build again") from None
        if stat.S_ISLNK(status.st_mode):
            return cls(*_followed(root, name), link=True)
        if not stat.S_ISREG(status.st_mode):
            raise BuildInputError(path, f"is {_kind(status.st_mode)}", "Remove it, or exclude it: see docs/build.md")
        if not os.access(path, os.R_OK):
            raise BuildInputError(path, "cannot be read (no permission)", "Make it readable, or exclude it")
        return cls(path, status, link=False)


def _followed(root: str, name: str) -> Tuple[str, os.stat_result]:
    """Return the regular file inside *root* that the symbolic link *name* leads to."""
    path = os.path.join(root, name)
    if os.path.isabs(os.readlink(path)):
        refuse_link(root, name, f"leads to the absolute path {os.readlink(path)}")
    try:
        status = os.stat(path)
    except OSError as error:
        loop = error.errno == errno.ELOOP
        refuse_link(root, name, f"leads {'in a circle' if loop else 'to a missing file'} ({os.readlink(path)})")
    target = os.path.realpath(path)
    if not target.startswith(root + os.sep):
        refuse_link(root, name, f"leads out of the folder ({os.readlink(path)})")
    if not stat.S_ISREG(status.st_mode):
        refuse_link(root, name, f"leads to {_kind(status.st_mode)} ({os.readlink(path)})")
    return target, status


def refuse_link(root: str, name: str, why: str) -> NoReturn:
    """Raise BuildInputError for the symbolic link *name* below *root*."""
    raise BuildInputError(
        os.path.join(root, name), f"is a symbolic link that {why}", "Replace it by a copy, or exclude it"
    )


def _kind(mode: int) -> str:
    kinds: List[Tuple[Callable[[int], bool], str]] = [
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    ]
    return next((text for test, text in kinds if test(mode)), "no regular file")


def check_name(name: str) -> None:
    """Refuse a name that an artifact cannot hold, or that a copy would lose.

    Raises:
        BuildInputError: naming it.
    """
    problem = name_problem(name)
    if not problem and any(part.endswith(" ") for part in name.split("/")):
        problem = "its name ends with a blank"
    if problem:
        raise BuildInputError(name, problem, "Rename it, or exclude it: see docs/build.md")
