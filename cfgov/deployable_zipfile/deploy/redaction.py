"""Take the values of environment.json out of texts before anybody sees these.

A value is looked for as it is and as programs write it: its parts when it is a URL or a connection string, in JSON,
``repr``, HTML, percent-encoded, in base64 at any offset, in hexadecimal, in upper or lower case, and broken over lines.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import urllib.parse
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Set, Tuple

from ..process import Sink

# A value of these names is a secret however short it is; other short values ("1", "prod") are words of every output.
_SECRET_NAME = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|SALT|SIGN|DSN|PIN", re.IGNORECASE)
_SHORT = 4  # characters; a shorter value is hidden only where it is a word of its own and its name is a secret's
_PART = 8  # characters of one line or word of a longer value that give it away
_ENCODED = 6  # characters of a base64 or hexadecimal form that are no accident
_FILLING = re.compile(r"[\s\"'\\]+")  # blanks, line ends, and what pprint and a shell put there
_LINE_END = re.compile(r"[\r\n]")


class _Form(NamedTuple):
    """One way in which a value may be written."""

    text: str  # in lower case
    key: str  # the variable's name
    whole: bool  # only as a word of its own


class Secrets:
    """The values of an environment file."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        found: Dict[str, _Form] = {}
        for key, value in variables.items():
            for text in _forms(value):
                low = _lower(text)
                whole = len(low) < _SHORT
                if low and not (whole and not _SECRET_NAME.search(key)):
                    found.setdefault(low, _Form(low, key, whole))
        self._forms = sorted(found.values(), key=lambda form: -len(form.text))
        self._secret = {key for key, value in variables.items() if _SECRET_NAME.search(key) or "://" in value}
        self.longest = max((len(form.text) for form in self._forms), default=0)

    def hidden(self, text: str) -> str:
        """Return *text* with each value replaced by its variable's name in brackets."""
        shown, position = [], 0
        for start, end, key in self.spans(text):
            shown += [text[position:start], f"[{key}]"]
            position = end
        return "".join([*shown, text[position:]])

    def kept_in(self, text: str) -> List[str]:
        """Return the names of secrets, not of other variables, whose values *text* holds."""
        found = self.spans(text)
        return sorted({key for start, end, key in found if key in self._secret and end - start >= _PART})

    def spans(self, text: str) -> List[Tuple[int, int, str]]:
        """Return where values are: beginning, end, name; in order, without overlaps, the longest first of all."""
        taken = bytearray(len(text))
        found: List[Tuple[int, int, str]] = []

        def take(start: int, end: int, key: str) -> None:
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append((start, end, key))

        low = _lower(text)
        for form in self._forms:
            for start in _occurrences(low, form):
                take(start, start + len(form.text), form.key)
        if "\n" in text or "\r" in text:
            dense, places = _dense(low)
            for form in self._forms:
                inner = form._replace(text=_FILLING.sub("", form.text))
                for start in _occurrences(dense, inner) if len(inner.text) >= _ENCODED else ():
                    first, end = places[start], places[start + len(inner.text) - 1] + 1
                    if _LINE_END.search(text, first, end):
                        take(first, end, form.key)
        return sorted(found)

    def sink(self) -> Sink:
        """Return what hides the values in an output that comes piece by piece."""
        return _Hiding(self)


class _Hiding(Sink):
    """Holds back as much of an output as the longest value could still need to be found."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._waiting = ""
        self._held = 2 * secrets.longest + 256  # characters: line ends and indentation inside a value included

    def feed(self, text: str) -> str:
        """See :class:`process.Sink`."""
        self._waiting += text
        if len(self._waiting) < 2 * self._held:
            return ""
        cut = len(self._waiting) - self._held
        for start, end, _ in self._secrets.spans(self._waiting):
            if start < cut < end:
                cut = start
        ready, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return self._secrets.hidden(ready)

    def end(self) -> str:
        """See :class:`process.Sink`."""
        rest, self._waiting = self._waiting, ""
        return self._secrets.hidden(rest)


def _dense(text: str) -> Tuple[str, List[int]]:
    """Return *text* without what programs put around a line break, and where each of its characters was."""
    places = [place for place, character in enumerate(text) if not (character.isspace() or character in "\"'\\")]
    return "".join(text[place] for place in places), places


def _occurrences(text: str, form: _Form) -> Iterator[int]:
    start = text.find(form.text)
    while start >= 0:
        end = start + len(form.text)
        around = text[max(0, start - 1) : start] + text[end : end + 1]
        if not form.whole or not any(one.isalnum() for one in around):
            yield start
        start = text.find(form.text, start + 1)


def _lower(text: str) -> str:
    """Return *text* in lower case, character by character: its length stays."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(one.lower()[:1] or one for one in text)


def _forms(value: str) -> Set[str]:
    """Return the ways in which *value* may be written."""
    texts = {value, value.strip(), *_parts(value)}
    forms: Set[str] = set()
    for text in texts:
        if not text:
            continue
        raw = text.encode("utf-8", "surrogateescape")
        quoted = [urllib.parse.quote(raw, safe=""), urllib.parse.quote(raw), urllib.parse.quote_plus(raw)]
        in_json = [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
        nested = [json.dumps(one)[1:-1] for one in in_json]
        shown = [repr(text)[1:-1], ascii(text)[1:-1], repr(raw)[2:-1], html.escape(text), shlex.quote(text)]
        forms.update([text, *quoted, *in_json, *nested, *shown, *_encoded(raw)])
    return forms


def _encoded(raw: bytes) -> Iterator[str]:
    """Return the characters that *raw* surely becomes inside a longer text in base64, at each of three offsets."""
    for offset, begin in ((0, 0), (1, 2), (2, 3)):
        bits = (offset + len(raw)) * 8
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(bytes(offset) + raw).decode("ascii")[begin : bits // 6]
            if len(form) >= _ENCODED:
                yield form
    if 2 * len(raw) >= _ENCODED:
        yield raw.hex()


def _parts(value: str) -> Iterator[str]:
    """Return what gives *value* away when it is shown without the rest: lines, parts of a URL, values inside it."""
    for line in value.splitlines():
        if len(line.strip()) >= _PART:
            yield line.strip()
    yield from _url_parts(value)
    if "=" in value and "://" not in value:  # a connection string: host=x password=y, or Server=x;Password=y
        for word in re.split(r"[\s;]+", value):
            name, equals, inner = word.partition("=")
            if equals and _SECRET_NAME.search(name):
                yield inner.strip("'\"")
    if value[:1] in ("{", "["):
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            return
        yield from (text for text in _texts(document) if len(text) >= _PART)


def _url_parts(value: str) -> Iterable[str]:
    """Return password, user with password and query of a URL: drivers show them by themselves."""
    if "://" not in value:
        return []
    try:
        parts = urllib.parse.urlsplit(value)
        password, user = parts.password, parts.username
        netloc, query = parts.netloc, parts.query
    except ValueError:
        return []
    # A password may hold characters that end the host for a strict reader: "/", "#", "?".
    loose = re.match(r"[a-z0-9+.-]+://[^:/@]*:(.+)@", value, re.IGNORECASE)
    found = [password, user, netloc, query, loose.group(1) if loose else None]
    found += [inner for name, inner in urllib.parse.parse_qsl(query) if _SECRET_NAME.search(name)]
    plain = [urllib.parse.unquote(part) for part in found if part]
    return [*filter(None, found), *plain, *(part.replace("+", " ") for part in plain)]


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for inner in document.values():
            yield from _texts(inner)
    elif isinstance(document, list):
        for inner in document:
            yield from _texts(inner)
