"""The measurement as tables: each flow, and what was aimed at with what was found."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from benchmarks.flows import (
    FLOOR_OF_BUILD,
    FLOOR_OF_DEPLOYMENT,
    FLOOR_OF_VERIFY,
    FLOWS,
    OURS,
    REFERENCE,
    Flow,
)
from benchmarks.growth import Point, linear
from benchmarks.material import Material
from benchmarks.measure import Run

Results = Dict[str, List[Run]]
BEGIN, END = "<!-- measured: written by nox -s benchmark -- --write -->", "<!-- end of what was measured -->"
_GROUPS = {
    "deploy": ("Deployment", REFERENCE),
    "second": ("Second release", "first release, store"),
    "build": ("Build", "zip -6"),
    "prove": ("Verification and starts", ""),
    "look": ("Looking at artifacts", ""),
}


class Workload(NamedTuple):
    """One site, and what was measured with it."""

    name: str
    material: Material
    results: Results
    groups: Tuple[str, ...]  # of rows that were to be measured


class Growth(NamedTuple):
    """What was measured of sizes."""

    wheels: Sequence[Point] = ()
    files: Sequence[Point] = ()
    workers: Optional[Dict[int, Run]] = None


class Goal(NamedTuple):
    """One line of the table of goals, or of a ratio that explains one."""

    what: str
    goal: str  # "": none
    found: Optional[float]  # None: not measured
    most: float
    unit: str = "x"

    @property
    def row(self) -> str:
        """Return the line."""
        if self.found is None:
            return f"| {self.what} | {self.goal} | not measured | |"
        shown = f"{self.found:.3g} {self.unit}".strip()
        if not self.goal:
            return f"| {self.what} | | {shown} | |"
        return f"| {self.what} | {self.goal} | {shown} | {'met' if self.found <= self.most else '**not met**'} |"


def ratio(results: Results, one: str, other: str, field: str = "wall") -> Optional[float]:
    """Return the median of the ratios in each round: two neighbours in time, so that noise cancels out."""
    pairs = list(zip(results.get(one, []), results.get(other, [])))
    return statistics.median(getattr(mine, field) / getattr(theirs, field) for mine, theirs in pairs) if pairs else None


def goals(workloads: Sequence[Workload], growth: Growth) -> List[Goal]:
    """Return every goal with what was found."""
    found: List[Goal] = []
    for load in workloads:
        found += [goal for group, of_group in _GOALS.items() if group in load.groups for goal in of_group(load)]
    return [*found, *_growth(growth)]


def _deploy(load: Workload) -> List[Goal]:
    results, name = load.results, load.name
    return [
        _ratio(f"{name}: deployment with bytecode / unzip", results, OURS, "unzip", 0.65),
        _ratio(f"{name}: deployment with bytecode / uv with bytecode", results, OURS, REFERENCE, 0.23),
        _explained(f"{name}: floor of these / unzip", results, FLOOR_OF_DEPLOYMENT, "unzip"),
        _ratio(f"{name}: the same, waiting for the disk / unzip", results, f"{OURS}, on disk", "unzip", 0.80),
        _explained(f"{name}: floor of this / unzip", results, f"{FLOOR_OF_DEPLOYMENT}, on disk", "unzip"),
        _ratio(f"{name}: without bytecode / unzip", results, f"{OURS}, no bytecode", "unzip", 0.50),
        _explained(f"{name}: floor of this / unzip", results, f"{FLOOR_OF_DEPLOYMENT}, no bytecode", "unzip"),
    ]


def _second(load: Workload) -> List[Goal]:
    results, name = load.results, load.name
    return [
        _ratio(f"{name}: second release / first", results, "second release, store", "first release, store", 0.35),
        _ratio(
            f"{name}: second release / uv with its cache",
            results,
            "second release, store",
            "second release, uv",
            0.85,
        ),
        _added(load),
        _share(load),
    ]


def _build(load: Workload) -> List[Goal]:
    results, name, found = load.results, load.name, []
    for row, most in (("build, warm", 0.9), ("build, few files changed", 0.5), ("build, nothing changed", 0.2)):
        found.append(_ratio(f"{name}: {row} / zip -6, CPU", results, row, "zip -6", most, "cpu"))
        found.append(_ratio(f"{name}: {row} / zip -6, wall", results, row, "zip -6", most))
    for field in ("CPU", "wall"):
        what = f"{name}: floor of a build that writes / zip -6, {field}"
        found.append(_explained(what, results, FLOOR_OF_BUILD, "zip -6", field.lower()))
    return found


def _prove(load: Workload) -> List[Goal]:
    results, name = load.results, load.name
    return [
        _ratio(f"{name}: verify / sha256sum", results, "verify", "sha256sum", 1.5),
        _explained(f"{name}: floor of verify / sha256sum", results, FLOOR_OF_VERIFY, "sha256sum"),
        _value(f"{name}: info", results, "info", "wall", 0.08, 1, "s"),
        _loadenv(load),
    ]


def _look(load: Workload) -> List[Goal]:
    found = []
    for of in ("", ", large"):
        for verb, read in (("inspect", "one"), ("diff", "both")):
            what = f"{load.name}: {verb}{of} / sha256sum of {read}"
            found.append(_ratio(what, load.results, f"{verb}{of}", f"sha256sum of {read}{of}", 1.5))
    return found


_GOALS: Dict[str, Callable[[Workload], List[Goal]]] = {
    "deploy": _deploy, "second": _second, "build": _build, "prove": _prove, "look": _look,
}  # fmt: skip


def _ratio(what: str, results: Results, one: str, other: str, most: float, field: str = "wall") -> Goal:
    return Goal(what, f"≤ {most:.2f}", ratio(results, one, other, field), most)


def _explained(what: str, results: Results, one: str, other: str, field: str = "wall") -> Goal:
    """Return the ratio of two rows that is no goal: what another ratio cannot be below."""
    return Goal(what, "", ratio(results, one, other, field), 0)


def _value(what: str, results: Results, row: str, field: str, most: float, factor: float, unit: str) -> Goal:
    runs = results.get(row)
    middle = statistics.median(getattr(run, field) for run in runs) * factor if runs else None
    return Goal(what, f"≤ {most:g} {unit}", middle, most, unit)


def _added(load: Workload) -> Goal:
    what = f"{load.name}: disk added by the second release / what changed, with the metadata of a release"
    runs = load.results.get("second release, store")
    return Goal(what, "≤ 1.10", statistics.median(run.disk / run.needed for run in runs) if runs else None, 1.1)


def _share(load: Workload) -> Goal:
    what, delta = f"{load.name}: delta of a small wheel and 20 files / artifact", load.material.delta
    share = 100 * delta.stat().st_size / load.material.second.stat().st_size if delta else None
    return Goal(what, "≤ 3 %", share, 3, "%")


def _loadenv(load: Workload) -> Goal:
    what = f"{load.name}: loadenv with 100 keys over a bare start, CPU"
    pairs = list(zip(load.results.get("start with environment.json", []), load.results.get("bare start", [])))
    more = statistics.median(1000 * (one.cpu - other.cpu) for one, other in pairs) if pairs else None
    return Goal(what, "≤ 3 ms", more, 3, "ms")


def _growth(growth: Growth) -> List[Goal]:
    found = []
    smallest = growth.wheels[0].deploy.cpu if growth.wheels and growth.wheels[0].size == 1 else None
    found.append(Goal("deployment of one wheel, CPU", "≤ 0.25 s", smallest, 0.25, "s"))
    for name, points in (("wheels", growth.wheels), ("files", growth.files)):
        for field in ("build", "deploy"):
            value = linear(points, field) if len(points) > 1 else None
            what = f"growth of {field} with the number of {name}, exponent"
            found.append(Goal(what, "≤ 1.05", value, 1.05, ""))
    for field, what in (("deploy", "deployment"), ("build", "build")):
        peaks = [getattr(point, field).peak for point in (*growth.wheels, *growth.files)]
        found.append(Goal(f"memory of a process, largest {what}", "≤ 64 MiB", max(peaks, default=None), 64, "MiB"))
    return found


def document(workloads: Sequence[Workload], growth: Growth, facts: Sequence[str], images: Sequence[str]) -> str:
    """Return the measurement as Markdown.

    Parameters:
        facts: about machine and rounds.
        images: file names of plots, in ``docs/images``.
    """
    lines = [*[f"- {fact}" for fact in facts], "", "### Goals", "", "| what | goal | found | |", "|---|---|---|---|"]
    lines += [goal.row for goal in goals(workloads, growth)]
    for load in workloads:
        lines += ["", f"### {load.name}", "", *[f"- {fact}" for fact in load.material.facts()]]
        for group, (title, reference) in _GROUPS.items():
            flows = [flow for flow in FLOWS if flow.group == group and load.results.get(flow.name)]
            if flows:
                lines += ["", f"#### {load.name}: {title}", "", *_table(flows, load.results, reference)]
    lines += _growth_tables(growth)
    for image in images:
        lines += ["", f"![{image.partition('.')[0].replace('-', ' ')}](images/{image})"]
    return "\n".join(lines) + "\n"


def _table(flows: Sequence[Flow], results: Results, reference: str) -> List[str]:
    last = f" x `{reference}` |" if reference else ""
    lines = [
        f"| flow | seconds | CPU user + system | memory MB | MB on disk |{last} what it does |",
        "|---|---|---|---|---|" + ("---|" if reference else "") + "---|",
    ]
    for flow in flows:
        runs = results[flow.name]
        walls = sorted(run.wall for run in runs)
        middle = [_middle(runs, field) for field in ("user", "system", "peak", "disk")]
        share = ratio(results, flow.name, reference)
        shown = (f" {share:.2f} |" if share is not None else " |") if reference else ""
        lines.append(
            f"| {flow.name} | {statistics.median(walls):.3f} ({walls[0]:.3f}..{walls[-1]:.3f}) "
            f"| {middle[0]:.3f} + {middle[1]:.3f} | {middle[2]:.0f} | {middle[3] / 1e6:.0f} |{shown} {flow.title} |"
        )
    return lines


def _middle(runs: Sequence[Run], field: str) -> float:
    return float(statistics.median(getattr(run, field) for run in runs))


def _growth_tables(growth: Growth) -> List[str]:
    lines: List[str] = []
    for name, points in (("wheels", growth.wheels), ("files", growth.files)):
        if points:
            lines += ["", f"### Growth with the number of {name}", ""]
            lines += [f"| {name} | build s CPU | build MB | deploy s CPU | deploy MB |", "|---|---|---|---|---|"]
            lines += [
                f"| {one.size} | {one.build.cpu:.2f} | {one.build.peak:.0f} | {one.deploy.cpu:.2f} "
                f"| {one.deploy.peak:.0f} |"
                for one in points
            ]
    if growth.workers:
        lines += ["", "### Deployment by number of processes", "", "| processes | seconds | CPU s |", "|---|---|---|"]
        lines += [f"| {count} | {run.wall:.2f} | {run.cpu:.2f} |" for count, run in growth.workers.items()]
    return lines


def write(text: str, page: Path) -> None:
    """Put *text* between the markers of the page.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
