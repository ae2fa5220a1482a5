"""Known vulnerabilities of packages, from files in OSV format (schema 1.7), without a network.

https://ossf.github.io/osv-schema/: "Evaluation" says which versions a record affects.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from packaging.version import InvalidVersion, Version

from .. import durable
from ..artifact.versions import normalised
from ..definitions import NamedTuple, expression
from ..errors import UsageError, masked

MAX_RECORD = 16 * 1024 * 1024  # bytes of one record
MAX_FILE = 512 * 1024 * 1024  # bytes of one JSON file
MAX_TOTAL = 4 * 1024**3  # bytes of all records of a zip or a folder
MAX_RECORDS = 1_000_000

LEVELS = ("low", "medium", "high", "critical")
_NAMES = {"MODERATE": "medium", "IMPORTANT": "high", "NONE": "low"}
_ECOSYSTEM = expression(r"PyPI(?::.*)?\Z")
_LONGEST_VECTOR = 400  # characters; all metrics of CVSS 4 have 270
_ADVICE = "Give a record of OSV, a list of them, or a zip or folder of such files"


class Weakness(NamedTuple):
    """One record that affects one package of the artifact."""

    package: str
    version: str
    id: str
    aliases: Tuple[str, ...]
    severity: str  # one of LEVELS, "" when the record does not say
    score: str  # the vector or number that it gives, "" when none
    summary: str
    fixed: Tuple[str, ...]  # versions that are newer and no longer affected


class Versions(NamedTuple):
    """One package in one version."""

    name: str
    version: str


def find(path: str, packages: Iterable[Versions]) -> List[Weakness]:
    """Return every weakness of *packages* that the records in *path* know, sorted.

    Withdrawn records are left out. Ranges of the type ECOSYSTEM and lists of versions are evaluated; those of the
    type GIT are not, since a wheel does not say its commit.

    Raises:
        UsageError: *path* cannot be read or holds something else.
    """
    wanted: Dict[str, List[Versions]] = {}
    for package in sorted(set(packages)):
        wanted.setdefault(normalised(package.name), []).append(package)
    found: Set[Weakness] = set()
    for where, record in _records(path):
        try:
            found.update(_weaknesses(record, wanted))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            why = f"has a record that is not in the form of OSV ({type(error).__name__}: {error})"
            raise UsageError(where, why, _ADVICE) from None
    return sorted(found)


def reaches(severity: str, level: str) -> bool:
    """Say whether *severity* is *level* or above; one that is not known is taken for the highest."""
    return not severity or LEVELS.index(severity) >= LEVELS.index(level)


def _records(path: str) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """Yield each record with the place that errors name."""
    count = 0
    for where, text in _texts(path):
        try:
            document = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise UsageError(where, f"is not JSON ({why})", _ADVICE) from None
        if isinstance(document, dict) and isinstance(document.get("vulns"), list):
            document = document["vulns"]
        for record in document if isinstance(document, list) else [document]:
            count += 1
            if count > MAX_RECORDS:
                raise UsageError(path, f"has more than {MAX_RECORDS} records", "Give the records of one ecosystem")
            if not isinstance(record, dict) or not isinstance(record.get("id"), str):
                raise UsageError(where, "has a record without an id", _ADVICE)
            yield where, record


def _texts(path: str) -> Iterator[Tuple[str, bytes]]:
    try:
        if os.path.isdir(path):
            yield from _of_folder(path)
        elif os.path.isfile(path) and zipfile.is_zipfile(path):  # a FIFO would be waited for
            yield from _of_zip(path)
        else:
            yield path, durable.read_file(os.path.realpath(path), MAX_FILE)
    except OSError as error:
        raise UsageError(path, f"cannot be read ({error.strerror or error})", _ADVICE) from None


def _of_folder(path: str) -> Iterator[Tuple[str, bytes]]:
    total = 0
    found = False

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".json"):
                found = True
                text = durable.read_file(os.path.join(folder, name), MAX_RECORD)
                total += len(text)
                _check_total(path, total)
                yield os.path.join(folder, name), text
    if not found:
        raise UsageError(path, "has no JSON files", _ADVICE)


def _of_zip(path: str) -> Iterator[Tuple[str, bytes]]:
    total = 0
    found = False
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".json"):
                    found = True
                    with archive.open(info) as member:
                        text = member.read(MAX_RECORD + 1)
                    if len(text) > MAX_RECORD:
                        raise UsageError(f"{path}/{info.filename}", f"has more than {MAX_RECORD} bytes", _ADVICE)
                    total += len(text)
                    _check_total(path, total)
                    yield f"{path}/{info.filename}", text
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise UsageError(path, f"cannot be read as a zip ({error})", _ADVICE) from None
    if not found:
        raise UsageError(path, "has no JSON files", _ADVICE)


def _check_total(path: str, total: int) -> None:
    if total > MAX_TOTAL:
        raise UsageError(path, f"has more than {MAX_TOTAL} bytes of records", "Give the records of one ecosystem")


def _weaknesses(record: Dict[str, Any], wanted: Dict[str, List[Versions]]) -> Iterator[Weakness]:
    if record.get("withdrawn"):
        return
    affected: Dict[str, List[Dict[str, Any]]] = {}
    for one in record.get("affected") or []:
        package = one.get("package") or {}
        if _ECOSYSTEM.match(_text(package.get("ecosystem", ""))):
            affected.setdefault(normalised(_text(package["name"])), []).append(one)
    for name, parts in affected.items():
        for package in wanted.get(name, []):
            version = _version(package.version)
            hit = [part for part in parts if _affects(part, package.version, version)]
            if hit:
                severity, score = _severity(record, hit)
                yield Weakness(
                    package.name,
                    package.version,
                    _text(record["id"]),
                    tuple(_text(alias) for alias in record.get("aliases") or []),
                    severity,
                    score,
                    masked(_text(record.get("summary") or "")),
                    _fixed(hit, version),
                )


def _affects(part: Dict[str, Any], text: str, version: Optional[Version]) -> bool:
    """Say whether the entry *part* of ``affected`` names the version *text* (OSV schema, "Evaluation")."""
    for listed in part.get("versions") or []:
        if _text(listed) == text or (version is not None and _version(listed) == version):
            return True
    return version is not None and any(_within(one, version) for one in _ranges(part))


def _ranges(part: Dict[str, Any]) -> List[Dict[str, Any]]:
    return [one for one in part.get("ranges") or [] if one["type"] in ("ECOSYSTEM", "SEMVER")]


def _within(one: Dict[str, Any], version: Version) -> bool:
    """Go through the events in the order of their versions; the last one that *version* has reached decides."""
    events = _events(one)
    limits = [at for kind, at in events if kind == "limit"]
    # An introduction and the end of another range may be at one version: the introduction comes later.
    order = {"fixed": 0, "last_affected": 1, "introduced": 2}
    inside = False
    for kind, at in sorted((event for event in events if event[0] != "limit"), key=lambda e: (e[1], order[e[0]])):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside and (not limits or any(version < limit for limit in limits))


def _events(one: Dict[str, Any]) -> List[Tuple[str, Version]]:
    found = []
    for event in one["events"]:
        for kind in ("introduced", "fixed", "last_affected", "limit"):
            text = event.get(kind)
            if text == "*" and kind == "limit":
                continue  # no limit
            if text is not None:
                # "0" is before every version (OSV schema, "events"), also before 0.dev0.
                version = Version("0.dev0") if text == "0" else _version(_text(text))
                if version is None:
                    raise ValueError(f"{text!r} is not a version")
                found.append((kind, version))
    return found


def _fixed(parts: List[Dict[str, Any]], version: Optional[Version]) -> Tuple[str, ...]:
    found = {at for part in parts for one in _ranges(part) for kind, at in _events(one) if kind == "fixed"}
    return tuple(str(at) for at in sorted(found) if version is None or at > version)


def _severity(record: Dict[str, Any], parts: List[Dict[str, Any]]) -> Tuple[str, str]:
    """Return the highest level that the record gives, and the vector or number it gives."""
    scores = [
        _text(one["score"]) for owner in (record, *parts) for one in owner.get("severity") or [] if one.get("score")
    ]
    levels = [level for level in map(_level_of_score, scores) if level]
    for owner in (record, *parts):
        for key in ("database_specific", "ecosystem_specific"):
            stated = (owner.get(key) or {}).get("severity")
            if isinstance(stated, str):
                name = _NAMES.get(stated.upper(), stated.lower())
                levels += [name] if name in LEVELS else []
    return max(levels, key=LEVELS.index, default=""), ", ".join(scores)


def _level_of_score(score: str) -> str:
    vector = _vector(score)
    if vector is not None:
        level = str(vector.severities()[0]).lower()
        return level if level in LEVELS else "low"  # "None" is a level of CVSS
    number = base_score(score)
    if number is None:
        return ""
    # CVSS 3.1 specification, 5 "Qualitative Severity Rating Scale"; that of 4.0 is the same.
    return "critical" if number >= 9 else "high" if number >= 7 else "medium" if number >= 4 else "low"


def base_score(text: str) -> Optional[float]:
    """Return the base score of a CVSS 2, 3 or 4 vector, or a plain number; None for what is neither."""
    vector = _vector(text)
    if vector is not None:
        return float(vector.scores()[0])
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 10 else None


def _vector(text: str) -> Any:
    """Return *text* as a vector of the library ``cvss``, None when it is none."""
    if len(text) > _LONGEST_VECTOR or ":" not in text:
        return None
    import cvss  # only where there are weaknesses to rate

    kinds = {"CVSS:4.0/": cvss.CVSS4, "CVSS:3.0/": cvss.CVSS3, "CVSS:3.1/": cvss.CVSS3}
    try:
        return kinds.get(text[:9], cvss.CVSS2)(text)
    except cvss.CVSSError:
        return None


def _version(text: str) -> Optional[Version]:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string is missing")
    return value
