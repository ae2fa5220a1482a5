"""The types that a variable of ``environment.json`` may have, and what a text of each looks like."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn, Optional, Tuple
from urllib.parse import urlsplit

from .pattern import Pattern, TooLong

TYPES = ("string", "integer", "number", "boolean", "url", "path", "list", "json")
# What a text of each type looks like, for a JSON Schema and for our own check.
FORMS = {
    "integer": "[+-]?[0-9]{1,40}",
    "number": "[+-]?([0-9]{1,40}(\\.[0-9]{0,40})?|\\.[0-9]{1,40})([eE][+-]?[0-9]{1,4})?",
    "boolean": "[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF]|1|0",
    "path": "/.*",
}
# What to say of a text that is none.
ADVICE = {
    "string": "must not be empty",
    "integer": "must be an integer",
    "number": "must be a number",
    "boolean": "must be true or false (or 1, 0, yes, no, on, off)",
    "url": "must be a URL such as https://example.org/",
    "path": "must be an absolute path",
    "list": "must be a JSON list of texts, or texts separated by commas",
    "json": "must be JSON",
}
# What an example file shows for a variable that has no example of its own.
EXAMPLES = {
    "string": "text",
    "integer": "1",
    "number": "1.5",
    "boolean": "true",
    "url": "https://example.org/",
    "path": "/srv/site",
    "list": '["one", "two"]',
    "json": "{}",
}


def fits(kind: str, value: str) -> bool:
    """Say whether *value* is a text of the type *kind*, one of TYPES."""
    if kind == "string":
        return True
    if kind == "url":
        return _is_url(value)
    if kind == "list":
        return _is_list(value)
    if kind == "json":
        return _parsed(value) is not None
    try:
        matches = Pattern(FORMS[kind]).matches(value)
    except TooLong:
        return False
    return matches and (kind != "number" or math.isfinite(float(value)))  # 1e999 would be read as infinity


def _is_url(value: str) -> bool:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[^\s\x00-\x20\x7f]+\Z", value) is None:
        return False
    try:
        return urlsplit(value).port != 0
    except ValueError:
        # A port that is none, or one half of an IPv6 address; sqlite://:memory: is a URL that has no port.
        return ":memory:" in value


def _is_list(value: str) -> bool:
    if not value.lstrip().startswith("["):
        return all(part.strip() for part in value.split(","))
    found = _parsed(value)
    return found is not None and isinstance(found[0], list) and all(isinstance(one, str) for one in found[0])


def _parsed(value: str) -> Optional[Tuple[Any]]:
    def refuse(word: str) -> NoReturn:
        raise ValueError(word)  # NaN and Infinity are no JSON (RFC 8259, 6)

    try:
        return (json.loads(value, parse_constant=refuse),)
    except (ValueError, RecursionError):
        return None
