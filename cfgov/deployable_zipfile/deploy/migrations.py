"""The step *migrate*: apply migrations, or look for them, and find a database that the next release would lose."""

from __future__ import annotations

import os
import re

from ..artifact import layout
from ..errors import DeploymentError
from .commands import CommandError
from .context import Context

_DATABASES = (".sqlite3", ".sqlite", ".db", ".db3")  # names of SQLite's files


def migrate(context: Context) -> str:
    """Apply migrations, or look for them."""
    skipped = context.without("migrate")
    if skipped or context.options.migrate == "skip":
        return skipped or "skipped, as requested"
    if context.options.migrate == "check":
        _look_for_migrations(context)
        return "nothing to apply"
    try:
        output = context.commands().manage("migrate", ["migrate", "--noinput"])
    except CommandError as error:
        # The command prints "Applying NAME..." before each migration: the last one is the one that failed.
        names = re.findall(r"^ *Applying ([\w.]+)\.\.\.", error.output, re.MULTILINE)
        why = f"{names[-1]}: {error.why}" if names else error.why
        raise CommandError(error.what, why, error.fix, error.output) from None
    _warn_of_databases(context)
    return f"{len(re.findall(r'^ *Applying ', output, re.MULTILINE))} applied"


def _look_for_migrations(context: Context) -> None:
    try:
        context.commands().manage("migrate", ["migrate", "--check", "--plan"])
    except CommandError as error:
        # A plan with something in it ends with exit status 1 too.
        _, planned, names = error.output.partition("Planned operations:\n")
        left = re.findall(r"^(\w+\.\w+)$", names, re.MULTILINE) if planned else []
        if not left:
            raise
        why = f"{len(left)} left to apply, the first is {left[0]}; --migrate=check applies none"
        fix = "Deploy with --migrate=auto first, on one of the servers that share the database"
        raise DeploymentError("migrate --check", why, fix) from None


def _warn_of_databases(context: Context) -> None:
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
