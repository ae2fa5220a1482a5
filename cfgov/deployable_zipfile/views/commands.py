"""``deployable-zipfile inspect``, ``diff`` and ``report``."""

from __future__ import annotations

import argparse
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .. import cli
from ..artifact.zipreader import Artifact
from ..cli import Parser
from ..console import Console
from ..errors import ArtifactError, DeployableZipfileError, UsageError
from . import contents, render, sides, weaknesses
from .render import Table

_ANY = "any"
_FAIL_ON = (_ANY, *weaknesses.LEVELS)


def main(words: List[str]) -> int:
    """Run one of the verbs and return its exit code."""

    def run() -> int:
        arguments = _parser().parse_args(words)
        act: Callable[[argparse.Namespace, Console], Optional[DeployableZipfileError]] = arguments.run
        console = Console(as_json=arguments.json)
        failed = act(arguments, console)
        if failed is None:
            return 0
        # The result has been printed: it is the one JSON document.
        Console().error(failed)
        return failed.exit_code

    return cli.guarded(words, run)


def _parser() -> argparse.ArgumentParser:
    return _parsers()[0]


def verb_parsers() -> Dict[str, argparse.ArgumentParser]:
    """Return the parser of each verb: the reference is written from them."""
    return _parsers()[1]


def _parsers() -> Tuple[argparse.ArgumentParser, Dict[str, argparse.ArgumentParser]]:
    common = Parser(add_help=False)
    form = common.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result as one JSON object")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables, for a pull request")
    parser = Parser(prog="deployable-zipfile")
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    inspect = verbs.add_parser("inspect", parents=[common], help="show what an artifact contains")
    inspect.add_argument("artifact", metavar="ARTIFACT")
    _add_vulnerabilities(inspect)
    inspect.add_argument(
        "--fail-on",
        choices=_FAIL_ON,
        metavar="LEVEL",
        help=f"exit with 3 if a vulnerability has this severity, a higher one or none: {', '.join(_FAIL_ON)}",
    )
    inspect.set_defaults(run=_inspect)
    diff = verbs.add_parser("diff", parents=[common], help="show how two artifacts differ, or one and an installation")
    diff.add_argument("old", metavar="OLD", help="artifact, or folder that one was installed into")
    diff.add_argument("new", metavar="NEW", help="artifact or folder to compare with OLD")
    diff.set_defaults(run=_diff)
    page = verbs.add_parser("report", help="write an HTML page that shows what an artifact contains and what changed")
    page.add_argument("artifact", metavar="ARTIFACT")
    page.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="file to write (default: report.html)"
    )
    page.add_argument("--against", metavar="OLD", help="artifact or installation to compare with")
    page.add_argument("--history", metavar="FOLDER", help="folder of artifacts whose sizes to show for comparison")
    _add_vulnerabilities(page)
    page.add_argument("--json", action="store_true", help="print the result as one JSON object")
    page.set_defaults(run=_report)
    return parser, {"inspect": inspect, "diff": diff, "report": page}


def _add_vulnerabilities(parser: argparse.ArgumentParser) -> None:
    """Add the option that names known weaknesses."""
    text = "known vulnerabilities as OSV records: a record, a list, or a zip or folder of them"
    parser.add_argument("--vulnerabilities", metavar="FILE", help=text)


def _inspect(arguments: argparse.Namespace, console: Console) -> Optional[DeployableZipfileError]:
    if arguments.fail_on and not arguments.vulnerabilities:
        raise UsageError("--fail-on", "there is nothing to check", "Give --vulnerabilities FILE")
    with Artifact.open(arguments.artifact) as artifact:
        document = contents.summary(artifact)
    tables = _facts(document)
    found: List[weaknesses.Weakness] = []
    if arguments.vulnerabilities:
        found = _known_weaknesses(document, arguments.vulnerabilities)
        document["vulnerabilities"] = [one._asdict() for one in found]
        rows = [_weakness_row(one) for one in found] or [("none known", *[""] * 6)]
        tables.append(Table(("vulnerable package", "version", "id", "severity", "score", "fixed in", "summary"), rows))
    _show(arguments, console, document, tables)
    level = weaknesses.LEVELS[0] if arguments.fail_on == _ANY else arguments.fail_on
    bad = {one.package for one in found if level and weaknesses.reaches(one.severity, level)}
    if not bad:
        return None
    why = f"has known vulnerabilities in {', '.join(sorted(bad))}"
    return ArtifactError(arguments.artifact, why, "Lock fixed versions and build it again")


def _weakness_row(one: weaknesses.Weakness) -> render.Row:
    names = " ".join((one.id, *one.aliases))
    fixed = ", ".join(one.fixed)
    return one.package, one.version, names, one.severity or "not rated", one.score, fixed, one.summary


def _known_weaknesses(document: Dict[str, Any], path: str) -> List[weaknesses.Weakness]:
    """Return the weaknesses of the packages in the *document* of an artifact that the records in *path* know."""
    return weaknesses.find(path, [weaknesses.Versions(one["name"], one["version"]) for one in document["packages"]])


def _facts(document: Dict[str, Any]) -> List[Table]:
    facts: List[render.Row] = [(key, document[key]) for key in ("project", "build_id", "commit")]
    facts += [("dirty", "yes" if document["dirty"] else "no"), ("size", document["size"]), ("tool", document["tool"])]
    site = document["site"] or {}
    facts += [(key.replace("_", " "), site[key]) for key in ("settings_module", "wsgi", "asgi") if site.get(key)]
    facts += [(f"size of {name}", size) for name, size in document["parts"].items()]
    packages = document["packages"]
    return [
        Table(("fact", "value"), facts),
        Table(("target", "needs", "set by"), [_target_row(one) for one in document["targets"]]),
        Table(
            ("package", "version", "bytes", "licence", "origin"),
            [
                (one["name"], one["version"], one["size"], one["licence"] or "not stated", one["origin"])
                for one in packages
            ],
        ),
        Table(("variable of environment.json", "declared as"), list(document["environment"].items())),
        Table(("runs at every start", "file"), [(one["name"], file) for one in packages for file in one["pth"]]),
        _listed("compiled modules of", packages, "compiled"),
        _listed("libraries embedded in", packages, "embedded"),
    ]


def _target_row(target: Dict[str, Any]) -> render.Row:
    sets = target["libc_set_by"]
    needs = [target["libc"], *target["libraries"]]
    where = f"{sets['file']} in {sets['wheel']}" if sets else ""
    return f"CPython {target['python']} {target['machine']}", ", ".join(needs), where


def _listed(head: str, packages: Sequence[Dict[str, Any]], key: str) -> Table:
    rows = [(one["name"], len(one[key]), ", ".join(one[key])) for one in packages if one[key]]
    return Table((head, "number", "names"), rows)


def _diff(arguments: argparse.Namespace, console: Console) -> None:
    document, tables = compared(arguments.old, arguments.new)
    unread = document["not_parsed"]
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        console.warn(
            f"{render.shown(unread[0])}{more} cannot be parsed by this Python, so what it reads was not compared"
        )
    _show(arguments, console, document, tables)


def compared(old_path: str, new_path: str) -> Tuple[Dict[str, Any], List[Table]]:
    """Return how two artifacts or installations differ, as JSON values and as tables."""
    from . import differences  # reads sources, which the other verbs do not

    with sides.opened(old_path) as old, sides.opened(new_path) as new:
        found, unread = differences.between(old, new)
        document: Dict[str, Any] = {
            "old": old.build_id,
            "new": new.build_id,
            "size": {"old": old.size, "new": new.size},
            "differences": [one._asdict() for one in found],
            "not_parsed": unread,
        }
        sizes: render.Row = ("size in bytes", "", "", *(_or_blank(side.size) for side in (old, new)))
    # Of each kind only so many rows: one kind must not hide the others.
    rows: List[render.Row] = []
    for kind in dict.fromkeys(one.kind for one in found):
        of_kind = [one for one in found if one.kind == kind]
        rows += of_kind[: render.MAX_ROWS]
        more = len(of_kind) - render.MAX_ROWS
        rows += [(kind, "", f"{more} more; --json has them all", "", "")] if more > 0 else []
    return document, [Table(("what", "change", "name", "old", "new"), [*rows, sizes])]


def _report(arguments: argparse.Namespace, console: Console) -> None:
    from . import report  # needs what the other verbs do not

    found = None
    if arguments.vulnerabilities:
        with Artifact.open(arguments.artifact) as artifact:
            plan = {wheel for target in artifact.manifest.targets for wheel in target.wheels + target.bootstrap}
        known = weaknesses.find(arguments.vulnerabilities, [weaknesses.Versions(one.name, one.version) for one in plan])
        found = [one._asdict() for one in known]
    request = report.Request(arguments.artifact, arguments.against or "", arguments.history or "", found)
    size = report.write(request, arguments.output)
    console.outcome({"report": arguments.output, "size": size}, f"{arguments.output}: {size} bytes")


def _or_blank(size: Optional[int]) -> object:
    return "" if size is None else size


def _show(arguments: argparse.Namespace, console: Console, document: Dict[str, Any], tables: Sequence[Table]) -> None:
    console.result(document, [] if arguments.json else render.lines(tables, arguments.markdown))
