"""Take the values of environment.json out of texts before anybody sees these.

A value is looked for as it is and as programs write it: its parts when it is a URL or a connection string, in JSON,
``repr``, HTML, percent-encoded, in base64 at any offset, in hexadecimal, in upper or lower case, and broken over lines;
a secret also in base32 and base85, in UTF-7, backwards, and turned by 13 letters.

Programs nest these: JSON in JSON in a query, ``repr`` of ``repr``, base64 in JSON in HTML. So the letters and digits of
texts are compared as well, with every escape decoded, and a part of a long secret is found by itself.
"""

from __future__ import annotations

import base64
import codecs
import html
import json
import quopri
import re
import shlex
import unicodedata
import urllib.parse
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Set, Tuple

from ..definitions import NamedTuple, expression
from ..process import Sink

# A value of these names is a secret however short it is; other short values ("1", "prod") are words of every output.
_SECRET_NAME = expression(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH|SALT|SIGN|DSN|PIN", re.IGNORECASE)
_SHORT = 4  # characters; a shorter value is hidden only where it is a word of its own and its name is a secret's
_PART = 8  # characters of one line or word of a longer value that give it away
_ENCODED = 6  # characters of a base64 or hexadecimal form that are no accident
_HEAD = 6  # characters by which most forms are told apart
_BARE = 8  # letters and digits that are compared without what is between them
_PIECE, _STRIDE = 12, 4  # letters and digits of a piece of a secret, and from one piece to the next
_SHORTEST_WHOLE, _LONGEST_WHOLE = 20, 4096  # letters and digits of a secret of which pieces are looked for
_MOST_PIECES = 50_000
_MOST_USUAL = 2_000  # variables; with more of them only the usual forms of each are looked for
_ESCAPE_TEXT = r"""
      \x1b\[[0-9;?]*[A-Za-z]
    | \\+(?:u\{?(?P<unicode>[0-9A-Fa-f]{4})|x(?P<hex>[0-9A-Fa-f]{2})|(?P<octal>[0-7]{3})|[abfnrtv])
    | %(?:25)*(?P<percent>[0-9A-Fa-f]{2})
    | &(?:amp;)*(?:\#(?P<decimal>[0-9]{1,7});|\#[xX](?P<entity>[0-9A-Fa-f]{1,6});|(?:amp|quot|apos|lt|gt|nbsp);)
    """
_ESCAPE = expression(_ESCAPE_TEXT, re.VERBOSE)
_ESCAPE_OR_PLAIN = expression(f"(?P<plain>[0-9A-Za-z]+)|{_ESCAPE_TEXT}", re.VERBOSE)
_NOT_BARE = expression(r"[^0-9A-Za-z]+")
_BASES = {"unicode": 16, "hex": 16, "octal": 8, "percent": 16, "decimal": 10, "entity": 16}
_FILLING = expression(r"[\s\"'\\]+")  # blanks, line ends, and what pprint and a shell put there
_ASSIGNMENT = expression(r"""(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|"[^"]*"|\{[^}]*\}|[^\s;]+)""")
_SEGMENT = expression(r"(?=[^/]*[0-9A-Z])(?=[^/]*[a-zA-Z])[\w.~=-]{10,}")  # of a path: a key, not a word
_TO_Z85 = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~",
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#",
)
_LINE_END = expression(r"[\r\n]")


class _Form(NamedTuple):
    """One way in which a value may be written."""

    text: str  # in lower case
    key: str  # the variable's name
    whole: bool  # only as a word of its own


class _Forms:
    """Many forms that are looked for at once: by how they begin, the few short ones one by one."""

    def __init__(self) -> None:
        self._short: Dict[str, _Form] = {}
        self._by_head: Dict[str, Tuple[_Form, ...]] = {}
        self.longest = 0  # characters

    def add(self, form: _Form) -> None:
        """Look for *form* too. Of equal texts the first is kept."""
        self.longest = max(self.longest, len(form.text))
        if len(form.text) < _HEAD:
            self._short.setdefault(form.text, form)
            return
        head = form.text[:_HEAD]
        others = self._by_head.get(head, ())
        if all(other.text != form.text for other in others):
            self._by_head[head] = (*others, form)

    def found(self, text: str) -> Iterator[Tuple[int, int, str]]:
        """Yield beginning, end and name of each one in *text*; they may overlap."""
        begun = self._by_head.keys() & _runs(text, _HEAD)
        for form in [*self._short.values(), *(form for head in sorted(begun) for form in self._by_head[head])]:
            for start in _occurrences(text, form):
                yield start, start + len(form.text), form.key


class Secrets:
    """The values of an environment file."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._forms, self._dense, self._bare = _Forms(), _Forms(), _Forms()
        self._pieces: Dict[str, Tuple[str, int, str]] = {}  # piece -> all letters and digits, where in them, name
        is_usual = len(variables) <= _MOST_USUAL
        for key, value in variables.items():
            is_secret = bool(_SECRET_NAME.search(key))
            # A path or a module's name is also what tracebacks are made of: that is looked for as it is.
            is_bare = is_usual and (is_secret or "://" in value or _is_opaque(value))
            for text in _forms(value, is_secret, is_usual):
                self._add(key, text, is_secret, is_bare)
            if is_secret and is_usual:
                for low in map(_lower, _short_encoded(value)):
                    self._forms.add(_Form(low, key, True))
                self._add_pieces(key, value)
        self._secret = {key for key, value in variables.items() if _SECRET_NAME.search(key) or "://" in value}
        self.longest = self._forms.longest

    def _add(self, key: str, text: str, is_secret: bool, is_bare: bool) -> None:
        low = _lower(text)
        whole = len(low) < _SHORT
        if not whole or is_secret:
            self._forms.add(_Form(low, key, whole))
        dense = _FILLING.sub("", low)
        if dense != low and len(dense) >= _ENCODED:
            self._dense.add(_Form(dense, key, whole))
        for letters in (_letters(text), _NOT_BARE.sub("", low)) if is_bare else ():
            if len(letters) >= _BARE:
                self._bare.add(_Form(letters, key, False))

    def _add_pieces(self, key: str, value: str) -> None:
        """Remember pieces of a secret that no output has by accident."""
        letters = _letters(value)
        if _is_opaque(value) and _SHORTEST_WHOLE <= len(letters) <= _LONGEST_WHOLE and len(self._pieces) < _MOST_PIECES:
            for start in range(0, len(letters) - _PIECE + 1, _STRIDE):
                self._pieces.setdefault(letters[start : start + _PIECE], (letters, start, key))

    def hidden(self, text: str) -> str:
        """Return *text* with each value replaced by its variable's name in brackets."""
        return _replaced(text, self.spans(text))

    def kept_in(self, text: str) -> List[str]:
        """Return the names of secrets, not of other variables, whose values *text* holds."""
        found = self._found(text, parts=False)
        return sorted({key for start, end, key in found if key in self._secret and end - start >= _PART})

    def spans(self, text: str) -> List[Tuple[int, int, str]]:
        """Return where values are: beginning, end, name; in order, without overlaps, the longest first of all."""
        taken = bytearray(len(text))
        found: List[Tuple[int, int, str]] = []
        for start, end, key in sorted(self._found(text), key=lambda one: one[0] - one[1]):
            if any(taken[start:end]):  # a part of it may be left
                for free in re.finditer(b"\0+", bytes(taken[start:end])):
                    found.append((start + free.start(), start + free.end(), key))
            else:
                found.append((start, end, key))
            taken[start:end] = b"\1" * (end - start)
        return sorted(found)

    def _found(self, text: str, parts: bool = True) -> Iterator[Tuple[int, int, str]]:
        """Yield where a form of a value is and, with *parts*, a part of a secret."""
        low = _lower(text)
        yield from self._forms.found(low)
        if "\n" in text or "\r" in text:
            dense, places = _dense(low)
            for start, end, key in (*self._forms.found(dense), *self._dense.found(dense)):
                first, after = places[start], places[end - 1] + 1
                if end - start >= _ENCODED and _LINE_END.search(text, first, after):
                    yield first, after, key
        yield from self._without_escapes(text, parts)

    def _without_escapes(self, text: str, parts: bool) -> Iterator[Tuple[int, int, str]]:
        """Yield where the letters and digits of a value are, or of a part of a secret."""
        letters = _letters(text)
        found = list(self._bare.found(letters))
        if parts and self._pieces.keys() & _runs(letters, _PIECE):
            found += self._parts(letters)
        if found:
            starts, ends = _places(text)
            yield from ((starts[start], ends[end - 1], key) for start, end, key in found)

    def _parts(self, letters: str) -> Iterator[Tuple[int, int, str]]:
        place = 0
        while place + _PIECE <= len(letters):
            known = self._pieces.get(letters[place : place + _PIECE])
            if known is None:
                place += 1
                continue
            whole, begin, key = known
            first, after, end = place, place + _PIECE, begin + _PIECE
            while first > 0 and begin > 0 and letters[first - 1] == whole[begin - 1]:
                first, begin = first - 1, begin - 1
            while after < len(letters) and end < len(whole) and letters[after] == whole[end]:
                after, end = after + 1, end + 1
            yield first, after, key
            place = after

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
        spans = self._secrets.spans(self._waiting)
        cut = min([cut, *(start for start, end, _ in spans if start < cut < end)])
        ready, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return _replaced(ready, [span for span in spans if span[0] < cut])

    def end(self) -> str:
        """See :class:`process.Sink`."""
        rest, self._waiting = self._waiting, ""
        return self._secrets.hidden(rest)


def _replaced(text: str, spans: Iterable[Tuple[int, int, str]]) -> str:
    shown, position = [], 0
    for start, end, key in spans:
        shown += [text[position:start], f"[{key}]"]
        position = end
    return "".join([*shown, text[position:]])


def _dense(text: str) -> Tuple[str, List[int]]:
    """Return *text* without what programs put around a line break, and where each of its characters was."""
    places = [place for place, character in enumerate(text) if not (character.isspace() or character in "\"'\\")]
    return "".join(text[place] for place in places), places


def _is_opaque(value: str) -> bool:
    """Tell whether *value* is one word with digits, and no path."""
    plain = len(value.split()) == 1 and "://" not in value and not value.startswith("/")
    return plain and sum(map(str.isdigit, value)) > 1


def _runs(text: str, size: int) -> Set[str]:
    """Return every *size* characters in a row of *text*."""
    return {text[place : place + size] for place in range(len(text) - size + 1)}


def _decoded(match: "re.Match[str]") -> str:
    """Return the letter or digit that an escape stands for, "" for another character."""
    kind = match.lastgroup
    if kind is None:
        return ""
    number = int(match.group(kind), _BASES[kind])
    return chr(number) if number < 128 and chr(number).isalnum() else ""


def _letters(text: str) -> str:
    """Return the letters and digits of ASCII in *text*, in lower case and with escapes decoded."""
    return _NOT_BARE.sub("", _ESCAPE.sub(_decoded, text)).lower()


def _places(text: str) -> Tuple[List[int], List[int]]:
    """Return where each character of :func:`_letters` begins and ends in *text*."""
    starts: List[int] = []
    ends: List[int] = []
    for match in _ESCAPE_OR_PLAIN.finditer(text):
        if match.lastgroup == "plain":
            starts += range(match.start(), match.end())
            ends += range(match.start() + 1, match.end() + 1)
        elif _decoded(match):
            starts.append(match.start())
            ends.append(match.end())
    return starts, ends


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


def _forms(value: str, is_secret: bool, is_usual: bool) -> Set[str]:
    """Return the ways in which *value* may be written."""
    texts = {value, value.strip(), *_parts(value, is_secret)}
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
        if is_secret and is_usual:
            for written in {quoted[0], in_json[0]} - {text}:
                forms.update(_encoded(written.encode("ascii")))
            forms.update([unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)])
            forms.add(quopri.encodestring(raw).decode("ascii").replace("=\n", ""))
            forms.add(", ".join(map(str, raw)))
            twice = base64.b64encode(raw).rstrip(b"=")
            forms.update([base64.b32encode(raw).decode("ascii").rstrip("="), *_encoded(twice[: len(raw) * 8 // 6])])
            forms.update(_encoded(text.encode("utf-16-le", "surrogatepass")))
            forms.update([*_encoded_in_85(raw), *(turned for turned in _turned(text) if len(text) >= _PART)])
    return {form for form in forms if form}


def _short_encoded(value: str) -> Iterator[str]:
    """Return the base64 forms of a secret that is too short for those at an offset."""
    raw = value.encode("utf-8", "surrogateescape")
    if 3 <= len(raw) < _ENCODED:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(raw).decode("ascii")
            yield encode(raw).decode("ascii").rstrip("=")


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


def _encoded_in_85(raw: bytes) -> Iterator[str]:
    """Return what *raw* becomes in base85 (RFC 1924, Ascii85, Z85), and what it surely becomes inside a longer text."""
    whole = len(raw) - len(raw) % 4
    for part in {raw, *(raw[skipped : whole + skipped - (4 if skipped > len(raw) % 4 else 0)] for skipped in range(4))}:
        if len(part) >= _PART:
            plain = base64.b85encode(part)
            for form in (plain, plain.translate(_TO_Z85), base64.a85encode(part)):
                yield form.decode("ascii")


def _turned(text: str) -> Iterator[str]:
    """Return *text* as what hides it from the eye alone makes of it."""
    yield text[::-1]
    yield codecs.encode(text, "rot13")
    yield text.encode("utf-7", "surrogatepass").decode("ascii")


def _parts(value: str, is_secret: bool) -> Iterator[str]:
    """Return what gives *value* away when it is shown without the rest: lines, parts of a URL, values inside it."""
    for line in value.splitlines():
        if len(line.strip()) >= _PART:
            yield line.strip()
    yield from _url_parts(value)
    if "://" not in value:
        yield from _words(value, is_secret)
    if value[:1] in ("{", "["):
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            return
        for name, text in _texts(document):
            if len(text) >= _PART or _SECRET_NAME.search(name):
                yield text


def _words(value: str, is_secret: bool) -> Iterator[str]:
    """Return the secrets in a connection string (``host=x password=y``), and the words of a list of secrets."""
    for match in _ASSIGNMENT.finditer(value) if "=" in value else ():
        if _SECRET_NAME.search(match.group(1)):
            yield match.group(2).strip("'\"{}")
    if is_secret and len(value) <= _LONGEST_WHOLE:
        yield from (word for word in re.split(r"[\s,;|]+", value) if len(word) >= _PART)
        user, colon, password = value.partition(":")
        if colon and user.isalnum() and len(password) >= _SHORT:
            yield password


def _url_parts(value: str) -> Iterable[str]:
    """Return password, user with password and query of a URL: drivers show them by themselves."""
    if "://" not in value:
        return []
    try:
        parts = urllib.parse.urlsplit(value)
        password, user = parts.password, parts.username
        netloc, query = parts.netloc, parts.query
        path = parts.path if parts.scheme in ("http", "https") else ""
    except ValueError:
        return []
    # A password may hold characters that end the host for a strict reader: "/", "#", "?".
    loose = re.match(r"[a-z0-9+.-]+://[^:/@]*:(.+)@", value, re.IGNORECASE)
    found = [password, user, netloc, query, loose.group(1) if loose else None]
    found += [inner for name, inner in urllib.parse.parse_qsl(query) if _SECRET_NAME.search(name)]
    keys = [segment for segment in path.split("/") if _SEGMENT.fullmatch(segment)]
    found += [path, *keys] if keys else []  # the key of a hook is in its path
    plain = [urllib.parse.unquote(part) for part in found if part]
    return [*filter(None, found), *plain, *(part.replace("+", " ") for part in plain)]


def _texts(document: Any, name: str = "") -> Iterator[Tuple[str, str]]:
    """Yield every text in a JSON value, with the name that it has there."""
    if isinstance(document, str):
        yield name, document
    elif isinstance(document, dict):
        for key, inner in document.items():
            yield from _texts(inner, key)
    elif isinstance(document, list):
        for inner in document:
            yield from _texts(inner, name)
