"""What the ELF files of a wheel need from the system, and what they provide.

ELF: System V ABI, "Dynamic Linking"; symbol versions: Linux Standard Base Core 5.0, 10.7.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Dict, Tuple

from ..definitions import NamedTuple, expression

# Imported where ELF files are read: a build from the cache reads none.
if TYPE_CHECKING:
    from elftools.elf.gnuversions import GNUVerNeedSection

MAGIC = b"\x7fELF"  # the first bytes of such a file
_MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_386": "i686",
    "EM_PPC64": "ppc64le",
    "EM_S390": "s390x",
    "EM_ARM": "armv7l",
    "EM_RISCV": "riscv64",
}
_GLIBC = expression(r"GLIBC_([0-9]+)\.([0-9]+)")
_RELATIVE_RELOCATIONS = ("GLIBC_ABI_DT_RELR", (2, 36))  # the name under which glibc 2.36 announces them


class Elf(NamedTuple):
    """What the ELF files of one wheel for one architecture need and provide."""

    machine: str  # as platform.machine()
    glibc: Tuple[int, int]  # lowest version that loads them all, (0, 0) when they name none
    glibc_file: str  # the file that sets it
    needed: Tuple[str, ...]  # sonames
    provided: Tuple[str, ...]  # sonames and file names


class Findings:
    """What the ELF files of one wheel need and provide, gathered file by file."""

    def __init__(self) -> None:
        self._found: Dict[str, Dict[str, Any]] = {}  # by machine

    @property
    def elves(self) -> Tuple[Elf, ...]:
        """What was gathered, one for each architecture."""
        return tuple(
            Elf(
                machine, facts["glibc"], facts["file"], tuple(sorted(facts["needed"])), tuple(sorted(facts["provided"]))
            )
            for machine, facts in sorted(self._found.items())
        )

    def add(self, name: str, content: bytes) -> None:
        """Add what the ELF file *name* needs and provides, all of it or nothing.

        Raises:
            Exception: of any kind that elftools raises on a broken file.
        """
        from elftools.elf.dynamic import DynamicSection
        from elftools.elf.elffile import ELFFile
        from elftools.elf.gnuversions import GNUVerNeedSection

        elf = ELFFile(io.BytesIO(content))
        code = str(elf["e_machine"])
        needed, provided, floor = set(), {name.rpartition("/")[2]}, (0, 0)
        for section in elf.iter_sections():
            if isinstance(section, DynamicSection):
                for tag in section.iter_tags():
                    if tag.entry.d_tag == "DT_NEEDED":
                        needed.add(str(getattr(tag, "needed")))  # noqa: B009 - set at run time
                    elif tag.entry.d_tag == "DT_SONAME":
                        provided.add(str(getattr(tag, "soname")))  # noqa: B009 - set at run time
            elif isinstance(section, GNUVerNeedSection):
                floor = max(floor, _needed_glibc(section))
        machine = _MACHINES.get(code, code)
        facts = self._found.setdefault(machine, {"glibc": (0, 0), "file": "", "needed": set(), "provided": set()})
        facts["provided"] |= provided
        facts["needed"] |= needed
        if floor > facts["glibc"]:
            facts["glibc"], facts["file"] = floor, name


def _needed_glibc(section: GNUVerNeedSection) -> Tuple[int, int]:
    floor = (0, 0)
    for _, versions in section.iter_versions():
        for version in versions:
            match = _GLIBC.match(version.name)
            if match:
                floor = max(floor, (int(match.group(1)), int(match.group(2))))
            elif version.name == _RELATIVE_RELOCATIONS[0]:
                floor = max(floor, _RELATIVE_RELOCATIONS[1])
    return floor
