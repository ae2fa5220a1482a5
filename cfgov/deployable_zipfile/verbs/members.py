"""``list``: the members of the artifact."""

from __future__ import annotations

import argparse
from typing import Any, Dict, Iterator, List, Tuple

from .. import cli
from ..artifact.window import Entry
from ..artifact.zipreader import Artifact
from ..console import Console


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of the artifact; parameters as those of :func:`deploy.verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "list", "list the members of this artifact", common)
    verb.set_defaults(run=_run)


def _run(_: argparse.Namespace, archive: str, console: Console) -> int:
    document: Dict[str, Any] = {"members": []}
    lines: List[str] = []
    with Artifact.open(archive) as artifact:
        for name, entry in _members(artifact):  # only what is printed is kept: there may be 100 000
            mode = f"{entry.mode:o}"
            if console.as_json:
                row = {"name": name, "size": entry.size, "mode": mode, "packed": entry.compressed}
                document["members"].append(row)
            else:
                lines.append(f"{mode} {entry.size:>11} {name}")
    console.result(document, lines)
    return 0


def _members(artifact: Artifact) -> Iterator[Tuple[str, Entry]]:
    """Yield every member, and those of each payload, which is let go of before the next one is read."""
    yield from artifact.members.items()
    for payload in artifact.manifest.payloads:
        yield from artifact.payload_members(payload)[0].entries.items()
