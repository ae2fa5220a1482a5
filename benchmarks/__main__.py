"""Deploy one site with this tool and with others, in turns, each time onto a new file system, and print ratios.

    python -m benchmarks [--artifact FILE] [--rounds N] [--at-most RATIO] [--json FILE]

What is compared is the whole way from a file that has just been copied to a server to an environment that starts:
unpacking included, bytecode usable at the end where the row says so. docs/benchmarks.md explains the rows, and why
every run gets a file system that was made for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from benchmarks.flows import FLOWS, OURS, REFERENCE, Flow, Material, prepare
from benchmarks.measure import Run, host, measured
from benchmarks.volume import Volume

ROOT = Path(__file__).resolve().parent.parent
Results = Dict[str, List[Run]]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the measurement; return 1 when the ratio that ``--at-most`` names is exceeded."""
    arguments = _parser().parse_args(argv)
    missing = [command for command in ("unzip", "tar") if shutil.which(command) is None]
    if missing:
        print(f"error: {', '.join(missing)}: is needed to compare with. Install it.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=arguments.scratch) as scratch:
        material = prepare(_artifact(arguments.artifact, Path(scratch)), Path(scratch))
        flows = [flow for flow in FLOWS if not arguments.only or flow.name in (*arguments.only, OURS, REFERENCE)]
        with Volume(Path(scratch), arguments.gigabytes) as volume:
            results = run_rounds(flows, material, volume, arguments.rounds)
        text = report(flows, results, material, volume)
    print(text)
    if arguments.json:
        document = {name: [run._asdict() for run in runs] for name, runs in results.items()}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    ratio = ratios(results, OURS, REFERENCE)
    if arguments.at_most is not None and statistics.median(ratio) > arguments.at_most:
        print(f"error: {OURS}: takes more than {arguments.at_most} of the time of {REFERENCE}.", file=sys.stderr)
        return 1
    return 0


def run_rounds(flows: Sequence[Flow], material: Material, volume: Volume, rounds: int) -> Results:
    """Run every flow once a round, in turns, so that a slow minute of the machine meets all of them."""
    results: Results = {flow.name: [] for flow in flows}
    for number in range(rounds):
        for flow in flows:
            with volume.fresh() as folder:
                command = flow.command(material, folder)
                run = measured(command, folder)
                flow.check(folder)
                results[flow.name].append(run)
            print(f"round {number + 1}/{rounds} {flow.name}: {run.wall:.2f} s", file=sys.stderr, flush=True)
    return results


def ratios(results: Results, one: str, other: str) -> List[float]:
    """Return the ratio of *one* to *other* in each round: two neighbours in time, so that noise cancels out."""
    return [mine.wall / theirs.wall for mine, theirs in zip(results[one], results[other])]


def report(flows: Sequence[Flow], results: Results, material: Material, volume: Volume) -> str:
    """Return the measurement as Markdown."""
    lines = [
        *[f"- {fact}" for fact in [*host(), *material.facts(), volume.fact]],
        f"- {len(results[OURS])} rounds in turns; medians, and in brackets the fastest and slowest; ratios are medians",
        "  of the ratios in one round; the memory is that of the largest process",
        "",
        f"| flow | seconds | CPU user + system | memory MB | files | x `{REFERENCE}` | what it does |",
        "|---|---|---|---|---|---|---|",
    ]
    for flow in flows:
        runs = results[flow.name]
        walls = sorted(run.wall for run in runs)
        middle = [statistics.median(values) for values in zip(*[(run.user, run.system, run.peak) for run in runs])]
        ratio = statistics.median(ratios(results, flow.name, REFERENCE))
        lines.append(
            f"| {flow.name} | {statistics.median(walls):.2f} ({walls[0]:.2f}..{walls[-1]:.2f}) "
            f"| {middle[0]:.2f} + {middle[1]:.2f} | {middle[2]:.0f} | {runs[0].files} | {ratio:.2f} | {flow.title} |"
        )
    return "\n".join(lines)


def _artifact(path: Optional[Path], scratch: Path) -> Path:
    """Return the artifact to deploy: the given one, or this repository's site, built for the running Python."""
    if path is not None:
        return path.resolve()
    print("building the artifact of this repository's site", file=sys.stderr, flush=True)
    create = ROOT / "cfgov" / "deployable_zipfile" / "create.py"
    command = [sys.executable, str(create), "cfgov", "requirements/deployment.txt", str(scratch / "site"), "--quiet"]
    subprocess.run(command, cwd=str(ROOT), check=True, stdout=subprocess.DEVNULL)
    return scratch / "site.zip"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--artifact", type=Path, metavar="FILE", help="artifact to deploy (default: build the site's)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each flow (default: 3)")
    parser.add_argument("--only", action="append", metavar="FLOW", help="a flow beside the two compared; repeatable")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help=f"fail when {OURS} takes more of {REFERENCE}")
    parser.add_argument("--gigabytes", type=int, default=4, metavar="N", help="size of the file system (default: 4)")
    parser.add_argument("--scratch", default=os.environ.get("TMPDIR"), metavar="DIR", help="where to work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single run there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
