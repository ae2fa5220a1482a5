"""The one line of a command's output that says what went wrong."""

from __future__ import annotations

import re
from typing import List, Optional

from ..definitions import expression

_LENGTH = 240  # characters
_TRACEBACK = "Traceback (most recent call last):"
_HEADINGS = ("CRITICALS:", "ERRORS:")  # of Django's system check; what follows is the first one
_ERROR = expression(
    r"(\[?(error|critical|fatal)\]?\b|([A-Za-z_]\w*\.)*[A-Za-z_]\w*(Error|Exception|Exit|Warning)\b)", re.I
)
_CHECK = expression(r"\(\w+\.[EC][0-9]+\)")
_CLASS = expression(r"([A-Za-z_]\w*\.)*[A-Za-z_]\w*(Error|Exception|Exit)\b")
_ADVICE = ("Type 'manage.py help", "HINT:")


def excerpt(output: str) -> str:
    """Return the first line of *output* that names the error, shortened; without one, the last line that is not advice.

    Of a traceback that is the line of the exception, not the lines of advice that its message may go on with; of
    several, the last traceback's, which is the one that was raised.
    """
    lines = output.splitlines()
    return (_of_check(lines) or _of_traceback(lines) or _first_error(lines) or _last(lines))[:_LENGTH]


def kind(output: str) -> str:
    """Return what may be shown of a failed command's output although it may quote secrets, "" when it is nothing.

    That is the first error of Django's system check, which quotes settings by name, or the class of an exception.
    """
    lines = output.splitlines()
    checked = _of_check(lines)
    if checked and _CHECK.search(checked):
        return checked[:_LENGTH]
    raised = _CLASS.match(_of_traceback(lines) or _first_error(lines) or "")
    return raised.group(0) if raised else ""


def _of_check(lines: List[str]) -> Optional[str]:
    for heading in _HEADINGS:
        for number, line in enumerate(lines):
            if line.strip() == heading:
                return next((one.strip() for one in lines[number + 1 :] if one.strip()), None)
    return None


def _of_traceback(lines: List[str]) -> Optional[str]:
    begins = [number for number, line in enumerate(lines) if line.strip(" |+-") == _TRACEBACK]
    if not begins:
        return None
    indent = len(lines[begins[-1]]) - len(lines[begins[-1]].lstrip(" |+-"))
    for line in lines[begins[-1] + 1 :]:
        rest = line[indent:]
        if rest.strip() and not rest[0].isspace():
            return rest.strip()
    return None


def _first_error(lines: List[str]) -> Optional[str]:
    return next((line.strip() for line in lines if _ERROR.match(line.strip())), None)


def _last(lines: List[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    said = [line for line in said if not line.startswith(_ADVICE)] or said
    return said[-1] if said else "no output"
