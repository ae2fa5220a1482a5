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

if __name__ == "__main__":
    from . import signals

    signals.end_quietly(signals.OF_A_RUN)

import argparse
from types import ModuleType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from . import cli
from .artifact import layout
from .cli import Parser
from .console import Console
from .errors import UsageError

_DESTINATION = {"-d", "--destination"}
OF_A_ROOT = ("releases", "rollback", "prune")  # verbs that need no artifact
# Verbs of the tool that builds; an artifact does not hold them.
_ELSEWHERE = ("create", "init", "environment", "sign", "inspect", "diff", "report")
_FEW = 5000  # members
VERBS = ("check", "verify", "info", "list", "selftest", "serve", "deploy", "releases", "rollback", "prune")


def main(argv: Sequence[str], archive: Optional[str] = None) -> int:
    """Run one command and return its exit code.

    Parameters:
        argv: arguments without the program's name.
        archive: path of the artifact that runs this; without one the first argument that is not an option names it.
    """

    def run() -> int:
        _forget_members(archive)
        arguments, path = _parsed(list(argv), archive)
        return int(arguments.run(arguments, path, Console(arguments.quiet, arguments.json)))

    return cli.guarded(argv, run)


def _forget_members(archive: Optional[str]) -> None:
    """Let zipimport forget the members of the artifact that it can import nothing from, where they are many.

    It keeps about 400 bytes of each (measured with 30 000 members).
    """
    import zipimport

    known: Dict[Optional[str], Dict[str, Any]] = getattr(zipimport, "_zip_directory_cache", {})
    members = known.get(archive, {})
    if len(members) > _FEW:
        for name in [name for name in members if "/" in name and not name.startswith(f"{layout.DEPLOY}/")]:
            del members[name]


def _parsed(argv: List[str], archive: Optional[str]) -> Tuple[argparse.Namespace, str]:
    if archive is None:
        archive, argv = _archive_argument(argv)
    if not argv:
        _parser(archive).print_help()
        raise UsageError("the command line", "says nothing to do", "Give -d DEST, or a verb")
    verbs = [argument for argument in argv[:1] if argument in VERBS]
    if verbs and os.path.isdir(archive) and verbs[0] not in OF_A_ROOT:
        # The tool beside the releases, with which a new artifact is looked at, and deployed, before any of it runs.
        named, rest = _taken(verb_parsers("", verbs)[verbs[0]], argv[1:])
        archive, argv = (named, [verbs[0], *rest]) if named else (archive, argv)
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
    named, rest = _taken(install_parser(""), argv)
    if named:
        return named, rest
    if {"-h", "--help"} & set(argv):
        return "ARTIFACT", argv
    raise UsageError("the command line", "an artifact is missing", "Run: extract.py ARTIFACT -d DEST")


def _taken(parser: Parser, words: List[str]) -> Tuple[str, List[str]]:
    """Take out the first word that belongs to no option of *parser*; return it, "" for none, and the others."""
    for number in parser.positions(words):
        return words[number], words[:number] + words[number + 1 :]
    return "", words


def _parser(archive: str, verb: str = "") -> Parser:
    """Return the parser; verbs are added only when one is given, so that an installation loads no more."""
    program = os.path.basename(archive)
    if not verb:
        return install_parser(program)
    parser = Parser(prog=program)
    _add_verbs(parser, [verb])
    return parser


def install_parser(program: str) -> Parser:
    """Return the parser of ``PROGRAM -d DEST``."""
    from .verbs import install

    description = "Install this artifact, or run one of its verbs."
    parser = Parser(prog=program, parents=[_common_options()], description=description)
    parser.epilog = f"verbs: {', '.join(VERBS)}; VERB --help explains each"
    install.add_options(parser)
    return parser


def verb_parsers(program: str, wanted: Sequence[str] = VERBS) -> Dict[str, Parser]:
    """Return the parser of each of the *wanted* verbs by its name, in their order; the code of no other is loaded."""
    parsers = _add_verbs(Parser(prog=program), wanted).choices
    return {verb: parsers[verb] for verb in wanted}


def _add_verbs(parser: argparse.ArgumentParser, wanted: Sequence[str]) -> Any:
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=cli.VerbParser, prog=parser.prog)
    for module in _modules(wanted):
        module.add_parsers(verbs, [_common_options()])
    return verbs


def _modules(wanted: Sequence[str]) -> Iterator[ModuleType]:
    """Load and yield the modules that have the *wanted* verbs."""
    if "check" in wanted:
        from .verbs import check

        yield check
    if "verify" in wanted:
        from .verbs import verify

        yield verify
    if "info" in wanted:
        from .verbs import info

        yield info
    if "list" in wanted:
        from .verbs import members

        yield members
    if {"deploy", "releases", "rollback", "prune"}.intersection(wanted):
        from .deploy import verbs

        yield verbs
    if "selftest" in wanted:
        from .deploy import selftest

        yield selftest
    if "serve" in wanted:
        from .deploy import serve

        yield serve


def _common_options() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    common.add_argument("--quiet", "-q", action="store_true", help="print only warnings, errors and the result")
    common.add_argument("--debug", action="store_true", help="print tracebacks of errors")
    common.add_argument(
        "--workers", type=cli.workers, default=0, metavar="N", help="processes to use (default: one per core)"
    )
    return common


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
