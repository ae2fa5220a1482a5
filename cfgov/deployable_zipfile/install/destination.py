"""The folder to install into: its path, and what it holds already."""

from __future__ import annotations

import os
import sys
from typing import List, Optional

from ..errors import DestinationError
from . import installed


def normal_destination(destination: str) -> str:
    """Return *destination* absolute, a link to a folder resolved.

    Raises:
        DestinationError: a path that scripts and ``.pth`` files cannot carry, or that is not a folder.
    """
    path = _absolute(destination)
    if os.path.islink(path):
        resolved = os.path.realpath(path)
        if not os.path.isdir(resolved):
            raise DestinationError(
                path, "is a link that leads to no folder", "Remove the link or choose another folder"
            )
        path = _absolute(resolved)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise DestinationError(path, "is not a folder", "Remove it or choose another folder")
    if path == "/":
        raise DestinationError(path, "is the root of the file system", "Choose another folder")
    longest = max(len(os.fsencode(part)) for part in path.split("/"))
    if longest > 255 or len(os.fsencode(os.path.basename(path))) > 240 or len(os.fsencode(path)) > 3800:
        raise DestinationError(path, "is too long for a path", "Choose a shorter one")
    return path


def _absolute(path: str) -> str:
    """Return *path* absolute, after proving that it can appear in scripts, ``.pth`` files and messages."""
    if not path:
        raise DestinationError("the destination", "is empty", "Name a folder")
    try:
        # A leading "//" is kept by abspath (POSIX lets it mean something else); on Linux it is the root.
        path = "/" + os.path.abspath(path).lstrip("/")
    except OSError as error:
        raise DestinationError(
            path, f"is relative to a current folder that cannot be read ({error.strerror})", "Give an absolute path"
        ) from None
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        advice = "Choose another folder"
        if sys.getfilesystemencoding().lower() != "utf-8":
            advice = "Set PYTHONUTF8=1 if the name is UTF-8"
        raise DestinationError(path, "is not UTF-8", advice) from None
    if "\\" in path or not path.isprintable():
        raise DestinationError(
            path, "contains a backslash or characters that cannot be printed", "Choose another folder"
        )
    return path


def content_of(destination: str) -> List[str]:
    """Return the names in the folder *destination*, sorted; none when it is absent.

    Raises:
        DestinationError: it cannot be read.
    """
    try:
        return sorted(os.listdir(destination))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DestinationError(destination, f"cannot be read ({error.strerror})", "Check its permissions") from None


def filled_problem(destination: str, build_id: str = "") -> Optional[DestinationError]:
    """Return what is wrong with *destination* when it holds anything, None when it is absent or empty.

    Parameters:
        build_id: of what is to be installed.
    """
    try:
        content = content_of(destination)
    except DestinationError as error:
        return error
    if not content:
        return None
    found = installed.read(destination)
    what = f"is not empty (it holds {content[0]})"
    if found:
        what = f"already holds build {found.get('build_id')} for Python {found.get('python')}"
        if found.get("destination") != destination:
            what += f", installed as {found.get('destination')}"
    again = ", or this build again in its place with --force" if found.get("build_id") == build_id else ""
    return DestinationError(destination, what, f"Install into a new folder{again}")
