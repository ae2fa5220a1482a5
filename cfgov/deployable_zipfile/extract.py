#!/usr/bin/env python3
"""The artifact's command line: ``./artifact.zip -d DEST`` and its verbs.

Also runs beside the sources as ``python extract.py artifact.zip -d DEST``.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not __package__:
    # Started as a file: make the package from this folder, without putting the folder on sys.path.
    import importlib.util

    _folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _folder]
    _spec = importlib.util.spec_from_file_location(
        "deployable_zipfile", os.path.join(_folder, "__init__.py"), submodule_search_locations=[_folder]
    )
    if _spec is None or _spec.loader is None:
        raise ImportError(_folder)
    sys.modules["deployable_zipfile"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["deployable_zipfile"])
    __package__ = "deployable_zipfile"

import argparse
import contextlib
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Tuple

from . import cli, durable
from .artifact import layout, manifests
from .artifact.zipreader import Artifact
from .cli import Parser
from .console import Console, error_document
from .errors import ArtifactError, DeployableZipfileError, DeploymentError, DestinationError, TargetError, UsageError

if TYPE_CHECKING:
    from .install import inventory, signature
    from .install.store import Store

# Options that the next argument belongs to.
WITH_VALUE = (
    *("-d", "--destination", "--wait", "--workers", "--store", "--base"),
    *("--signature", "--allowed-signers", "--revoked-keys", "--env-file", "--environment-example"),
)
_DESTINATION = {"-d", "--destination"}
OF_A_ROOT = ("releases", "rollback", "prune")  # verbs that need no artifact
# Verbs of the tool that builds; an artifact does not hold them.
_ELSEWHERE = ("create", "init", "environment", "sign", "inspect", "diff", "report")
VERBS = ("check", "verify", "info", "list", "selftest", "serve", "deploy", "releases", "rollback", "prune")


def main(argv: Sequence[str], archive: Optional[str] = None) -> int:
    """Run one command and return its exit code.

    Parameters:
        argv: arguments without the program's name.
        archive: path of the artifact that runs this; without one the first argument that is not an option names it.
    """

    def run() -> int:
        arguments, path = _parsed(list(argv), archive)
        return int(arguments.run(arguments, path, Console(arguments.quiet, arguments.json)))

    return cli.guarded(argv, run)


def _parsed(argv: List[str], archive: Optional[str]) -> Tuple[argparse.Namespace, str]:
    if archive is None:
        archive, argv = _archive_argument(argv)
    if not argv:
        _parser(archive).print_help()
        raise UsageError("the command line", "names nothing to do", "Give -d DEST, or a verb")
    verbs = [argument for argument in argv[:1] if argument in VERBS]
    if verbs and os.path.isdir(archive) and verbs[0] not in OF_A_ROOT and argv[1:] and not argv[1].startswith("-"):
        # The tool beside the releases, with which a new artifact is looked at, and deployed, before any of it runs.
        archive, argv = argv[1], [verbs[0], *argv[2:]]
    if argv[0] in _ELSEWHERE:
        fix = f"Run it where deployable-zipfile is installed: deployable-zipfile {argv[0]} --help"
        raise UsageError(argv[0], "is a verb of the tool that builds artifacts, not of an artifact", fix)
    if not verbs and not argv[0].startswith("-") and not _DESTINATION.intersection(argv):
        meant = f"To install, run: {os.path.basename(archive)} -d {argv[0]}. " if _is_like_a_path(argv[0]) else ""
        raise UsageError(argv[0], "is not a verb", f"{meant}The verbs are {', '.join(VERBS)}")
    return _parser(archive, verbs[0] if verbs else "").parse_args(argv), archive


def _is_like_a_path(argument: str) -> bool:
    return "/" in argument or argument.startswith(".") or os.path.isdir(argument)


def _archive_argument(argv: List[str]) -> Tuple[str, List[str]]:
    """Take the artifact's path out of the arguments: upstream takes it before or after ``-d DEST``."""
    skip = False
    for number, argument in enumerate(argv):
        if skip:
            skip = False
        elif argument in WITH_VALUE:
            skip = True
        elif not argument.startswith("-"):
            return argument, argv[:number] + argv[number + 1 :]
    if {"-h", "--help"} & set(argv):
        return "ARTIFACT", argv
    raise UsageError("the command line", "an artifact is missing", "Run: extract.py ARTIFACT -d DEST")


def _parser(archive: str, verb: str = "") -> argparse.ArgumentParser:
    """Return the parser; verbs are added only when one is given, so that an installation loads no more."""
    program = os.path.basename(archive)
    if not verb:
        return install_parser(program)
    parser = Parser(prog=program)
    _add_verbs(parser, deploys=verb not in ("check", "verify", "info", "list"))
    return parser


def install_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of ``PROGRAM -d DEST``."""
    description = "Install this artifact, or run one of its verbs."
    parser = Parser(prog=program, parents=[_common_options()], description=description)
    parser.epilog = f"verbs: {', '.join(VERBS)}; VERB --help explains each"
    parser.add_argument("-d", "--destination", required=True, metavar="DEST", help="folder to install into")
    parser.add_argument(
        "--wait",
        type=cli.seconds,
        default=0.0,
        metavar="SECONDS",
        help="wait this long for another installation (default: 0)",
    )
    parser.add_argument(
        "--force", action="store_true", help="reinstall this build in DEST, where it is installed already"
    )
    parser.add_argument("--base", action="append", type=cli.named, default=[], metavar="PATH", help=cli.BASE_HELP)
    parser.add_argument("--store", type=cli.named, metavar="DIR", help="share unpacked wheels with other installations")
    parser.add_argument(
        "--no-compile", action="store_true", help="do not compile Python files that come without bytecode"
    )
    parser.add_argument("--no-sync", action="store_true", help="do not wait until the files are on the disk")
    cli.add_signature_options(parser)
    parser.set_defaults(run=_install)
    return parser


def verb_parsers(program: str) -> Dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb by its name, in the order of VERBS."""
    parsers = _add_verbs(Parser(prog=program), deploys=True).choices
    return {verb: parsers[verb] for verb in VERBS}


def _add_verbs(parser: argparse.ArgumentParser, deploys: bool) -> Any:
    common = _common_options()
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=cli.VerbParser, prog=parser.prog)
    _add_own_verbs(verbs, [common])
    if deploys:
        from .deploy import selftest, serve
        from .deploy import verbs as deploy_verbs

        deploy_verbs.add_parsers(verbs, [common])
        selftest.add_parsers(verbs, [common])
        serve.add_parsers(verbs, [common])
    return verbs


def _common_options() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    common.add_argument("--quiet", "-q", action="store_true", help="print only warnings, errors and the result")
    common.add_argument("--debug", action="store_true", help="print tracebacks of errors")
    common.add_argument(
        "--workers", type=cli.workers, default=0, metavar="N", help="processes to use (default: one per core)"
    )
    return common


def _add_own_verbs(verbs: Any, common: List[argparse.ArgumentParser]) -> None:
    check = cli.add_verb(verbs, "check", "check whether this artifact can be installed here", common)
    check.add_argument("-d", "--destination", type=cli.named, metavar="DEST", help="also check this destination")
    check.add_argument("--env-file", type=cli.named, metavar="FILE", help="also check this environment.json")
    check.add_argument("--base", action="append", type=cli.named, default=[], metavar="PATH", help=cli.BASE_HELP)
    check.set_defaults(run=_check)
    verify = cli.add_verb(verbs, "verify", "verify every byte of an artifact, an installation or a store", common)
    verify.add_argument(
        "tree",
        nargs="?",
        type=cli.named,
        metavar="DEST",
        help="verify this installation, store or artifact instead",
    )
    cli.add_signature_options(verify)
    verify.set_defaults(run=_verify)
    info = cli.add_verb(verbs, "info", "describe this artifact, or an installation", common)
    info.add_argument(
        "tree", nargs="?", type=cli.named, metavar="DEST", help="describe this installation or artifact instead"
    )
    cli.add_signature_options(info)
    info.add_argument(
        "--environment-example", choices=("json", "env"), help="print an example of environment.json or of a .env file"
    )
    info.set_defaults(run=_info)
    listing = cli.add_verb(verbs, "list", "list the members of this artifact", common)
    listing.set_defaults(run=_list)


def _install(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    from .install import base, installation
    from .install.destination import normal_destination

    destination = normal_destination(arguments.destination)
    with contextlib.ExitStack() as stack:
        artifact, _ = stack.enter_context(_signed(archive, arguments, arguments.destination))
        paths = [*arguments.base, destination, arguments.store or ""]
        artifact = stack.enter_context(
            base.completed(artifact, paths, os.path.dirname(destination), arguments.workers, console)
        )
        manifest = artifact.manifest
        if manifest.source.dirty:
            console.warn(f"{archive}: built from {manifest.source.text()}; deploy refuses it")
        done = installation.install(
            artifact,
            arguments.destination,
            workers=arguments.workers,
            wait=arguments.wait,
            sync=not arguments.no_sync,
            force=arguments.force,
            console=console,
            store=arguments.store or "",
            compiles=not arguments.no_compile,
        )
        _environment_problems(artifact, "", done.destination, console)
    if done.already:
        text = f"{done.destination} already holds build {done.build_id}"
    else:
        text = f"Installed build {done.build_id} into {done.destination}: {done.files} files, {done.seconds:.1f} s"
        if not arguments.quiet:
            text += f"\n{_next_step(done.destination, manifest)}"
    console.installed(done._asdict(), text)
    return 0


@contextlib.contextmanager
def _signed(
    archive: str, arguments: argparse.Namespace, destination: str = ""
) -> Iterator[Tuple[Artifact, "Optional[signature.Signer]"]]:
    """Open the artifact, signed as the options demand, and the root that contains *destination*."""
    with contextlib.ExitStack() as stack:
        artifact, signer = stack.enter_context(Artifact.open(archive)), None
        for wanted in _demands(artifact, arguments, destination):
            from .install import signature

            artifact, signer = stack.enter_context(signature.checked(artifact, wanted))
        yield artifact, signer


def _demands(artifact: Artifact, arguments: argparse.Namespace, destination: str) -> "List[signature.Demand]":
    demands = []
    given = [one or "" for one in (arguments.signature, arguments.allowed_signers, arguments.revoked_keys)]
    root = _root_above(destination) if destination else ""
    if root:
        from .deploy import signing

        demanded = signing.demand_of_root(root, artifact.path, given[0])
        demands += [demanded] if demanded else []
    if arguments.allowed_signers:
        from .install import signature

        demands.append(signature.demand(artifact.path, *given))
    elif any(given) and not demands:
        raise UsageError("the signature", "nothing says who may sign", "Add --allowed-signers FILE")
    return demands


def _root_above(destination: str) -> str:
    """Return the folder around *destination* that is a root which something was deployed to, "" when none is."""
    above = durable.upwards(os.path.realpath(destination))
    return next((folder for folder in above if os.path.lexists(os.path.join(folder, layout.JOURNAL))), "")


def _next_step(destination: str, manifest: manifests.Manifest) -> str:
    """Return what comes after an installation by hand, in one line."""
    programs = os.path.join(destination, layout.VENV, "bin")
    site = manifest.site
    command = f"{programs}/python"
    if site is not None and site.settings_module:
        if os.path.exists(f"{programs}/django-admin") and not site.path:
            command = f"{programs}/django-admin check --settings {site.settings_module}"
        elif site.manage:
            command += f" {destination}/{manifest.project}/{site.manage} check"
    if os.path.lexists(os.path.join(destination, layout.ENVIRONMENT)):
        return f"Next: run {command}"
    return f"Next: put {layout.ENVIRONMENT} into {destination}, then run {command}"


def _check(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    from .artifact import delta
    from .install import base, host, preflight, space
    from .install.destination import normal_destination

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
        found += _environment_problems(artifact, arguments.env_file or "", arguments.destination or "", console)
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


def _environment_problems(
    artifact: Artifact, env_file: str, destination: str, console: Console
) -> List[DeployableZipfileError]:
    """Return what is wrong with *env_file*; what is wrong with the file in *destination* is a warning."""
    path = env_file or os.path.join(destination, layout.ENVIRONMENT)
    if not env_file and not (destination and os.path.lexists(path)):
        return []
    from pathlib import Path

    from .artifact import environment
    from .deploy import provision

    contract = environment.contract_of(artifact)
    try:
        read = (
            provision.EnvironmentFile(Path(path)).read if env_file else lambda: provision.read_environment(Path(path))
        )
        variables = read()
        hints, problems = provision.compared(contract, variables) if contract is not None else ([], [])
    except DeploymentError as error:
        hints, problems = [], [error]
    for text in [*hints, *([] if env_file else map(str, problems))]:
        console.warn(text)
    return [*problems] if env_file else []


def _verify(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    tree = arguments.tree or (archive if os.path.isdir(archive) else "")
    if tree and os.path.isfile(tree):
        archive = tree
    elif tree:
        if arguments.signature or arguments.allowed_signers or arguments.revoked_keys:
            raise UsageError(tree, "a folder has no signature", "Give the artifact that it was installed from")
        return _verify_tree(tree, console)
    from .artifact import delta, environment, proof

    with _signed(archive, arguments) as (artifact, signer):
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
            **_signer_document(signer),
        }
    text = "{path}: every byte is as built ({members} members, {wheels} wheels)".format(**document)
    if stated:
        text += f"; a delta of build {stated.manifest.build_id} against {stated.base}, whose files are not looked at"
    signed = [f"signed by {signer.principal} ({signer.key})"] if signer else []
    console.result(document, [text, f"SHA-256 {document['sha256']}", *signed])
    return 0


def _signer_document(signer: "Optional[signature.Signer]") -> Dict[str, str]:
    return {} if signer is None else {"signed_by": signer.principal, "key": signer.key}


def _verify_tree(tree: str, console: Console) -> int:
    from .install import drift
    from .install.destination import normal_destination
    from .install.store import Store, is_store

    if is_store(tree):
        return _verify_store(Store(os.path.abspath(tree)), console)
    found = drift.compare(normal_destination(tree))
    fix = "Install the artifact into a new folder, or in its place with --force"
    return _report_drift(found, {"build_id": found.build_id}, tree, "as installed", fix, console)


def _verify_store(store: Store, console: Console) -> int:
    store.check()
    fix = "Verify the installations that share them; the next one unpacks what is damaged again"
    return _report_drift(store.drift(), {"store": store.path}, store.path, "as unpacked", fix, console)


def _report_drift(
    found: inventory.Drift, document: Dict[str, Any], path: str, good: str, fix: str, console: Console
) -> int:
    """Print what is not as it was written in *path*, and return the exit code."""
    groups = {"changed": found.changed, "missing": found.missing, "added": found.added}
    lines = [f"{kind}: {name}" for kind, names in groups.items() for name in names]
    counts = f"{len(found.changed)} files changed, {len(found.missing)} missing, {len(found.added)} added"
    error = DestinationError(path, counts, fix)
    code = 0 if found.clean else error.exit_code
    document.update(groups, checked=found.checked, ok=found.clean, exit_code=code)
    console.result(document, lines or [f"{path}: {good} ({found.checked} files)"])
    if code and not console.as_json:
        console.error(error)
    return code


def _info(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    from .artifact import delta

    tree = arguments.tree or (archive if os.path.isdir(archive) else "")
    if tree and not os.path.isfile(tree):
        return _info_of_tree(tree, arguments, console)
    archive = tree or archive
    if arguments.environment_example:
        return _environment_example(archive, arguments, console)
    with _signed(archive, arguments) as (artifact, signer):
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
            **_signer_document(signer),
        }
        if arguments.json:
            document["sha256"] = artifact.sha256
    console.result(document, _info_text(document))
    return 0


def _info_of_tree(tree: str, arguments: argparse.Namespace, console: Console) -> int:
    from .deploy import about
    from .install.destination import normal_destination

    if arguments.environment_example or arguments.signature or arguments.allowed_signers or arguments.revoked_keys:
        raise UsageError(tree, "is a folder, which has neither signature nor example", "Give the artifact")
    destination = normal_destination(tree)
    document = about.installation(destination, _root_above(destination))
    console.result(document, about.lines(document))
    return 0


def _environment_example(archive: str, arguments: argparse.Namespace, console: Console) -> int:
    from .artifact import environment

    with _signed(archive, arguments) as (artifact, _):
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


def _list(_: argparse.Namespace, archive: str, console: Console) -> int:

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
