"""Plots of a measurement, as SVG, by matplotlib."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, List, Sequence

import matplotlib  # type: ignore[import-not-found]  # of the session's own lock

from benchmarks.flows import FLOWS
from benchmarks.growth import Point
from benchmarks.report import Growth, Results, Workload

matplotlib.use("svg")
# The same measurement gives the same file, and text stays text.
matplotlib.rcParams.update({"svg.hashsalt": "benchmark", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402 - after the backend is chosen

_OURS, _OTHER = "#2a6f97", "#b0b0b0"
_TITLES = {"deploy": "deployment", "second": "second release", "build": "build"}


def draw(workloads: Sequence[Workload], growth: Growth, folder: Path) -> List[str]:
    """Write the plots into *folder* and return their file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("benchmark-*.svg"):
        old.unlink()  # of workloads that are no longer measured
    written = []
    for load in workloads:
        for group, title in _TITLES.items():
            rows = [flow.name for flow in FLOWS if flow.group == group and load.results.get(flow.name)]
            if rows:
                written.append(_bars(f"{title}, {load.name}", rows, load.results, folder))
    for name, points in (("wheels", growth.wheels), ("files", growth.files)):
        if len(points) > 1:
            written.append(_lines(name, points, folder))
    return written


def _bars(title: str, rows: Sequence[str], results: Results, folder: Path) -> str:
    figure, axes = pyplot.subplots(figsize=(7, 0.4 * len(rows) + 1))
    values = [statistics.median(run.wall for run in results[row]) for row in rows]
    theirs = ("uv", "pip", "pex", "shiv", "unzip", "tar", "zip", "second release, uv")
    colours = [_OTHER if row.startswith(theirs) else _OURS for row in rows]
    bars = axes.barh(range(len(rows)), values, color=colours)
    axes.bar_label(bars, labels=[f"{value:.2f} s" for value in values], padding=3)
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.set_xlabel("seconds, median")
    axes.margins(x=0.15)
    return _saved(figure, title, folder)


def _lines(name: str, points: Sequence[Point], folder: Path) -> str:
    title = f"growth with the number of {name}"
    figure, axes = pyplot.subplots(figsize=(7, 4))
    counts = [point.size for point in points]
    axes.loglog(counts, [point.build.cpu for point in points], "o-", label="build", color=_OTHER)
    axes.loglog(counts, [point.deploy.cpu for point in points], "o-", label="deployment", color=_OURS)
    axes.set_xlabel(name)
    axes.set_ylabel("seconds of CPU")
    axes.set_title(title)
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return _saved(figure, title, folder)


def _saved(figure: Any, title: str, folder: Path) -> str:
    name = f"benchmark-{title.replace(', ', '-').replace(' ', '-')}.svg"
    figure.tight_layout()
    figure.savefig(str(folder / name), metadata={"Date": None})
    pyplot.close(figure)
    return name
