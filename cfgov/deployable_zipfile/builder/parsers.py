"""The command lines of the build side: ``create``, ``init``, ``environment`` and ``sign``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Callable, Optional

from .. import __version__, cli
from . import settings


def create(prog: Optional[str] = None) -> argparse.ArgumentParser:
    """Return the parser of a build."""
    result = cli.Parser(
        prog=prog or os.path.basename(sys.argv[0]),
        description="Pack a Django, WSGI or ASGI project and all its dependencies into one self-extracting zip.",
        epilog=f"Every option is also a setting in [{settings.SECTION}] of pyproject.toml; see docs/build.md.",
    )
    _add_arguments(result)
    return result


def _add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a build to *command*."""
    for name in settings.ARGUMENTS:
        setting = settings.BY_NAME[name]
        command.add_argument(name, metavar=setting.metavar, nargs="?", type=cli.named, help=setting.help)
    groups = {title: command.add_argument_group(title) for title in settings.groups()}
    for setting in settings.TABLE:
        if setting.group:
            _add_option(groups[setting.group], setting)
    group = command.add_argument_group("the result")
    group.add_argument(
        "--check",
        action="store_const",
        const=True,
        help="install into a scratch folder and import the settings and callables (default on a terminal)",
    )
    group.add_argument(
        "--verify-reproducible",
        action="store_true",
        help="build again in a different environment without the cache, and fail if the artifacts differ",
    )
    group.add_argument(
        "--against",
        type=cli.named,
        metavar="OLD.zip",
        help="also write ZIPFILE_BASENAME.delta.zip, with what OLD.zip lacks",
    )
    group.add_argument("--no-check", dest="check", action="store_const", const=False, help="do not check the artifact")
    _add_output(command)


def init() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile init``."""
    command = cli.Parser(
        prog="deployable-zipfile init",
        description=f"Inspect a project and add a [{settings.SECTION}] section to its pyproject.toml.",
    )
    _add_folder(command)
    command.add_argument("--workflow", action="store_true", help="also write a GitHub workflow that packs the project")
    command.add_argument("--print", action="store_true", help="print what would be written, but write nothing")
    _add_output(command)
    return command


def environment() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile environment``."""
    command = cli.Parser(
        prog="deployable-zipfile environment",
        description=f"Print an example of the variables that [{settings.SECTION}.{settings.ENVIRONMENT}] declares.",
    )
    _add_folder(command)
    command.add_argument(
        "--example", choices=("json", "env"), default="env", help="form: environment.json or a .env file"
    )
    command.add_argument("--schema", action="store_true", help="print the JSON Schema that is in the artifact instead")
    _add_output(command)
    return command


def sign() -> argparse.ArgumentParser:
    """Return the parser of ``deployable-zipfile sign``."""
    from . import sign as signing

    command = cli.Parser(
        prog="deployable-zipfile sign",
        description="Write ARTIFACT.sig, which ssh-keygen or openssl can check without a network.",
    )
    command.add_argument("artifact", metavar="ARTIFACT", help="artifact to sign")
    command.add_argument(
        "--key", metavar="FILE", required=True, help="private key: an SSH key, or a PEM key for openssl"
    )
    command.add_argument(
        "--format", choices=signing.FORMATS, default="", help="form of the signature (default: follows the key)"
    )
    _add_output(command)
    return command


def second_build() -> argparse.ArgumentParser:
    """Return the parser of the second build of ``--verify-reproducible``, whose options are in a file."""
    command = cli.Parser(prog="second build")
    command.add_argument("options")
    _add_output(command)
    return command


def _add_folder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "folder", metavar="DIR", nargs="?", type=cli.named, default=os.curdir, help="folder of the project (default: .)"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--quiet", "-q", action="store_true", help="print only warnings, errors and the result")
    group.add_argument("--json", action="store_true", help="print the result as one JSON object")
    group.add_argument("--debug", action="store_true", help="print tracebacks of errors")
    command.add_argument("--version", action="version", version=f"deployable-zipfile {__version__}")


def _add_option(group: Any, setting: settings.Setting) -> None:
    option, where = f"--{setting.name}", setting.name
    kind: Callable[[str], Any]
    if setting.kind == settings.FLAG:
        words = (f"--no-{setting.name}", option) if setting.default else (option, f"--no-{setting.name}")
        text = f"do not {setting.help}" if setting.default else setting.help
        group.add_argument(words[0], dest=where, action="store_const", const=not setting.default, help=text)
        group.add_argument(
            words[1],
            dest=where,
            action="store_const",
            const=setting.default,
            help=f"override {setting.name} in pyproject.toml",
        )
    elif setting.kind in (settings.TEXTS, settings.PATHS):
        kind = cli.named if setting.kind == settings.PATHS else str
        group.add_argument(option, dest=where, metavar=setting.metavar, action="append", type=kind, help=setting.help)
    elif setting.kind == settings.NUMBER:
        kind = cli.workers if isinstance(setting.default, int) else cli.timeout
        group.add_argument(option, dest=where, metavar=setting.metavar, type=kind, help=setting.help)
    else:
        kind = cli.named if setting.kind == settings.PATH else str
        group.add_argument(option, dest=where, metavar=setting.metavar, type=kind, help=setting.help)
