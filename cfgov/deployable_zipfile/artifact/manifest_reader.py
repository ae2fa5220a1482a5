"""Strict reader of the manifest and of the listings of nested payloads."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..definitions import NamedTuple, expression
from ..errors import ArtifactError
from . import layout, patches
from .manifests import (
    MARKERS,
    SCHEMA_VERSION,
    STEPS,
    Manifest,
    Member,
    Payload,
    PlannedWheel,
    Site,
    Source,
    Target,
    is_callable,
    is_module,
)
from .strict_json import Fields, document_of
from .window import Entry

_HEX_DIGEST = expression(r"[0-9a-f]{64}\Z")
_HEX_MAGIC = expression(r"[0-9a-f]{8}\Z")
_PYTHON = expression(r"3\.[0-9]{1,2}\Z")
_BELOW = expression(r"(?!\.{1,2}(/|\Z))[^/\\:\x00-\x1f\x7f]+(/(?!\.{1,2}(/|\Z))[^/\\:\x00-\x1f\x7f]+){0,63}\Z")
# One member as it is written, after "{" or a comma: a name that needs no escape, printable ASCII.
_MEMBER = expression(
    rb'[{,]"([ !#-\[\]-~]{1,1024})":\{"mode":(420|493),"sha256":"([0-9a-f]{64})","size":(0|[1-9][0-9]{0,9})\}'
)
_MODES = {b"%d" % mode: mode for mode in layout.FILE_MODES}
_BEFORE_MEMBERS = b'"members":{'
_MEMBER_KEYS = ["mode", "sha256", "size"]
_NONE: Mapping[str, Entry] = {}


class Known(NamedTuple):
    """The members of a text in canonical form, read before it is parsed."""

    members: Dict[str, Member]
    text: memoryview  # canonical, of the members
    rest: bytes  # the whole text with no members


def read(text: bytes) -> Manifest:
    """Read a manifest, strictly.

    Raises:
        ArtifactError: not UTF-8 JSON, a duplicate or unknown key, a wrong type, a newer schema,
            or a build id that is not the hash of the rest.
    """
    return read_with_build_id(text)[0]


def read_with_build_id(text: bytes, entries: Mapping[str, Entry] = _NONE) -> Tuple[Manifest, str]:
    """Return what :func:`read` does, and its build id, which takes long to find again where there are many members.

    Parameters:
        entries: as for :func:`known_members`.
    """
    known = known_members(text, entries)
    document = document_of(layout.MANIFEST, known.rest if known else text, _object)
    if type(document.get("schema")) is not int or document["schema"] != SCHEMA_VERSION:
        raise ArtifactError(
            layout.MANIFEST,
            f"has schema {document.get('schema')!r}, this extractor reads schema {SCHEMA_VERSION}",
            "Use the deployable-zipfile that made the artifact: " + str(document.get("tool", "unknown"))[:80],
        )
    fields = Fields(layout.MANIFEST, document)
    manifest = Manifest(
        tool_version=fields.text("tool"),
        project=fields.text("project"),
        shebang=fields.text("shebang"),
        source=_source(fields.part("source")),
        targets=tuple(_target(part) for part in fields.parts("targets")),
        members=_members(fields, known),
        directories=fields.texts("directories"),
        payloads=tuple(_payload(part) for part in fields.parts("payloads")),
        site=_site(fields.part("site")) if fields.has("site") else None,
    )
    stated = fields.text("build_id")
    fields.end("schema")
    if stated != manifest.build_id_with(known.text if known else None):
        raise ArtifactError(layout.MANIFEST, "its build id is not the hash of its content", "Copy the artifact again")
    _check_plan(manifest)
    return manifest, stated


def read_listing(name: str, text: bytes, entries: Mapping[str, Entry] = _NONE) -> Dict[str, Member]:
    """Read the listing *name* of one nested payload, as strictly as the manifest.

    Parameters:
        entries: as for :func:`known_members`.

    Raises:
        ArtifactError: as for :func:`read`.
    """
    known = known_members(text, entries)
    fields = Fields(name, document_of(name, known.rest if known else text, _object))
    if fields.number("schema") != SCHEMA_VERSION:
        raise ArtifactError(name, "has an unknown schema", "Copy the artifact again")
    members = _members(fields, known)
    fields.end()
    return members


def known_members(text: bytes, entries: Mapping[str, Entry] = _NONE) -> Optional[Known]:
    """Return the members of *text* where they are in canonical form, as this tool writes them, in one pass.

    None: they are not, or are wrong, and only the parser can tell which. A member's text can be nothing else in JSON,
    and what holds it is parsed as if it had no members; so an object of members in any other place is refused there.

    Parameters:
        entries: of the container that the members are in. Names and sizes that are the same there are the same objects
            here: there may be as many as ``MAX_MEMBERS``.
    """
    if len(text) > layout.MAX_MANIFEST:
        return None
    begin = text.find(_BEFORE_MEMBERS) + len(_BEFORE_MEMBERS) - 1
    end = text.find(b"}},", begin) + 2
    if begin < len(_BEFORE_MEMBERS) - 1 or end < 2:
        return None
    if text.count(b'"sha256":"', begin, end) > layout.MAX_MEMBERS or text.find(b"}{", begin, end) >= 0:
        return None
    members = _canonical_members(text, begin, end - 1, entries)
    if not members or max(member.size for member in members.values()) > layout.MAX_SIZE:
        return None
    return Known(members, memoryview(text)[begin:end], text[:begin] + b"{}" + text[end:])


def _canonical_members(text: bytes, begin: int, end: int, entries: Mapping[str, Entry]) -> Optional[Dict[str, Member]]:
    """Return the members of *text* between the "{" at *begin* and the "}" at *end* that belongs to it."""
    members: Dict[str, Member] = {}
    new, last, position = tuple.__new__, b"", begin
    for found in _MEMBER.finditer(text, begin, end):
        quoted, mode, digest, digits = found.groups()
        if found.start() != position or quoted <= last:
            return None
        name, size = quoted.decode("ascii"), int(digits)
        entry = entries.get(name)
        if entry is not None:
            name = entry.name
            if entry.size == size:
                size = entry.size
        members[name] = new(Member, (size, _MODES[mode], digest.decode("ascii")))
        last, position = quoted, found.end()
    return members if position == end else None


def _object(pairs: List[Tuple[str, Any]]) -> Any:
    """Refuse duplicate keys; make members at once, so that a large manifest never exists twice in memory."""
    if len(pairs) == 3 and [key for key, _ in pairs] == _MEMBER_KEYS:
        (_, mode), (_, digest), (_, size) = pairs
        if type(mode) is not int or type(size) is not int or type(digest) is not str:
            raise ValueError("a member's size, mode or sha256 has a wrong type")
        if mode not in layout.FILE_MODES or not 0 <= size <= layout.MAX_SIZE or not _HEX_DIGEST.match(digest):
            raise ValueError("a member's size, mode or sha256 is out of range")
        return Member(size, mode, digest)
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate key")
    return document


def _members(fields: Fields, known: Optional[Known]) -> Dict[str, Member]:
    value = fields.take("members")
    if known:
        if value != {}:
            fields.refuse("'members' is not an object of members")
        return known.members
    if not isinstance(value, dict) or not all(isinstance(item, Member) for item in value.values()):
        fields.refuse("'members' is not an object of members")
    return dict(value)


def _source(fields: Fields) -> Source:
    source = Source(fields.text("commit"), fields.flag("dirty"), fields.number("epoch"))
    fields.end()
    return source


def _site(fields: Fields) -> Site:
    site = Site(
        settings_module=fields.named("settings_module", is_module),
        wsgi=fields.named("wsgi", is_callable),
        asgi=fields.named("asgi", is_callable),
        manage=fields.matching("manage", _BELOW, empty=True),
        path=fields.matching("path", _BELOW, empty=True),
        skip_steps=fields.texts("skip_steps"),
    )
    fields.end()
    unknown = [step for step in site.skip_steps if step not in STEPS]
    if unknown or len(set(site.skip_steps)) != len(site.skip_steps):
        raise ArtifactError(
            layout.MANIFEST, f"skip_steps must name each of {', '.join(STEPS)} at most once", "Build it again"
        )
    return site


def _payload(fields: Fields) -> Payload:
    payload = Payload(fields.text("file"), fields.text("listing"))
    fields.end()
    return payload


def _target(fields: Fields) -> Target:
    target = Target(
        python=fields.matching("python", _PYTHON),
        abi=fields.text("abi"),
        machine=fields.text("machine"),
        libc=fields.text("libc"),
        libc_floor=fields.text("libc_floor"),
        libraries=fields.texts("libraries"),
        cache_tag=fields.text("cache_tag"),
        magic=fields.matching("magic", _HEX_MAGIC, empty=True),
        wheels=tuple(_planned(part) for part in fields.parts("wheels")),
        bootstrap=tuple(_planned(part) for part in fields.parts("bootstrap")),
        project_bytecode=fields.optional_text("project_bytecode"),
        patch_releases=_patch_releases(fields),
        markers=_markers(fields.part("markers")) if fields.has("markers") else (),
    )
    fields.end()
    for ranges in [target.patch_releases, *(wheel.patch_releases for wheel in target.wheels + target.bootstrap)]:
        problem = patches.problem(ranges, target.python)
        if problem:
            raise ArtifactError(layout.MANIFEST, f"'patch_releases' is wrong: {problem}", "Copy the artifact again")
    return target


def _patch_releases(fields: Fields) -> Tuple[patches.Range, ...]:
    return tuple(_range(part) for part in fields.parts("patch_releases")) if fields.has("patch_releases") else ()


def _range(fields: Fields) -> patches.Range:
    found = patches.Range(fields.text("first"), fields.text("last"))
    fields.end()
    return found


def _markers(fields: Fields) -> Tuple[Tuple[str, str], ...]:
    found = tuple((name, fields.text(name)) for name in MARKERS if fields.has(name))
    fields.end()
    return found


def _planned(fields: Fields) -> PlannedWheel:
    wheel = PlannedWheel(
        file=fields.text("file"),
        name=fields.text("name"),
        version=fields.text("version"),
        requested=fields.flag("requested"),
        bytecode=fields.optional_text("bytecode"),
        patch_releases=_patch_releases(fields),
    )
    fields.end()
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
            raise ArtifactError(
                layout.MANIFEST, f"lists a distribution twice for Python {target.python}", "Build it again"
            )
    for payload in manifest.payloads:
        for name in payload:
            if name not in manifest.members:
                raise ArtifactError(name, "is named as payload but missing", "Copy the artifact again")
