"""Two releases of a site with 120 packages and 30 000 files of its own, for what only looks at an artifact."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path
from typing import List, Tuple

from benchmarks.material import create, line, say, wheel

PACKAGES, FILES = 120, 30_000
_MODULES = 60  # of one package
_CHANGED = 20  # files of the second release, and one package
_KINDS = ("py", "html", "js", "css", "svg")
_LARGEST = 34_000  # bytes of one text; their mean is then about 8 KB, as in a site-packages


def releases(scratch: Path) -> Tuple[Path, Path]:
    """Build the two artifacts in *scratch* and return their paths.

    The texts are modules of the running Python's standard library, so that they compress and parse as sources do.
    """
    say(f"building two releases of {PACKAGES} packages and {FILES} files")
    folder = scratch / "large"
    folder.mkdir()
    texts, chosen = _texts(), random.Random(1)
    house, project = folder / "house", folder / "site_large"
    wheels = [_package(house, number, "1", texts, chosen) for number in range(PACKAGES)]
    for number in range(FILES):
        kind = _KINDS[number % len(_KINDS)]
        path = project / f"part_{number // 1000}" / f"group_{number // 50 % 20}" / f"file_{number}.{kind}"
        if number % 50 == 0:
            path.parent.mkdir(parents=True)
        path.write_text(f"{chosen.choice(texts)}\n# {number}\n", encoding="utf-8")
    (project / "wsgi.py").write_text("application = None\n", encoding="utf-8")
    first = folder / "first.zip"
    _built(folder, project, house, wheels).rename(first)
    for path in sorted(project.rglob("*.py"))[:_CHANGED]:
        path.write_text(f"{path.read_text(encoding='utf-8')}# second\n", encoding="utf-8")
    wheels[0] = _package(house, 0, "2", texts, chosen)
    return first, _built(folder, project, house, wheels)


def _texts() -> List[str]:
    library = Path(sysconfig.get_path("stdlib"))
    found = [path for path in sorted(library.glob("*.py")) + sorted(library.glob("*/*.py")) if path.is_file()]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in found if path.stat().st_size < _LARGEST]
    return [text for text in texts if text.isascii()]


def _package(house: Path, number: int, version: str, texts: List[str], chosen: "random.Random") -> Path:
    files = {f"large_{number}/module_{n}.py": chosen.choice(texts) for n in range(_MODULES)}
    return wheel(house, f"large-{number}", version, files)


def _built(folder: Path, project: Path, house: Path, wheels: List[Path]) -> Path:
    lock, output = folder / "lock.txt", folder / "second.zip"
    lock.write_text(f"--find-links {house}\n" + "".join(map(line, wheels)), encoding="utf-8")
    create(folder, lock, output, folder / "cache", "--all-files", "--no-bytecode", project=project)
    return output
