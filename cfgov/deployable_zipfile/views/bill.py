"""What an artifact's bill of materials (CycloneDX) says of its wheels, read strictly."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

from ..artifact import layout
from ..definitions import NamedTuple
from ..errors import ArtifactError, masked

MAX_BILL = layout.MAX_MANIFEST  # bytes
_MOST = ((b"{", 200_000), (b"[", 200_000), (b",", 1_000_000))  # values, counted before they are parsed
_OWN = "deployable-zipfile:"  # prefix of our properties


class Floor(NamedTuple):
    """The glibc that one wheel needs on one architecture."""

    machine: str
    version: str
    file: str  # in the wheel, the file that sets it


class Entry(NamedTuple):
    """What is known of one wheel."""

    licence: str  # "" when unknown
    built_from: str  # the sdist it was built from, "" when it was downloaded as a wheel
    floors: Tuple[Floor, ...]
    needs: Tuple[str, ...]  # members that it requires


NOTHING = Entry("", "", (), ())


def read(text: bytes) -> Dict[str, Entry]:
    """Return the wheels of the bill of materials *text* by member name.

    Raises:
        ArtifactError: it is not JSON of the form that ``builder/sbom.py`` writes.
    """
    try:
        document = _parsed(text)
        edges = {edge["ref"]: _texts(edge.get("dependsOn", [])) for edge in document.get("dependencies", [])}
        entries = [_entry(component, edges) for component in document["components"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"cannot be read ({type(error).__name__}: {error})"
        raise ArtifactError(layout.SBOM, why, "Copy the artifact again") from None
    return {member: entry for member, entry in entries if member}


def _parsed(text: bytes) -> Dict[str, Any]:
    if len(text) > MAX_BILL:
        raise ValueError(f"has {len(text)} bytes, more than {MAX_BILL}")
    for mark, most in _MOST:
        if text.count(mark) > most:
            raise ValueError(f"has more than {most} of {mark.decode()}")
    document = json.loads(text.decode("utf-8"))
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise ValueError("is not CycloneDX")
    return document


def _entry(component: Dict[str, Any], edges: Dict[str, Tuple[str, ...]]) -> Tuple[str, Entry]:
    properties: Dict[str, List[str]] = {}
    for one in component.get("properties", []):
        properties.setdefault(_text(one["name"]), []).append(_text(one["value"]))
    member = properties.get(f"{_OWN}member", [""])[0]
    floors = tuple(Floor(*_three(value)) for value in properties.get(f"{_OWN}glibc", []))
    built_from = properties.get(f"{_OWN}built-from", [""])[0]
    needs = edges.get(component.get("bom-ref", ""), ())
    return member, Entry(_licence(component), masked(built_from), floors, needs)


def _licence(component: Dict[str, Any]) -> str:
    names = []
    for one in component.get("licenses", []):
        licence = one.get("license", {})
        names.append(_text(one.get("expression") or licence.get("id") or licence["name"]))
    return " AND ".join(names)


def _three(value: str) -> Tuple[str, str, str]:
    machine, version, file = value.split(" ", 2)
    return machine, version, file


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string is missing")
    return value


def _texts(values: Any) -> Tuple[str, ...]:
    return tuple(_text(value) for value in values)
