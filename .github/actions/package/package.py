"""The one step of the action: build an artifact with this checkout of the tool, verify it, and try it on this machine.

Inputs come from the environment, outputs go to the file GITHUB_OUTPUT. Standard library only.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Dict, List, Sequence

TOOL = Path(__file__).resolve().parents[3]  # of the checkout that this file belongs to


def main() -> int:
    """Build, verify, try, write the outputs, and return the exit code of the first command that failed, else 0."""
    project, requirements = os.environ["PROJECT"], os.environ["REQUIREMENTS"]
    basename, arguments = os.environ["BASENAME"], shlex.split(os.environ.get("ARGUMENTS", ""))
    scratch = Path(tempfile.mkdtemp(dir=os.environ.get("RUNNER_TEMP")))
    venv.create(str(scratch / "venv"), with_pip=True)
    python = str(scratch / "venv/bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    create = [python, str(TOOL / "cfgov/deployable_zipfile/create.py"), "--require-clean", *arguments]
    artifact = f"{basename}.zip"
    commands: Sequence[List[str]] = (
        [*pip, "-r", str(TOOL / "requirements/build.txt")],
        [*create, project, requirements, basename],
        [sys.executable, "-I", artifact, "verify"],
        [sys.executable, "-I", artifact, "check"],
        [sys.executable, "-I", artifact, "selftest"],
    )
    for command in commands:
        print("+", " ".join(map(shlex.quote, command)), flush=True)
        code = subprocess.run(command, check=False).returncode
        if code:
            return code
    write_outputs(artifact, Path(os.environ["GITHUB_OUTPUT"]))
    return 0


def write_outputs(artifact: str, output: Path) -> None:
    """Append the outputs of the action to the file *output*."""
    info = subprocess.run(
        [sys.executable, "-I", artifact, "info", "--json"], check=True, stdout=subprocess.PIPE
    ).stdout.decode("utf-8")
    document = json.loads(info)
    values: Dict[str, str] = {
        "path": artifact,
        "sha256": document["sha256"],
        "build-id": document["build_id"],
    }
    with output.open("a", encoding="utf-8") as file:
        file.write("".join(f"{key}={value}\n" for key, value in values.items()))


if __name__ == "__main__":
    sys.exit(main())
