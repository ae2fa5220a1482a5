"""``info``: describes the artifact, or an installation."""

from __future__ import annotations

import argparse
from typing import Any, Dict, List

from .. import cli
from ..artifact import delta, manifests
from ..console import Console
from ..errors import ArtifactError, UsageError
from . import subject


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line of the artifact; parameters as those of :func:`deploy.verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "info", "describe this artifact, or an installation", common)
    verb.add_argument(
        "tree", nargs="?", type=cli.named, metavar="DEST", help="describe this installation or artifact instead"
    )
    cli.add_signature_options(verb)
    verb.add_argument(
        "--environment-example", choices=("json", "env"), help="print an example of environment.json or of a .env file"
    )
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    path, folder = subject.looked_at(arguments, archive)
    if folder:
        return _info_of_tree(path, arguments, console)
    if arguments.environment_example:
        return _environment_example(path, arguments, console)
    with subject.signed(path, arguments) as (artifact, signer):
        stated = delta.read(artifact)
        manifest = stated.manifest if stated else artifact.manifest
        document: Dict[str, Any] = {
            "path": artifact.path,
            "size": artifact.size,
            "build_id": manifest.build_id,
            **({"against": stated.base, "whole": {"sha256": stated.sha256, "size": stated.size}} if stated else {}),
            "project": manifest.project,
            "tool": manifest.tool_version,
            "source": manifest.source._asdict(),
            "members": len(artifact.members),
            "targets": [_target_document(target) for target in manifest.targets],
            **subject.signer_document(signer),
        }
        if arguments.json:
            document["sha256"] = artifact.sha256
    console.result(document, _info_text(document))
    return 0


def _info_of_tree(tree: str, arguments: argparse.Namespace, console: Console) -> int:
    from ..deploy import about
    from ..install.destination import normal_destination

    if arguments.environment_example:
        raise UsageError(tree, "is a folder, which has no example", "Give the artifact that it was installed from")
    destination = normal_destination(tree)
    document = about.installation(destination, subject.root_above(destination))
    console.result(document, about.lines(document))
    return 0


def _environment_example(archive: str, arguments: argparse.Namespace, console: Console) -> int:
    from ..artifact import environment

    with subject.signed(archive, arguments) as (artifact, _):
        contract = environment.contract_of(artifact)
    if contract is None:
        raise ArtifactError(archive, "its project declares no variables", "Declare them: docs/build.md")
    text = contract.example(arguments.environment_example)
    console.result({"environment_example": text}, text.rstrip("\n"))
    return 0


def _target_document(target: manifests.Target) -> Dict[str, Any]:
    return {
        "python": target.python,
        "machine": target.machine,
        "libc": f"{target.libc} {target.libc_floor}".strip(),
        "libraries": list(target.libraries),
        "bytecode": bool(target.cache_tag),
        "packages": {wheel.name: wheel.version for wheel in target.wheels + target.bootstrap},
    }


def _info_text(document: Dict[str, Any]) -> List[str]:
    lines = [
        f"artifact   {document['path']}",
        f"size       {document['size']} bytes, {document['members']} members",
        f"build id   {document['build_id']}",
        f"project    {document['project']}",
        f"source     {manifests.Source(**document['source']).text()}",
    ]
    if "against" in document:
        lines.append(f"delta      against build {document['against']}")
        lines.append(f"whole      {document['whole']['size']} bytes, SHA-256 {document['whole']['sha256']}")
    if "signed_by" in document:
        lines.append(f"signed by  {document['signed_by']} ({document['key']})")
    for target in document["targets"]:
        floor = f", {target['libc']} or newer" if " " in target["libc"] else ""
        lines.append(f"target     CPython {target['python']}, {target['machine']}{floor}")
        lines.extend(f"           {name} {version}" for name, version in sorted(target["packages"].items()))
    return [*lines, "contents   not compared with the manifest; verify does that, and prints the SHA-256 of the file"]
