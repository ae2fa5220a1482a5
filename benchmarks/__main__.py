"""Measure builds and deployments of one site with this tool and with others, in turns, and print ratios.

    python -m benchmarks [--quick] [--rounds N] [--only NAME]... [--lock FILE]... [--write] [--json FILE]

Whole commands are measured from outside, as a person would type them, each run on a file system that was made for it;
docs/benchmarks.md explains the rows. --only takes a row or a group: deploy, second, build, prove, look, growth.
Deployments are measured with every workload, the other rows with the first one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from benchmarks import disk, growth, large, report
from benchmarks.flows import FLOWS, OURS, REFERENCE, Flow
from benchmarks.material import ROOT, Material, prepare, say
from benchmarks.measure import Run, host, measured, prepared
from benchmarks.volume import Volume

Call = Tuple[Any, ...]  # a function and its arguments
GROUPS = ("deploy", "second", "build", "prove", "look", "growth")
_WORKLOADS = ("cfgov", "many", "native")  # in benchmarks/workloads
_NEEDED = ("git", "sha256sum", "tar", "unzip", "zip")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the measurement; return 1 when the ratio that ``--at-most`` names is exceeded."""
    arguments = _parser().parse_args(argv)
    missing = [command for command in _NEEDED if shutil.which(command) is None]
    if missing:
        print(f"error: {', '.join(missing)}: needed to compare with. Install it.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.scratch) as scratch:
        failed: List[str] = []
        workloads, grown, facts = _run(arguments, Path(scratch), failed)
        text = _published(workloads, grown, facts, arguments.write)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(_document(workloads, grown, facts), indent=1) + "\n")
    found = report.ratio(workloads[0].results, OURS, REFERENCE)
    if arguments.at_most is not None and found is not None and found > arguments.at_most:
        print(f"error: {OURS}: takes more than {arguments.at_most} of the time of {REFERENCE}.", file=sys.stderr)
        return 1
    for name in failed:
        print(f"error: {name}: failed, so it is not in the report. See its output above.", file=sys.stderr)
    return 1 if failed else 0


def _run(
    arguments: argparse.Namespace, scratch: Path, failed: List[str]
) -> "tuple[List[report.Workload], report.Growth, List[str]]":
    workloads: List[report.Workload] = []
    facts = host()
    with Volume(scratch, arguments.gigabytes) as volume:
        wanted = {
            lock: [flow for flow in FLOWS if _is_wanted(flow, arguments, first=not number)]
            for number, lock in enumerate(_locks(arguments))
        }
        for (lock, flows), material in zip(wanted.items(), _materials(wanted, scratch)):
            say(f"measuring {lock.stem}")
            results = _rounds(flows, material, volume, arguments.rounds, failed)
            workloads.append(report.Workload(lock.stem, material, results, tuple({flow.group for flow in flows})))
        grown = report.Growth()
        if not arguments.only or "growth" in arguments.only:
            grown = _grown(arguments, scratch, workloads[0].material, volume, failed)
        rounds = "1 round" if arguments.rounds == 1 else f"{arguments.rounds} rounds"
        facts += [volume.fact, f"{rounds} in turns; medians, and in brackets the extremes"]
        facts += ["ratios are medians of the ratios in one round; memory is that of the largest process"]
        return workloads, grown, facts


def _materials(wanted: Dict[Path, List[Flow]], scratch: Path) -> List[Material]:
    """Prepare everything before anything is measured, several workloads at once; return what each has, in their order.

    Parameters:
        wanted: what is measured, by requirements.
    """
    calls: List[Call] = []
    names = {flow.name for flows in wanted.values() for flow in flows}
    for lock in wanted:
        folder = scratch / lock.stem
        folder.mkdir()
        calls.append((prepare, lock.resolve(), folder, bool(names & {"pex", "shiv"}) and not calls, not calls))
    if any(name.endswith(", large") for name in names):
        calls.append((large.releases, scratch))
    made = _apart(calls)
    materials = made[: len(wanted)]
    return [materials[0]._replace(large=tuple(*made[len(wanted) :])), *materials[1:]]


def _apart(calls: Sequence[Call]) -> List[Any]:
    """Return what functions return that run in other processes: none that is measured has less memory than this."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("fork")) as pool:
        return [future.result() for future in [pool.submit(*call) for call in calls]]


def _locks(arguments: argparse.Namespace) -> List[Path]:
    """Return what is packed with the site: the workloads that are given, else the benchmark's own, else the site's."""
    if arguments.lock:
        return list(arguments.lock)
    if arguments.quick or arguments.only:
        return [ROOT / "requirements" / "deployment.txt"]
    return [ROOT / "benchmarks" / "workloads" / f"{name}.txt" for name in _WORKLOADS]


def _is_wanted(flow: Flow, arguments: argparse.Namespace, first: bool) -> bool:
    if not first and (flow.once or flow.group != "deploy"):
        return False
    if arguments.only:
        return flow.name in arguments.only or flow.group in arguments.only
    return not (arguments.quick and flow.once)


def _rounds(
    flows: Sequence[Flow], material: Material, volume: Volume, rounds: int, failed: List[str]
) -> report.Results:
    """Run every flow once a round, in turns, so that a slow minute of the machine meets all of them."""
    results: report.Results = {}
    for flow in flows:
        reason = flow.skip(material)
        if reason:
            say(f"skipped: {flow.name}: {reason}")
        else:
            results[flow.name] = []
    for number in range(rounds):
        for flow in flows:
            if flow.name not in results or ((flow.once or flow.first_round) and number):
                continue
            try:
                run = _once(flow, material, volume)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                del results[flow.name]  # the other rows are worth their time all the same
                failed.append(flow.name)
                say(f"failed: {flow.name}: {error}")
                continue
            results[flow.name].append(run)
            say(f"round {number + 1}/{rounds} {flow.name}: {run.wall:.3f} s, {run.cpu:.3f} s of CPU")
    return results


def _once(flow: Flow, material: Material, volume: Volume) -> Run:
    with volume.fresh() as folder:
        home = f"export HOME={shlex.quote(str(folder))}\n"
        before = flow.before(material)
        prepared(home + before if before else "", folder)
        run = measured(home + flow.script(material), folder).divided(flow.times)
        flow.check(folder)
        return run._replace(needed=disk.needed(folder / flow.first, folder / "site")) if flow.first else run


def _grown(
    arguments: argparse.Namespace, scratch: Path, material: Material, volume: Volume, failed: List[str]
) -> report.Growth:
    """Measure how it grows; the rows before are worth their time even when that fails."""
    try:
        with Volume(scratch / "growing", arguments.gigabytes) as projects:
            return _growth(arguments.quick, scratch, material, volume, projects)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        failed.append("growth")
        say(f"failed: growth: {error}")
        return report.Growth()


def _growth(quick: bool, scratch: Path, material: Material, volume: Volume, projects: Volume) -> report.Growth:
    wheels = (1, 30, 300) if quick else (1, 10, 100, 300)
    files = (100, 1000, 10_000) if quick else (100, 1000, 10_000, 40_000, 100_000)
    return report.Growth(
        growth.wheels(wheels, scratch, volume),
        growth.files(files, scratch, volume, projects),
        growth.workers(material.artifact, (1, 2), volume),
    )


def _published(workloads: Sequence[report.Workload], grown: report.Growth, facts: Sequence[str], write: bool) -> str:
    """Return the report; with *write* also put it, and the plots, into the documentation."""
    images: List[str] = []
    if write:
        from benchmarks import plots  # matplotlib takes a second to load

        images = plots.draw(workloads, grown, ROOT / "docs" / "images")
    text = report.document(workloads, grown, facts, images)
    if write:
        report.write(text, ROOT / "docs" / "benchmarks.md")
    return text


def _document(workloads: Sequence[report.Workload], grown: report.Growth, facts: Sequence[str]) -> Dict[str, Any]:
    """Return every single run as JSON objects."""
    return {
        "facts": list(facts),
        "workloads": {
            load.name: {row: [run._asdict() for run in runs] for row, runs in load.results.items()}
            for load in workloads
        },
        "growth": {
            name: [{"count": one.size, "build": one.build._asdict(), "deploy": one.deploy._asdict()} for one in points]
            for name, points in (("wheels", grown.wheels), ("files", grown.files))
        },
        "workers": {str(count): run._asdict() for count, run in (grown.workers or {}).items()},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--quick", action="store_true", help="only what the goals need, the site's own packages and smaller sizes"
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each flow (default: 3)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=f"a row, or a group: {', '.join(GROUPS)}; repeatable"
    )
    parser.add_argument(
        "--lock",
        action="append",
        type=Path,
        metavar="FILE",
        help="hashed requirements to pack with the site; repeatable (default: those in benchmarks/workloads)",
    )
    parser.add_argument("--write", action="store_true", help="write tables and plots into docs/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run there too")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help=f"fail when {OURS} takes more of {REFERENCE}")
    parser.add_argument("--gigabytes", type=int, default=8, metavar="N", help="size of the file system (default: 8)")
    parser.add_argument("--scratch", default=os.environ.get("TMPDIR"), metavar="DIR", help="where to work")
    return parser


if __name__ == "__main__":
    sys.exit(main())
