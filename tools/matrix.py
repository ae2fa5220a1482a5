"""Write the versions of one nox session as the matrix of a GitHub job.

    python -m tools.matrix SESSION [--output FILE]

The line ``SESSION=[{"python": "3.8", "session": "SESSION-3.8"}, ...]`` is appended to FILE, the form of a job's output,
or printed. It is nox itself that is asked, so the matrix cannot differ from the noxfile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write the line and return 0; 1 when the session has no versions."""
    parser = argparse.ArgumentParser(prog="matrix", description=__doc__.split("\n")[0])
    parser.add_argument("session", metavar="SESSION", help="the session without its version")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append here instead of printing")
    arguments = parser.parse_args(argv)
    rows = matrix(listed(arguments.session))
    if not rows:
        print(f"error: {arguments.session}: is no session with versions. Look at tools/nox -l", file=sys.stderr)
        return 1
    line = f"{arguments.session}={json.dumps(rows)}\n"
    if arguments.output:
        with open(str(arguments.output), "a", encoding="utf-8") as file:
            file.write(line)
    else:
        sys.stdout.write(line)
    return 0


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
