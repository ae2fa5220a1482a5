"""``list``: the members of the artifact."""

from __future__ import annotations

import argparse
from typing import Any, List

from .. import cli
from ..artifact.zipreader import Artifact
from ..console import Console


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of the artifact; parameters as those of :func:`deploy.verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "list", "list the members of this artifact", common)
    verb.set_defaults(run=_run)


def _run(_: argparse.Namespace, archive: str, console: Console) -> int:
    with Artifact.open(archive) as artifact:
        members = [
            {"name": name, "size": entry.size, "mode": f"{entry.mode:o}", "packed": entry.compressed}
            for name, entry in artifact.members.items()
        ]
        for payload in artifact.manifest.payloads:
            container = artifact.payload_members(payload)[0]
            members += [
                {"name": name, "size": entry.size, "mode": f"{entry.mode:o}", "packed": entry.compressed}
                for name, entry in container.entries.items()
            ]
    console.result({"members": members}, [f"{row['mode']} {row['size']:>11} {row['name']}" for row in members])
    return 0
