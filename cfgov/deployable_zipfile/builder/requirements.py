"""What to install: requirements from any kind of file, and how they are passed to pip."""

from __future__ import annotations

import os
import re
import shlex
from typing import FrozenSet, Iterable, List, Sequence, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..definitions import NamedTuple
from ..errors import masked

SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz", ".tar")
SPELLINGS = {
    "-i": "--index-url", "--index-url": "--index-url", "--pypi-url": "--index-url",
    "--extra-index-url": "--extra-index-url", "-f": "--find-links", "--find-links": "--find-links",
    "--no-binary": "--no-binary", "--only-binary": "--only-binary", "--trusted-host": "--trusted-host",
    "--use-feature": "--use-feature", "--all-releases": "--all-releases", "--only-final": "--only-final",
}  # fmt: skip
FLAGS = ("--no-index", "--pre", "--prefer-binary", "--require-hashes", "--no-require-hashes")
ONE_VALUE = frozenset(SPELLINGS.values())
INDEXES = ("--index-url", "--extra-index-url", "--find-links", "--no-index")  # options that say where pip looks
_VCS = ("git+", "hg+", "svn+", "bzr+")


class File(NamedTuple):
    """One of the files that a lock offers for a project."""

    name: str
    url: str
    hashes: Tuple[str, ...]  # "sha256:..."
    size: int = -1  # bytes, -1: not said


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
    files: Tuple[str, ...] = ()  # that were read, paths and URLs; (): not known
    doubt: str = ""  # why the file may mean something else than what was understood

    @property
    def fixed(self) -> bool:
        """Whether every requirement names one content, so that the list is complete and needs no resolver."""
        return bool(self.lines) and all(line.fixed for line in self.lines)


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
    shown = str(requirement) if line.named else str(requirement.url)  # to build it, no extra matters
    parts = [option.partition("=") for option in line.options]  # pip knows an option by the dash before it
    options = [f"{name}={shlex.quote(value)}" for name, _, value in parts]
    return " ".join([shown, *options, *(f"--hash={digest}" for digest in line.hashes)])


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
