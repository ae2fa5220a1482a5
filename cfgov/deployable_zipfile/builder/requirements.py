"""Reads what is to be installed: a requirements file as pip does, or a ``pylock.toml`` (PEP 751).

pip resolves; this module makes mistakes visible before pip runs, with file and line, and gives the closure check its
roots. Form of the file: pip's reference manual, "Requirements File Format"; lines: PEP 508.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from typing import Any, FrozenSet, Iterable, Iterator, List, NamedTuple, NoReturn, Optional, Sequence, Tuple
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import BuildInputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LONGEST_LINE = 64 * 1024  # characters; pip-compile's longest, with all its hashes, have about 12 000
_ONE_VALUE = {
    "-i": "--index-url", "--index-url": "--index-url", "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url", "-f": "--find-links", "--find-links": "--find-links",
    "--no-binary": "--no-binary", "--only-binary": "--only-binary", "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature", "--uploaded-prior-to": "--uploaded-prior-to",
}  # fmt: skip
_NO_VALUE = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")
_PER_REQUIREMENT = ("--hash", "--config-settings", "--config-setting", "-C", "--global-option")
_VCS = ("git+", "hg+", "svn+", "bzr+")
_COMMIT = re.compile(r"@[0-9a-f]{40}(?:[#&]|\Z)")
_HASH = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # pip's environment variables in requirements files


class Line(NamedTuple):
    """One requirement."""

    place: str  # "requirements/deployment.txt:12", for messages
    requirement: Requirement
    hashes: Tuple[str, ...]  # "sha256:..."
    options: Tuple[str, ...]  # further options of this requirement, for pip


class Requirements(NamedTuple):
    """Everything that a requirements file asks for, includes resolved."""

    path: str
    lines: Tuple[Line, ...]
    options: Tuple[str, ...]  # index and selection options, for pip
    constraints: Tuple[str, ...]  # paths
    digest: str  # of the content of every file that was read: the lock's identity
    rewritten: bool  # pip must be given the lines, not the file (pylock.toml)

    @property
    def hashed(self) -> bool:
        """Whether every requirement carries a hash."""
        return bool(self.lines) and all(line.hashes for line in self.lines)


def read(path: str) -> Requirements:
    """Read the requirements file or ``pylock.toml`` at *path*.

    Raises:
        BuildInputError: naming file and line.
    """
    name = os.path.basename(path)
    if name == "pylock.toml" or (name.startswith("pylock.") and name.endswith(".toml")):
        return _read_pylock(path)
    reader = _Reader()
    reader.read(path)
    _check_hashes(reader.lines, "--require-hashes" in reader.options)
    return Requirements(
        path, tuple(reader.lines), tuple(reader.options), tuple(reader.constraints), reader.digest.hexdigest(), False
    )


def pinned(requirements: Requirements) -> FrozenSet[str]:
    """Return the projects of which the file admits one version: by ``==``, a URL, or a local file."""
    found = set()
    for line in requirements.lines:
        specifiers = list(line.requirement.specifier)
        exact = [one for one in specifiers if one.operator in ("==", "===") and not one.version.endswith(".*")]
        if exact or line.requirement.url:
            found.add(canonicalize_name(line.requirement.name))
    return frozenset(found)


def names(lines: Iterable[Line]) -> FrozenSet[str]:
    """Return the normalised names of the projects that *lines* ask for."""
    return frozenset(canonicalize_name(line.requirement.name) for line in lines)


def as_pip_lines(lines: Sequence[Line]) -> str:
    """Return *lines*, chosen already, without their markers as the text of a requirements file."""
    text = []
    for line in lines:
        requirement = Requirement(str(line.requirement))
        requirement.marker = None
        hashes = [f"--hash={digest}" for digest in line.hashes]
        text.append(" ".join([str(requirement), *line.options, *hashes]))
    return "\n".join(text) + "\n"


def without_credentials(text: str) -> str:
    """Return *text* with the user information and the query of every URL in it replaced.

    Tokens of private package indexes travel there, and in no other part (RFC 3986, 3.2.1).
    """
    text = re.sub(r"(\w+://)[^/\s@'\"]+@", r"\1****@", text)
    return re.sub(r"(\w+://[^\s?'\"]+)\?[^\s#'\"]+", r"\1?****", text)


class _Reader:
    """Reads files that include each other."""

    def __init__(self) -> None:
        self.lines: List[Line] = []
        self.options: List[str] = []
        self.constraints: List[str] = []
        self.digest = hashlib.sha256()
        self._open: List[str] = []

    def read(self, path: str, at: str = "", constraint: bool = False) -> None:
        real = os.path.realpath(path)
        if real in self._open:
            _refuse(at, f"includes {path}, which includes this file", "Remove one of the two lines")
        self._open.append(real)
        for number, text in self._logical_lines(path, at):
            place = f"{path}:{number}"
            if len(text) > _LONGEST_LINE:
                _refuse(place, f"is a line of {len(text)} characters", "This is no requirements file")
            if text.startswith("-"):
                self._option(path, place, text, constraint)
            elif constraint:
                _requirement(place, text)
            else:
                line = _requirement(place, text)
                self.lines.append(line)
                self._add_local_file(place, line.requirement.url or "")
        self._open.pop()

    def _logical_lines(self, path: str, at: str) -> Iterator[Tuple[int, str]]:
        """Yield (number, text) of each line, joined over backslashes, without comments, as pip does it."""
        content = _content(path, at)
        self.digest.update(hashlib.sha256(content).digest())
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            _refuse(f"{path}:{line}", "is not UTF-8", "Save the file as UTF-8")
        pending, first = "", 0
        for number, part in enumerate(text.splitlines(), 1):
            first = first if pending else number
            if part.endswith("\\") and not _COMMENT.match(part):
                pending += part[:-1].strip() + " "
                continue
            joined = _expanded(_COMMENT.sub("", pending + part).strip())
            pending = ""
            if joined:
                yield first, joined
        if pending.strip():
            yield first, _expanded(pending.strip())

    def _option(self, path: str, place: str, text: str, constraint: bool) -> None:
        try:
            words = shlex.split(text)
        except ValueError as error:
            _refuse(place, f"cannot be read ({error})", "Correct the line")
        name, equals, value = words[0].partition("=")
        if not name.startswith("--") and len(name) > 2:  # -rfile
            name, equals, value = name[:2], "=", words[0][2:].lstrip("=")
        rest = words[1:]
        if not equals and rest:
            value, rest = rest[0], rest[1:]
        if name in ("-e", "--editable"):
            _refuse(place, "asks for an editable installation", "Write NAME @ URL of a released version instead")
        if name in _NO_VALUE and len(words) == 1:
            self.options.append(name)
            return
        if rest or not value:
            _refuse(place, f"cannot be read as an option: {name}", "Correct the line")
        if name in ("-r", "--requirement", "-c", "--constraint"):
            included = os.path.join(os.path.dirname(path), value)
            constraining = constraint or name in ("-c", "--constraint")
            if constraining:
                self.constraints.append(included)
            self.read(included, place, constraining)
        elif name in _ONE_VALUE:
            self.options += [_ONE_VALUE[name], _resolved(path, name, value)]
        else:
            _refuse(place, f"uses the option {name}, which is unknown", "Remove it")

    def _add_local_file(self, place: str, url: str) -> None:
        """Make the content of a requirement that is a local file part of the lock's identity."""
        if not url.startswith("file:"):
            return
        path = unquote(urlsplit(url).path)
        if not os.path.isfile(path):
            _refuse(place, f"names {path}, which is no file", "Give a wheel or an sdist, not a folder")
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                self.digest.update(block)


def _content(path: str, at: str) -> bytes:
    where, what = (at, f"names {path}, which ") if at else (path, "")
    if os.path.isdir(path):
        _refuse(where, f"{what}is a folder", "Give a requirements file")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        _refuse(where, f"{what}cannot be read ({error.strerror})", "Give a requirements file")


def _requirement(place: str, text: str) -> Line:
    text, *options = re.split(r"\s+(?=(?:--|-C)[a-zA-Z]?)", text)
    hashes, further = [], []
    words = [word for option in options for word in shlex.split(option)]
    position = 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        position += 1
        if name not in _PER_REQUIREMENT:
            _refuse(place, f"uses the option {name}, which is unknown here", "Remove it")
        if not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        if name != "--hash":
            further.append(f"{name}={value}")
        elif _HASH.match(value):
            hashes.append(value)
        else:
            _refuse(place, f"{value[:80]!r} is no sha256, sha384 or sha512 digest", "Lock the requirements again")
    return Line(place, _parsed(place, text.strip()), tuple(hashes), tuple(further))


def _parsed(place: str, text: str) -> Requirement:
    shown = without_credentials(text)[:120]
    location = text.partition(" @ ")[2] if " @ " in text else text
    if location.startswith(_VCS):
        if not location.startswith("git+") or not _COMMIT.search(location) or " @ " not in text:
            _refuse(place, f"takes {shown} from version control", "Write NAME @ git+URL@COMMIT with a 40-digit commit")
    elif " @ " not in text and (re.match(r"\w+://|file:|\.{0,2}/", text) or text.endswith((".whl", ".tar.gz", ".zip"))):
        return _of_location(place, text)
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        _refuse(place, f"{shown!r} is no requirement ({str(error).splitlines()[0]})", "Correct the line")


def _of_location(place: str, text: str) -> Requirement:
    """Return the requirement for a bare URL or path of a wheel or sdist, named by its file name.

    pip takes a path as relative to the working directory, not to the file that names it.
    """
    location, _, marker = text.partition(" ;") if " ;" in text else (text, "", "")
    url = location.strip()
    if not re.match(r"\w+:", url):
        url = "file://" + os.path.abspath(url)
    filename = unquote(os.path.basename(urlsplit(url).path))
    name = filename.split("-")[0] if filename.endswith(".whl") else re.sub(r"-[0-9][^-]*$", "", filename)
    if not filename.endswith((".whl", ".tar.gz", ".zip")):
        _refuse(place, f"{without_credentials(text)[:120]} is no wheel or sdist", "Give the URL of a .whl or .tar.gz")
    try:
        return Requirement(f"{name} @ {url}" + (f" ; {marker}" if marker else ""))
    except InvalidRequirement as error:
        _refuse(place, f"cannot be read ({str(error).splitlines()[0]})", "Write it as NAME @ URL")


def _resolved(path: str, name: str, value: str) -> str:
    """Return an option's value so that it means the same from any working directory."""
    if name in ("-f", "--find-links") and not re.match(r"\w+:", value):
        return os.path.abspath(os.path.join(os.path.dirname(path), value))
    return value


def _expanded(text: str) -> str:
    return _REFERENCE.sub(lambda match: os.environ.get(match.group(1), match.group(0)), text)


def _check_hashes(lines: Sequence[Line], demanded: bool) -> None:
    """Refuse a file that gives hashes for some requirements alone: the others could be anything."""
    bare = [line for line in lines if not line.hashes]
    if bare and (demanded or len(bare) < len(lines)):
        more = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
        _refuse(
            bare[0].place,
            f"{bare[0].requirement.name} has no hash{more}, others have",
            "Lock all of them: uv pip compile --generate-hashes",
        )


def _read_pylock(path: str) -> Requirements:
    content = _content(path, "")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _refuse(path, f"is no TOML ({error})", "Lock the requirements again")
    if not str(document.get("lock-version", "")).startswith("1."):
        _refuse(path, f"has lock-version {document.get('lock-version')!r}, known is 1.0", "Export it again")
    packages = document.get("packages")
    if not isinstance(packages, list):
        _refuse(path, "has no packages", "Export it again")
    lines = [_locked(path, number, package) for number, package in enumerate(packages, 1)]
    digest = hashlib.sha256(content).hexdigest()
    return Requirements(path, tuple(lines), ("--require-hashes",), (), digest, True)


def _locked(path: str, number: int, package: Any) -> Line:
    place = f"{path}:packages[{number}]"
    name = package.get("name") if isinstance(package, dict) else None
    if not isinstance(name, str):
        _refuse(place, "has no name", "Export it again")
    for kind in ("vcs", "directory"):
        if kind in package:
            _refuse(place, f"{name} comes from a {kind}", "Lock a released version")
    files = list(package.get("wheels", [])) + [package[kind] for kind in ("sdist", "archive") if kind in package]
    hashes = tuple(f"{kind}:{value}" for file in files for kind, value in sorted(file.get("hashes", {}).items()))
    if not hashes or not all(_HASH.match(one) for one in hashes):
        _refuse(place, f"{name} has no usable hash", "Export it with hashes")
    text = f"{name}=={package['version']}" if "version" in package and "archive" not in package else ""
    if not text:
        url = package.get("archive", {}).get("url")
        if not url:
            _refuse(place, f"{name} has neither version nor URL", "Export it again")
        text = f"{name} @ {url}"
    try:
        requirement = Requirement(text)
        requirement.marker = Marker(package["marker"]) if "marker" in package else None
    except (InvalidRequirement, InvalidMarker) as error:
        _refuse(place, f"cannot be read ({str(error).splitlines()[0]})", "Export it again")
    return Line(place, requirement, hashes, ())


def _refuse(place: str, why: str, fix: Optional[str] = None) -> NoReturn:
    raise BuildInputError(place, without_credentials(why), fix)
