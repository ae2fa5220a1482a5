"""JSON from others: bounded before it is parsed, and read field by field."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

from ..errors import ArtifactError
from . import layout

# Of what a manifest or another JSON document of ours may hold, counted before it is parsed: four pairs a member, a
# comma in some names, and room for plans of several targets.
_MOST_OF = (((b"{", b"["), 200_000), ((b":",), 400_000), ((b",",), 600_000))
_OTHER_PAIRS = 60_000  # names and values that belong to no member
_WINDOW = 32 * 1024  # bytes


def bounded_json(text: bytes, **hooks: Any) -> Any:
    """Parse *text* as JSON after proving that it cannot take much more memory or time than its own size.

    A few kilobytes of a compressed member may hold millions of objects, or one name of megabytes. So the text is
    refused before it is parsed when it holds more values than 65 534 members need, or a name, string, number or
    blank of more than 32 to 64 KiB.

    Parameters:
        text: UTF-8, at most :data:`layout.MAX_MANIFEST` bytes.
        hooks: for :func:`json.loads`.

    Raises:
        ValueError: saying which bound is passed, or that it is not JSON; the message quotes nothing of the text.
    """
    if len(text) > layout.MAX_MANIFEST:
        raise ValueError(f"has {len(text)} bytes, more than {layout.MAX_MANIFEST}")
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


def document_of(name: str, text: bytes, object_of_pairs: Callable[[List[Tuple[str, Any]]], Any]) -> Dict[str, Any]:
    """Return the JSON object that the member *name* holds, each object in it made by *object_of_pairs*.

    Raises:
        ArtifactError: it is not strict JSON, passes a bound, or is not an object.
    """
    try:
        document = bounded_json(text, object_pairs_hook=object_of_pairs)
    except ValueError as error:
        raise ArtifactError(name, f"is not strict JSON ({error})", "Copy the artifact again") from None
    if not isinstance(document, dict):
        raise ArtifactError(name, "is not a JSON object", "Copy the artifact again")
    return document


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class Fields:
    """Takes typed fields out of one JSON object and notices what is left over.

    Each method raises :class:`ArtifactError` when the field is missing or of another type.
    """

    def __init__(self, where: str, document: Any) -> None:
        self._where = where
        if not isinstance(document, dict):
            self.refuse("an object is missing")
        self._rest = dict(document)

    def text(self, key: str) -> str:
        """Take a string."""
        value = self.take(key)
        if not isinstance(value, str):
            self.refuse(f"{key!r} is not a string")
        return str(value)

    def optional_text(self, key: str) -> Optional[str]:
        """Take a string or null."""
        value = self.take(key)
        if value is not None and not isinstance(value, str):
            self.refuse(f"{key!r} is not a string or null")
        return value

    def matching(self, key: str, pattern: "re.Pattern[str]", empty: bool = False) -> str:
        """Take a string that *pattern* matches, or an empty one if *empty*."""
        value = self.text(key)
        if not (pattern.match(value) or (empty and not value)):
            self.refuse(f"{key!r} has a wrong form")
        return value

    def named(self, key: str, fits: Callable[[str], bool]) -> str:
        """Take a string that is empty or *fits*."""
        value = self.text(key)
        if value and not fits(value):
            self.refuse(f"{key!r} has a wrong form")
        return value

    def number(self, key: str) -> int:
        """Take an integer that is not negative."""
        value = self.take(key)
        if type(value) is not int or value < 0:
            self.refuse(f"{key!r} is not a whole number")
        return int(value)

    def flag(self, key: str) -> bool:
        """Take true or false."""
        value = self.take(key)
        if not isinstance(value, bool):
            self.refuse(f"{key!r} is not true or false")
        return bool(value)

    def texts(self, key: str) -> Tuple[str, ...]:
        """Take a list of strings."""
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.refuse(f"{key!r} is not a list of strings")
        return tuple(value)

    def has(self, key: str) -> bool:
        """Say whether *key* is there and was not taken yet."""
        return key in self._rest

    def part(self, key: str) -> "Fields":
        """Take an object."""
        return Fields(self._where, self.take(key))

    def parts(self, key: str) -> List["Fields"]:
        """Take a list of objects."""
        value = self.take(key)
        if not isinstance(value, list):
            self.refuse(f"{key!r} is not a list")
        return [Fields(self._where, item) for item in value]

    def end(self, *known: str) -> None:
        """Refuse what nobody took, except for the *known* keys."""
        for key in self._rest:
            if key not in known:
                self.refuse(f"unknown key {key!r}")

    def take(self, key: str) -> Any:
        """Take a value of any type."""
        if key not in self._rest:
            self.refuse(f"{key!r} is missing")
        return self._rest.pop(key)

    def refuse(self, why: str) -> NoReturn:
        """Raise what the document is refused with."""
        raise ArtifactError(self._where, why, "Copy the artifact again")
