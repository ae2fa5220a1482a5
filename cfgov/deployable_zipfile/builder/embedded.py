"""Libraries that were copied into a wheel, by the places of their files and by the bills of materials in it."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from ..artifact.versions import normalised
from ..artifact.wheel import Wheel
from ..definitions import NamedTuple, expression
from ..errors import WheelError

# Folders in which auditwheel and its likes put the libraries that they copy into a wheel.
EMBEDDED = expression(r"(?:[^/]+/)*(?:[^/]+\.libs|\.libs|\.dylibs)/[^/]+\Z")
_TAG_IN_NAME = expression(r"-[0-9a-f]{8,}(?=\.)")  # with which auditwheel makes their names distinct
_MAX_BILL = 4 * 1024 * 1024  # bytes of a bill of materials in a wheel


class Embedded(NamedTuple):
    """A library that was copied into a wheel: a file of it, or what a bill of materials in it names (PEP 770)."""

    where: str  # the file in the wheel
    name: str
    version: str = ""
    sha256: str = ""
    purl: str = ""  # package URL
    licence: str = ""


def embedded(wheel: Wheel, doubts: List[str]) -> Tuple[Embedded, ...]:
    """Return the libraries in *wheel*; a bill of materials that cannot be read is one more of its *doubts*."""
    return tuple(sorted({*_files(wheel), *_parts(wheel, doubts)}))


def _files(wheel: Wheel) -> Iterator[Embedded]:
    """Yield the libraries in the folders of auditwheel, delocate and delvewheel."""
    for name in wheel.files:
        match = EMBEDDED.match(name)
        if match and (".so" in name or name.endswith((".dylib", ".dll"))):
            row = wheel.record.get(name)
            yield Embedded(name, _TAG_IN_NAME.sub("", name.rpartition("/")[2]), sha256=row.sha256 if row else "")


def _parts(wheel: Wheel, doubts: List[str]) -> Iterator[Embedded]:
    """Yield what the bills of materials in ``.dist-info/sboms/`` name (PEP 770), of CycloneDX and SPDX in JSON."""
    for name in sorted(wheel.files):
        if not name.startswith(f"{wheel.dist_info}/sboms/"):
            continue
        try:
            document = json.loads(wheel.text(name, _MAX_BILL))
            found = list(_named_parts(document, name))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, WheelError) as error:
            why = error.why if isinstance(error, WheelError) else f"{type(error).__name__}: {error}"
            doubts.append(f"{name} cannot be read ({why}), so the libraries that it names are not in the SBOM")
            continue
        yield from (part for part in found if normalised(part.name) != wheel.name)


def _named_parts(document: Dict[str, Any], where: str) -> Iterator[Embedded]:
    waiting = list(document.get("components", []))  # CycloneDX
    while waiting:
        one = waiting.pop(0)
        waiting += one.get("components", [])
        licences = [entry.get("license", {}) for entry in one.get("licenses", []) if "expression" not in entry]
        names = [entry["expression"] for entry in one.get("licenses", []) if "expression" in entry]
        names += [licence.get("id") or licence["name"] for licence in licences]
        yield _part(where, one["name"], one.get("version"), one.get("purl"), " AND ".join(names))
    for one in document.get("packages", []):  # SPDX 2
        purls = [ref["referenceLocator"] for ref in one.get("externalRefs", []) if ref["referenceType"] == "purl"]
        stated = one.get("licenseConcluded")
        licence = "" if stated in (None, "NOASSERTION", "NONE") else stated
        yield _part(where, one["name"], one.get("versionInfo"), purls[0] if purls else "", licence)


def _part(where: str, *values: Any) -> Embedded:
    texts = [value or "" for value in values]
    if not texts[0] or not all(isinstance(text, str) for text in texts):
        raise TypeError("a string is missing")
    name, version, purl, stated = texts
    return Embedded(where, name, version, "", purl, stated)
