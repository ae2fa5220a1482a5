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
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

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

# The functions that tell a way of the data, by the module in which each release has had them.
WAYS: Mapping[str, Sequence[Tuple[str, str]]] = {
    "requirements to an artifact": [
        ("builder/build.py", "build"),
        ("create.py", "build"),
        ("create.py", "create_zipfile"),
    ],
    "an artifact to a destination": [("install/installation.py", "install"), ("unpack.py", "install")],
}
ARCHITECTURE = "docs/architecture.md"  # its table of what a wheel is on its way
_OF_A_WHEEL = re.compile(r"^\| `[\w.]+`[^|]*\| `[\w/]+:\w+` \|$", re.MULTILINE)

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
    """Return the Python files of the working tree, and the page of the architecture, by name."""
    names = _git("ls-files", "-z", "*.py", ARCHITECTURE).decode("utf-8").split("\0")
    return {name: (ROOT / name).read_text("utf-8") for name in names if name and (ROOT / name).exists()}


def committed(commit: str) -> Files:
    """Return the Python files of *commit*, and the page of the architecture, by name."""
    files: Dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        for member in archive:
            wanted = member.isfile() and (member.name.endswith(".py") or member.name == ARCHITECTURE)
            file = archive.extractfile(member) if wanted else None
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
    for what, starts in WAYS.items():
        rows[f"from {what}: modules that the story calls, and calls"] = _way(trees, starts)
    rows["records with name and version of a package"] = _told(_records(trees))
    kinds = len(_OF_A_WHEEL.findall(files.get(ARCHITECTURE, "")))
    rows["what a wheel is on its way from the lock to site-packages"] = str(kinds) if kinds else "not recorded"
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


def _way(trees: Mapping[str, ast.Module], starts: Sequence[Tuple[str, str]]) -> str:
    """Return how many modules are called by the first of *starts* that is there, and in how many different calls.

    Its module's own functions are followed. Calls of methods are not seen, nor what the called modules call.
    """
    for module, start in starts:
        tree = trees.get(module, ast.Module([], []))
        own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        if start in own:
            found = _called(own, start, _imported(trees, module, tree))
            return f"{len({there for there, _ in found})} modules, {len(found)} calls"
    return "not there"


def _called(own: Mapping[str, ast.FunctionDef], start: str, imported: Mapping[str, str]) -> Set[Tuple[str, str]]:
    """Return module and name of what *start*, and the functions of its module that it calls, call elsewhere."""
    found: Set[Tuple[str, str]] = set()
    seen, waiting = {start}, [start]
    while waiting:
        for name in filter(None, map(_call, ast.walk(own[waiting.pop()]))):
            first, _, rest = name.partition(".")
            if first in own and not rest and first not in seen:
                seen.add(first)
                waiting.append(first)
            elif first in imported:
                found.add((imported[first], name))
    return found


def _imported(trees: Mapping[str, ast.Module], module: str, tree: ast.Module) -> Dict[str, str]:
    """Return the module of ours, errors left out, that each name which *tree* imports is, or comes from."""
    found: Dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            folders = module.split("/")[: -node.level]
            base = [*folders, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                places = ["/".join([*base, alias.name]) + ".py", "/".join(base) + ".py"]
                there = next((place for place in places if place in trees and place != "errors.py"), "")
                if there:
                    found[alias.asname or alias.name] = there
    return found


def _records(trees: Mapping[str, ast.Module]) -> Dict[str, int]:
    """Return how many classes of each module have the fields name and version."""
    counts: Dict[str, int] = {}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            fields = {
                one.target.id
                for one in (node.body if isinstance(node, ast.ClassDef) else [])
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            }
            counts[name] = counts.get(name, 0) + ({"name", "version"} <= fields)
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
