"""``deployable-zipfile inspect`` and ``diff``: as a table, as JSON, or as Markdown for a pull request."""

from __future__ import annotations

import argparse
import io
import re
from typing import Any, Callable, Dict, List, Sequence

from .. import cli
from ..artifact.zipreader import Artifact
from ..cli import Parser
from ..console import Console
from ..errors import printable, shortened
from . import contents

_MAX_CELL = 200  # characters
# Everything that Markdown or HTML could take for markup; GitHub also links "www." and mentions.
_MARKUP = re.compile(r"[^\w\s.\-/]|_|(?<=www)\.", re.IGNORECASE)

Row = Sequence[object]


def main(words: List[str]) -> int:
    """Run ``inspect`` or ``diff`` and return its exit code."""

    def run() -> int:
        arguments = _parser().parse_args(words)
        act: Callable[[argparse.Namespace, Console], None] = arguments.run
        act(arguments, Console(as_json=arguments.json))
        return 0

    return cli.guarded(words, run)


def _parser() -> argparse.ArgumentParser:
    common = Parser(add_help=False)
    form = common.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result as one JSON object")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table, for a pull request")
    parser = Parser(prog="deployable-zipfile")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    inspect = verbs.add_parser("inspect", parents=[common], help="say what an artifact holds")
    inspect.add_argument("artifact", metavar="ARTIFACT")
    inspect.set_defaults(run=_inspect)
    diff = verbs.add_parser("diff", parents=[common], help="say how two artifacts differ")
    diff.add_argument("old", metavar="OLD")
    diff.add_argument("new", metavar="NEW")
    diff.set_defaults(run=_diff)
    return parser


def _inspect(arguments: argparse.Namespace, console: Console) -> None:
    with Artifact.open(arguments.artifact) as artifact:
        document = contents.summary(artifact)
    facts: List[Row] = [(key, document[key]) for key in ("project", "build_id", "commit", "dirty", "size")]
    facts += [("target", f"{name}, {floor}") for name, floor in document["targets"].items()]
    facts += [(f"size of {name}", size) for name, size in document["parts"].items()]
    packages = [
        (one["name"], one["version"], one["size"], one["compiled"] or "", ", ".join(one["pth"]))
        for one in document["packages"]
    ]
    tables = [(("fact", "value"), facts), (("package", "version", "bytes", "compiled", ".pth files"), packages)]
    _show(arguments, console, document, tables)


def _diff(arguments: argparse.Namespace, console: Console) -> None:
    with Artifact.open(arguments.old) as old, Artifact.open(arguments.new) as new:
        found = contents.differences(old, new)
        document = {
            "old": old.manifest.build_id,
            "new": new.manifest.build_id,
            "size": {"old": old.size, "new": new.size},
            "differences": [one._asdict() for one in found],
        }
    sizes: List[Row] = [("size in bytes", "", "", document["size"]["old"], document["size"]["new"])]  # type: ignore[index]
    _show(arguments, console, document, [(("what", "change", "name", "old", "new"), [*found, *sizes])])


def _show(arguments: argparse.Namespace, console: Console, document: Dict[str, Any], tables: Sequence[Any]) -> None:
    render = _markdown if arguments.markdown else _table
    console.result(document, [line for head, rows in tables for line in [*render(head, rows), ""]][:-1])


def _cell(value: object) -> str:
    return shortened(printable(value), _MAX_CELL)


def _table(head: Sequence[str], rows: Sequence[Row]) -> List[str]:
    from rich import box
    from rich.console import Console as Terminal
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    out = io.StringIO()
    Terminal(file=out, width=160, color_system=None, highlight=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def _markdown(head: Sequence[str], rows: Sequence[Row]) -> List[str]:
    lines = [head, ["---"] * len(head)]
    cells = [[_MARKUP.sub(lambda one: f"&#{ord(one.group())};", _cell(value)) for value in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [*lines, *cells]]
