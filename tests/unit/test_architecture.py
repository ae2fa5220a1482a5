"""docs/architecture.md names every module of the package, and none that is gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import List, Set, Tuple

import pytest

from tests.support.documentation import ROOT

PACKAGE = ROOT / "cfgov/deployable_zipfile"
HEADING = "## The tool's modules"


def modules() -> List[str]:
    """Return the modules of the package as the document names them: ``deploy/journal``, ``create``."""
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(path.as_posix() for path in paths if path.name != "__init__")


def named(text: str) -> Set[str]:
    """Return what the first column of the table in *text* names; the rows below ``builder/`` leave that folder out."""
    table = text.split(HEADING)[1].split("\n\n**")[0]
    words: Set[str] = set()
    folder = ""
    for row in table.splitlines():
        heading = re.match(r"\| \*\*`(\w+)/`\*\*", row)
        folder = heading[1] if heading else folder
        names = [] if heading else re.findall(r"`(\w[\w/]*)`", row.split(" | ")[0])
        words.update(f"{folder}/{name}" if folder == "builder" else name for name in names)
    return words


def test_every_module_has_a_place_in_the_table() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

    assert [name for name in modules() if name not in named(text)] == []


def test_the_table_names_no_module_that_is_gone() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

    assert sorted(named(text) - set(modules())) == []


@pytest.mark.parametrize("gone", ["deploy/journal", "create", "builder/pip"])
def test_a_row_that_is_removed_is_missed(gone: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = text.splitlines(keepends=True)
    name = Path(gone).name if gone.startswith("builder/") else gone
    changed = "".join(row for row in rows if not row.startswith("| `") or f"`{name}`" not in row.split(" | ")[0])

    assert gone in named(text)
    assert gone not in named(changed)


def way_of_a_wheel() -> List[Tuple[str, str, str]]:
    """Return the rows of the table of what a wheel is on its way: the type, module and function that makes it."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)`[^|]*\| `([\w/]+):(\w+)` \|$", text, re.M)
    assert len(rows) > 4
    return rows


@pytest.mark.parametrize("row", way_of_a_wheel(), ids=lambda row: row[0])
def test_what_a_wheel_is_on_its_way_is_what_the_functions_say(row: Tuple[str, str, str]) -> None:
    kind, module, function = row
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    (made,) = found
    words = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
    words |= {node.attr for node in ast.walk(made) if isinstance(node, ast.Attribute)}
    assert kind.rpartition(".")[2] in words
    if "." in kind:
        place = next(path for path in PACKAGE.rglob("*.py") if path.stem == kind.partition(".")[0])
        assert f"class {kind.partition('.')[2]}(" in place.read_text(encoding="utf-8")
