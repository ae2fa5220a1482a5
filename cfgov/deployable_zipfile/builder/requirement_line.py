"""Reads one requirement of a requirements file: name or location, marker, hashes, options.

Lines: PEP 508, and pip's own short forms for URLs and paths.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tarfile
import zipfile
from typing import (
    List,
    NoReturn,
    Optional,
    Tuple,
)
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from ..definitions import expression
from ..errors import BuildInputError, masked
from .requirements import FLAGS, SDISTS, SPELLINGS, Line

_CONFIG = ("--config-settings", "--config-setting", "-C")
# What pip passed to setup.py before there were build backends; newer releases of it have dropped them.
_LEGACY = ("--global-option", "--build-option", "--install-option")
_PROJECT_FILES = ("pyproject.toml", "setup.py")
_COMMIT = expression(r"@(?:[0-9a-f]{64}|[0-9a-f]{40})\Z", re.IGNORECASE)
_HASH = expression(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_QUOTING, _BLANKS = expression(r"['\"\\]"), expression(r"[ \t\r\n]+")  # as shlex.split takes them
_EXTRAS = expression(r"(?P<location>.*?)(?P<extras>\[[A-Za-z0-9._, -]*\])\Z")


def requirement(path: str, place: str, text: str) -> Line:
    """Return the line *text* of the file *path*; *place* is its number, for messages."""
    words = text.split(" ")
    start = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    hashes, further = _line_options(place, " ".join(words[start:]))
    line = _parsed(path, place, " ".join(words[:start]).strip())
    check_location(line)
    hashes += [one for one in _fragment_hashes(line.requirement.url or "") if one not in hashes]
    return line._replace(hashes=tuple(hashes), options=tuple(further))


def edited(path: str, place: str, text: str) -> Line:
    """Return the line for what *text*, behind ``-e``, names: a wheel is built from it.

    As with pip, it may be quoted, and the name of a folder means that folder.
    """
    quoted = re.match(r"(?P<quote>[\"'])(?P<what>.*?)(?P=quote)(?P<rest>.*)", text)
    text = quoted["what"] + quoted["rest"] if quoted else text
    folder = re.split(r"\s*(?:[\[;]|\s-|\Z)", text, maxsplit=1)[0]
    is_folder = any(map(os.path.isdir, (folder, os.path.join(os.path.dirname(path), folder))))
    return requirement(path, place, os.path.join(os.curdir, text) if is_folder else text)


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
        elif name in SPELLINGS or name in FLAGS:
            refuse(place, f"uses {name}, which holds for all requirements", "Put it on a line of its own")
        elif name != "--hash":
            refuse(place, f"uses the option {name}, which is unknown here", "Remove it")
        elif _HASH.match(value.lower()):
            hashes.append(value.lower())
        else:
            refuse(place, f"{value[:80]!r} is not a sha256, sha384 or sha512 hash", "Lock the requirements again")
    return hashes, further


def _parsed(path: str, place: str, text: str) -> Line:
    if "@" in text or _is_location(text.partition(";")[0].rstrip()):
        location, marker = _marked(text)
        if _is_location(location):
            return _of_location(path, place, location, marker)
        text = f"{location} ; {marker}" if marker else location
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        refuse(place, f"{masked(text)[:120]!r} is not a requirement ({str(error).splitlines()[0]})", "Correct the line")
    if requirement.url:
        requirement.url = _url(path, place, requirement.url)
    return Line(place, requirement, ())


def _marked(text: str) -> Tuple[str, str]:
    """Return what is before the marker, and the marker. A URL or path may hold semicolons; pip needs no blank there."""
    for semicolon in re.finditer(";", text):
        marker = text[semicolon.end() :].strip()
        try:
            Marker(marker)
        except InvalidMarker:
            continue
        return text[: semicolon.start()].rstrip(), marker
    location, _, marker = text.partition(" ;")
    return location.strip(), marker.strip()


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
    url = _url(path, place, location)
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
        _check_place(line, url)
    if line.kind == "wheel":
        name = canonicalize_name(os.path.basename(unquote(urlsplit(url).path)).partition("-")[0])
        if name != canonicalize_name(line.requirement.name):
            refuse(line.place, f"takes {line.requirement.name} from a wheel of {name}", f"Write {name} @ URL")


def _check_place(line: Line, url: str) -> None:
    path = unquote(urlsplit(url).path)
    if not os.path.exists(path):
        refuse(line.place, f"names {path}, which does not exist", "Correct the path")
    if line.kind == "archive" and not _is_archive(path):
        refuse(line.place, f"{path} is neither a wheel nor an sdist", "Give a Python project, a wheel or an sdist")
    path = os.path.join(path, dict(parse_qsl(urlsplit(url).fragment)).get("subdirectory", ""))
    if line.kind == "folder" and not any(os.path.exists(os.path.join(path, part)) for part in _PROJECT_FILES):
        refuse(line.place, f"{path} has neither pyproject.toml nor setup.py", "Give a Python project")


def _fragment_hashes(url: str) -> List[str]:
    """Return the hashes in the fragment of *url*; weak ones do not count, pip compares them all the same."""
    found = [f"{name}:{value.lower()}" for name, value in parse_qsl(urlsplit(url).fragment)]
    return [one for one in found if _HASH.match(one)]


def _is_archive(path: str) -> bool:
    """Say whether pip can unpack the file *path*."""
    return path.endswith(SDISTS) or zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _worth(path: str, subdirectory: str) -> int:
    """Return 2 for a file and for the folder of a Python project, 1 for another folder, 0 for nothing."""
    projects = [os.path.join(path, subdirectory, part) for part in _PROJECT_FILES]
    return int(os.path.exists(path)) + int(os.path.isfile(path) or any(map(os.path.exists, projects)))


def _url(path: str, place: str, text: str) -> str:
    """Return the URL that *text*, a URL or a path, means in the requirements file *path*."""
    scheme, mark, rest = text.partition("://")
    if mark and re.match(r"[a-z][a-z0-9+.-]*\Z", scheme, re.IGNORECASE):
        return scheme.lower() + mark + rest
    if text.startswith("git+"):
        refuse(place, f"{masked(text)[:120]} is not a URL", "Begin it with git+ssh:// and put a slash after the host")
    return _file_url(path, text)


def _file_url(path: str, value: str) -> str:
    """Return the ``file:`` URL of the path *value* in the requirements file *path*, with its fragment.

    A relative path is one in the working folder, as with pip; where no project or file is there, one beside the file.
    Percent signs quote characters in a URL; in a path only where nothing has that very name.
    """
    location, mark, fragment = re.sub("^file:", "", value).partition("#")
    subdirectory = dict(parse_qsl(fragment)).get("subdirectory", "")
    written = [unquote(location)] if value.startswith("file:") else [location, unquote(location)]
    places = [os.path.join(folder, one) for one in written for folder in ("", os.path.dirname(path))]
    location = max(places, key=lambda place: _worth(place, subdirectory))  # the first of equals
    return "file://" + quote(os.path.abspath(location)) + mark + fragment


def refuse(place: str, why: str, fix: Optional[str] = None) -> NoReturn:
    """Raise BuildInputError for the line at *place*."""
    raise BuildInputError(place, why, fix)
