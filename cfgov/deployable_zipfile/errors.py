"""Errors that a user meets: one class and one exit code per kind.

    DeployableZipfileError       1  anything that has no kind of its own
    +-- UsageError               2  the command line
    +-- ArtifactError            3  the artifact file
    +-- TargetError              4  the machine and the Python it runs on
    +-- DestinationError         5  the folder to install into
    +-- WheelError               6  a wheel, at build or inside the artifact
    +-- BuildInputError          7  project, requirements, configuration
    +-- DeploymentError          8  a step of a deployment
    +-- Interrupted            130  Ctrl-C, SIGTERM, SIGHUP

Only a command line prints them or exits: library code raises.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Optional, Set

MAX_LINE = 500  # characters of a whole error line; longer ones lose their middle
_MAX_PART = 2000  # characters of one part, before escapes: what an artifact names may have megabytes


class DeployableZipfileError(Exception):
    """Base of every error that is the user's to solve.

    Parameters:
        what: the thing that is wrong (a member, path, option or host fact), as found.
        why: what is wrong with it, a clause without a final period.
        fix: what to do next, a sentence without a final period.

    ``str(error)`` is one printable line: ``WHAT: WHY. FIX``.
    """

    exit_code = 1

    def __init__(self, what: object, why: str, fix: Optional[str] = None) -> None:
        self.what = _part(str(what))
        self.why = _part(why)
        self.fix = _part(fix) if fix else ""
        super().__init__(self.what, self.why, self.fix)

    def __str__(self) -> str:
        line = f"{self.what}: {self.why}."
        if self.fix:
            line = f"{line} {self.fix}."
        return shortened(line, MAX_LINE)


class UsageError(DeployableZipfileError):
    """The command line is wrong."""

    exit_code = 2


class ArtifactError(DeployableZipfileError):
    """The artifact is damaged, forged, or of another format version."""

    exit_code = 3


class TargetError(DeployableZipfileError):
    """This machine or this Python cannot run what the artifact holds."""

    exit_code = 4


class DestinationError(DeployableZipfileError):
    """The destination cannot take the installation."""

    exit_code = 5


class WheelError(DeployableZipfileError):
    """A wheel is broken, missing, ambiguous, or cannot run on the target."""

    exit_code = 6


class BuildInputError(DeployableZipfileError):
    """What was given to a build cannot be packed."""

    exit_code = 7


class DeploymentError(DeployableZipfileError):
    """A step of a deployment failed; the live release is unchanged or live again."""

    exit_code = 8


class Interrupted(DeployableZipfileError):
    """The user or the system asked the process to stop."""

    exit_code = 130


def _part(text: str) -> str:
    return printable(shortened(masked(text), _MAX_PART))


def printable(value: object) -> str:
    """Return *value* as text that cannot act on a terminal or forge a second line.

    Control, format, surrogate, private and unassigned characters (Unicode categories ``C*``) and line
    separators come back as ``\\xNN`` or ``\\uNNNN`` escapes.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "backslashreplace").decode("ascii") if _acts(character) else character
        for character in text
    )


# A secret can be a part of a URL's authority (RFC 3986, 3.2.1), of its query or of its fragment. A password may hold
# "/" and "@" that nobody has percent-encoded; a port is digits only.
# Each search from a "://" ends at the next one, so that the time grows with the text's length and not its square.
# Compiled when they are needed: few commands have anything to mask.
_WORD = r"[^\s\"'<>]+"
_PASSWORD = r"(://[^\s/?#@:\"'<>]*:)(?!\d{1,5}(?:[/?#\s]|$))[^\s@\"'<>]*@"
_URL_PARTS = (
    (r"(://)[^\s/?#\"'<>]*@", r"\1****@"),
    (r"(?i)(%3A%2F%2F)(?:(?!%2F)[^\s\"'<>/])*?%40", r"\1****%40"),
    (r"(://(?:[^\s?#\"'<>:]|:(?!//))*)\?[^\s#\"'<>]*(?<![.,;:)\]])", r"\1?****"),
    (r"(?<=[\w/.-])\?[\w.~%+-]+=[^\s#\"'<>)]*(?<![.,;:])", "?****"),
    (r"(?i)(%3F[\w.~+-]+%3D)[^\s\"'<>)]*", r"\1****"),
)
_FRAGMENT = r"://(?:[^#:]|:(?!//))*#((?:[^:]|:(?!//))*)"  # in a word; it ends at the next URL
_PUBLIC_PART = r"(?:sha\d+|md5|egg|subdirectory)="  # of a fragment, as pip reads it
_URL = r"://[^\s\"'<>]+"
_SHORTEST_SECRET = 5  # characters; shorter ones are only masked where a URL holds them
_PUBLIC_USERS = {"__token__", "oauth2", "oauth2accesstoken", "x-access-token", "x-token-auth", "gitlab-ci-token"}
_concealed: Set[str] = set()


def conceal(text: str) -> None:
    """Remember the secret parts of every URL in *text*, so that :func:`masked` finds them outside of a URL too."""
    from urllib.parse import parse_qsl, quote, unquote, urlsplit

    for url in re.findall(_URL, text):
        try:
            parts = urlsplit(f"https{url}")  # the scheme tells nothing
            user, _, password = parts.netloc.rpartition("@")[0].partition(":")
            values = [password, *(value for _, value in parse_qsl(parts.query))]
        except ValueError:  # no URL after all: what looks like one is masked by its form
            continue
        values += [user] if not password and user not in _PUBLIC_USERS else []
        for value in (unquote(value) for value in values):
            forms = {value, quote(value, safe="")}
            _concealed.update(form for form in forms if len(form) >= _SHORTEST_SECRET)


def masked(text: str) -> str:
    """Return *text* without the user information and the query of any URL, and without what was concealed.

    Every exit of a build goes through here: console, logs, JSON, errors, and what an artifact says of its sources.
    """
    for secret in sorted(_concealed, key=len, reverse=True):
        if secret in text:
            text = re.sub(rf"(?<![0-9A-Za-z]){re.escape(secret)}(?![0-9A-Za-z])", "****", text)
    if "://" in text or "?" in text or "%" in text:
        if "@" in text:
            text = re.sub(_WORD, _without_password, text)
        for pattern, replacement in _URL_PARTS:
            text = re.sub(pattern, replacement, text)
        if "#" in text:
            text = re.sub(_WORD, _without_fragment, text)
    return text


def _without_password(word: "re.Match[str]") -> str:
    """Return *word* without passwords; no search goes on behind its last "@", since it would find nothing."""
    before, at, rest = word.group().rpartition("@")
    return re.sub(_PASSWORD, r"\1****@", before + at) + rest


def _without_fragment(word: "re.Match[str]") -> str:
    """Return *word* up to the first fragment that gives something a value that is not public."""
    text = word.group()
    last = text.rfind("=")
    for found in re.finditer(_FRAGMENT, text):
        parts = [part for part in found.group(1).split("&") if "=" in part] or [found.group(1)]
        if found.start(1) <= last and not all(re.match(_PUBLIC_PART, part) for part in parts):
            return f"{text[: found.start(1)]}****"
    return text


def shortened(line: str, limit: int) -> str:
    """Return *line* with its middle left out when it is longer than *limit* characters."""
    if len(line) <= limit:
        return line
    head = (limit - 5) * 2 // 3
    return f"{line[:head]} ... {line[head + 5 - limit :]}"


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
