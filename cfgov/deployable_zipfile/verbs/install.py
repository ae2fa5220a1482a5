"""``-d DEST``: install the artifact."""

from __future__ import annotations

import argparse
import contextlib
import os

from .. import cli
from ..artifact import layout, manifests
from ..console import Console


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an installation to *parser*, and what runs it."""
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
    cli.add_base_option(parser)
    parser.add_argument("--store", type=cli.named, metavar="DIR", help="share unpacked wheels with other installations")
    parser.add_argument(
        "--no-compile", action="store_true", help="do not compile Python files that come without bytecode"
    )
    parser.add_argument("--no-sync", action="store_true", help="do not wait until the files are on the disk")
    cli.add_signature_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    from ..artifact import delta
    from ..install import installation
    from ..install.destination import normal_destination
    from . import environment, subject

    destination = normal_destination(arguments.destination)
    with contextlib.ExitStack() as stack:
        artifact, _ = stack.enter_context(subject.signed(archive, arguments, arguments.destination))
        if delta.is_delta(artifact.manifest):
            from ..install import base

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
        environment.problems(artifact, "", done.destination, console)
    if done.already:
        text = f"{done.destination} already holds build {done.build_id}"
    else:
        text = f"Installed build {done.build_id} into {done.destination}: {done.files} files, {done.seconds:.1f} s"
        if not arguments.quiet:
            text += f"\n{_next_step(done.destination, manifest)}"
    console.installed(done._asdict(), text)
    return 0


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
