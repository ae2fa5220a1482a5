"""The step *migrate*: apply migrations, or look for them."""

from __future__ import annotations

import re

from ..errors import DeploymentError
from . import losses
from .commands import CommandError
from .context import Context


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
    losses.warn_of_databases(context)
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
