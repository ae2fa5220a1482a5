"""METADATA of a wheel: what it requires, for which Pythons it is, its licence.

Nothing that takes long to load is imported before it is needed: the views read licences only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Tuple

from ..artifact.wheel import Wheel
from ..definitions import NamedTuple, expression

if TYPE_CHECKING:
    from email.message import Message

_STARRED = expression(r"((?:>=|<=|>|<)\s*[0-9]+(?:\.[0-9]+)*)\.\*")


class Metadata(NamedTuple):
    """What the build reads of METADATA."""

    requires: Tuple[str, ...]  # Requires-Dist
    requires_python: str
    licence: str


def headers(wheel: Wheel) -> Message:
    """Return METADATA of *wheel*.

    Raises:
        WheelError: it is too long, or is not UTF-8.
    """
    import email.parser  # takes long, and a build from the cache reads no metadata
    import email.policy

    text = wheel.text(f"{wheel.dist_info}/METADATA")
    return email.parser.HeaderParser(policy=email.policy.compat32).parsestr(text)


def read(wheel: Wheel, doubts: List[str]) -> Metadata:
    """Return what METADATA of *wheel* says; what restricts nothing because it cannot be read is one of its *doubts*.

    Raises:
        WheelError: a requirement cannot be read.
    """
    from packaging.requirements import InvalidRequirement

    from .collected import parsed

    fields = headers(wheel)
    requires = tuple(str(line).replace("\n", " ") for line in fields.get_all("Requires-Dist") or ())
    requires_python = _requires_python(str(fields.get("Requires-Python") or "").strip(), doubts)
    try:
        parsed(requires)
    except InvalidRequirement as error:
        wheel.refuse(f"{wheel.dist_info}/METADATA", f"cannot be read ({str(error).splitlines()[0]})")
    return Metadata(requires, requires_python, licence(fields))


def _requires_python(text: str, doubts: List[str]) -> str:
    """Return Requires-Python as specifiers; ">=3.6.*", which PEP 440 does not know, means ">=3.6".

    What cannot be read at all restricts nothing, as with pip.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    plain = _STARRED.sub(r"\1", text)
    try:
        SpecifierSet(plain)
    except InvalidSpecifier:
        doubts.append(f"its Requires-Python {text!r} cannot be read, so it is not checked")
        return ""
    return plain


def licence(fields: Message) -> str:
    """Return the licence as *fields* of METADATA name it, "" when they do not.

    In the order of trust: License-Expression (PEP 639), a short text in License, the classifiers.
    """
    expression = fields.get("License-Expression")
    if expression:
        return str(expression).strip()
    classifiers = [str(line) for line in fields.get_all("Classifier") or ()]
    names = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License ::")]
    names = [name for name in names if name != "OSI Approved"]
    text = str(fields.get("License") or "").strip()
    if text and text != "UNKNOWN" and "\n" not in text and len(text) <= 100:
        return text
    return " AND ".join(names)
