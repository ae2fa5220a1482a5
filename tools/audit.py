"""Check every lock for known vulnerabilities, once per Python that installs it.

    python -m tools.audit [NAME]...

A universal lock holds pins for several Pythons, told apart by markers; pip-audit reads the markers of the Python that
runs it and leaves the other pins out. So the pins of each Python and platform are worked out first, and every distinct
set of them is compared. Needs the network.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from typing import Dict, FrozenSet, List, Optional, Sequence, Set

from packaging.markers import Marker
from packaging.requirements import Requirement

from tools import lock

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
# Where the sessions run and where artifacts do.
PLATFORMS = ({"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},)
MACHINES = ("x86_64", "aarch64")
PATCHES = ("0", "99")  # markers tell early patch releases from late ones


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print what pip-audit finds and return 1 when it finds something, else 0."""
    parser = argparse.ArgumentParser(prog="audit", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="locks to compare (default: all)")
    arguments = parser.parse_args(argv)
    failed = False
    for name in arguments.names or lock.OLDEST:
        text = (lock.REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
        for pins, pythons in sets(text, lock.OLDEST[name]).items():
            print(f"audit: {name}, {len(pins)} pins, Python {', '.join(pythons)}", flush=True)
            failed |= audit(pins) != 0
    return 1 if failed else 0


def sets(text: str, oldest: str) -> Dict[FrozenSet[str], List[str]]:
    """Return the distinct sets of pins of the lock *text*, each with the Pythons from *oldest* on that install it.

    Raises:
        ValueError: a pin is in none of them, so some installation of the lock is not compared.
    """
    requirements = pins(text)
    pythons = [python for python in PYTHONS if _key(python) >= _key(oldest)]
    found: Dict[FrozenSet[str], List[str]] = {}
    for python in pythons:
        for system, machine, patch in itertools.product(PLATFORMS, MACHINES, PATCHES):
            environment = marker_environment(python, patch, {**system, "platform_machine": machine})
            chosen = frozenset(_pin(entry) for entry in requirements if _applies(entry.marker, environment))
            known = found.setdefault(chosen, [])
            if python not in known:
                known.append(python)
    seen: Set[str] = set().union(*found)
    unseen = sorted(_pin(entry) for entry in requirements if _pin(entry) not in seen and not _elsewhere(entry))
    if unseen:
        raise ValueError(f"no Python installs {', '.join(unseen)}")
    return found


def pins(text: str) -> List[Requirement]:
    """Return the requirements of the lock *text*, without their hashes."""
    lines = [line.split("\\")[0].split(" --hash")[0].strip() for line in text.splitlines() if line[:1].isalnum()]
    return [Requirement(line) for line in lines]


def marker_environment(python: str, patch: str, system: Dict[str, str]) -> Dict[str, str]:
    """Return what the markers of pip see on the release *patch* of *python*."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.{patch}",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_version": "",
        "python_full_version": f"{python}.{patch}",
        "python_version": python,
        "extra": "",
        **system,
    }


def audit(chosen: FrozenSet[str]) -> int:
    """Check *chosen* for known vulnerabilities and return pip-audit's exit code."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(f"{pin}\n" for pin in sorted(chosen)))
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--requirement", file.name]
        return subprocess.run(command, check=False).returncode


def _pin(entry: Requirement) -> str:
    return f"{entry.name}{entry.specifier}"


def _applies(marker: Optional[Marker], environment: Dict[str, str]) -> bool:
    return marker is None or marker.evaluate(environment)


def _elsewhere(entry: Requirement) -> bool:
    """Tell whether the pin is for another system or another Python than CPython, which nothing of ours runs on."""
    text = str(entry.marker)
    return any(key in text for key in ("sys_platform", "platform_system", "os_name", "implementation"))


def _key(version: str) -> List[int]:
    return [int(part) for part in version.split(".")]


if __name__ == "__main__":
    sys.exit(main())
