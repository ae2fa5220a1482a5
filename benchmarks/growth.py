"""How time and memory grow: with the number of wheels, of files, and of processes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

from benchmarks.material import CREATE, create, line, say, wheel
from benchmarks.measure import Run, measured
from benchmarks.volume import Volume

_FILES_OF_A_WHEEL = 20


class Point(NamedTuple):
    """One size that was measured."""

    size: int  # of it
    build: Run
    deploy: Run


def wheels(counts: Sequence[int], scratch: Path, volume: Volume) -> List[Point]:
    """Build and deploy artifacts with so many wheels of twenty files each."""
    house = scratch / "many"
    for number in range(max(counts)):
        files = {f"many_{number}/module_{n}.py": f"VALUE = {n}\n" * 40 for n in range(_FILES_OF_A_WHEEL)}
        wheel(house, f"many-{number}", "1", files)
    points = []
    for count in counts:
        lock = scratch / f"many-{count}.txt"
        found = [house / f"many_{number}-1-py3-none-any.whl" for number in range(count)]
        lock.write_text(f"--find-links {house}\n" + "".join(map(line, found)), encoding="utf-8")
        points.append(_point(_project(scratch / f"wheels-{count}", 20), lock, count, scratch, volume))
    return points


def files(counts: Sequence[int], scratch: Path, volume: Volume, projects: Volume) -> List[Point]:
    """Build and deploy artifacts of projects with so many files.

    Parameters:
        projects: holds them: a file system is removed at once, 100 000 files are not.
    """
    lock = scratch / "none.txt"
    lock.write_text("", encoding="utf-8")
    points = []
    for count in counts:
        with projects.fresh() as folder:
            project = _project(folder / f"files-{count}", count)
            points.append(_point(project, lock, count, scratch, volume))
    return points


def exponent(points: Sequence[Point], field: str) -> float:
    """Return the exponent of the growth of CPU time, by least squares over the logarithms.

    Parameters:
        field: ``build`` or ``deploy``.
    """
    pairs = [(math.log(one.size), math.log(getattr(one, field).cpu)) for one in points]
    middle = [sum(values) / len(pairs) for values in zip(*pairs)]
    over = sum((x - middle[0]) * (y - middle[1]) for x, y in pairs)
    return float(over / sum((x - middle[0]) ** 2 for x, _ in pairs))


def linear(points: Sequence[Point], field: str) -> float:
    """Return the exponent from a tenth of the largest size on, where what every run costs no longer counts."""
    return exponent([point for point in points if point.size * 10 >= points[-1].size], field)


def workers(artifact: Path, counts: Sequence[int], volume: Volume) -> Dict[int, Run]:
    """Deploy *artifact* with so many processes."""
    found = {}
    for count in counts:
        with volume.fresh() as folder:
            command = f"{sys.executable} -I {artifact} -d site --quiet --no-sync --workers {count}"
            found[count] = measured(command, folder)
    return found


def _project(folder: Path, count: int) -> Path:
    project = folder / "growing"
    for number in range(count):
        path = project / f"part_{number // 1000}" / f"group_{number // 50 % 20}"
        if number % 50 == 0:
            path.mkdir(parents=True, exist_ok=True)
        (path / f"file_{number}.txt").write_text(f"file {number}\n" * 40, encoding="utf-8")
    (project / "wsgi.py").write_text("application = None\n", encoding="utf-8")
    return project


def _point(project: Path, lock: Path, count: int, scratch: Path, volume: Volume) -> Point:
    say(f"{project.parent.name}: building and deploying")
    output = scratch / f"{project.parent.name}.zip"
    command = (
        f"{sys.executable} {CREATE} {project} {lock} {str(output)[:-4]} --quiet --no-check --all-files "
        f"--cache-dir {scratch / 'cache'}"
    )
    create(project.parent, lock, output, scratch / "cache", "--all-files", project=project)  # the wheels' bytecode
    output.unlink()
    with volume.fresh() as folder:
        build = measured(command, folder)
    with volume.fresh() as folder:
        deploy = measured(f"{sys.executable} -I {output} -d site --quiet --no-sync", folder)
    output.unlink()
    return Point(count, build, deploy)
