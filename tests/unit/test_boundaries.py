"""Who may import whom: what travels in the artifact needs only the standard library and its own siblings."""

from __future__ import annotations

import ast
import functools
import pkgutil
import re
import sys
import sysconfig
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, Set, Tuple

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.builder import runtime
from tests.support.documentation import ROOT
from tests.support.helpers import run_cli
from tests.unit.test_bootstrap import older

PACKAGE = Path(layout.__file__).parents[1]
NOT_SHIPPED = {"create", "builder", "views", "__main__"}
# These tell the story of a build in chapters; no other module of the builder imports a sibling.
STORIES = (
    *(
        "builder.build",
        "builder.commands",
        "builder.components",
        "builder.evidence",
        "builder.options",
        "builder.outcome",
    ),
    *("builder.parsers", "builder.provenance", "builder.runtime", "builder.stock", "builder.stocking"),
    *("builder.supplies",),
    *("builder.building", "builder.collect", "builder.fetching", "builder.pinned_pip", "builder.needs"),
    *("builder.wheelcache", "builder.delta", "builder.init", "builder.inputs", "builder.last", "builder.overlays"),
    *("builder.pack", "builder.payloads", "builder.planning", "builder.reproducible", "builder.source", "builder.walk"),
)
# Modules of the builder that are one part of another, which imports them.
PARTS: Dict[str, Set[str]] = {
    "builder.bytecode": {"builder.bytecode_worker"},
    "builder.cache": {"builder.unchanged"},
    "builder.checkout": {"builder.commit", "builder.git"},
    "builder.commit": {"builder.git"},
    "builder.credentials": {"builder.exclusions"},
    "builder.git": {"builder.unchanged"},
    "builder.pip": {"builder.pip_output"},
    "builder.closure": {"builder.markers", "builder.collected"},
    "builder.collected": {"builder.elf", "builder.embedded"},
    "builder.metadata": {"builder.collected"},
    "builder.proving": {"builder.collected", "builder.elf", "builder.embedded", "builder.metadata"},
    "builder.sbom": {"builder.collected", "builder.embedded"},
    "builder.project": {"builder.project_sources"},
    "builder.requirements_file": {"builder.requirements", "builder.requirement_line"},
    "builder.requirement_line": {"builder.requirements"},
    "builder.hasher": {"builder.contents"},
    "builder.zipwriter": {"builder.contents", "builder.hasher"},
}
# Where a call of the system may be made. What is not the mechanism itself has its reason.
MECHANISMS: Dict[str, Tuple[str, Set[str]]] = {
    "start a program": (
        r"subprocess\.(Popen|run|call|check_call|check_output|getoutput|getstatusoutput)|os\.(system|popen|(posix_)?spawn\w*)",
        {"process", "builder.unchanged"},  # unchanged: runs before the modules that process needs are loaded
    ),
    "become another program": (
        r"os\.exec\w+",
        {"deploy.confine"},  # a script: it ends so
    ),
    "fork": (
        r"os\.fork(pty)?",
        {"workers", "install.staging"},  # staging: the process that writes back what is written
    ),
    "lock a file": (r"fcntl\.(flock|lockf)", {"durable"}),
    "put a file on the disk": (
        r"os\.(fsync|fdatasync)",
        {"durable", "deploy.collect"},  # collect: a script that runs in the Python of a release
    ),
    "rename": (
        r"os\.(rename|renames|replace)|shutil\.move",
        # collect: as above; the others move whole folders, which is what they are there for.
        {"durable", "deploy.collect", "deploy.releases", "install.staging", "install.store"},
    ),
}
FOUNDATION = {
    "definitions",
    "inherited",
    "removal",
    "errors",
    "console",
    "signals",
    "workers",
    "process",
    "durable",
    "cli",
}
# What a folder may import besides itself and the foundation.
MAY_IMPORT: Dict[str, Set[str]] = {
    "artifact": set(),
    "install": {"artifact", "install_wheels"},
    "deploy": {"artifact", "install", "loadenv"},
    "verbs": {"artifact", "install", "deploy"},
    "builder": {"artifact", "install", "install_wheels"},
    "views": {"artifact", "install", "builder"},
}


def modules() -> Dict[str, Path]:
    """Every module by its dotted name below the package; a package goes by the name of its folder."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()
TRAVELS = sorted(name for name in MODULES if name.split(".")[0] not in NOT_SHIPPED)
BUILDER = sorted(name for name in MODULES if name.startswith("builder."))


@functools.lru_cache(maxsize=None)
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"), str(MODULES[name]))


class Imports:
    """The imports of one module, those inside functions included."""

    def __init__(self, name: str) -> None:
        self.own: Set[str] = set()  # modules of this package, by dotted name
        self.absolute: Set[str] = set()
        package = MODULES[name].relative_to(PACKAGE).parts[:-1]
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.Import):
                self.absolute.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                self.absolute.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.ImportFrom):
                self.own.update(self._targets(node, package))

    @staticmethod
    def _targets(node: ast.ImportFrom, package: Tuple[str, ...]) -> Iterator[str]:
        above = node.level - 1
        assert above <= len(package), "leaves the package"
        base = [*package[: len(package) - above], *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            inner = ".".join([*base, alias.name])
            if inner in MODULES:
                yield inner
            elif base:
                assert ".".join(base) in MODULES, f"{base} is not a module of the package"
                yield ".".join(base)


IMPORTS = {name: Imports(name) for name in MODULES}
GRAPH = {name: found.own for name, found in IMPORTS.items()}


def folder_of(name: str) -> str:
    return name.split(".")[0] if "." in name else ""


def standard_library() -> FrozenSet[str]:
    names = getattr(sys, "stdlib_module_names", None)
    if names:
        return frozenset(names)
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    folders += [f"{folder}/lib-dynload" for folder in folders]
    found = {module.name for module in pkgutil.iter_modules(folders)}
    return frozenset(found | set(sys.builtin_module_names)) - {"site-packages"}


def reached(start: str) -> Set[str]:
    seen: Set[str] = set()
    waiting = [start]
    while waiting:
        for name in GRAPH[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_the_modules_are_found() -> None:
    assert {"artifact.zipreader", "extract", "loadenv", "install.installation", "deploy.rollout"} < set(TRAVELS)
    assert {"builder.settings", "builder.zipwriter", *STORIES} < set(BUILDER)


def test_a_build_packs_every_module_that_travels() -> None:
    packed = {path[: -len(".py")].replace("/", ".") for path in runtime._modules()}
    assert {name.replace(".__init__", "") for name in packed} - {"__init__"} == set(TRAVELS) - {""}


def test_what_travels_needs_the_standard_library_only() -> None:
    known = standard_library() | {"__future__"}
    assert {name: IMPORTS[name].absolute - known for name in TRAVELS if not IMPORTS[name].absolute <= known} == {}


def test_what_travels_imports_only_what_travels() -> None:
    assert {name: GRAPH[name] - set(TRAVELS) for name in TRAVELS if not GRAPH[name] <= set(TRAVELS)} == {}


def test_what_travels_parses_as_python_3_8() -> None:
    for name in TRAVELS:
        ast.parse(MODULES[name].read_text(encoding="utf-8"), name, feature_version=(3, 8))


def test_no_import_leads_back_to_its_module() -> None:
    assert [name for name in sorted(set(MODULES) - {""}) if name in reached(name)] == []


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    allowed = {"", folder} | FOUNDATION | MAY_IMPORT[folder]
    names = [name for name in MODULES if folder_of(name) == folder]
    assert names
    assert [(name, one) for name in names for one in GRAPH[name] if one.split(".")[0] not in allowed] == []


@pytest.mark.parametrize("name", sorted(FOUNDATION & set(MODULES)))
def test_the_foundation_imports_only_itself(name: str) -> None:
    assert GRAPH[name] - {""} <= FOUNDATION


@pytest.mark.parametrize("name", ["loadenv", "bootstrap", "errors"])
def test_a_module_that_must_load_by_itself_imports_no_other(name: str) -> None:
    assert GRAPH[name] == set()


def test_the_artifact_and_the_installer_do_not_know_the_command_line() -> None:
    for name in TRAVELS:
        if name != "extract":
            assert not GRAPH[name] & {"extract", "bootstrap"}, name


def test_an_installation_loads_nothing_of_a_deployment() -> None:
    for name in ("extract", "verbs.install", "verbs.environment", "verbs.subject"):
        top = [node for node in tree_of(name).body if isinstance(node, ast.ImportFrom)]
        assert not [node.module for node in top if (node.module or "").startswith("deploy")], name


def test_a_module_of_the_builder_imports_no_sibling() -> None:
    parts = sorted(set(BUILDER) - set(STORIES))
    siblings = {name: {one for one in GRAPH[name] if folder_of(one) == "builder"} for name in parts}
    assert {name: found for name, found in siblings.items() if not found <= PARTS.get(name, set())} == {}


def calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func) if sys.version_info >= (3, 9) else _dotted(node.func)


@functools.lru_cache(maxsize=None)
def calls_of(name: str) -> Set[str]:
    return set(calls(tree_of(name)))


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("what", sorted(MECHANISMS))
def test_each_mechanism_is_written_once(what: str) -> None:
    pattern, places = MECHANISMS[what]
    found = {name for name in MODULES if any(re.fullmatch(pattern, call) for call in calls_of(name))}
    assert found == places


# The last ones are programs: they run in the Python of a release.
SPEAKING = {"console", "extract", "bootstrap", "loadenv", "cli", "deploy.probe", "deploy.collect"}


def test_only_a_command_line_prints_or_exits() -> None:
    speaking = {"print", "sys.exit", "exit", "sys.stdout.write"}
    assert {name: calls_of(name) & speaking for name in set(TRAVELS) - SPEAKING if calls_of(name) & speaking} == {}


def test_the_first_lines_of_an_artifact_parse_on_python_2(tmp_path: Path) -> None:
    python = older("2.7")
    program = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
    run_cli([python, "-c", program, PACKAGE / "bootstrap.py"])


def _imported(path: Path) -> Iterator[str]:
    """Yield the modules that *path* imports when it is loaded, outside of functions."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.deep
def test_the_unit_tests_import_nothing_that_needs_an_engine_or_a_browser() -> None:
    seen: Set[str] = set()
    left = sorted(str(path) for path in (ROOT / "tests/unit").rglob("*.py"))
    while left:
        path = Path(left.pop())
        for name in _imported(path):
            assert name.split(".")[0] not in ("docker", "playwright", "requests"), f"{path} imports {name}"
            found = ROOT.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith("tests.") and name not in seen and found.is_file():
                seen.add(name)
                left.append(str(found))
    assert "tests.support.production" in seen
