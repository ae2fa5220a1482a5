"""``check``: everything that prevents the artifact from being installed here."""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Any, Dict, List

from .. import cli
from ..artifact import delta
from ..artifact.zipreader import Artifact
from ..console import Console, error_document
from ..errors import DeployableZipfileError, DestinationError, TargetError
from ..install import base, host, preflight, space
from ..install.destination import normal_destination
from . import environment


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of the artifact; parameters as those of :func:`deploy.verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "check", "check whether this artifact can be installed here", common)
    verb.add_argument("-d", "--destination", type=cli.named, metavar="DEST", help="also check this destination")
    verb.add_argument("--env-file", type=cli.named, metavar="FILE", help="also check this environment.json")
    cli.add_base_option(verb)
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    with Artifact.open(archive) as artifact, contextlib.ExitStack() as stack:
        missing: List[DeployableZipfileError] = []
        stated = delta.read(artifact)
        # Without a destination only the host is looked at; any path does then.
        destination = normal_destination(arguments.destination or "/release")
        if stated is not None:
            try:
                folder = os.path.dirname(destination)
                completed = base.completed(artifact, arguments.base, folder, arguments.workers, console)
                artifact = stack.enter_context(completed)
            except TargetError as error:
                missing = [error]
        manifest = stated.manifest if stated else artifact.manifest
        found = preflight.problems(manifest, destination, need=None if missing else space.Need(artifact))
        found += [problem for problem in missing if str(problem) not in map(str, found)]
        if not arguments.destination:
            found = [problem for problem in found if not isinstance(problem, DestinationError)]
        found += environment.problems(artifact, arguments.env_file or "", arguments.destination or "", console)
    document: Dict[str, Any] = {
        "ok": not found,
        "exit_code": found[0].exit_code if found else 0,
        "problems": [error_document(problem) for problem in found],
        "target": host.report(manifest),
    }
    lines = [f"{key}: {value}" for key, value in document["target"].items()]
    console.result(document, lines + ([] if found else ["This artifact can be installed here"]))
    if not arguments.json:
        for problem in found:
            console.error(problem)
    return int(document["exit_code"])
