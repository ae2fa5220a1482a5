"""The manifest and its canonical text; ``manifest_reader`` reads it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterator, Optional, Tuple, Union

from ..definitions import NamedTuple
from . import patches

SCHEMA_VERSION = 1
_BUILD_ID_LENGTH = 32  # hexadecimal digits: 128 bits

# Variables of markers (PEP 508) that a plan may depend on, in alphabetical order.
MARKERS = ("os_name", "platform_machine", "platform_system", "sys_platform")
# Steps of a deployment that a project may leave out.
STEPS = ("check", "collectstatic", "migrate")
_SOME = 1000  # members whose text is put together
_ZERO_WIDTH = frozenset("\u200c\u200d")


class Member(NamedTuple):
    """What the manifest says of one file."""

    size: int  # bytes, uncompressed
    mode: int  # 0o644 or 0o755
    sha256: str  # of the uncompressed content, 64 hexadecimal digits


class PlannedWheel(NamedTuple):
    """One wheel that a target installs, in the order of the plan."""

    file: str  # member name, ``wheels/NAME.whl`` or ``bootstrap_wheels/NAME.whl``
    name: str  # normalised project name (PEP 503)
    version: str
    requested: bool  # named in the requirements file: gets a REQUESTED file (PEP 376)
    bytecode: Optional[str]  # member name of its nested bytecode archive, None: compile on the target
    patch_releases: Tuple[patches.Range, ...] = ()  # of Python that need it, (): all that the target is for


class Target(NamedTuple):
    """One kind of Python and machine that the artifact can be installed on."""

    python: str  # "3.11": implementation is always CPython
    abi: str  # SOABI family as in wheel tags: "cp311"
    machine: str  # as platform.machine(): "x86_64"
    libc: str  # "glibc"
    libc_floor: str  # lowest version that every compiled file loads with: "2.17"; "" if nothing is compiled
    libraries: Tuple[str, ...]  # sonames that compiled files need from the system beyond libc's own
    cache_tag: str  # sys.implementation.cache_tag of the bytecode: "cpython-311"; "" if none is shipped
    magic: str  # importlib.util.MAGIC_NUMBER of the bytecode, 8 hexadecimal digits; "" if none is shipped
    wheels: Tuple[PlannedWheel, ...]
    bootstrap: Tuple[PlannedWheel, ...]  # pip and what it needs
    project_bytecode: Optional[str]  # member name of the nested archive of the project's bytecode
    patch_releases: Tuple[patches.Range, ...] = ()  # of Python that the plan holds for, (): every patch release
    markers: Tuple[Tuple[str, str], ...] = ()  # variables (PEP 508) and their values that the plan depends on

    def installed_on(self, patch: patches.Patch) -> "Target":
        """Return this target with the wheels that *patch* needs, and no others."""
        if not any(wheel.patch_releases for wheel in self.wheels + self.bootstrap):
            return self
        return self._replace(
            wheels=tuple(wheel for wheel in self.wheels if patches.hold(wheel.patch_releases, patch)),
            bootstrap=tuple(wheel for wheel in self.bootstrap if patches.hold(wheel.patch_releases, patch)),
        )


class Source(NamedTuple):
    """Where the project came from. Information, not proof."""

    commit: str  # 40 hexadecimal digits, "" outside git
    dirty: bool
    epoch: int  # seconds since 1970 UTC: SOURCE_DATE_EPOCH or the commit's time

    def text(self) -> str:
        """Return it for people, without the time."""
        commit = f"commit {self.commit}" if self.commit else "no commit"
        return f"{commit} with changes that are not committed" if self.dirty else commit


class Site(NamedTuple):
    """How the project is run: from its settings, ``manage.py`` and settings module, never from a folder's name."""

    settings_module: str  # DJANGO_SETTINGS_MODULE, "": not a Django project
    wsgi: str  # MODULE:CALLABLE, "": none
    asgi: str  # MODULE:CALLABLE, "": none
    manage: str  # manage.py, relative to the project's folder, "": none
    path: str  # folder on sys.path, relative to the project's folder and beside it, "": only the project's folder
    skip_steps: Tuple[str, ...]  # of STEPS: not run by a deployment or self-test of this project


class Payload(NamedTuple):
    """One nested archive of project files, for trees with more files than a zip can start with."""

    file: str  # member name, ``.deploy/payload/000.zip``
    listing: str  # member name of its listing, ``.deploy/payload/000.json``


class Manifest(NamedTuple):
    """Everything the target side needs to know, and to trust, about the artifact."""

    tool_version: str
    project: str
    shebang: str  # first line of the file, without its newline
    source: Source
    targets: Tuple[Target, ...]
    members: Dict[str, Member]  # every member of the artifact but the manifest itself
    directories: Tuple[str, ...]  # empty folders to make (the container holds only files)
    payloads: Tuple[Payload, ...]
    site: Optional[Site] = None  # None: made by a version that did not record it

    @property
    def build_id(self) -> str:
        """Content hash of everything, the same wherever the same bytes are built: 32 hexadecimal digits."""
        return self.build_id_with(None)

    def build_id_with(self, members: Optional[memoryview]) -> str:
        """Return the build id.

        Parameters:
            members: their canonical text, where it is known, since it takes long to write.
        """
        digest = hashlib.sha256()
        for part in _canonical_parts(self._document(), self.members, members):
            digest.update(part)
        return digest.hexdigest()[:_BUILD_ID_LENGTH]

    def to_json(self) -> bytes:
        """Return the canonical text: sorted keys, no blanks, ASCII, one final newline."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[Union[bytes, memoryview]]:
        """Yield the canonical text in pieces: with tens of thousands of members it has megabytes."""
        return _canonical_parts(dict(self._document(), build_id=self.build_id), self.members)

    def _document(self) -> Dict[str, Any]:
        """Return everything but the members, of which there are many, as JSON objects."""
        site = {} if self.site is None else {"site": self.site._asdict()}
        return {
            **site,
            "schema": SCHEMA_VERSION,
            "tool": self.tool_version,
            "project": self.project,
            "shebang": self.shebang,
            "source": self.source._asdict(),
            "targets": [_target_document(target) for target in self.targets],
            "directories": self.directories,
            "payloads": [payload._asdict() for payload in self.payloads],
        }


def _target_document(target: Target) -> Dict[str, Any]:
    document = dict(
        target._asdict(),
        wheels=[_with_patch_releases(wheel._asdict(), wheel.patch_releases) for wheel in target.wheels],
        bootstrap=[_with_patch_releases(wheel._asdict(), wheel.patch_releases) for wheel in target.bootstrap],
        markers=dict(target.markers),
    )
    if not target.markers:
        del document["markers"]
    return _with_patch_releases(document, target.patch_releases)


def _with_patch_releases(document: Dict[str, Any], releases: Tuple[patches.Range, ...]) -> Dict[str, Any]:
    """Return *document* with *releases*, which older versions did not record and which is left out when empty."""
    document["patch_releases"] = [one._asdict() for one in releases]
    if not releases:
        del document["patch_releases"]
    return document


def listing_to_json(members: Dict[str, Member]) -> bytes:
    """Return the listing of one nested payload, canonical JSON."""
    return b"".join(_canonical_parts({"schema": SCHEMA_VERSION}, members))


def is_module(text: str) -> bool:
    """Say whether *text* is the dotted name of a module: identifiers, as Python defines them.

    The zero-width characters that Unicode 15.1 allows in them (Python 3.13) are refused by every Python.
    """
    return not _ZERO_WIDTH.intersection(text) and all(part.isidentifier() for part in text.split("."))


def is_callable(text: str) -> bool:
    """Say whether *text* is ``MODULE:CALLABLE``."""
    parts = text.split(":")
    return len(parts) == 2 and all(map(is_module, parts))


def _canonical_parts(
    document: Dict[str, Any], members: Dict[str, Member], text: Optional[memoryview] = None
) -> Iterator[Union[bytes, memoryview]]:
    """Yield the canonical text of *document* with its *members* in pieces: it is never whole twice in memory."""
    comma = "{"
    for key in sorted([*document, "members"]):
        yield f'{comma}"{key}":'.encode("ascii")
        comma = ","
        if key != "members":
            yield _canonical(document[key])
        elif text is not None:
            yield text
        else:
            yield from _canonical_members(members)
    yield b"}\n"


def _canonical_members(members: Dict[str, Member]) -> Iterator[bytes]:
    texts, comma = [], "{"
    for name in sorted(members):
        size, mode, sha256 = members[name]
        texts.append(f'{comma}{_quoted(name)}:{{"mode":{mode},"sha256":"{sha256}","size":{size}}}')
        comma = ","
        if len(texts) >= _SOME:
            yield "".join(texts).encode("ascii")
            texts.clear()
    yield "".join([*texts, "}" if members else "{}"]).encode("ascii")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


_quoted = json.encoder.encode_basestring_ascii
