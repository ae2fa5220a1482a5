"""Run every workflow on every event that it has, in fresh clones, with GitHub in small around them.

    python -m tools.rehearse [SCENARIO]... [--mutations] [--fault TEXT]... [--list] [--keep FOLDER]

``act`` runs the workflows; actions, the API and the registry are stand-ins (tests/rehearsal). With ``--mutations`` each
fault that the pipeline once had is put back, one at a time, and its scenario must fail. Needs a container engine and
the programs gh, skopeo and docker-registry (Debian: apt-get install gh skopeo docker-registry).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

from tests.rehearsal import harness
from tests.rehearsal.mutations import MUTATIONS, Mutation
from tests.rehearsal.scenarios import SCENARIOS


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Rehearse and return 0; 1 when something is not as it must be, or a program is missing."""
    parser = argparse.ArgumentParser(prog="rehearse", description=__doc__.split("\n")[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--mutations", action="store_true", help="put each known fault back and expect a failure")
    parser.add_argument("--fault", action="append", default=[], metavar="TEXT", help="only faults whose name has TEXT")
    parser.add_argument("--list", action="store_true", help="list the scenarios and the known faults")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this new folder, and leave it")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.scenarios) - set(SCENARIOS))
    if unknown:
        parser.error(f"unknown scenario {unknown[0]!r}, known are {', '.join(SCENARIOS)}")
    if arguments.list:
        print("\n".join(listing()))
        return 0
    faults = [one for one in MUTATIONS if all(text in one.name for text in arguments.fault)]
    if not faults:
        parser.error("no known fault has that in its name; --list shows them")
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
        folder = arguments.keep or Path(scratch)
        names = arguments.scenarios or list(SCENARIOS)
        try:
            failures = (
                damaged(names, folder, faults) if arguments.mutations or arguments.fault else sound(names, folder)
            )
        except harness.Missing as missing:
            print(f"error: {missing}", file=sys.stderr)
            return 1
    print(f"rehearse: {len(failures)} failed: {', '.join(failures)}" if failures else "rehearse: all as it must be")
    return 1 if failures else 0


def sound(names: Sequence[str], folder: Path) -> List[str]:
    """Run the scenarios *names* and return those that failed."""
    failures = []
    for name in names:
        problem = outcome(name, folder / name, None)
        if problem is not None:
            print(f"FAILED {name}: {problem}", flush=True)
            failures.append(name)
    return failures


def listing() -> List[str]:
    """Return one line for each scenario and for each fault that is put back."""
    lines = [f"{name}: {scenario.__doc__.splitlines()[0]}" for name, scenario in SCENARIOS.items() if scenario.__doc__]
    faults = [f"{number}. {one.name} ({one.scenario})" for number, one in enumerate(MUTATIONS, 1)]
    return ["Scenarios:", *lines, "", f"{len(faults)} faults, and the scenario that must find each:", *faults]


def damaged(names: Sequence[str], folder: Path, faults: Sequence[Mutation] = MUTATIONS) -> List[str]:
    """Put back each of *faults* whose scenario is in *names* and return those that were not found.

    A scenario that fails without a fault proves nothing, so each runs without one first.
    """
    used = {mutation.scenario for mutation in faults}
    missed = sound([name for name in names if name in used], folder)
    if missed:
        return missed
    for number, mutation in enumerate(faults):
        if mutation.scenario in names:
            problem = outcome(mutation.scenario, folder / f"mutation-{number}", mutation.put_back)
            first = problem.splitlines()[0] if problem else "passed"
            print(f"{'found ' if problem else 'MISSED'} {mutation.name}: {first}", flush=True)
            if problem is None:
                missed.append(mutation.name)
    return missed


def outcome(name: str, folder: Path, change: Optional[Callable[[Path], None]]) -> Optional[str]:
    """Run the scenario *name* in *folder* and return what was wrong, None when nothing was."""
    begun = time.monotonic()
    scenario: Any = SCENARIOS[name]
    try:
        with harness.rehearsal(folder, change) as here:
            scenario(here)
    except harness.Failed as failure:
        return str(failure)
    print(f"passed {name} in {time.monotonic() - begun:.0f} s: {scenario.__doc__.splitlines()[0]}", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
