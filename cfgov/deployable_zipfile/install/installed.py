"""The record of an installation, installed.json: written last, so that it proves the rest."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict

from .. import durable
from ..artifact import layout, manifests, strict_json
from ..artifact.zipreader import Artifact
from .plan import Place
from .virtualenv import base_interpreter

MAX_RECORD = 4 * 1024 * 1024  # bytes of installed.json and links.json


def read(destination: str) -> Dict[str, Any]:
    """Return the record of the installation that *destination* holds, {} when it holds none."""
    try:
        found = strict_json.bounded_json(durable.read_file(os.path.join(destination, layout.INSTALLED), MAX_RECORD))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("build_id"), str) else {}


def is_complete(destination: str, build_id: str, python: str) -> bool:
    """Return whether *destination* holds build *build_id* for *python* ("3.11"), complete and where it was installed.

    A tree that was copied or moved is not complete: its scripts name the place it comes from.
    """
    found = read(destination)
    if (found.get("build_id"), found.get("python")) != (build_id, python):
        return False
    return not _is_elsewhere(found, destination)


def place(destination: str) -> str:
    """Return the path that *destination* was installed as when that is another place, "" when it is this one."""
    found = read(destination)
    return str(found.get("destination")) if found and _is_elsewhere(found, destination) else ""


def _is_elsewhere(record: Dict[str, Any], destination: str) -> bool:
    try:
        return not os.path.samefile(str(record.get("destination")), destination)
    except (OSError, ValueError):
        return True


def document(artifact: Artifact, target: manifests.Target, place: Place, files: str) -> bytes:
    """Return the record to write; *files*: SHA-256 of the list of what was installed."""
    found: Dict[str, Any] = {
        "build_id": artifact.manifest.build_id,
        "project": artifact.manifest.project,
        "commit": artifact.manifest.source.commit,
        "dirty": artifact.manifest.source.dirty,
        "python": target.python,
        "executable": base_interpreter(),
        "version": ".".join(str(part) for part in sys.version_info[:3]),
        "destination": place.destination,
        "files_sha256": files,
        "installed_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "tool": artifact.manifest.tool_version,
    }
    return json.dumps(found, indent=1, sort_keys=True).encode("ascii") + b"\n"
