"""Who may import whom: what travels in the artifact needs the standard library and its own siblings alone."""

from __future__ import annotations

import ast
import pkgutil
import sys
import sysconfig
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, Set, Tuple

import pytest

from deployable_zipfile import layout
from tests.helpers import run_cli
from tests.unit.test_bootstrap import older

PACKAGE = Path(layout.__file__).parent
TRAVELS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.name not in ("create.py", "__main__.py"))
BUILDER = sorted(path.stem for path in (PACKAGE / "builder").glob("*.py") if path.stem != "__init__")
# These tell the story of a build in three chapters; every other module of the builder stands alone.
STORIES = ("collect", "overlays", "pack")
# What deploys releases on a host; what installs an artifact does not need it.
DEPLOYING = {"deployment", "furnish", "health", "journal", "management", "releases", "restart", "rollout", "selftest"}
NOT_SHIPPED = {"create", "builder", "views", "__main__"}


class Imports:
    """The imports of one module, those inside functions included."""

    def __init__(self, path: Path, package: Tuple[str, ...]) -> None:
        self.siblings: Set[str] = set()  # of the same package
        self.parents: Set[str] = set()  # of the package above
        self.absolute: Set[str] = set()
        known = {one.stem for one in path.parent.iterdir()}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                self.absolute.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                self.absolute.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                assert node.level <= len(package)
                if node.level == 1:
                    self.siblings.update(name for name in names if name in known)
                else:
                    self.parents.update(names)


def shipped(name: str) -> Imports:
    return Imports(PACKAGE / f"{name}.py", ("deployable_zipfile",))


def built(name: str) -> Imports:
    return Imports(PACKAGE / "builder" / f"{name}.py", ("deployable_zipfile", "builder"))


def standard_library() -> FrozenSet[str]:
    names = getattr(sys, "stdlib_module_names", None)
    if names:
        return frozenset(names)
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    folders += [f"{folder}/lib-dynload" for folder in folders]
    found = {module.name for module in pkgutil.iter_modules(folders)}
    return frozenset(found | set(sys.builtin_module_names)) - {"site-packages"}


def reached(start: str, graph: Dict[str, Set[str]]) -> Set[str]:
    seen: Set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph.get(waiting.pop(), set()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen


GRAPH = {name: shipped(name).siblings for name in TRAVELS}


def test_the_modules_are_found() -> None:
    assert {"archive", "extract", "loadenv", "unpack", "wheel", *DEPLOYING} < set(TRAVELS)
    assert {"source", "zipwriter", *STORIES} < set(BUILDER)


@pytest.mark.parametrize("name", TRAVELS)
def test_what_travels_needs_the_standard_library_alone(name: str) -> None:
    assert shipped(name).absolute - standard_library() - {"__future__"} == set()


@pytest.mark.parametrize("name", TRAVELS)
def test_what_travels_imports_only_what_travels(name: str) -> None:
    assert shipped(name).siblings <= set(TRAVELS)
    assert not shipped(name).siblings & NOT_SHIPPED


@pytest.mark.parametrize("name", TRAVELS)
def test_what_travels_parses_as_python_3_8(name: str) -> None:
    ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"), name, feature_version=(3, 8))


@pytest.mark.parametrize("name", [name for name in TRAVELS if name != "__init__"])
def test_no_import_leads_back_to_its_module(name: str) -> None:
    assert name not in reached(name, GRAPH)


def test_errors_and_layout_stand_below_everything() -> None:
    assert GRAPH["errors"] == set()
    assert GRAPH["layout"] == {"errors"}


@pytest.mark.parametrize("name", ["loadenv", "bootstrap"])
def test_what_runs_alone_imports_no_sibling(name: str) -> None:
    assert GRAPH[name] == set()


def test_the_reader_and_the_installer_do_not_know_the_command_line() -> None:
    for name in TRAVELS:
        if name != "extract":
            assert "extract" not in GRAPH[name], name
            assert "bootstrap" not in GRAPH[name], name


@pytest.mark.parametrize("name", sorted(set(TRAVELS) - DEPLOYING - {"extract"}))
def test_what_installs_does_not_need_what_deploys(name: str) -> None:
    assert not GRAPH[name] & DEPLOYING


def test_an_installation_loads_nothing_of_a_deployment() -> None:
    tree = ast.parse((PACKAGE / "extract.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    names = {node.module or alias.name for node in top for alias in node.names}
    assert not names & DEPLOYING


@pytest.mark.parametrize("name", sorted(set(BUILDER) - set(STORIES)))
def test_a_module_of_the_builder_stands_alone(name: str) -> None:
    assert built(name).siblings == set()


def test_the_chapters_of_a_build_do_not_lead_in_a_circle() -> None:
    graph = {name: built(name).siblings for name in BUILDER}
    for name in STORIES:
        assert name not in reached(name, graph)
        assert graph[name] <= set(BUILDER)


@pytest.mark.parametrize("name", BUILDER)
def test_the_builder_uses_what_travels_and_never_its_caller(name: str) -> None:
    assert built(name).parents - {"__version__"} <= set(TRAVELS) - {"extract", "bootstrap"} - DEPLOYING


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func) if sys.version_info >= (3, 9) else _dotted(node.func)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


SPEAKING = ("console", "extract", "bootstrap", "loadenv")


@pytest.mark.parametrize("name", sorted(set(TRAVELS) - set(SPEAKING)))
def test_only_a_command_line_prints_or_exits(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    spoken: List[str] = [call for call in calls(tree) if call in ("print", "sys.exit", "exit", "sys.stdout.write")]
    assert spoken == []


def test_the_first_lines_of_an_artifact_parse_on_python_2(tmp_path: Path) -> None:
    python = older("2.7")
    program = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
    run_cli([python, "-c", program, PACKAGE / "bootstrap.py"])
