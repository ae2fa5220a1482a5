"""Resolve ``requirements/NAME.in`` into ``requirements/NAME.txt``: one lock for every Python, with hashes.

    python -m tools.lock [NAME]... [--upgrade]

Without names all of them, in the order in which one builds on another. Needs uv and the network. The benchmark's
workloads, ``workloads/NAME``, are written only by name: what is measured stays the same from release to release.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

# The oldest Python that installs each lock.
OLDEST: Dict[str, str] = {
    "deployment": "3.8",
    "build": "3.8",
    "report": "3.8",
    "test": "3.8",
    "site": "3.8",
    "audit": "3.10",
    "benchmark": "3.11",
    "docs": "3.10",
    "e2e": "3.10",
    "lint": "3.10",
    "lock": "3.10",
    "nox": "3.10",
    "release": "3.10",
    "rehearse": "3.10",
    "ansible": "3.11",
}
# Workloads of the benchmark, in benchmarks/, which is measured with 3.11.
WORKLOADS: Dict[str, str] = {"workloads/cfgov": "3.11.5", "workloads/many": "3.11.5", "workloads/native": "3.11.5"}
# A lock that is installed beside another takes the other's versions.
FOLLOWS: Dict[str, List[str]] = {
    "report": ["build"],
    "test": ["build", "report"],
    "site": ["deployment", "test"],
    "benchmark": ["build", "report"],
    "lint": ["build"],
    "release": ["build"],
    "ansible": ["e2e"],
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write the locks and return uv's exit code."""
    parser = argparse.ArgumentParser(prog="tools.lock", description="Resolve requirements/*.in into hash-pinned locks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="locks to write (default: all)")
    parser.add_argument("--upgrade", action="store_true", help="take newer versions than the locks hold")
    arguments = parser.parse_args(argv)
    known = {**OLDEST, **WORKLOADS}
    unknown = sorted(set(arguments.names) - set(known))
    if unknown:
        parser.error(f"unknown lock {unknown[0]!r}, known are {', '.join(known)}")
    for name in known if arguments.names else OLDEST:
        if name in arguments.names or not arguments.names:
            code = subprocess.run(command(name, arguments.upgrade), cwd=str(ROOT), check=False).returncode
            if code:
                return code
    return 0


def command(name: str, upgrade: bool = False) -> List[str]:
    """Return the uv command that writes ``requirements/NAME.txt``, or ``benchmarks/NAME.txt`` of a workload."""
    folder = "benchmarks" if name in WORKLOADS else "requirements"
    constraints = [part for other in FOLLOWS.get(name, []) for part in ("--constraint", f"requirements/{other}.txt")]
    return [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-emit-index-url",
        "--python-version",
        {**OLDEST, **WORKLOADS}[name],
        "--custom-compile-command",
        f"nox -s lock -- {name}",
        *constraints,
        *(["--upgrade"] if upgrade else []),
        f"{folder}/{name}.in",
        "--output-file",
        f"{folder}/{name}.txt",
    ]


if __name__ == "__main__":
    sys.exit(main())
