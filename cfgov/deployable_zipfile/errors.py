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

import unicodedata
from typing import Optional

MAX_LINE = 500  # characters of a whole error line; longer ones lose their middle


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
        self.what = printable(what)
        self.why = printable(why)
        self.fix = printable(fix) if fix else ""
        super().__init__(self.what, self.why, self.fix)

    def __str__(self) -> str:
        line = f"{self.what}: {self.why}."
        if self.fix:
            line = f"{line} {self.fix}."
        return shortened(line, MAX_LINE)


class UsageError(DeployableZipfileError):
    """The command line asks for something impossible."""

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


def printable(value: object) -> str:
    """Return *value* as text that cannot act on a terminal or forge a second line.

    Control, format, surrogate, private and unassigned characters (Unicode categories ``C*``) and line
    separators come back as ``\\xNN`` or ``\\uNNNN`` escapes.
    """
    return "".join(
        character.encode("unicode_escape", "backslashreplace").decode("ascii") if _acts(character) else character
        for character in str(value)
    )


def shortened(line: str, limit: int) -> str:
    """Return *line* with its middle left out when it is longer than *limit* characters."""
    if len(line) <= limit:
        return line
    head = (limit - 5) * 2 // 3
    return f"{line[:head]} ... {line[head + 5 - limit :]}"


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
