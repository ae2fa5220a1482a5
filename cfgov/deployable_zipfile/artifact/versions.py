"""Names and versions of distributions, compared as PEP 503 and PEP 440 say."""

from __future__ import annotations

import re
from typing import Set

from ..definitions import expression

# PEP 440, appendix B, without the blanks around it.
_VERSION = expression(
    r"v?(?:(?P<epoch>[0-9]+)!)?(?P<release>[0-9]+(?:\.[0-9]+)*)"
    r"(?:[-_.]?(?P<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>[0-9]*))?"
    r"(?:-(?P<post_implicit>[0-9]+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>[0-9]*))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>[0-9]*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\Z"
)
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def same_version(one: str, other: str) -> bool:
    """Say whether two texts are spellings of one version (PEP 440), in file names too (PEP 427, escaping)."""
    return bool(_spellings(one) & _spellings(other))


def _spellings(version: str) -> Set[str]:
    """Return the canonical forms that *version* may stand for: in a file name "_" is "-" or "+"."""
    version = version.strip().lower()
    return {_canonical(form) for form in (version, version.replace("_", "+", 1), version.replace("_", "-"))}


def _canonical(version: str) -> str:
    match = _VERSION.match(version)
    if match is None:
        return version.replace("-", "_").replace("_", "+")
    numbers = [int(number) for number in match["release"].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    text = f"{int(match['epoch'] or 0)}!" + ".".join(map(str, numbers))
    if match["pre"]:
        text += f"{_PRE.get(match['pre'], match['pre'])}{int(match['pre_number'] or 0)}"
    if match["post"] or match["post_implicit"]:
        text += f".post{int(match['post_implicit'] or match['post_number'] or 0)}"
    if match["dev"]:
        text += f".dev{int(match['dev_number'] or 0)}"
    local = re.split("[-_.]", match["local"] or "")
    return text + "+" + ".".join(str(int(part)) if part.isdigit() else part for part in local)
