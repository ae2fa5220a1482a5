"""``verify``: prove every byte of the file, of an installation or of a store."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Dict, List

from .. import cli
from ..artifact import layout
from ..console import Console
from ..errors import DestinationError
from . import subject

if TYPE_CHECKING:
    from ..install import inventory
    from ..install.store import Store


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of the artifact; parameters as those of :func:`deploy.verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "verify", "verify every byte of an artifact, an installation or a store", common)
    verb.add_argument(
        "tree",
        nargs="?",
        type=cli.named,
        metavar="DEST",
        help="verify this installation, store or artifact instead",
    )
    cli.add_signature_options(verb)
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    path, folder = subject.looked_at(arguments, archive)
    if folder:
        return _verify_tree(path, console)
    from ..artifact import delta, environment, proof

    with subject.signed(path, arguments) as (artifact, signer):
        sha256 = proof.prove(artifact, arguments.workers)
        stated = delta.read(artifact)
        environment.contract_of(artifact)
        wheels = [name for name in artifact.members if layout.is_wheel(name)]
        document = {
            "path": artifact.path,
            "sha256": sha256,
            "build_id": artifact.manifest.build_id,
            "members": len(artifact.members),
            "wheels": len(wheels),
            **({"against": stated.base, "whole_build_id": stated.manifest.build_id} if stated else {}),
            **subject.signer_document(signer),
        }
    text = "{path}: every byte is as built ({members} members, {wheels} wheels)".format(**document)
    if stated:
        text += f"; a delta of build {stated.manifest.build_id} against {stated.base}, whose files are not looked at"
    signed = [f"signed by {signer.principal} ({signer.key})"] if signer else []
    console.result(document, [text, f"SHA-256 {document['sha256']}", *signed])
    return 0


def _verify_tree(tree: str, console: Console) -> int:
    from ..install import drift, exposure, installed
    from ..install.destination import normal_destination
    from ..install.store import Store, is_store

    if is_store(tree):
        return _verify_store(Store(os.path.abspath(tree)), console)
    destination = normal_destination(tree)
    found = drift.compare(destination)
    place = installed.place(destination)
    if place:
        console.warn(f"{tree} was installed as {place}, and its scripts and programs still name that path")
    for note in exposure.notes(destination, found.project):
        console.warn(f"{tree}: {note}")
    fix = "Install the artifact into a new folder, or in its place with --force"
    if found.added and not (found.changed or found.missing):
        fix = "Remove what was added; if the site writes it, let it write outside of its release (deploy --shared)"
    elif found.open and not (found.changed or found.missing):
        fix = f"Run: chmod go-w {os.path.normpath(os.path.join(destination, found.open[0]))}"
    return _report_drift(found, {"build_id": found.build_id}, tree, "as installed", fix, console)


def _verify_store(store: Store, console: Console) -> int:
    store.check()
    fix = "Verify the installations that share them; the next one unpacks what is damaged again"
    return _report_drift(store.drift(), {"store": store.path}, store.path, "as unpacked", fix, console)


def _report_drift(
    found: inventory.Drift, document: Dict[str, Any], path: str, good: str, fix: str, console: Console
) -> int:
    """Print what is not as it was written in *path*, and return the exit code."""
    groups = {"changed": found.changed, "missing": found.missing, "added": found.added, "open": list(found.open)}
    lines = [f"{kind}: {name}" for kind, names in groups.items() for name in names]
    counts = f"{len(found.changed)} files changed, {len(found.missing)} missing, {len(found.added)} added"
    if found.open:
        counts += f", {len(found.open)} open to others"
    error = DestinationError(path, counts, fix)
    code = 0 if found.clean else error.exit_code
    document.update(groups, checked=found.checked, ok=found.clean, exit_code=code)
    console.result(document, lines or [f"{path}: {good} ({found.checked} files)"])
    if code and not console.as_json:
        console.error(error)
    return code
