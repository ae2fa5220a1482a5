"""``deployable-zipfile report``: what an artifact contains and what changed, as one HTML page that needs no network.

The page is a template with autoescape. Data for its charts are JSON in a script element that no browser runs; what is
run are two scripts, whose digests the page's Content-Security-Policy names.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import stat
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from .. import durable
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple
from ..errors import ArtifactError, UsageError
from . import contents, differences, sides
from .render import shown
from .treemap import Node, grouped, tree

MAX_HISTORY = 50  # releases
MAX_CHANGES = 300  # rows of one kind of change
_ASSETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets")
_LONGEST = 120  # characters of a name in the page
_SUSPICIOUS_GROWTH = 1.2
_LARGEST_TREE = 1_500_000  # characters, so that the page stays below 3 MB


class Request(NamedTuple):
    """What a report is made from."""

    artifact: str
    against: str = ""  # an older artifact, or a folder that one was installed into
    history: str = ""  # a folder of releases
    weaknesses: Optional[List[Dict[str, Any]]] = None  # of ``weaknesses.find``


def write(request: Request, output: str) -> int:
    """Write the page to *output*, atomically, and return its size in bytes.

    Raises:
        DeployableZipfileError: what it is made from cannot be read, *output* cannot be written, or jinja2 is missing.
    """
    _check_output(request, output)
    page = html(request)
    try:
        durable.replace_file(os.path.abspath(output), page, 0o644)
    except OSError as error:
        raise UsageError(output, f"cannot be written ({error.strerror})", "Give -o another path") from None
    return len(page)


def _check_output(request: Request, output: str) -> None:
    try:
        status = os.lstat(output)
    except OSError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(output, "is not a regular file", "Give -o another path")
    for path in filter(None, (request.artifact, request.against)):
        if os.path.exists(path) and os.path.samefile(path, output):
            raise UsageError(output, "is an input of the report", "Give -o another path")


def html(request: Request) -> bytes:
    """Return the page."""
    jinja2, trusted = _jinja2()
    with Artifact.open(request.artifact) as artifact:
        document = contents.summary(artifact)
        whole = tree(artifact)
    changes = _changes(request, document) if request.against else None
    history = _history(request, document["project"]) if request.history else []
    packages, edges = _packages(document)
    echarts, version = _echarts()
    script = _asset("report.js")
    report = {
        "project": shown(document["project"], _LONGEST),
        "build_id": document["build_id"],
        "tool": shown(document["tool"], _LONGEST),
        "facts": _facts(document),
        "warnings": [shown(text, 300) for text in _warnings(document, changes, history, request.weaknesses)],
        "weaknesses": None if request.weaknesses is None else [_weakness(one) for one in request.weaknesses],
        "changes": changes,
        "top": [{"name": node.name, "size": _bytes(node.size)} for node in whole.children],
        "packages": packages,
        "licences": sorted({one["licence"] for one in packages}),
        "history": history,
    }
    data = {"tree": _fitting(whole), "packages": edges, "history": [[h["name"], h["date"], h["size"]] for h in history]}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = environment.from_string(_asset("report.html.j2")).render(
        report=report,
        style=trusted(_asset("report.css")),
        data=trusted(_harmless(data)),
        echarts=trusted(echarts),
        script=trusted(script),
        script_hashes=trusted(" ".join(map(_csp_hash, (echarts, script)))),
        echarts_version=version,
    )
    return str(text).encode("utf-8")


def _jinja2() -> Tuple[Any, Any]:
    """Return the module and the type of a text that is not escaped."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError:
        why = "needs the Python package jinja2, which is not installed"
        raise UsageError("report", why, "Run: pip install 'deployable-zipfile[report]'") from None
    return jinja2, Markup


def _asset(name: str) -> str:
    with open(os.path.join(_ASSETS, name), encoding="utf-8", newline="") as file:
        return file.read()


def _echarts() -> Tuple[str, str]:
    """Return the charting library and its version, after comparing it with the digest that is written beside it."""
    record = json.loads(_asset("echarts/provenance.json"))
    text = _asset("echarts/echarts.min.js")
    if hashlib.sha256(text.encode("utf-8")).hexdigest() != record["files"]["echarts.min.js"]["sha256"]:
        raise ArtifactError("echarts.min.js", "is not the file of its provenance.json", "Install the tool again")
    return text, str(record["version"])


def _csp_hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"


def _harmless(data: Any) -> str:
    """Return *data* as JSON that ends no script element and begins no comment (HTML, "script" content restrictions)."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _fitting(whole: Node) -> List[Any]:
    """Return *whole* for the page: all of it, or as much as fits, the smallest parts counted only."""
    least = 0
    while True:
        listed = _listed(grouped(whole, least))
        if len(json.dumps(listed, separators=(",", ":"))) <= _LARGEST_TREE or least > whole.size:
            return listed
        least = max(64, least * 2)


def _listed(node: Node) -> List[Any]:
    """Return *node* as [name, bytes], with its children, and 1 for a group."""
    children = [_listed(child) for child in node.children]
    name = shown(node.name, _LONGEST)
    return [name, node.size, children, 1] if node.group else [name, node.size, *([children] if children else [])]


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _facts(document: Dict[str, Any]) -> List[Tuple[str, str]]:
    targets = [f"CPython {one['python']} {one['machine']}, {one['libc']}" for one in document["targets"]]
    commit = document["commit"][:12] + (" with changes" if document["dirty"] else "") if document["commit"] else "none"
    site = document["site"] or {}
    facts = [("Size", _bytes(document["size"])), ("For", "; ".join(targets)), ("Commit", commit)]
    facts += [("Packages", str(len(document["packages"]))), ("Project files", f"{document['files']:,}")]
    facts += [("Settings", site["settings_module"])] if site.get("settings_module") else []
    return [(name, shown(value, 300)) for name, value in facts]


def _packages(document: Dict[str, Any]) -> Tuple[List[Dict[str, Any]], List[List[Any]]]:
    """Return the rows of the table, and for the graph name, version, size and the numbers of what each needs."""
    found = sorted(document["packages"], key=lambda one: (one["name"], one["version"], one["file"]))
    number = {one["file"]: position for position, one in enumerate(found)}
    needs = [sorted({number[file] for file in one["needs"] if file in number} - {number[one["file"]]}) for one in found]
    names = [shown(one["name"], _LONGEST) for one in found]
    rows = [
        {
            "name": names[position],
            "version": shown(one["version"], _LONGEST),
            "size": one["size"],
            "licence": shown(one["licence"], _LONGEST) or "not stated",
            "origin": shown(one["origin"], _LONGEST),
            "compiled": len(one["compiled"]),
            "embedded": len(one["embedded"]),
            "needs": [names[other] for other in needs[position]],
            "needed_by": [names[other] for other, theirs in enumerate(needs) if position in theirs],
        }
        for position, one in enumerate(found)
    ]
    edges = [
        [names[position], rows[position]["version"], one["size"], needs[position]] for position, one in enumerate(found)
    ]
    return rows, edges


def _changes(request: Request, document: Dict[str, Any]) -> Dict[str, Any]:
    with sides.opened(request.against) as old, sides.opened(request.artifact) as new:
        found, unread = differences.between(old, new)
        build, before = old.build_id, old.size
    groups = []
    for kind in dict.fromkeys(one.kind for one in found):
        of_kind = [one for one in found if one.kind == kind]
        rows = [{key: shown(value, 300) for key, value in one._asdict().items()} for one in of_kind[:MAX_CHANGES]]
        groups.append({"title": f"{kind[0].upper()}{kind[1:]}", "count": len(of_kind), "rows": rows})
    size = ""
    if before is not None:
        size = f"{_bytes(before)} before, {_bytes(document['size'])} now ({document['size'] - before:+,} bytes)"
    return {"old": build, "before": before, "size": size, "groups": groups, "found": found, "unread": unread}


def _history(request: Request, project: str) -> List[Dict[str, Any]]:
    """Return the releases of *project* in the folder, and the artifact itself, by the time of their commits.

    Of two files of one build the first name counts.
    """
    folder = request.history
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".zip"))
    except OSError as error:
        raise UsageError(folder, f"cannot be read ({error.strerror})", "Give --history a folder of artifacts") from None
    found: Dict[str, Tuple[int, str, int]] = {}
    for path in [*(os.path.join(folder, name) for name in names), request.artifact]:
        try:
            with Artifact.open(path) as artifact:
                manifest = artifact.manifest
                if manifest.project == project:
                    release = manifest.source.epoch, os.path.basename(path), artifact.size
                    found.setdefault(artifact.build_id, release)
        except ArtifactError:
            continue  # a zip of something else
    releases = sorted((epoch, name, size, build_id) for build_id, (epoch, name, size) in found.items())[-MAX_HISTORY:]
    rows = []
    before: Optional[int] = None
    for epoch, name, size, build_id in releases:
        difference = "" if before is None else f"{size - before:+,}"
        rows.append(
            {
                "name": shown(name, _LONGEST),
                "date": _date(epoch),
                "build_id": build_id[:12],
                "size": size,
                "difference": difference,
            }
        )
        before = size
    return rows


def _date(epoch: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _weakness(one: Dict[str, Any]) -> Dict[str, str]:
    return {
        "package": shown(one["package"], _LONGEST),
        "version": shown(one["version"], _LONGEST),
        "names": shown(" ".join((one["id"], *one["aliases"])), 300),
        "severity": one["severity"] or "not rated",
        "fixed": shown(", ".join(one["fixed"]), 300),
        "summary": shown(one["summary"], 300),
    }


def _warnings(
    document: Dict[str, Any],
    changes: Optional[Dict[str, Any]],
    history: Sequence[Dict[str, Any]],
    found: Optional[List[Dict[str, Any]]],
) -> Iterator[str]:
    if not document["commit"]:
        yield "It was built from no commit: what it holds cannot be found again."
    elif document["dirty"]:
        yield "Its files are not those of the commit: there were uncommitted changes."
    if found:
        yield f"Known vulnerabilities: {', '.join(sorted({one['package'] for one in found}))}."
    unnamed = [one["name"] for one in document["packages"] if not one["licence"]]
    if unnamed:
        yield f"Without a licence in their metadata: {', '.join(unnamed)}."
    starting = [f"{one['name']} ({', '.join(one['pth'])})" for one in document["packages"] if one["pth"]]
    if starting:
        yield f"Runs at every start of Python: {', '.join(starting)}."
    embedding = [one["name"] for one in document["packages"] if one["embedded"]]
    if embedding:
        yield f"Libraries inside wheels are not updated by the system: {', '.join(embedding)}."
    built = [one["name"] for one in document["packages"] if one["origin"] != "wheel"]
    if built:
        yield f"Built from source, not published as wheels: {', '.join(built)}."
    if changes:
        yield from _warnings_of_changes(document, changes)
    if len(history) > 1 and history[-1]["size"] > _SUSPICIOUS_GROWTH * history[-2]["size"]:
        yield "The newest release of the folder is more than a fifth larger than the one before it."


def _warnings_of_changes(document: Dict[str, Any], changes: Dict[str, Any]) -> Iterator[str]:
    found: List[differences.Difference] = changes["found"]
    texts = (
        ("environment key", "added", "Newly read from the environment; set them before it is deployed"),
        ("migration", "removed", "Migrations that the old release has and this one does not"),
        ("package", "downgraded", "Downgraded"),
        ("drift", "", "Files of the installation are not as they were installed"),
    )
    for kind, change, text in texts:
        names = [one.name for one in found if one.kind == kind and change in ("", one.change)]
        if names:
            more = f" and {len(names) - 10} more" if len(names) > 10 else ""
            yield f"{text}: {', '.join(names[:10])}{more}."
    if changes["unread"]:
        yield f"Could not be parsed, so what they read is not known: {', '.join(changes['unread'][:10])}."
    if changes["before"] and document["size"] > _SUSPICIOUS_GROWTH * changes["before"]:
        yield "It is more than a fifth larger than the artifact that it is compared with."
