"""Passwords and tokens in configuration files that are packed: where they are, never what they are.

A file that is nothing but a secret is never packed (``exclusions.py``). A requirements file or ``pip.conf`` may be
needed on the server, so a password in it is only reported. References to variables (``${TOKEN}``) are no passwords.
"""

from __future__ import annotations

import re
from typing import List, Tuple

from ..definitions import expression
from .exclusions import AnyOf

FORMAT = 2  # of what found answers, for caches
_LIMIT = 4 * 1024 * 1024  # bytes of a file that are looked at
_LONGEST = 64 * 1024  # characters of a line that are


# Files of tools that configure, lock or start something; prose, templates and program texts hold too many examples.
_CONFIGURATION = AnyOf(
    "*.toml", "*.txt", "*.lock", "*.cfg", "*.conf", "*.ini", "*.cnf", "*.properties", "*.json", "*.yml", "*.yaml",
    "*.in", "*.xml", "*.service", "*.sh", "requirements*", "constraints*",
    "pipfile", "procfile", "makefile", "justfile", "dockerfile*", "containerfile*", "*.dockerfile", ".git*", ".npmrc",
    ".yarnrc", "*netrc", "*pypirc", ".condarc", ".curlrc", ".wgetrc", "settings*.py", "local*.py", "config*.py",
)  # fmt: skip
_FOLDERS = frozenset(["settings", "config", "conf"])  # of Python files that are configuration
_EXAMPLE = expression(r"[-_.](example|sample|template|dist|tmpl|tpl|default)s?([-_.]|\Z)", re.IGNORECASE)
# Files of lines NAME = VALUE, where a name says what the value is.
_ASSIGNING = AnyOf(
    "*.toml", "*.cfg", "*.conf", "*.ini", "*.cnf", "*.properties", "*pypirc", ".npmrc", ".yarnrc*", "*.service"
)
_NETRC = expression(r"(?:^|\s)machine\s+\S+\s.*?\bpassword\s+(\S+)|^\s*password\s+(\S+)")
_ASSIGNED = expression(
    r"(?:^|[\s:./\"'{,=-])(?:[A-Za-z0-9]{1,40}[-_]){0,4}(?:_authToken|_auth|_password|npmAuthToken|npmAuthIdent|password|passwd|token|api[-_]?key|"
    r"access[-_]?token|auth[-_]?token|secret[-_]?key|secret[-_]?access[-_]?key)[\"']?\s*[=:]\s*[\"']?([^\s\"'#;,}]{4,})",
    re.IGNORECASE,
)
# RFC 3986, 3.2.1. A password may hold "/" and "@" that nobody has percent-encoded.
_AUTHORITY = expression(
    r"([a-z][a-z0-9+.-]{0,20})://([^\s:/?#@\"'<>]{0,500}):([^\s\"'<>]{1,500})@([^\s/?#:\"'<>,]*)", re.I
)
_USER = expression(r"https?://([^\s:/?#@\"'<>]{5,500})@", re.IGNORECASE)
_LONG = 16  # characters; no name of a user has so many
_QUERY = expression(
    r"://[^\s\"'<>]{1,500}[?&](?:token|access_token|private_token|api_?key|key|sig|signature|X-Amz-Signature|password)="
    r"([^\s&#\"'<>]{8,})",
    re.IGNORECASE,
)
# A variable of the shell, of pip, of a template or of a format; what was masked already.
_REFERENCE = expression(
    r"(?:\$\{.*|\$\(.*|\$\w+|%\(\w+\)s|%[sr]|%\w+%|\{.*|<.*|\*+|x{3,}|\.{3}|\u2026|true|false|none|null|required|optional|\d+)+",
    re.IGNORECASE,
)
_HERE = expression(r"(localhost|127\.[0-9.]+|\[::1\]|0\.0\.0\.0|)\Z", re.IGNORECASE)


def may_hold(name: str) -> bool:
    """Say whether the file with the relative path *name* is one of configuration, which :func:`found` reads."""
    *folders, last = name.split("/")
    last = last.lower()
    if _EXAMPLE.search(last):
        return False
    in_folder = last.endswith(".py") and any(part.lower() in _FOLDERS for part in folders)
    return in_folder or _CONFIGURATION.match(last)


def found(path: str) -> List[Tuple[int, str]]:
    """Return the lines of the file *path* that hold a password or a token, each with its number and its kind."""
    with open(path, "rb") as file:
        content = file.read(_LIMIT)
    if b"\0" in content:
        return []
    name = path.rpartition("/")[2].lower()
    assigning, netrc = _ASSIGNING.match(name), name.endswith("netrc")
    lines = enumerate(content.decode("utf-8", "replace").splitlines(), 1)
    kinds = ((number, _kind(line[:_LONGEST], assigning, netrc)) for number, line in lines)
    return [(number, kind) for number, kind in kinds if kind]


def _kind(line: str, assigning: bool, netrc: bool) -> str:
    """Say what *line* holds, "" for nothing that is secret."""
    if "://" in line:
        for scheme, _, password, host in _AUTHORITY.findall(line):
            # A database of the developer's own machine has a password that protects nothing.
            web = scheme.lower().rpartition("+")[2] in ("http", "https")
            local = _HERE.match(host) or (not web and "." not in host)
            if _is_value(password) and not local:
                return "a password in a URL"
        if any(map(_is_token, _USER.findall(line))) or any(map(_is_value, _QUERY.findall(line))):
            return "a token in a URL"
    if netrc and any(_is_value("".join(words)) for words in _NETRC.findall(line)):
        return "a password"
    if assigning and not line.lstrip().startswith(("#", ";")) and any(map(_is_value, _ASSIGNED.findall(line))):
        return "a password or token"
    return ""


def _is_value(text: str) -> bool:
    """Say whether *text* is what it seems, and not a reference to something that is kept elsewhere."""
    return not _REFERENCE.fullmatch(text)


def _is_token(user: str) -> bool:
    """Say whether what is before the "@" of a URL is a token, and not only a name."""
    return _is_value(user) and (len(user) >= _LONG or any(character.isdigit() for character in user))
