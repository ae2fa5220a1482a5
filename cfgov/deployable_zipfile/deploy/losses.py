"""What a site writes inside its release, and the next release would not have: it is warned of."""

from __future__ import annotations

import os

from ..artifact import layout
from .context import Context
from .releases import inside

_DATABASES = (".sqlite3", ".sqlite", ".db", ".db3")  # names of SQLite's files


def warn_of_uploads(context: Context, media_root: str) -> None:
    """Warn of uploads that go into the release.

    Parameters:
        media_root: Django's MEDIA_ROOT, "" when uploads are not files.
    """
    if not os.path.isabs(media_root):
        return
    named = context.root.inside(os.path.normpath(media_root), context.release)
    path = media_root if named is None else os.path.join(str(context.release), named)
    inner = inside(os.path.realpath(path), context.release)
    if inner is not None:
        inner = inner or os.curdir
        context.console.warn(
            f"MEDIA_ROOT is inside the release ({inner}): the next release starts without what was uploaded. "
            f"Give --shared media={inner}, or set it to a folder outside"
        )


def warn_of_databases(context: Context) -> None:
    """Warn of an SQLite database inside the release: the next release would start without its content."""
    for folder, folders, files in os.walk(str(context.release)):
        folders[:] = [name for name in folders if name not in (layout.VENV, layout.DEPLOY, "__pycache__")]
        for name in files:
            path = os.path.join(folder, name)
            if name.endswith(_DATABASES) and not os.path.islink(path) and _is_database(path):
                inner = os.path.relpath(path, str(context.release))
                context.console.warn(
                    f"{inner} is an SQLite database inside the release: the next release starts with an empty one. "
                    "Keep it outside, or in a folder of --shared"
                )


def _is_database(path: str) -> bool:
    """Tell whether the file begins as SQLite's do (https://sqlite.org/fileformat.html, 1.3)."""
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
