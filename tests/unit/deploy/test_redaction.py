"""No form of a value of environment.json gets past the one redactor, and nothing else is taken out."""

from __future__ import annotations

import base64
import codecs
import html
import json
import pprint
import quopri
import textwrap
import unicodedata
import urllib.parse
from typing import Callable, Dict, List

import pytest

from deployable_zipfile.deploy.redaction import Secrets

SECRET = 'c4n&ry "of" <this> t\u00e9st+/\\='
PASSWORD = "p@ss/w0rd+c4n#ry"
QUOTED = urllib.parse.quote(PASSWORD, safe="")
DSN = f"postgres://site:{QUOTED}@db.example:5432/site?sslmode=require&token=qu3ry-canary"

WAYS: Dict[str, Callable[[str], str]] = {
    "alone": lambda text: text,
    "JSON": lambda text: json.dumps({"value": text}),
    "JSON in UTF-8": lambda text: json.dumps({"value": text}, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"value": text})),
    "repr": lambda text: repr({"value": text}),
    "repr of bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "HTML": html.escape,
    "quote": lambda text: urllib.parse.quote(text, safe=""),
    "quote of a path": urllib.parse.quote,
    "quote_plus": lambda text: urllib.parse.urlencode({"value": text}),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 at 1": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64 at 2": lambda text: base64.b64encode(b"xx" + text.encode() + b"y").decode(),
    "urlsafe base64": lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode(),
    "basic authentication": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "upper case": str.upper,
    "lower case": str.lower,
    "quoted in lower case": lambda text: urllib.parse.quote(text, safe="").lower(),
    "wrapped": lambda text: "\n    ".join(textwrap.wrap(text, 7, drop_whitespace=False)),
    "wrapped base64": lambda text: base64.encodebytes(b"z" * 40 + text.encode() * 3).decode(),
    "pprint": lambda text: pprint.pformat({"value": f"{text} and words " * 3}, width=30),
}

NESTED: Dict[str, Callable[[str], str]] = {
    "JSON three times": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "JSON with escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON with escaped HTML": lambda text: json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003c"),
    "repr of repr": lambda text: repr(repr({"value": text})),
    "quote twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "quote_plus three times": lambda text: urllib.parse.quote_plus(
        urllib.parse.quote_plus(urllib.parse.quote_plus(text))
    ),
    "every byte quoted": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "HTML twice": lambda text: html.escape(html.escape(text)),
    "HTML without quotes": lambda text: html.escape(text, quote=False),
    "numeric entities": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "every character escaped": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "every byte escaped": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "base64 of JSON": lambda text: base64.b64encode(json.dumps({"value": text}).encode()).decode(),
    "base64 in a query": lambda text: urllib.parse.quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 of base64": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hexadecimal with colons": lambda text: ":".join(f"{byte:02x}" for byte in text.encode()),
    "numbers": lambda text: str(list(text.encode())),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "characters": lambda text: str(list(text)),
    "spaced": " ".join,
    "coloured": lambda text: f"{text[:6]}\x1b[0m\x1b[31m{text[6:]}",
    "SQL": lambda text: "'" + text.replace("'", "''") + "'",
    "CSV": lambda text: '"' + text.replace('"', '""') + '"',
    "base85": lambda text: base64.b85encode(text.encode()).decode(),
    "base85 at 1": lambda text: base64.b85encode(b"x" + text.encode() + b"yz").decode(),
    "base85 at 3": lambda text: base64.b85encode(b"xxx" + text.encode() + b"y").decode(),
    "base85 in JSON": lambda text: json.dumps(html.escape(base64.b85encode(text.encode()).decode())),
    "Ascii85": lambda text: base64.a85encode(text.encode()).decode(),
    "Ascii85 at 2": lambda text: base64.a85encode(b"xx" + text.encode(), adobe=True, wrapcol=30).decode(),
    "reversed": lambda text: text[::-1],
    "reversed in JSON": lambda text: json.dumps(text[::-1]),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "UTF-7": lambda text: text.encode("utf-7").decode(),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "in a box": lambda text: f"| {text[:9]} |\n| {text[9:]} |",
}


@pytest.mark.parametrize("way", NESTED)
@pytest.mark.parametrize("value", ['c4n&ry "of" <this> t\u00e9st+/\\=', "p@ss/w0rd+%41c4n#ry'x", "hunter-2-hunter-34"])
def test_no_form_in_a_form_is_shown(way: str, value: str) -> None:
    hidden = Secrets({"SECRET_KEY": value}).hidden(f"before {NESTED[way](value)} after")
    assert "[SECRET_KEY]" in hidden
    rest = hidden[len("before ") : -len(" after")].replace("[SECRET_KEY]", "")
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert len("".join(one for one in rest if one.isalnum())) <= 24, rest


@pytest.mark.parametrize(
    "shown",
    [
        "xoxb-1234567890abcd...",
        "*****90abcdefghijkl",
        "INFO: xoxb-1234567890ab\nINFO: cdefghijklmnopq\nINFO: rstuv",
    ],
)
def test_a_part_of_a_long_secret_is_not_shown(shown: str) -> None:
    hidden = Secrets({"SLACK_TOKEN": "xoxb-1234567890abcdefghijklmnopqrstuv"}).hidden(shown)
    assert "[SLACK_TOKEN]" in hidden
    assert "67890abcd" not in hidden
    assert "cdefghijk" not in hidden


@pytest.mark.parametrize(
    ("key", "value", "secret"),
    [
        ("WEBHOOK", "https://hooks.example.org/services/T00AA/B00BB/XyZ0123456789abc", "XyZ0123456789abc"),
        (
            "WEBHOOK",
            "https://hooks.example.org/services/T00AA/B00BB/XyZ0123456789abc",
            "/services/T00AA/B00BB/XyZ0123456789abc",
        ),
        ("DB", "host=h password='two words; and more' sslmode=x", "two words; and more"),
        ("DB", "Driver={x};PWD={br;aces};", "br;aces"),
        ("EMAIL", '{"user": "me", "password": "short"}', "short"),
        ("BASIC_AUTH", "admin:hunter", "hunter"),
        ("SIGNING_KEYS", "first-key-1,second-key-2", "second-key-2"),
        ("PIN", "7291", "NzI5MQ=="),
        ("PIN", "7291", "NzI5MQ"),
        ("PASSWORD", "ab3", "YWIz"),
    ],
)
def test_what_a_value_holds_is_found_by_itself_too(key: str, value: str, secret: str) -> None:
    hidden = Secrets({key: value}).hidden(f"cannot use {secret} here")
    assert secret not in hidden
    assert f"[{key}]" in hidden


def test_names_of_modules_and_paths_stay_in_tracebacks() -> None:
    secrets = Secrets({"DJANGO_SETTINGS_MODULE": "site.settings.production", "DATA": "/srv/site42/data7"})
    text = 'File "/app/site/settings/production.py", line 42, in srv.site42.data7'
    assert secrets.hidden(text) == text


def test_a_value_inside_a_larger_one_leaves_nothing_of_it() -> None:
    secrets = Secrets({"A_KEY": "abcdefgh-1234", "B_KEY": "1234-ijklmnop"})
    assert secrets.hidden("x abcdefgh-1234-ijklmnop y") == "x [A_KEY][B_KEY] y"


def test_an_option_is_not_refused_for_a_part_of_a_secret() -> None:
    secrets = Secrets({"API_KEY": "site-production-2024-key-0123456789"})
    assert secrets.kept_in("--health-url http://site-production-2024/") == []
    assert secrets.kept_in(urllib.parse.quote("site-production-2024-key-0123456789")) == ["API_KEY"]


def pieces(text: str) -> List[str]:
    """Return the parts of *text* that would give a value away: 8 characters of it in a row, breaks left out."""
    plain = "".join(text.split()).lower()
    return [plain[start : start + 8] for start in range(len(plain) - 7)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [SECRET, PASSWORD, "hunter-2-hunter"])
def test_no_form_of_a_value_is_shown(way: str, value: str) -> None:
    shown = WAYS[way](value)
    hidden = Secrets({"SECRET_KEY": value}).hidden(f"before {shown} after")
    assert "[SECRET_KEY]" in hidden
    assert hidden.startswith("before ")
    rest = "".join(hidden.replace("[SECRET_KEY]", "\0").split()).lower()
    if "base64" not in way and way != "pprint":
        assert not [piece for piece in pieces(shown) if piece in rest and piece in "".join(pieces(value))]
    assert value not in hidden


@pytest.mark.parametrize(
    "shown",
    [
        DSN,
        PASSWORD,
        QUOTED,
        repr(PASSWORD),
        f"site:{QUOTED}@db.example",
        f'password authentication failed: "{PASSWORD}"',
        base64.b64encode(f"site:{PASSWORD}".encode()).decode(),
        "token=qu3ry-canary",
        "qu3ry-canary",
        DSN.upper(),
    ],
)
def test_no_part_of_a_connection_string_is_shown(shown: str) -> None:
    hidden = Secrets({"DATABASE_URL": DSN}).hidden(f"x {shown} y")
    for secret in (PASSWORD, QUOTED, "qu3ry-canary", QUOTED.upper()):
        assert secret not in hidden
    assert "[DATABASE_URL]" in hidden


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("postgres://u:pa/ss#w@h/db", "pa/ss#w"),
        ("redis://:only-a-pass@h:6379/0", "only-a-pass"),
        ("host=db user=u password='key-value-pass' dbname=x", "key-value-pass"),
        ("Server=db;Password=semi-colon-pass;", "semi-colon-pass"),
        ('{"default": {"NAME": "x", "PASSWORD": "inner-json-pass"}}', "inner-json-pass"),
        ("-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEF\n-----END KEY-----\n", "MIIEvQIBADANBgkq"),
    ],
)
def test_what_a_value_is_made_of_is_found_by_itself(value: str, secret: str) -> None:
    hidden = Secrets({"SETTING": value}).hidden(f"cannot use {secret}!")
    assert secret not in hidden
    assert hidden == "cannot use [SETTING]!"


def test_short_values_are_hidden_where_they_are_words_and_secrets() -> None:
    secrets = Secrets({"DEBUG": "1", "DB_PASSWORD": "x1", "LEVEL": "info"})
    assert secrets.hidden("10 files, 1 done, ax1b") == "10 files, 1 done, ax1b"
    assert secrets.hidden("password x1: wrong") == "password [DB_PASSWORD]: wrong"
    assert Secrets({"PASSWORD": ""}).hidden("nothing here") == "nothing here"


def test_the_longest_value_is_hidden_first() -> None:
    assert Secrets({"A": "canary", "B": "canary-long"}).hidden("canary-long canary") == "[B] [A]"


def test_what_is_no_value_stays_as_it_is() -> None:
    text = "line one\r\n  'indented'\n\n\ttabbed \\\nend"
    assert Secrets({"KEY": "canary-1"}).hidden(text) == text


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("way", ["alone", "wrapped", "base64 at 1"])
def test_a_value_that_comes_in_pieces_is_found(size: int, way: str) -> None:
    secret = "-".join(f"canary{number}" for number in range(20))
    text = ("words " * 300 + WAYS[way](secret) + " and ") * 4
    sink = Secrets({"KEY": secret}).sink()
    parts = [sink.feed(text[start : start + size]) for start in range(0, len(text), size)]
    shown = "".join([*parts, sink.end()])
    assert shown.count("[KEY]") == 4
    assert secret not in shown
    assert "".join(shown.split("[KEY]")).replace(" ", "").startswith("wordswords")


def test_many_blanks_are_no_work() -> None:
    assert len(Secrets({"KEY": "canary-1"}).hidden(" " * 200_000 + '"' * 1000)) == 201_000


def test_short_words_turned_round_are_words() -> None:
    secrets = Secrets({"DB_PASSWORD": "drow", "API_KEY": "live", "SALT": "no"})
    for text in ("a word, evil on its own", "yvir qebj", "b85: F*2M7"):
        assert secrets.hidden(text) == text


def test_z85_is_hidden_too() -> None:
    raw = bytes.fromhex("864fd26fb559f75b")  # the example of ZeroMQ's RFC 32, whose end is HelloWorld
    secret = raw.decode("utf-8", "surrogateescape")
    assert Secrets({"CURVE_KEY": secret}).hidden("HelloWorld") == "[CURVE_KEY]"
