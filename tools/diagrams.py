"""Write the two diagrams of ``docs/architecture.md`` from the code: the modules, and the data flow.

    python -m tools.diagrams [--check]

``--check`` writes nothing and returns 1 when a diagram differs from the code.
"""

from __future__ import annotations

import argparse
import ast
import html
import sys
import textwrap
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cfgov" / "deployable_zipfile"
FOLDER = ROOT / "docs" / "images"

# The modules that everything may import are one box.
FOUNDATION = ("definitions", "errors", "inherited", "removal", "cli", "console", "workers", "process", "durable")

_WIDTH, _GAP, _LINE, _CHARACTERS = 230, 45, 14, 32  # pixels; characters in a line of a box
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #222 }
  .name { font-weight: bold; font-size: 13px }
  rect { fill: #eef1fb; stroke: #3f51b5 }
  .home { fill: #fdf3e3; stroke: #b26a00 }
  path { stroke: #777; fill: none; marker-end: url(#head) }
"""
_HEAD = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z" style="fill: #777; stroke: none; marker-end: none"/></marker></defs>'
)


class Box(NamedTuple):
    """One box of a diagram."""

    name: str
    lines: Tuple[str, ...]
    stays_at_home: bool = False  # it is not in the artifact

    @property
    def height(self) -> int:
        """Pixels."""
        return 30 + _LINE * len(self.lines) + (8 if self.lines else 0)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Write or compare the diagrams and return the exit code."""
    parser = argparse.ArgumentParser(prog="tools.diagrams", description="Write the diagrams of docs/architecture.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, return 1 when a diagram is out of date")
    arguments = parser.parse_args(argv)
    status = 0
    for name, text in diagrams(PACKAGE).items():
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if arguments.check:
            print(f"docs/images/{name} is out of date. Run: python -m tools.diagrams")
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
    return status


def diagrams(package: Path) -> Dict[str, str]:
    """Return each diagram of *package* by the name of its file."""
    return {"modules.svg": modules_diagram(package), "data.svg": data_diagram(package)}


def modules_diagram(package: Path) -> str:
    """Return the boxes of the package, each above those that it imports."""
    members: Dict[str, List[str]] = {}
    for path in sorted(package.rglob("*.py")):
        if path.stem != "__init__":
            members.setdefault(box_of(path.relative_to(package)), []).append(path.stem)
    edges = imports(package)
    boxes = {name: _box(name, modules) for name, modules in members.items()}
    return _layered(boxes, edges, "The modules of the package; an arrow means: imports")


def box_of(path: Path) -> str:
    """Return the box of the module at *path*, relative to the package."""
    if len(path.parts) > 1:
        return f"{path.parts[0]}/"
    if path.stem == "install_wheels":  # a fixed name for a part of install/
        return "install/"
    return "foundation" if path.stem in FOUNDATION else path.stem


def imports(package: Path) -> Set[Tuple[str, str]]:
    """Return which box imports which, those inside functions included."""
    found: Set[Tuple[str, str]] = set()
    for path in package.rglob("*.py"):
        relative = path.relative_to(package)
        for target in imported(ast.parse(path.read_text(encoding="utf-8")), relative.parts[:-1]):
            there = package.joinpath(*target)
            if target and (there.with_suffix(".py").is_file() or there.is_dir()):
                name = box_of(Path(*target, "x") if there.is_dir() else Path(*target))
                found.add((box_of(relative), name))
    return {(one, other) for one, other in found if one != other}


def imported(tree: ast.Module, folder: Tuple[str, ...]) -> Iterator[Tuple[str, ...]]:
    """Yield the parts of each module of ours that *tree*, a module in *folder*, imports."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        named = tuple((node.module or "").split(".")) if node.module else ()
        if node.level:
            base = folder[: len(folder) - node.level + 1] + named
        elif named[:1] == ("deployable_zipfile",):
            base = named[1:]
        else:
            continue
        yield base
        for alias in node.names:
            yield (*base, alias.name)


def data_diagram(package: Path) -> str:
    """Return the three ways of the data, one above the other, in the order in which the code takes them."""
    steps = _function(package / "deploy" / "steps.py", "preparation")
    installation, transaction = package / "install" / "installation.py", package / "deploy" / "transaction.py"
    ways = [
        (
            "create: from a project and its requirements to an artifact",
            _calls(package / "builder" / "build.py", "build"),
        ),
        (
            "ARTIFACT -d DEST: from the artifact to a destination",
            _calls(installation, "install"),
        ),
        (
            "ARTIFACT deploy: from a destination to a live site",
            ["check", *_first_texts(steps), *[one for one in _step_names(transaction) if one != "check"]],
        ),
    ]
    y, parts, width = 10, [], 0
    for title, names in ways:
        parts.append(f'<text class="name" x="10" y="{y + 14}">{html.escape(title)}</text>')
        y += 28
        row, y = _chain(names, y)
        parts += row
        width = max(width, 10 + 5 * (_WIDTH - 20 + 25))
        y += 22
    return _document("The data flow, in the order of the calls", parts, width, y)


def _function(path: Path, name: str) -> ast.FunctionDef:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    if not found:
        raise ValueError(f"{path.name} has no function {name}: tell tools/diagrams.py where the story is told now")
    return found[0]


def _calls(path: Path, name: str) -> List[str]:
    """Return what the function *name* calls, in order: ``module.function`` or, of its own module, ``function``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("deployable_zipfile"))
        for alias in node.names
    }
    calls = [node for node in ast.walk(_function(path, name)) if isinstance(node, ast.Call)]
    names: List[str] = []
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        told = _told(call.func, own, modules)
        if told and told not in names:
            names.append(told)
    return names


def _told(node: ast.expr, own: Set[str], modules: Set[str]) -> str:
    """Return the name of a step as the diagram shows it, "" for what is none: a container of settings, an error."""
    if isinstance(node, ast.Name) and node.id in own:
        name, shown = node.id, node.id.lstrip("_")
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
        name, shown = node.attr, f"{node.value.id}.{node.attr}"
    else:
        return ""
    return "" if name.endswith(("Settings", "_error")) or name == "Wanted" else shown


def _first_texts(function: ast.FunctionDef) -> List[str]:
    """Return the names of steps in a list of pairs."""
    pairs = [node for node in ast.walk(function) if isinstance(node, ast.Tuple)]
    pairs.sort(key=lambda node: node.lineno)
    return [str(pair.elts[0].value) for pair in pairs if isinstance(pair.elts[0], ast.Constant)]


def _step_names(path: Path) -> List[str]:
    """Return the names that ``self._step`` is called with, in order, the way back left out."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names: List[str] = []
    for call in sorted(calls, key=lambda node: node.lineno):
        first = call.args[0] if call.args else None
        if isinstance(call.func, ast.Attribute) and call.func.attr == "_step" and isinstance(first, ast.Constant):
            names.append(str(first.value))
    order = ["check", "switch", "restart", "health", "prune"]
    return [name for name in order if name in names] + sorted({*names} - {*order} - _back(names))


def _back(names: Sequence[str]) -> Set[str]:
    return {name for name in names if name.startswith("back: ")}


def _box(name: str, modules: Sequence[str]) -> Box:
    single = list(modules) == [name]
    lines = [] if single else textwrap.wrap(", ".join(sorted(modules)), _CHARACTERS)
    return Box(name, tuple(lines), name in ("create", "__main__", "builder/", "views/"))


def _layered(boxes: Dict[str, Box], edges: Set[Tuple[str, str]], title: str) -> str:
    depth = {name: _depth(name, edges, ()) for name in boxes}
    layers = [sorted(name for name in boxes if depth[name] == number) for number in sorted({*depth.values()})][::-1]
    places: Dict[str, Tuple[float, float]] = {}
    width = max(len(layer) for layer in layers) * (_WIDTH + _GAP) + _GAP
    y, parts = 20, []
    for layer in layers:
        left = (width - len(layer) * (_WIDTH + _GAP) + _GAP) / 2
        for number, name in enumerate(layer):
            places[name] = (left + number * (_WIDTH + _GAP), y)
            parts.append(_drawn(boxes[name], *places[name], _WIDTH))
        y += max(boxes[name].height for name in layer) + 60
    for one, other in sorted(_reduced(edges)):
        (x, top), (to_x, to_y) = places[one], places[other]
        half, bottom = _WIDTH / 2, top + boxes[one].height
        parts.append(f'<path d="M{x + half:g} {bottom:g} L{to_x + half:g} {to_y:g}"/>')
    return _document(title, parts, width, y - 40)


def _depth(name: str, edges: Set[Tuple[str, str]], above: Tuple[str, ...]) -> int:
    """Return the length of the longest chain of imports below *name*."""
    if name in above:
        raise ValueError(f"imports in a circle: {' '.join((*above, name))}")
    return max((1 + _depth(other, edges, (*above, name)) for one, other in edges if one == name), default=0)


def _reduced(edges: Set[Tuple[str, str]]) -> Set[Tuple[str, str]]:
    """Leave out the arrows that a longer way tells already."""
    return {
        (one, other)
        for one, other in edges
        if not any(_reaches(middle, other, edges) for start, middle in edges if start == one and middle != other)
    }


def _reaches(one: str, other: str, edges: Set[Tuple[str, str]]) -> bool:
    return one == other or any(_reaches(middle, other, edges) for start, middle in edges if start == one)


def _chain(names: Sequence[str], y: int) -> Tuple[List[str], int]:
    """Draw *names* in rows of five, an arrow between each and the next; return the lines and where the next row is."""
    width, parts = _WIDTH - 20, []
    for number, name in enumerate(names):
        x, top = 10 + number % 5 * (width + 25), y + number // 5 * 50
        parts.append(_drawn(Box(name, ()), x, top, width))
        if number + 1 < len(names):
            end = f"L{x + width + 25} {top + 15}" if number % 5 < 4 else f"V{top + 40} H{10 + width / 2:g} V{top + 50}"
            start = f"M{x + width} {top + 15}" if number % 5 < 4 else f"M{x + width / 2:g} {top + 30}"
            parts.append(f'<path d="{start} {end}"/>')
    return parts, y + (len(names) + 4) // 5 * 50


def _drawn(box: Box, x: float, y: float, width: float) -> str:
    kind = ' class="home"' if box.stays_at_home else ""
    lines = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{box.height}" rx="5"{kind}/>']
    lines.append(f'<text class="name" x="{x + 8:g}" y="{y + 20:g}">{html.escape(box.name)}</text>')
    for number, line in enumerate(box.lines, 1):
        lines.append(f'<text x="{x + 8:g}" y="{y + 22 + _LINE * number:g}">{html.escape(line)}</text>')
    return "\n".join(lines)


def _document(title: str, parts: Sequence[str], width: float, height: float) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
            "<!-- Written by `python -m tools.diagrams` from the code. -->",
            f"<title>{html.escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" style="fill: white; stroke: none"/>',
            _HEAD,
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
