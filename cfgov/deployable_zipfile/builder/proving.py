"""The proof of a wheel: every file compared with RECORD, the metadata read, the compiled files looked into."""

from __future__ import annotations

import os
import re
from typing import List, Tuple

from ..artifact.wheel import Wheel
from ..definitions import expression
from . import elf, metadata
from .collected import CollectedWheel
from .embedded import embedded

# At the left margin: what is indented may be within "try" or a function.
_PKG_RESOURCES = expression(rb"^(?:import|from)[ \t]+pkg_resources\b(?!\.)", re.MULTILINE)


def prove(path: str, sha256: str, crc: int, built_from: str = "") -> CollectedWheel:
    """Read the wheel at *path* completely, prove it, and return what it is.

    Parameters:
        sha256, crc: of the whole file, known from the cache.
        built_from: the sdist it was built from here, "" when it was downloaded.

    Raises:
        WheelError: it is broken, its RECORD does not fit, or its metadata cannot be read.
    """
    with Wheel.open(path, os.path.basename(path)) as wheel:
        wheel.check_structure()
        doubts: List[str] = []
        elves, imported = _proven_contents(wheel, doubts)
        stated = metadata.read(wheel, doubts)
        libraries = embedded(wheel, doubts)
        return CollectedWheel(
            file=wheel.filename,
            path=path,
            name=wheel.name,
            version=wheel.version,
            sha256=sha256,
            size=wheel.size,
            crc=crc,
            tags=wheel.tags,
            requires=stated.requires,
            requires_python=stated.requires_python,
            licence=stated.licence,
            startup=tuple(sorted(name for name in wheel.files if _runs_at_start(name))),
            elves=elves,
            python_files=tuple(sorted(_python_files(wheel))),
            built_from=built_from,
            pkg_resources=imported,
            doubts=tuple(doubts),
            embedded=libraries,
        )


def _python_files(wheel: Wheel) -> List[Tuple[str, str]]:
    """Return what goes to site-packages and ends in .py, with the name it has there."""
    found = []
    for member in wheel.files:
        if not member.endswith(".py"):
            continue
        top, _, rest = member.partition("/")
        if not top.endswith(".data"):
            found.append((member, member))
        elif rest.startswith(("purelib/", "platlib/")):
            found.append((member, rest.partition("/")[2]))
    return found


def _runs_at_start(name: str) -> bool:
    if not name.endswith((".pth", ".start")):
        return False
    top, _, rest = name.partition("/")
    return not rest or (top.endswith(".data") and rest.count("/") == 1 and rest.startswith(("purelib/", "platlib/")))


def _proven_contents(wheel: Wheel, doubts: List[str]) -> Tuple[Tuple[elf.Elf, ...], str]:
    """Read every file of *wheel* and compare it with RECORD.

    Returns what its ELF files need, and the first of its modules that imports pkg_resources.
    """
    findings = elf.Findings()
    imported = ""
    for entry in wheel.files.values():
        blocks = wheel.proven_blocks(entry)
        first = next(blocks, b"")
        if first.startswith(elf.MAGIC):
            content = first + b"".join(blocks)
            try:
                findings.add(entry.name, content)
            except Exception as error:  # elftools raises anything on a broken file
                why = f"{type(error).__name__}: {error}".splitlines()[0]
                doubts.append(f"{entry.name} is not a sound ELF file ({why}), so what it needs is not known")
            continue
        for _ in blocks:
            pass
        if not imported and entry.name.endswith(".py") and _PKG_RESOURCES.search(first):
            imported = entry.name
    return findings.elves, imported
