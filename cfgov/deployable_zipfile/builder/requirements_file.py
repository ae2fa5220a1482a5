"""Reads a requirements file as pip does: its lines, its options, the files that it includes.

pip resolves; this module makes mistakes visible before pip runs, with file and line, and gives the closure check its
roots. Form of the file: pip's reference manual, "Requirements File Format". Paths mean what they mean to pip: an
included file and ``--find-links`` start at the file that names them, a requirement that is a path at the working
directory; each is then looked for at the other place.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from typing import Callable, Iterator, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import unquote, urljoin, urlsplit

from .. import durable
from ..definitions import expression
from ..errors import conceal, masked
from . import requirement_line
from .requirements import FLAGS, SPELLINGS, Line, Requirements

_LONGEST_LINE = 64 * 1024  # characters; pip-compile's longest, with all its hashes, have about 12 000
_DEMANDS = ("--require-hashes", "--no-require-hashes")  # the last one counts
_INCLUDING = ("-r", "--requirement", "--requirements", "-c", "--constraint", "--constraints")
# Byte order marks, the longer of two that begin alike first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CODING = expression(rb"[ \t]*#.*?coding[:=][ \t]*([-\w.]+)")  # PEP 263
_COMMENT = expression(r"(?:^|\s)#.*$")
_REFERENCE = expression(r"\$\{([A-Z0-9_]+)\}")  # pip's environment variables in requirements files


def read(
    path: str,
    fetch: Optional[Callable[[str], bytes]] = None,
    exported: Optional[bytes] = None,
    constraints: Sequence[str] = (),
) -> Requirements:
    """Read the requirements file at *path*.

    Parameters:
        fetch: returns what an included ``https://`` URL holds; without it, such a line is refused.
        exported: a requirements file that was made from *path*, read instead of it.
        constraints: files and URLs of constraints that hold as well.

    Raises:
        BuildInputError: naming file and line.
    """
    reader = _FileReader(fetch, {} if exported is None else {path: exported})
    reader.read(path)
    for one in constraints:
        reader.constrain(one)
    demands = [word for word in reader.options if word in _DEMANDS]
    options = [word for word in reader.options if word not in _DEMANDS]
    _check_hashes(reader.lines, demands[-1:] == ["--require-hashes"])
    return Requirements(
        path, tuple(reader.lines), tuple(options), tuple(reader.constraints), reader.digest.hexdigest(),
        files=tuple(reader.files) if exported is None else (),
    )  # fmt: skip


class _FileReader:
    """Reads files that include each other."""

    def __init__(self, fetch: Optional[Callable[[str], bytes]], given: Mapping[str, bytes]) -> None:
        self.lines: List[Line] = []
        self.options: List[str] = []
        self.constraints: List[str] = []
        self.digest = hashlib.sha256()
        self.files: List[str] = []
        self._fetch = fetch
        self._given = given
        self._open: List[str] = []

    def read(self, path: str, at: str = "", constraint: bool = False) -> None:
        real = path if _is_remote(path) else os.path.realpath(path)
        if real in self._open:
            requirement_line.refuse(at, f"includes {path}, which includes this file", "Remove one of the two lines")
        self._open.append(real)
        for number, text in self._logical_lines(path, at):
            place = f"{masked(path)}:{number}"
            if len(text) > _LONGEST_LINE:
                requirement_line.refuse(place, f"is a line of {len(text)} characters", "Give a requirements file")
            editable = re.match(r"(?:-e|--editable)(?:\s*=?\s*)(?P<what>\S.*)", text)
            if editable and constraint:
                requirement_line.refuse(place, "is editable, which no constraint may be", "Make it a requirement")
            elif editable:  # what is edited later is not what was packed, so a wheel is built from it
                self._add(requirement_line.edited(path, place, editable["what"]))
            elif text.startswith("-"):
                self._options(path, place, text)
            elif constraint:
                _check_constraint(requirement_line.requirement(path, place, text))
            else:
                self._add(requirement_line.requirement(path, place, text))
        self._open.pop()

    def constrain(self, named: str) -> None:
        """Take the constraints file *named* by pip's own settings."""
        self._option("", "constraint of pip's settings", "--constraint", named)

    def _logical_lines(self, path: str, at: str) -> Iterator[Tuple[int, str]]:
        """Yield (number, text) of each line, joined over backslashes, without comments, as pip does it."""
        content = self._content(path, at)
        self.files.append(path)
        self.digest.update(hashlib.sha256(content).digest())
        text = _decoded(path, content)
        pending, first = "", 0
        for number, part in enumerate(text.splitlines(), 1):
            first = first if pending else number
            if part.endswith("\\") and not _COMMENT.match(part):
                pending += part[:-1].strip() + " "
                continue
            joined, pending = _COMMENT.sub("", pending + part).strip(), ""
            if joined:
                yield first, self._expanded(joined)
        if pending.strip():
            yield first, self._expanded(pending.strip())

    def _expanded(self, text: str) -> str:
        """Return *text* with variables of the environment replaced, which decide what is required; no token does."""
        if "${" not in text:
            return text
        found = _REFERENCE.sub(lambda match: os.environ.get(match.group(1)) or match.group(0), text)
        if not found.startswith("-"):
            self.digest.update(masked(found).encode("utf-8", "surrogateescape"))
        return found

    def _content(self, path: str, at: str) -> bytes:
        if path in self._given:
            return self._given[path]
        if not _is_remote(path):
            return content(path, at)
        if self._fetch is None:
            requirement_line.refuse(at, f"includes {path}", "Save that file beside this one")
        return self._fetch(path)

    def _options(self, path: str, place: str, text: str) -> None:
        """Read a line of options; pip allows several."""
        words = requirement_line.split(place, text)
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:  # -rfile
                name, equals, value = word[:2], "=", word[2:].lstrip("=")
            name = _in_full(name)
            if name in FLAGS and not equals:
                self.options.append(name)
                continue
            _check_option(place, name)
            value = words.pop(0) if not equals and words else value
            if not value:
                requirement_line.refuse(place, f"uses {name} without a value", "Add the value")
            self._option(path, place, name, value)

    def _option(self, path: str, place: str, name: str, value: str) -> None:
        if name in _INCLUDING:
            included = _beside(path, value)
            constraining = "-c" in name  # what a constraints file includes by -r is required, as with pip
            if constraining:
                self.constraints.append(included if _is_remote(included) else os.path.abspath(included))
            if not (constraining and _is_remote(included)):  # pip fetches a constraint; it adds no requirement
                self.read(included, place, constraining)
        else:
            option = SPELLINGS[name]
            self.options += [option, _find_links(path, value) if option == "--find-links" else value]

    def _add(self, line: Line) -> None:
        """Add a requirement; the content of a local file becomes its hash."""
        url = line.requirement.url or ""
        if url.startswith("file:") and line.kind != "folder":
            path = unquote(urlsplit(url).path)
            if not os.path.isfile(path):
                requirement_line.refuse(line.place, f"names {path}, which does not exist", "Correct the path")
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
        requirement_line.refuse(where, f"{what}is a directory", "Give a requirements file or a lock")
    try:
        with open(path, "rb") as file:
            read = file.read()
    except OSError as error:
        requirement_line.refuse(where, f"{what}cannot be read ({error.strerror})", "Give a requirements file or a lock")
    conceal(read.decode("utf-8", "replace"))
    return read


def _is_remote(path: str) -> bool:
    return re.match(r"https?://", path, re.IGNORECASE) is not None


def _decoded(path: str, content: bytes) -> str:
    """Return *content* as text, in the encoding that pip takes: of its byte order mark, of a line that names it, UTF-8.

    pip takes the locale's encoding in place of UTF-8, which another machine may not have.
    """
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "")
    named = [match for match in map(_CODING.match, content.split(b"\n", 2)[:2]) if match]
    if not encoding and named:
        encoding = named[0].group(1).decode("ascii")
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        place = f"{path}:{content[: error.start].count(bytes([10])) + 1}"
        requirement_line.refuse(place, f"is not {encoding or 'UTF-8'}", "Save the file as UTF-8")
    except LookupError:
        requirement_line.refuse(path, f"names an unknown encoding, {encoding}", "Save the file as UTF-8")


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


def _in_full(name: str) -> str:
    """Return the option that *name* is the beginning of, as in pip, when it is that of one only."""
    known = (*SPELLINGS, *FLAGS, *_INCLUDING)
    if name in known or not name.startswith("--"):
        return name
    meant = {SPELLINGS.get(one, one) for one in known if one.startswith(name)}
    return meant.pop() if len(meant) == 1 else name


def _check_option(place: str, name: str) -> None:
    if name == "--hash":
        fix = "End the line before it with a backslash, and put comments elsewhere"
        requirement_line.refuse(place, "is a hash without a requirement", fix)
    if not name.startswith("-"):
        requirement_line.refuse(place, f"cannot be read as an option: {name}", "Correct the line")
    if name not in SPELLINGS and name not in _INCLUDING:
        requirement_line.refuse(place, f"uses the unknown option {name}", "Remove it")


def _check_constraint(line: Line) -> None:
    """Refuse what pip does not take for a constraint."""
    if not line.named or line.requirement.extras:
        what = f"{line.requirement.name} has extras" if line.named else "names no project"
        requirement_line.refuse(line.place, f"{what}, which no constraint may", "Write NAME and versions only")


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
        requirement_line.refuse(bare[0].place, why, "Lock all of them: uv pip compile --generate-hashes")
