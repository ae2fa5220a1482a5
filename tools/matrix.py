"""Write what the sessions and the platforms are as outputs of a GitHub job, so that no workflow lists them again.

    python -m tools.matrix SESSION|platforms|platform [--platform NAME] [--output FILE]

One line is appended to FILE, the form of a job's output, or printed:

    SESSION    ``SESSION=[{"python": "3.8", "session": "SESSION-3.8"}, ...]``, as nox itself lists them
    platforms  ``platforms=[{"platform": "el9", "base": ..., "prefix": "el9-", "required": false}, ...]``
    platform   ``python=3.11``: the Python of the platform NAME
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from tools import platforms

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = ("centos7", "debian12")  # platforms without which no change is merged


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write the line and return 0; 1 when the session has no versions."""
    parser = argparse.ArgumentParser(prog="matrix", description=__doc__.split("\n")[0])
    parser.add_argument("what", metavar="SESSION", help="a session without its version, platforms, or platform")
    parser.add_argument("--platform", choices=list(platforms.read()), default=platforms.DEFAULT)
    parser.add_argument("--output", type=Path, metavar="FILE", help="append here instead of printing")
    arguments = parser.parse_args(argv)
    if arguments.what == "platform":
        line = f"python={platforms.read()[arguments.platform].python_version}\n"
    else:
        rows = platform_rows() if arguments.what == "platforms" else matrix(listed(arguments.what))
        if not rows:
            print(f"error: {arguments.what}: no such session with versions. Look at nox -l", file=sys.stderr)
            return 1
        line = f"{arguments.what}={json.dumps(rows)}\n"
    if arguments.output:
        with open(str(arguments.output), "a", encoding="utf-8") as file:
            file.write(line)
    else:
        sys.stdout.write(line)
    return 0


def platform_rows() -> List[Dict[str, Any]]:
    """Return name, base image, start of its images' tags and importance of each platform."""
    return [
        {
            "platform": name,
            "base": platform.base_image,
            "prefix": "" if name == platforms.DEFAULT else f"{name}-",
            "required": name in REQUIRED,
        }
        for name, platform in platforms.read().items()
    ]


def listed(session: str) -> List[Dict[str, Any]]:
    """Return what nox says of *session*, one entry per version."""
    command = [sys.executable, "-m", "nox", "--list", "--json", "--session", session]
    done = subprocess.run(command, cwd=str(ROOT), check=False, stdout=subprocess.PIPE)
    return list(json.loads(done.stdout)) if done.returncode == 0 else []


def matrix(sessions: Sequence[Dict[str, Any]]) -> List[Dict[str, str]]:
    """Return session and Python of each of *sessions* that has a Python."""
    return [{"session": entry["session"], "python": entry["python"]} for entry in sessions if entry.get("python")]


if __name__ == "__main__":
    sys.exit(main())
