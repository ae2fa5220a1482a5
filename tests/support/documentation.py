"""The commands of the documentation, for the tests that check and run them.

A fenced block with the language ``console`` holds commands, one a line. Words behind the language say what it needs
beyond this checkout, Python and a package index: ``network`` (a registry, GitHub), ``engine`` (a container engine),
``root``, ``server`` (the machine that a site is installed on).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import FrozenSet, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parents[2]
NEEDS = frozenset(["engine", "network", "root", "server"])

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block."""

    document: str  # name relative to the checkout
    line: int
    language: str
    needs: FrozenSet[str]
    commands: Tuple[str, ...]

    @property
    def place(self) -> str:
        """Return where it is, for people."""
        return f"{self.document}:{self.line}"


def documents() -> List[str]:
    """Return the names of the documents for people."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ansible/**/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(document: str) -> List[Block]:
    """Return the fenced blocks of *document*, in order."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        language, *needs = match["info"].split() or [""]
        body = [line.strip() for line in match["body"].replace("\\\n", " ").splitlines()]
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(document, line, language, frozenset(needs), tuple(filter(None, body))))
    return found
