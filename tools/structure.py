"""Print how the code is built, for one or several commits side by side: sizes, and how often each mechanism is written.

    python -m tools.structure [COMMIT]...

Without a commit: the working tree. The answer is a Markdown table.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "cfgov/deployable_zipfile/"
MODULE, FUNCTION, CLASS = 350, 40, 20  # lines, lines and methods from which on one counts as large

# Where a mechanism is written out, by the calls that it takes. What only uses it calls another function.
MECHANISMS: Mapping[str, Tuple[str, ...]] = {
    "start of a program": (
        "subprocess.Popen",
        "subprocess.run",
        "subprocess.check_output",
        "os.spawnv",
        "os.posix_spawn",
    ),
    "end of a process": ("os.kill", "os.killpg"),
    "lock of a file": ("fcntl.flock", "fcntl.lockf"),
    "fsync": ("os.fsync",),
    "replacement by rename": ("os.replace", "os.rename"),
}
# ... by the functions that are named so,
NAMED: Mapping[str, str] = {"argument in seconds": r"_?seconds"}
# ... and by a text of the module.
WRITTEN: Mapping[str, str] = {"normal form of a name (PEP 503)": "[-_.]+"}

Files = Mapping[str, str]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="tools.structure", description="Print sizes and mechanisms as a table.")
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="what to look at (default: the working tree)")
    commits = parser.parse_args(argv).commits
    columns = {commit: measured(committed(commit)) for commit in commits} or {"working tree": measured(present())}
    print(table(columns))
    return 0


def present() -> Files:
    """Return the Python files of the working tree by name."""
    names = _git("ls-files", "-z", "*.py").decode("utf-8").split("\0")
    return {name: (ROOT / name).read_text("utf-8") for name in names if name and (ROOT / name).exists()}


def committed(commit: str) -> Files:
    """Return the Python files of *commit* by name."""
    files: Dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() and member.name.endswith(".py") else None
            if file is not None:
                files[member.name] = file.read().decode("utf-8")
    return files


def measured(files: Files) -> Dict[str, str]:
    """Return what there is to tell of *files*, by the name of its row."""
    own = {name: text for name, text in files.items() if name.startswith(PACKAGE)}
    trees = {name[len(PACKAGE) :]: ast.parse(text) for name, text in own.items()}
    rows: Dict[str, str] = {"modules of the package": str(len(own))}
    long = {name[len(PACKAGE) :]: _lines(text) for name, text in own.items() if _lines(text) > MODULE}
    rows[f"modules over {MODULE} lines"] = _told(long)
    functions = {f"{name}:{path}": size for name, tree in trees.items() for path, size in _functions(tree)}
    rows[f"functions over {FUNCTION} lines"] = _told({key: size for key, size in functions.items() if size > FUNCTION})
    classes = {f"{name}:{path}": size for name, tree in trees.items() for path, size in _classes(tree)}
    rows[f"classes over {CLASS} methods"] = _told({key: size for key, size in classes.items() if size > CLASS})
    for what, calls in MECHANISMS.items():
        rows[f"modules with a {what}"] = _told(_counted(trees, calls))
    for what, pattern in NAMED.items():
        rows[f"modules with a function for the {what}"] = _told(_named(trees, re.compile(pattern)))
    for what, text in WRITTEN.items():
        rows[f"modules with the {what}"] = _told(_written(trees, text))
    for title, folder in (("source", PACKAGE), ("tests", "tests/"), ("tools", "tools/")):
        rows[f"lines of {title}"] = str(sum(_lines(text) for name, text in files.items() if name.startswith(folder)))
    return rows


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return the Markdown table of *columns*."""
    names = list(columns)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in next(iter(columns.values())):
        lines.append(f"| {row} | " + " | ".join(columns[name][row] for name in names) + " |")
    return "\n".join(lines)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=str(ROOT), check=True, stdout=subprocess.PIPE).stdout


def _lines(text: str) -> int:
    return len(text.splitlines())


def _told(found: Mapping[str, int]) -> str:
    """Return how many there are, and which, the largest first."""
    names = sorted(found, key=lambda name: (-found[name], name))
    return str(len(found)) + (": " + ", ".join(f"{name} {found[name]}" for name in names[:8]) if names else "")


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[Tuple[str, int]]:
    """Yield name and lines of each function, without its docstring."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, _length(node)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield from _functions(node, f"{prefix}{node.name}.")


def _length(node: "ast.FunctionDef | ast.AsyncFunctionDef") -> int:
    documented = ast.get_docstring(node) is not None
    docstring = (node.body[0].end_lineno or 0) - node.body[0].lineno + 1 if documented else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def _classes(tree: ast.AST) -> Iterator[Tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, sum(isinstance(one, ast.FunctionDef) for one in node.body)


def _counted(trees: Mapping[str, ast.Module], calls: Sequence[str]) -> Dict[str, int]:
    counts = {name: sum(_call(node) in calls for node in ast.walk(tree)) for name, tree in trees.items()}
    return {name: count for name, count in counts.items() if count}


def _named(trees: Mapping[str, ast.Module], pattern: "re.Pattern[str]") -> Dict[str, int]:
    found = {name: [path.rpartition(".")[2] for path, _ in _functions(tree)] for name, tree in trees.items()}
    counts = {name: sum(bool(pattern.fullmatch(one)) for one in functions) for name, functions in found.items()}
    return {name: count for name, count in counts.items() if count}


def _written(trees: Mapping[str, ast.Module], text: str) -> Dict[str, int]:
    constants = {
        name: [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        for name, tree in trees.items()
    }
    counts = {name: sum(text in one for one in texts) for name, texts in constants.items()}
    return {name: count for name, count in counts.items() if count}


def _call(node: ast.AST) -> str:
    """Return the dotted name that *node* calls, "" when it is not a call."""
    if not isinstance(node, ast.Call):
        return ""
    parts: List[str] = []
    function: ast.AST = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    return ".".join([function.id, *reversed(parts)]) if isinstance(function, ast.Name) else ""


if __name__ == "__main__":
    sys.exit(main())
