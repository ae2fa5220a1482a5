"""Which build this is, read once from the file that the installer of the artifact leaves beside the project."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import NamedTuple

DEVELOPMENT = "development"
UNREADABLE = "unreadable"


class Release(NamedTuple):
    """Identity of the running code."""

    build_id: str  # content hash of the artifact, or "development" outside an installed release
    commit: str  # 40 hexadecimal digits, or "" when it is unknown
    dirty: bool = False  # the artifact holds more than its commit


def read_release(folder: Path) -> Release:
    """Read the identity of the release installed in *folder* (``DEST`` of ``artifact.zip -d DEST``).

    A file that is there but cannot be read gives "unreadable" and a log entry: a health check that waits for a
    build then fails, while the site itself goes on.
    """
    installed = folder / ".deploy" / "installed.json"
    if not installed.is_file():
        return Release(DEVELOPMENT, "")
    try:
        document = json.loads(installed.read_text(encoding="utf-8"))
        return Release(str(document["build_id"]), str(document["commit"]), bool(document.get("dirty")))
    except (OSError, ValueError, KeyError, TypeError):
        logging.getLogger(__name__).exception("The release in %s does not say what it is", folder)
        return Release(UNREADABLE, "")


# From the place of this file and not from sys.prefix: a process whose virtualenv was reached through the symlink of
# the live release must name the release that its code came from.
FOLDER = Path(__file__).resolve().parents[2]
RELEASE = read_release(FOLDER)
