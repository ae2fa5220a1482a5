"""Serve the site of the artifact from a scratch folder, for a quick look: ``artifact.zip serve`` with demo content.

    python -m tools.serve [--artifact FILE] [OPTION of serve]...

It takes the first Python on PATH that the artifact accepts. DEMO_ADMIN_PASSWORD in the environment makes a user
``admin``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence

ROOT = Path(__file__).resolve().parent.parent
REFUSED = 4  # exit code: this Python is not one of those that the artifact was built for


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Serve until Ctrl-C, or until the first answer with ``--check``; return the artifact's exit code."""
    parser = argparse.ArgumentParser(prog="serve", description=__doc__.split("\n")[0])
    parser.add_argument("--artifact", type=Path, default=ROOT / "cfgov_current_build.zip", metavar="FILE")
    arguments, options = parser.parse_known_args(argv)
    if not arguments.artifact.is_file():
        parser.error(f"{arguments.artifact} is missing. Build it first: tools/nox -s build")
    python = accepted(arguments.artifact)
    if python is None:
        parser.error(f"no Python on PATH is one that {arguments.artifact} was built for")
    with tempfile.NamedTemporaryFile("w", prefix="serve-", suffix=".json") as environment:
        json.dump(variables(), environment)
        environment.flush()
        words = ["--env-file", environment.name, "--manage", "demo_content", *options]
        return subprocess.run([python, "-I", str(arguments.artifact), "serve", *words], check=False).returncode


def accepted(artifact: Path) -> Optional[str]:
    """Return the first Python that can run *artifact*, None when there is none."""
    for python in pythons():
        command = [python, "-I", str(artifact), "check", "--quiet"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if done.returncode != REFUSED:
            return python
    return None


def pythons() -> List[str]:
    """Return the Pythons to try: those of PATH, newest last release of the running one first."""
    names = [f"python3.{minor}" for minor in range(14, 7, -1)]
    own = f"python3.{sys.version_info[1]}"
    found = [shutil.which(name) for name in [own, *[name for name in names if name != own]]]
    return [path for path in found if path]


def variables() -> "dict[str, str]":
    """Return what the site needs beyond the demo environment that ``serve`` has by itself."""
    passed = {name: os.environ[name] for name in ("DEMO_ADMIN_PASSWORD",) if name in os.environ}
    return {"DJANGO_SETTINGS_MODULE": "cfgov.settings.production", **passed}


if __name__ == "__main__":
    sys.exit(main())
