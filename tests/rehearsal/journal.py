"""What happened in a run, one JSON object a line: actions, sessions and programs write, the rehearsal reads."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

REGISTRY = os.environ.get("REHEARSAL_REGISTRY", "")  # HOST:PORT
STATE = Path(os.environ.get("REHEARSAL_STATE", "/nonexistent"))


def short_name(registry: str) -> str:
    """Return the start of the names of images that must get neither the names of real ones nor of another rehearsal."""
    return f"rehearsal-{registry.rpartition(':')[2]}-"


def images(registry: str) -> List[str]:
    """Return the names that the engine, which all jobs share here, has for images of the rehearsal with *registry*."""
    listed = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    names = subprocess.run(listed, check=True, stdout=subprocess.PIPE).stdout.decode().split()
    return [name for name in names if name.startswith((short_name(registry), f"{registry}/"))]


def note(what: str, **details: Any) -> None:
    """Append one event of the running job."""
    event = {"what": what, "job": os.environ.get("GITHUB_JOB", ""), **details}
    with open(STATE / "journal", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(event) + "\n")


def read(state: Path) -> List[Dict[str, Any]]:
    """Return the events of the run whose state is in the folder *state*."""
    path = state / "journal"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []
