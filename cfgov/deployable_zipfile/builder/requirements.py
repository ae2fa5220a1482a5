"""Reads a requirements file as pip does: its lines, its options, the files that it includes.

pip resolves; this module makes mistakes visible before pip runs, with file and line, and gives the closure check its
roots. Form of the file: pip's reference manual, "Requirements File Format"; lines: PEP 508, and pip's own short forms
for URLs and paths. Paths mean what they mean to pip: an included file and ``--find-links`` start at the file that names
them, a requirement that is a path at the working directory; each is then looked for at the other place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from typing import (
    Callable,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
)
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .. import durable
from ..errors import BuildInputError, conceal, masked

SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar")

_LONGEST_LINE = 64 * 1024  # characters; pip-compile's longest, with all its hashes, have about 12 000
_SPELLINGS = {
    "-i": "--index-url", "--index-url": "--index-url", "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url", "-f": "--find-links", "--find-links": "--find-links",
    "--no-binary": "--no-binary", "--only-binary": "--only-binary", "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature", "--all-releases": "--all-releases", "--only-final": "--only-final",
}  # fmt: skip
ONE_VALUE = frozenset(_SPELLINGS.values())
INDEXES = ("--index-url", "--extra-index-url", "--find-links", "--no-index")  # options that say where pip looks
_NO_VALUE = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")
_INCLUDING = ("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints")
_CONFIG = ("--config-settings", "--config-setting", "-C")
# What pip passed to setup.py before there were build backends; newer releases of it have dropped them.
_LEGACY = ("--global-option", "--build-option", "--install-option")
_VCS = ("git+", "hg+", "svn+", "bzr+")
_COMMIT = re.compile(r"@(?:[0-9a-f]{64}|[0-9a-f]{40})\Z")
_HASH = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_QUOTING, _BLANKS = re.compile(r"['\"\\]"), re.compile(r"[ \t\r\n]+")  # as shlex.split takes them
_REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # pip's environment variables in requirements files
_EXTRAS = re.compile(r"(?P<location>.*?)(?P<extras>\[[A-Za-z0-9._, -]*\])\Z")


class File(NamedTuple):
    """One of the files that a lock offers for a project."""

    name: str
    url: str
    hashes: Tuple[str, ...]  # "sha256:..."


class Line(NamedTuple):
    """One requirement."""

    place: str  # "requirements/deployment.txt:12", for messages
    requirement: Requirement
    hashes: Tuple[str, ...]  # "sha256:..."
    options: Tuple[str, ...] = ()  # "--config-settings=KEY=VALUE", for pip
    named: bool = True  # False: a bare URL or path whose project is known when it has been built
    files: Tuple[File, ...] = ()  # to choose from, by the tags of the target; () leaves the choice to pip
    requires_python: str = ""  # what the lock says of it

    @property
    def kind(self) -> str:
        """Where it comes from: ``index``, ``wheel``, ``archive``, ``folder`` or ``vcs``."""
        url = self.requirement.url
        if not url:
            return "index"
        if url.startswith(_VCS):
            return "vcs"
        path = unquote(urlsplit(url).path)
        if path.endswith(".whl"):
            return "wheel"
        return "folder" if url.startswith("file:") and os.path.isdir(path) else "archive"

    @property
    def fixed(self) -> bool:
        """Whether it names one content: by hash, by commit, or as a folder beside the project."""
        return bool(self.hashes) or self.kind in ("vcs", "folder")


class Requirements(NamedTuple):
    """Everything that is to be installed, includes resolved."""

    path: str
    lines: Tuple[Line, ...]
    options: Tuple[str, ...]  # index and selection options, for pip
    constraints: Tuple[str, ...]  # paths and URLs
    digest: str  # of the content of every file that was read: the lock's identity
    requires_python: str = ""
    environments: Tuple[str, ...] = ()  # markers, of which one must hold

    @property
    def fixed(self) -> bool:
        """Whether every requirement names one content, so that the list is complete and needs no resolver."""
        return bool(self.lines) and all(line.fixed for line in self.lines)


def read(path: str, fetch: Optional[Callable[[str], bytes]] = None, exported: Optional[bytes] = None) -> Requirements:
    """Read the requirements file at *path*.

    Parameters:
        fetch: returns what an included ``https://`` URL holds; without it, such a line is refused.
        exported: a requirements file that was made from *path*, read instead of it.

    Raises:
        BuildInputError: naming file and line.
    """
    reader = _Reader(fetch, {} if exported is None else {path: exported})
    reader.read(path)
    options = [word for word in reader.options if word != "--require-hashes"]
    _check_hashes(reader.lines, len(options) < len(reader.options))
    return Requirements(path, tuple(reader.lines), tuple(options), tuple(reader.constraints), reader.digest.hexdigest())


def names(lines: Iterable[Line]) -> FrozenSet[str]:
    """Return the normalised names of the projects that *lines* ask for."""
    return frozenset(canonicalize_name(line.requirement.name) for line in lines)


def as_pip_lines(lines: Sequence[Line], options: Sequence[str] = (), constraints: Sequence[str] = ()) -> str:
    """Return *lines*, chosen already, without their markers, and *options* as the text of a requirements file."""
    text: List[str] = []
    for word in options:
        if word.startswith("-"):
            text.append(word)
        else:
            text[-1] += " " + shlex.quote(word)
    text += [f"--constraint {shlex.quote(path)}" for path in constraints]
    text += [_as_pip_line(line) for line in lines]
    return "\n".join(text) + "\n"


def _as_pip_line(line: Line) -> str:
    requirement = Requirement(str(line.requirement))
    requirement.marker = None
    shown = str(requirement) if line.named else str(requirement.url) + _extras(requirement)
    parts = [option.partition("=") for option in line.options]  # pip knows an option by the dash before it
    options = [f"{name}={shlex.quote(value)}" for name, _, value in parts]
    return " ".join([shown, *options, *(f"--hash={digest}" for digest in line.hashes)])


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def project_of(filename: str) -> str:
    """Return the normalised name of the project that a wheel or sdist belongs to."""
    if filename.endswith(".whl"):
        return canonicalize_name(filename.split("-")[0])
    stem = next((filename[: -len(end)] for end in SDISTS if filename.endswith(end)), filename)
    return canonicalize_name(stem.rpartition("-")[0] or stem)


def origin(line: Line) -> str:
    """Return where what is built for *line* comes from, for the bill of materials: no secret, no place of this machine.

    A folder is named as its requirement is written; an archive with its locked hash.
    """
    url = str(line.requirement.url)
    if line.kind == "folder":
        return f"folder {line.requirement.name}"
    parts = urlsplit(url)
    if parts.scheme == "file":
        shown = os.path.basename(unquote(parts.path))
    else:
        shown = masked(parts._replace(query="", fragment="").geturl()).replace("****@", "")
        shown = re.sub(r"(?<=\Agit\+file:).*/", "", shown)
    subdirectory = dict(parse_qsl(parts.fragment)).get("subdirectory")
    shown += f"#subdirectory={subdirectory}" if subdirectory else ""
    return " ".join([shown, *line.hashes])


class _Reader:
    """Reads files that include each other."""

    def __init__(self, fetch: Optional[Callable[[str], bytes]], given: Mapping[str, bytes]) -> None:
        self.lines: List[Line] = []
        self.options: List[str] = []
        self.constraints: List[str] = []
        self.digest = hashlib.sha256()
        self._fetch = fetch
        self._given = given
        self._open: List[str] = []

    def read(self, path: str, at: str = "", constraint: bool = False) -> None:
        real = path if _is_remote(path) else os.path.realpath(path)
        if real in self._open:
            _refuse(at, f"includes {path}, which includes this file", "Remove one of the two lines")
        self._open.append(real)
        for number, text in self._logical_lines(path, at):
            place = f"{masked(path)}:{number}"
            if len(text) > _LONGEST_LINE:
                _refuse(place, f"is a line of {len(text)} characters", "Give a requirements file")
            editable = re.match(r"(?:-e|--editable)(?:\s*=?\s*)(?P<what>\S.*)", text)
            if editable:  # what is edited later is not what was packed, so a wheel is built from it
                self._add(_requirement(path, place, editable["what"]))
            elif text.startswith("-"):
                self._options(path, place, text, constraint)
            elif constraint:
                _requirement(path, place, text)
            else:
                self._add(_requirement(path, place, text))
        self._open.pop()

    def _logical_lines(self, path: str, at: str) -> Iterator[Tuple[int, str]]:
        """Yield (number, text) of each line, joined over backslashes, without comments, as pip does it."""
        content = self._content(path, at)
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

    def _content(self, path: str, at: str) -> bytes:
        if path in self._given:
            return self._given[path]
        if not _is_remote(path):
            return content(path, at)
        if self._fetch is None:
            _refuse(at, f"includes {path}", "Save that file beside this one")
        return self._fetch(path)

    def _options(self, path: str, place: str, text: str, constraint: bool) -> None:
        """Read a line of options; pip allows several."""
        words = _words(place, text)
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:  # -rfile
                name, equals, value = word[:2], "=", word[2:].lstrip("=")
            if name in _NO_VALUE and not equals:
                self.options.append(name)
                continue
            if not equals and words and name.startswith("-"):
                value = words.pop(0)
            if not value:
                _refuse(place, f"cannot be read as an option: {name}", "Correct the line")
            self._option(path, place, name, value, constraint)

    def _option(self, path: str, place: str, name: str, value: str, constraint: bool) -> None:
        if name in _INCLUDING:
            included = _beside(path, value)
            constraining = constraint or "-c" in name
            if constraining:
                self.constraints.append(included if _is_remote(included) else os.path.abspath(included))
            if not (constraining and _is_remote(included)):  # pip fetches a constraint; it adds no requirement
                self.read(included, place, constraining)
        elif name in _SPELLINGS:
            option = _SPELLINGS[name]
            self.options += [option, _find_links(path, value) if option == "--find-links" else value]
        else:
            _refuse(place, f"uses the unknown option {name}", "Remove it")

    def _add(self, line: Line) -> None:
        """Add a requirement; the content of a local file becomes its hash."""
        url = line.requirement.url or ""
        if url.startswith("file:") and line.kind != "folder":
            path = unquote(urlsplit(url).path)
            if not os.path.isfile(path):
                _refuse(line.place, f"names {path}, which does not exist", "Correct the path")
            digest = durable.digest(path, follow=True)
            self.digest.update(bytes.fromhex(digest))
            line = line._replace(hashes=line.hashes or (f"sha256:{digest}",))
        self.lines.append(line)


def content(path: str, at: str = "") -> bytes:
    """Return the bytes of the input file *path*.

    Parameters:
        at: the line that names it, for messages.

    Raises:
        BuildInputError: it cannot be read.
    """
    where, what = (at, f"names {path}, which ") if at else (path, "")
    if os.path.isdir(path):
        _refuse(where, f"{what}is a directory", "Give a requirements file or a lock")
    try:
        with open(path, "rb") as file:
            read = file.read()
    except OSError as error:
        _refuse(where, f"{what}cannot be read ({error.strerror})", "Give a requirements file or a lock")
    conceal(read.decode("utf-8", "replace"))
    return read


def _requirement(path: str, place: str, text: str) -> Line:
    words = text.split(" ")
    start = next((number for number, word in enumerate(words) if re.match(r"--[a-z]|-C", word)), len(words))
    hashes, further = _line_options(place, " ".join(words[start:]))
    line = _parsed(path, place, " ".join(words[:start]).strip())
    check_location(line)
    hashes += [one for one in _fragment_hashes(line.requirement.url or "") if one not in hashes]
    return line._replace(hashes=tuple(hashes), options=tuple(further))


def _words(place: str, text: str) -> List[str]:
    """Return the words of a line, quotes removed as in a shell."""
    if not _QUOTING.search(text):  # shlex reads character by character: a long time for a lock full of hashes
        return [word for word in _BLANKS.split(text) if word]
    try:
        return shlex.split(text)
    except ValueError as error:
        _refuse(place, f"cannot be read ({error})", "Correct the line")


def _line_options(place: str, text: str) -> Tuple[List[str], List[str]]:
    """Return the hashes and the settings for the backend that stand behind a requirement."""
    hashes, further = [], []
    words = _words(place, text)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("-C") and len(word) > 2:
            name, equals, value = "-C", "=", word[2:].lstrip("=")
        if not equals:
            value = words.pop(0) if words else ""
        if name in _CONFIG:
            if "=" not in value:
                _refuse(place, f"{value!r} is not of the form KEY=VALUE", "Write --config-settings=KEY=VALUE")
            further.append(f"--config-settings={value}")
        elif name in _LEGACY:
            _refuse(place, f"uses {name}, which build backends do not know", "Write --config-settings=KEY=VALUE")
        elif name != "--hash":
            _refuse(place, f"uses the option {name}, which is unknown here", "Remove it")
        elif _HASH.match(value):
            hashes.append(value)
        else:
            _refuse(place, f"{value[:80]!r} is not a sha256, sha384 or sha512 hash", "Lock the requirements again")
    return hashes, further


def _parsed(path: str, place: str, text: str) -> Line:
    location, _, marker = text.partition(" ;")
    if _is_location(location):
        return _of_location(path, place, location.strip(), marker.strip())
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        _refuse(
            place, f"{masked(text)[:120]!r} is not a requirement ({str(error).splitlines()[0]})", "Correct the line"
        )
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
            _refuse(place, f"{filename} is not the name of a wheel", "Correct the line")
    elif egg:
        name, extras = egg[1], extras or egg[2] or ""
    else:
        name, named = "unnamed-" + hashlib.sha256(url.encode("utf-8")).hexdigest()[:12], False
    try:
        requirement = Requirement(f"{name}{extras} @ {url}" + (f" ; {marker}" if marker else ""))
    except InvalidRequirement as error:
        _refuse(place, f"cannot be read ({str(error).splitlines()[0]})", "Write it as NAME @ URL")
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
            _refuse(line.place, f"takes {shown} from version control other than git", fix)
        if not _COMMIT.search(urlsplit(url).path):
            _refuse(line.place, f"takes {shown} from version control without a full commit", fix)
    elif url.startswith("file:"):
        path = unquote(urlsplit(url).path)
        if not os.path.exists(path):
            _refuse(line.place, f"names {path}, which does not exist", "Correct the path")
        parts = ("pyproject.toml", "setup.py")
        path = os.path.join(path, dict(parse_qsl(urlsplit(url).fragment)).get("subdirectory", ""))
        if line.kind == "folder" and not any(os.path.exists(os.path.join(path, part)) for part in parts):
            _refuse(line.place, f"{path} has neither pyproject.toml nor setup.py", "Give a Python project")


def _fragment_hashes(url: str) -> List[str]:
    """Return the hashes in the fragment of *url*; weak ones do not count, pip compares them all the same."""
    found = [f"{name}:{value}" for name, value in parse_qsl(urlsplit(url).fragment)]
    return [one for one in found if _HASH.match(one)]


def _is_remote(path: str) -> bool:
    return re.match(r"https?://", path, re.IGNORECASE) is not None


def _beside(path: str, value: str) -> str:
    """Return where the file *value*, named in the requirements file *path*, is."""
    if _is_remote(value):
        return value
    if _is_remote(path):
        return urljoin(path, value)
    if value.startswith("file:"):
        return unquote(urlsplit(value).path)
    beside = os.path.join(os.path.dirname(path), value)
    return value if not os.path.exists(beside) and os.path.exists(value) else beside


def _find_links(path: str, value: str) -> str:
    """Return ``--find-links`` so that it means the same from any working directory."""
    if re.match(r"\w+:", value):
        return value
    return os.path.abspath(_beside("" if _is_remote(path) else path, os.path.expanduser(value)))


def _file_url(path: str, value: str) -> str:
    """Return the ``file:`` URL of the path *value* in the requirements file *path*, with its fragment."""
    location, mark, fragment = unquote(value).partition("#")
    if not os.path.isabs(location):
        beside = os.path.join(os.path.dirname(path), location)
        location = beside if not os.path.exists(location) and os.path.exists(beside) else location
    return "file://" + quote(os.path.abspath(location)) + mark + fragment


def _expanded(text: str) -> str:
    return _REFERENCE.sub(lambda match: os.environ.get(match.group(1), match.group(0)), text)


def _check_hashes(lines: Sequence[Line], demanded: bool) -> None:
    """Refuse a file that gives hashes for some requirements only: the others could be anything.

    A full commit of git is a pin as a hash is, and nobody else can change a folder beside the project.
    """
    bare = [line for line in lines if not line.fixed]
    given = any(line.hashes and not (line.requirement.url or "").startswith("file:") for line in lines)
    if bare and (demanded or given):
        more = f" (and {len(bare) - 1} more)" if len(bare) > 1 else ""
        shown = bare[0].requirement.name if bare[0].named else masked(str(bare[0].requirement.url))
        why = f"{shown} has no hash{more}, others have" if given else f"{shown} has no hash{more}, which is required"
        _refuse(bare[0].place, why, "Lock all of them: uv pip compile --generate-hashes")


def _refuse(place: str, why: str, fix: Optional[str] = None) -> NoReturn:
    raise BuildInputError(place, why, fix)
