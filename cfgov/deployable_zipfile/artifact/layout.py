"""The contract in code: names inside the artifact and on disk, and the manifest both sides share.

``docs/artifact.md`` explains it to people, ``docs/manifest.schema.json`` to other programs.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

from ..errors import ArtifactError
from . import patches

SCHEMA_VERSION = 1

# Members at the root of the artifact.
MAIN = "__main__.py"
INSTALL_WHEELS = "install_wheels.py"
LOADENV = "loadenv.py"
LOADENV_PTH = "loadenv-init.pth"
WHEELS = "wheels"
BOOTSTRAP_WHEELS = "bootstrap_wheels"
STATIC = "static.in"

# Everything else that the tool adds lives under one folder, in the artifact and in the destination.
DEPLOY = ".deploy"
MANIFEST = ".deploy/manifest.json"
SBOM = ".deploy/sbom.cdx.json"
ENVIRONMENT_SCHEMA = ".deploy/environment.schema.json"  # only of projects that declare their variables
RUNTIME = ".deploy/runtime"
BYTECODE = ".deploy/bytecode"
PAYLOAD = ".deploy/payload"
LOADENV_START = ".deploy/loadenv-init.start"

# Names in the destination that are not members.
VENV = "venv"
INSTALLED = ".deploy/installed.json"
FILES = ".deploy/files.mtree"  # kind, mode, owner and digest of everything that was installed
LINKS = ".deploy/links.json"  # what a deployment linked into the release, by path
STATIC_FILES = ".deploy/static.json"  # what a deployment collected
ENVIRONMENT = "environment.json"
JOURNAL = ".deploy/journal.jsonl"  # of a root, above its releases
ENVIRONMENT_BEFORE = f"{DEPLOY}/environment.before.json"  # kept until the new one is proven

DEFAULT_SHEBANG = "#!/usr/bin/env python"
MAX_MEMBERS = 65_534  # zipimport before 3.13 finds nothing in a file with more (cpython#94146, measured)
MAX_PAYLOAD_MEMBERS = 20_000  # of one nested payload: bounds the memory of reader and installer
MAX_SIZE = 2**32 - 1  # bytes of the file and of each member: the container holds no ZIP64 record
MAX_MANIFEST = 16 * 1024 * 1024  # bytes: half more than 65 534 members with names of 60 bytes need
FILE_MODES = (0o644, 0o755)

RESERVED_PROJECT_NAMES = frozenset([WHEELS, BOOTSTRAP_WHEELS, STATIC, VENV, "install_wheels", "loadenv", "__main__"])

# Of what a manifest or another JSON document of ours may hold, counted before it is parsed: four pairs a member, a
# comma in some names, and room for plans of several targets.
_MOST_OF = (((b"{", b"["), 200_000), ((b":",), 400_000), ((b",",), 600_000))
_OTHER_PAIRS = 60_000  # names and values that belong to no member
_WINDOW = 32 * 1024  # bytes
_BUILD_ID_LENGTH = 32  # hexadecimal digits: 128 bits
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_HEX_MAGIC = re.compile(r"[0-9a-f]{8}\Z")
_PYTHON = re.compile(r"3\.[0-9]{1,2}\Z")

# Variables of markers (PEP 508) that a plan may depend on, in alphabetical order.
MARKERS = ("os_name", "platform_machine", "platform_system", "sys_platform")
# Steps of a deployment that a project may leave out.
STEPS = ("check", "collectstatic", "migrate")
_BELOW = re.compile(r"(?!\.{1,2}(/|\Z))[^/\\:\x00-\x1f\x7f]+(/(?!\.{1,2}(/|\Z))[^/\\:\x00-\x1f\x7f]+){0,63}\Z")
_ZERO_WIDTH = frozenset("\u200c\u200d")


def is_module(text: str) -> bool:
    """Say whether *text* is the dotted name of a module: identifiers, as Python defines them.

    The zero-width characters that Unicode 15.1 allows in them (Python 3.13) are refused by every Python.
    """
    return not _ZERO_WIDTH.intersection(text) and all(part.isidentifier() for part in text.split("."))


def is_callable(text: str) -> bool:
    """Say whether *text* is ``MODULE:CALLABLE``."""
    parts = text.split(":")
    return len(parts) == 2 and all(map(is_module, parts))


def project_pth_name(project: str) -> str:
    """Return the root member that puts the project on ``sys.path``: ``PROJECT.pth``."""
    return f"{project}.pth"


def project_pth_text(project: str, below: str = "") -> str:
    """Return its text: a path relative to site-packages, pure ASCII; also *below* in the project's folder, if given.

    Python 3.11.7 and 3.12.1 stop in ``site`` under the C locale when a ``.pth`` holds any other byte
    (cpython#117917), and PEP 829 ends ``import`` lines, so it is a plain path and never names the destination.
    """
    own = f"../../../../{project}\n"
    return own + f"../../../../{project}/{below}\n" if below else own


def runtime_path(member: str) -> str:
    """Return where a module of the tool is kept below its package's folder, or "" when *member* is no such module."""
    if member in (INSTALL_WHEELS, LOADENV):
        return member
    return member[len(RUNTIME) + 1 :] if member.startswith(RUNTIME + "/") else ""


def runtime_bytecode(cache_tag: str) -> str:
    """Return the member that holds the compiled modules of the tool for the Pythons of *cache_tag*."""
    return f"{BYTECODE}/{cache_tag}/runtime.zip"


def is_wheel(member: str) -> bool:
    """Say whether *member* is one of the artifact's wheels: a project may hold files that end in ``.whl`` too."""
    return member.startswith((f"{WHEELS}/", f"{BOOTSTRAP_WHEELS}/"))


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
        digest = hashlib.sha256()
        for part in _canonical_parts(self._document(), self.members):
            digest.update(part)
        return digest.hexdigest()[:_BUILD_ID_LENGTH]

    def to_json(self) -> bytes:
        """Return the canonical text: sorted keys, no blanks, ASCII, one final newline."""
        return b"".join(_canonical_parts(dict(self._document(), build_id=self.build_id), self.members))

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Read a manifest, strictly.

        Raises:
            ArtifactError: not UTF-8 JSON, a duplicate or unknown key, a wrong type, a newer schema,
                or a build id that is not the hash of the rest.
        """
        document = _document_of(MANIFEST, text)
        if type(document.get("schema")) is not int or document["schema"] != SCHEMA_VERSION:
            raise ArtifactError(
                MANIFEST,
                f"has schema {document.get('schema')!r}, this extractor reads schema {SCHEMA_VERSION}",
                "Use the deployable-zipfile that made the artifact: " + str(document.get("tool", "unknown"))[:80],
            )
        read = _Reader(MANIFEST, document)
        manifest = cls(
            tool_version=read.text("tool"),
            project=read.text("project"),
            shebang=read.text("shebang"),
            source=_source(read.part("source")),
            targets=tuple(_target(part) for part in read.parts("targets")),
            members=read.members("members"),
            directories=read.texts("directories"),
            payloads=tuple(_payload(part) for part in read.parts("payloads")),
            site=_site(read.part("site")) if read.has("site") else None,
        )
        stated = read.text("build_id")
        read.end("schema")
        if stated != manifest.build_id:
            raise ArtifactError(MANIFEST, "its build id is not the hash of its content", "Copy the artifact again")
        _check_plan(manifest)
        return manifest

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


def listing_from_json(name: str, text: bytes) -> Dict[str, Member]:
    """Read the listing *name* of one nested payload, as strictly as the manifest.

    Raises:
        ArtifactError: as for :meth:`Manifest.from_json`.
    """
    read = _Reader(name, _document_of(name, text))
    if read.number("schema") != SCHEMA_VERSION:
        raise ArtifactError(name, "has an unknown schema", "Copy the artifact again")
    members = read.members("members")
    read.end()
    return members


def _canonical_parts(document: Dict[str, Any], members: Dict[str, Member]) -> Iterator[bytes]:
    """Yield the canonical text of *document* with its *members* in pieces: it is never whole twice in memory."""
    comma = "{"
    for key in sorted([*document, "members"]):
        yield f'{comma}"{key}":'.encode("ascii")
        comma = ","
        if key != "members":
            yield _canonical(document[key])
            continue
        inner = "{"
        for name in sorted(members):
            size, mode, sha256 = members[name]
            text = f'{inner}{_quoted(name)}:{{"mode":{mode},"sha256":"{sha256}","size":{size}}}'
            yield text.encode("ascii")
            inner = ","
        yield b"}" if members else b"{}"
    yield b"}\n"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


_quoted = json.encoder.encode_basestring_ascii


def _document_of(name: str, text: bytes) -> Dict[str, Any]:
    try:
        document = bounded_json(text, object_pairs_hook=_object)
    except ValueError as error:
        raise ArtifactError(name, f"is not strict JSON ({error})", "Copy the artifact again") from None
    if not isinstance(document, dict):
        raise ArtifactError(name, "is not a JSON object", "Copy the artifact again")
    return document


def bounded_json(text: bytes, **hooks: Any) -> Any:
    """Parse *text* as JSON after proving that it cannot take much more memory or time than its own size.

    A few kilobytes of a compressed member may hold millions of objects, or one name of megabytes. So the text is
    refused before it is parsed when it holds more values than 65 534 members need, or a name, string, number or
    blank of more than 32 to 64 KiB.

    Parameters:
        text: UTF-8, at most :data:`MAX_MANIFEST` bytes.
        hooks: for :func:`json.loads`.

    Raises:
        ValueError: saying which bound is passed, or that it is not JSON; the message quotes nothing of the text.
    """
    if len(text) > MAX_MANIFEST:
        raise ValueError(f"has {len(text)} bytes, more than {MAX_MANIFEST}")
    for marks, most in _MOST_OF:
        if sum(text.count(mark) for mark in marks) > most:
            raise ValueError(f"has more than {most} of {' and '.join(mark.decode() for mark in marks)}")
    if text.count(b":") > 4 * text.count(b'"sha256":"') + _OTHER_PAIRS:
        raise ValueError(f"has more than {_OTHER_PAIRS} names beside those of its members")
    if len(text) > _WINDOW:
        # A longest string without a quote inside covers a whole window; an escaped quote is not its end.
        plain = text.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b'\\"' in text else text
        for start in range(0, len(plain) - _WINDOW + 1, _WINDOW):
            if plain.find(b'"', start, start + _WINDOW) < 0:
                raise ValueError(f"has {_WINDOW} bytes without a quote, from offset {start} on")
        del plain
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant, **hooks)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at offset {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


_MEMBER_KEYS = ["mode", "sha256", "size"]


def _object(pairs: List[Tuple[str, Any]]) -> Any:
    """Refuse duplicate keys; make members at once, so that a large manifest never exists twice in memory."""
    if len(pairs) == 3 and [key for key, _ in pairs] == _MEMBER_KEYS:
        (_, mode), (_, digest), (_, size) = pairs
        if type(mode) is not int or type(size) is not int or type(digest) is not str:
            raise ValueError("a member's size, mode or sha256 has a wrong type")
        if mode not in FILE_MODES or not 0 <= size <= MAX_SIZE or not _HEX_DIGEST.match(digest):
            raise ValueError("a member's size, mode or sha256 is out of range")
        return Member(size, mode, digest)
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class _Reader:
    """Takes typed fields out of one JSON object and notices what is left over."""

    def __init__(self, where: str, document: Any) -> None:
        self._where = where
        if not isinstance(document, dict):
            self._refuse("an object is missing")
        self._rest = dict(document)

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            self._refuse(f"{key!r} is not a string")
        return str(value)

    def optional_text(self, key: str) -> Optional[str]:
        value = self._take(key)
        if value is not None and not isinstance(value, str):
            self._refuse(f"{key!r} is not a string or null")
        return value

    def matching(self, key: str, pattern: "re.Pattern[str]", empty: bool = False) -> str:
        value = self.text(key)
        if not (pattern.match(value) or (empty and not value)):
            self._refuse(f"{key!r} has a wrong form")
        return value

    def named(self, key: str, fits: Callable[[str], bool]) -> str:
        value = self.text(key)
        if value and not fits(value):
            self._refuse(f"{key!r} has a wrong form")
        return value

    def number(self, key: str) -> int:
        value = self._take(key)
        if type(value) is not int or value < 0:
            self._refuse(f"{key!r} is not a whole number")
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            self._refuse(f"{key!r} is not true or false")
        return bool(value)

    def texts(self, key: str) -> Tuple[str, ...]:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._refuse(f"{key!r} is not a list of strings")
        return tuple(value)

    def has(self, key: str) -> bool:
        return key in self._rest

    def part(self, key: str) -> "_Reader":
        return _Reader(self._where, self._take(key))

    def parts(self, key: str) -> List["_Reader"]:
        value = self._take(key)
        if not isinstance(value, list):
            self._refuse(f"{key!r} is not a list")
        return [_Reader(self._where, item) for item in value]

    def members(self, key: str) -> Dict[str, Member]:
        value = self._take(key)
        if not isinstance(value, dict) or not all(isinstance(item, Member) for item in value.values()):
            self._refuse(f"{key!r} is not an object of members")
        return dict(value)

    def end(self, *known: str) -> None:
        for key in self._rest:
            if key not in known:
                self._refuse(f"unknown key {key!r}")

    def _take(self, key: str) -> Any:
        if key not in self._rest:
            self._refuse(f"{key!r} is missing")
        return self._rest.pop(key)

    def _refuse(self, why: str) -> NoReturn:
        raise ArtifactError(self._where, why, "Copy the artifact again")


def _source(read: _Reader) -> Source:
    source = Source(read.text("commit"), read.flag("dirty"), read.number("epoch"))
    read.end()
    return source


def _site(read: _Reader) -> Site:
    site = Site(
        settings_module=read.named("settings_module", is_module),
        wsgi=read.named("wsgi", is_callable),
        asgi=read.named("asgi", is_callable),
        manage=read.matching("manage", _BELOW, empty=True),
        path=read.matching("path", _BELOW, empty=True),
        skip_steps=read.texts("skip_steps"),
    )
    read.end()
    unknown = [step for step in site.skip_steps if step not in STEPS]
    if unknown or len(set(site.skip_steps)) != len(site.skip_steps):
        raise ArtifactError(MANIFEST, f"skip_steps must name each of {', '.join(STEPS)} at most once", "Build it again")
    return site


def _payload(read: _Reader) -> Payload:
    payload = Payload(read.text("file"), read.text("listing"))
    read.end()
    return payload


def _target(read: _Reader) -> Target:
    target = Target(
        python=read.matching("python", _PYTHON),
        abi=read.text("abi"),
        machine=read.text("machine"),
        libc=read.text("libc"),
        libc_floor=read.text("libc_floor"),
        libraries=read.texts("libraries"),
        cache_tag=read.text("cache_tag"),
        magic=read.matching("magic", _HEX_MAGIC, empty=True),
        wheels=tuple(_planned(part) for part in read.parts("wheels")),
        bootstrap=tuple(_planned(part) for part in read.parts("bootstrap")),
        project_bytecode=read.optional_text("project_bytecode"),
        patch_releases=_patch_releases(read),
        markers=_markers(read.part("markers")) if read.has("markers") else (),
    )
    read.end()
    for ranges in [target.patch_releases, *(wheel.patch_releases for wheel in target.wheels + target.bootstrap)]:
        problem = patches.problem(ranges, target.python)
        if problem:
            raise ArtifactError(MANIFEST, f"'patch_releases' is wrong: {problem}", "Copy the artifact again")
    return target


def _patch_releases(read: _Reader) -> Tuple[patches.Range, ...]:
    return tuple(_range(part) for part in read.parts("patch_releases")) if read.has("patch_releases") else ()


def _range(read: _Reader) -> patches.Range:
    found = patches.Range(read.text("first"), read.text("last"))
    read.end()
    return found


def _markers(read: _Reader) -> Tuple[Tuple[str, str], ...]:
    found = tuple((name, read.text(name)) for name in MARKERS if read.has(name))
    read.end()
    return found


def _planned(read: _Reader) -> PlannedWheel:
    wheel = PlannedWheel(
        file=read.text("file"),
        name=read.text("name"),
        version=read.text("version"),
        requested=read.flag("requested"),
        bytecode=read.optional_text("bytecode"),
        patch_releases=_patch_releases(read),
    )
    read.end()
    return wheel


def _check_plan(manifest: Manifest) -> None:
    """Refuse a plan that names what the artifact does not hold, or one distribution twice."""
    for target in manifest.targets:
        named = [wheel.file for wheel in target.wheels + target.bootstrap]
        named += [wheel.bytecode for wheel in target.wheels + target.bootstrap if wheel.bytecode]
        named += [target.project_bytecode] if target.project_bytecode else []
        for name in named:
            if name not in manifest.members:
                raise ArtifactError(name, f"is in the plan for Python {target.python} but missing", "Copy it again")
        planned: Dict[str, List[patches.Range]] = {}
        for wheel in target.wheels + target.bootstrap:
            planned.setdefault(wheel.name, []).extend(wheel.patch_releases or patches.every(target.python))
        if any(patches.problem(sorted(ranges, key=patches.start), target.python) for ranges in planned.values()):
            raise ArtifactError(MANIFEST, f"plans a distribution twice for Python {target.python}", "Build it again")
    for payload in manifest.payloads:
        for name in payload:
            if name not in manifest.members:
                raise ArtifactError(name, "is named as payload but missing", "Copy the artifact again")
