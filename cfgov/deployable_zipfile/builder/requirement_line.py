"""Reads one requirement of a requirements file: name or location, marker, hashes, options.

Lines: PEP 508, and pip's own short forms for URLs and paths.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from typing import (
    List,
    NoReturn,
    Optional,
    Tuple,
)
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..errors import BuildInputError, masked
from .requirements import SDISTS, Line

_CONFIG = ("--config-settings", "--config-setting", "-C")
# What pip passed to setup.py before there were build backends; newer releases of it have dropped them.
_LEGACY = ("--global-option", "--build-option", "--install-option")
_PROJECT_FILES = ("pyproject.toml", "setup.py")
_COMMIT = re.compile(r"@(?:[0-9a-f]{64}|[0-9a-f]{40})\Z")
_HASH = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_QUOTING, _BLANKS = re.compile(r"['\"\\]"), re.compile(r"[ \t\r\n]+")  # as shlex.split takes them
_EXTRAS = re.compile(r"(?P<location>.*?)(?P<extras>\[[A-Za-z0-9._, -]*\])\Z")


def requirement(path: str, place: str, text: str) -> Line:
    """Return the line *text* of the file *path*; *place* is its number, for messages."""
    words = text.split(" ")
    start = next((number for number, word in enumerate(words) if re.match(r"--[a-z]|-C", word)), len(words))
    hashes, further = _line_options(place, " ".join(words[start:]))
    line = _parsed(path, place, " ".join(words[:start]).strip())
    check_location(line)
    hashes += [one for one in _fragment_hashes(line.requirement.url or "") if one not in hashes]
    return line._replace(hashes=tuple(hashes), options=tuple(further))


def split(place: str, text: str) -> List[str]:
    """Return the words of a line, quotes removed as in a shell."""
    if not _QUOTING.search(text):  # shlex reads character by character: a long time for a lock full of hashes
        return [word for word in _BLANKS.split(text) if word]
    try:
        return shlex.split(text)
    except ValueError as error:
        refuse(place, f"cannot be read ({error})", "Correct the line")


def _line_options(place: str, text: str) -> Tuple[List[str], List[str]]:
    """Return the hashes and the settings for the backend that follow a requirement."""
    hashes, further = [], []
    words = split(place, text)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("-C") and len(word) > 2:
            name, equals, value = "-C", "=", word[2:].lstrip("=")
        if not equals:
            value = words.pop(0) if words else ""
        if name in _CONFIG:
            if "=" not in value:
                refuse(place, f"{value!r} is not of the form KEY=VALUE", "Write --config-settings=KEY=VALUE")
            further.append(f"--config-settings={value}")
        elif name in _LEGACY:
            refuse(place, f"uses {name}, which build backends do not know", "Write --config-settings=KEY=VALUE")
        elif name != "--hash":
            refuse(place, f"uses the option {name}, which is unknown here", "Remove it")
        elif _HASH.match(value):
            hashes.append(value)
        else:
            refuse(place, f"{value[:80]!r} is not a sha256, sha384 or sha512 hash", "Lock the requirements again")
    return hashes, further


def _parsed(path: str, place: str, text: str) -> Line:
    location, _, marker = text.partition(" ;")
    if _is_location(location):
        return _of_location(path, place, location.strip(), marker.strip())
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        refuse(place, f"{masked(text)[:120]!r} is not a requirement ({str(error).splitlines()[0]})", "Correct the line")
    if requirement.url and not re.match(r"[a-z][a-z0-9+.-]*://", requirement.url, re.IGNORECASE):
        requirement.url = _file_url(path, re.sub(r"^file:", "", requirement.url))
    return Line(place, requirement, ())


def _is_location(text: str) -> bool:
    """Say whether *text* is a bare URL or path, by pip's rules: no ``NAME @`` before it."""
    if re.match(r"[A-Za-z0-9._-]+\s*(?:\[[^]]*\])?\s*@", text):
        return False
    match = _EXTRAS.match(text)
    path = match["location"] if match else text
    return bool(
        re.match(r"[a-z][a-z0-9+.-]*://|file:|\.", text, re.IGNORECASE)
        or path.endswith((".whl", *SDISTS))
        or ("/" in path and not re.search(r"[<>=!~;]", path))
    )


def _of_location(path: str, place: str, text: str, marker: str) -> Line:
    """Return the line for a bare URL or path. Its name: a wheel's from its file name, else ``#egg=``, else unknown."""
    match = _EXTRAS.match(text)
    location, extras = (match["location"], match["extras"]) if match else (text, "")
    url = location if re.match(r"[a-z][a-z0-9+.-]*://", location) else _file_url(path, re.sub(r"^file:", "", location))
    parts = urlsplit(url)
    egg = re.match(r"([A-Za-z0-9._-]+)(\[.*\])?\Z", dict(parse_qsl(parts.fragment)).get("egg", ""))
    filename = unquote(os.path.basename(parts.path))
    named = True
    if filename.endswith(".whl"):
        try:
            name = str(parse_wheel_filename(filename)[0])
        except InvalidWheelFilename:
            refuse(place, f"{filename} is not the name of a wheel", "Correct the line")
    elif egg:
        name, extras = egg[1], extras or egg[2] or ""
    else:
        name, named = "unnamed-" + hashlib.sha256(url.encode("utf-8")).hexdigest()[:12], False
    try:
        requirement = Requirement(f"{name}{extras} @ {url}" + (f" ; {marker}" if marker else ""))
    except InvalidRequirement as error:
        refuse(place, f"cannot be read ({str(error).splitlines()[0]})", "Write it as NAME @ URL")
    return Line(place, requirement, (), (), named)


def check_location(line: Line) -> None:
    """Refuse a URL or path that does not name one content.

    Raises:
        BuildInputError: naming the line.
    """
    url = line.requirement.url
    if not url:
        return
    shown = masked(url)[:120]
    fix = "Write NAME @ git+URL@COMMIT with the full commit"
    if line.kind == "vcs":
        if not url.startswith("git+"):
            refuse(line.place, f"takes {shown} from version control other than git", fix)
        if not _COMMIT.search(urlsplit(url).path):
            refuse(line.place, f"takes {shown} from version control without a full commit", fix)
    elif url.startswith("file:"):
        path = unquote(urlsplit(url).path)
        if not os.path.exists(path):
            refuse(line.place, f"names {path}, which does not exist", "Correct the path")
        path = os.path.join(path, dict(parse_qsl(urlsplit(url).fragment)).get("subdirectory", ""))
        if line.kind == "folder" and not any(os.path.exists(os.path.join(path, part)) for part in _PROJECT_FILES):
            refuse(line.place, f"{path} has neither pyproject.toml nor setup.py", "Give a Python project")


def _fragment_hashes(url: str) -> List[str]:
    """Return the hashes in the fragment of *url*; weak ones do not count, pip compares them all the same."""
    found = [f"{name}:{value}" for name, value in parse_qsl(urlsplit(url).fragment)]
    return [one for one in found if _HASH.match(one)]


def _worth(path: str, subdirectory: str) -> int:
    """Return 2 for a file and for the folder of a Python project, 1 for another folder, 0 for nothing."""
    projects = [os.path.join(path, subdirectory, part) for part in _PROJECT_FILES]
    return int(os.path.exists(path)) + int(os.path.isfile(path) or any(map(os.path.exists, projects)))


def _file_url(path: str, value: str) -> str:
    """Return the ``file:`` URL of the path *value* in the requirements file *path*, with its fragment.

    A relative path is one in the working folder, as with pip; where no project or file is there, one beside the file.
    """
    location, mark, fragment = unquote(value).partition("#")
    if not os.path.isabs(location):
        beside = os.path.join(os.path.dirname(path), location)
        subdirectory = dict(parse_qsl(fragment)).get("subdirectory", "")
        location = beside if _worth(beside, subdirectory) > _worth(location, subdirectory) else location
    return "file://" + quote(os.path.abspath(location)) + mark + fragment


def refuse(place: str, why: str, fix: Optional[str] = None) -> NoReturn:
    """Raise BuildInputError for the line at *place*."""
    raise BuildInputError(place, why, fix)
