"""Print the unit tests of a module of the package, the nearest first.

    python -m tools.tests_of MODULE...

MODULE is a path (``cfgov/deployable_zipfile/builder/markers.py``) or its end (``builder/markers``, ``markers``). The
tests of a module are those of its own name, in the same folder below ``tests/unit``, and those that import it. A module
that has neither is a part of others: the answer is then the tests of the modules that import it.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
from pathlib import Path
from typing import Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

from tools import diagrams

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cfgov" / "deployable_zipfile"
TESTS = ROOT / "tests" / "unit"

Parts = Tuple[str, ...]  # of the path of a module below the package, without its suffix


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print the paths and return the exit code: 2 for a module that is not there."""
    parser = argparse.ArgumentParser(prog="tools.tests_of", description="Print the unit tests of a module.")
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="path of the module, or the end of it")
    known = modules()
    found: Dict[Path, None] = {}  # in order
    for text in parser.parse_args(argv).modules:
        wanted = Path(text).with_suffix("").parts
        named = [module for module in known if module[-len(wanted) :] == wanted or wanted[-len(module) :] == module]
        if not named:
            print(f"error: {text}: is not a module of the package. Give its path.", file=sys.stderr)
            return 2
        for module in named:
            found.update(dict.fromkeys(tests_of(module, known)))
    print("\n".join(str(path.relative_to(ROOT)) for path in found))
    return 0


def modules() -> Dict[Parts, Set[Parts]]:
    """Return the modules of the package, each with those that it imports."""
    paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    paths = {module: path for module, path in sorted(paths.items()) if module[-1] != "__init__"}
    return {module: set(_imported(path, module[:-1]) & set(paths)) for module, path in paths.items()}


def tests_of(module: Parts, known: Dict[Parts, Set[Parts]]) -> List[Path]:
    """Return the test files of *module*, or of the modules nearest to it that have some and import it."""
    near, seen = [module], {module}
    while near:
        found = [path for one in near for path in _own(one)]
        if found:
            return list(dict.fromkeys(found))
        near = sorted(other for other, imported in known.items() if imported & set(near) and other not in seen)
        seen.update(near)
    return []


def _own(module: Parts) -> List[Path]:
    """Return the tests that are named like *module*, and those that import it."""
    same = TESTS.joinpath(*module[:-1], f"test_{module[-1]}.py")
    others = [path for path in sorted(TESTS.rglob("test_*.py")) if path != same and module in _imported(path, ())]
    return [path for path in (same,) if path.is_file()] + others


@functools.lru_cache(maxsize=None)
def _imported(path: Path, folder: Parts) -> FrozenSet[Parts]:
    return frozenset(diagrams.imported(ast.parse(path.read_text(encoding="utf-8")), folder))


if __name__ == "__main__":
    sys.exit(main())
