"""Named tuples and regular expressions whose definition takes little time."""

from __future__ import annotations

import ast
import importlib
import pickle
import re
import typing
from pathlib import Path
from types import ModuleType
from typing import Any, List, Tuple

import pytest

from deployable_zipfile import definitions
from deployable_zipfile.artifact import layout
from deployable_zipfile.definitions import expression

PACKAGE = Path(layout.__file__).parents[1]
# These run without the package: as a module of the site's Python, on Python 2.7, in another interpreter.
APART = {"loadenv.py", "bootstrap.py", "builder/bytecode_worker.py"}
COMPILE = ast.parse("re.compile", mode="eval").body


class Point(definitions.NamedTuple):
    """A point."""

    x: int
    y: int = 2
    z: Tuple[int, ...] = ()

    @property
    def sum(self) -> int:
        """Of its coordinates."""
        return self.x + self.y

    def moved(self, by: int) -> Point:
        return self._replace(x=self.x + by)

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)


class Named(Point):
    """A class that extends one."""

    def name(self) -> str:
        return f"point {self.x}"


class Standard(typing.NamedTuple):
    """A point."""

    x: int
    y: int = 2
    z: Tuple[int, ...] = ()


def test_a_named_tuple_is_what_that_of_typing_is() -> None:
    ours, theirs = Point(1), Standard(1)

    assert tuple(ours) == tuple(theirs) == (1, 2, ())
    assert repr(ours) == repr(theirs).replace("Standard", "Point")
    assert hash(ours) == hash(theirs)
    assert ours._asdict() == theirs._asdict()
    for name in ("_fields", "_field_defaults", "__doc__", "__module__", "__slots__"):
        assert getattr(Point, name) == getattr(Standard, name), name
    assert typing.get_type_hints(Point) == typing.get_type_hints(Standard)
    assert (Point.__name__, Point.__qualname__, Point.__mro__[1:]) == ("Point", "Point", (tuple, object))
    assert sorted(set(dir(Point)) ^ set(dir(Standard)) - {"__orig_bases__", "_field_types"}) == [
        "moved",
        "origin",
        "sum",
    ]


def test_methods_of_a_named_tuple_work() -> None:
    assert Point(1).sum == 3
    assert Point(1).moved(4) == Point(5)
    assert Point.origin() == Point(0, 0)
    assert Named(3).name() == "point 3"
    assert isinstance(Named(3).moved(1), Named)


@pytest.mark.parametrize("one", [Point(1), Named(1, z=(3,))])
def test_a_named_tuple_can_be_pickled(one: Point) -> None:
    again = pickle.loads(pickle.dumps(one))

    assert again == one
    assert type(again) is type(one)


def test_a_field_without_default_after_one_with_it_is_refused() -> None:
    text = "class Wrong(NamedTuple):\n    x: int = 1\n    y: int\n"

    with pytest.raises(TypeError, match="Wrong: a field without a default follows one that has it"):
        exec(text, {"NamedTuple": definitions.NamedTuple, "__name__": __name__})


@pytest.mark.parametrize("arguments", [(), (1, 2, (), 4)])
def test_a_wrong_number_of_values_is_refused(arguments: Tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        Point(*arguments)


def test_an_expression_is_compiled_when_it_is_first_used_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: List[object] = []
    compile_ = re.compile

    def compile_and_note(text: str, flags: int = 0) -> "re.Pattern[str]":
        compiled.append((text, flags))
        return compile_(text, flags)

    monkeypatch.setattr(re, "compile", compile_and_note)
    one = expression("A+", re.IGNORECASE)

    assert compiled == []
    assert [bool(one.match(text)) for text in ("aa", "b", "A")] == [True, False, True]
    assert compiled == [("A+", re.IGNORECASE)]


def test_an_expression_is_one_of_bytes_or_of_text() -> None:
    assert expression(rb"\d+").findall(b"1 22 x") == [b"1", b"22"]
    assert expression(r"\d+").sub("#", "1 22 x") == "# # x"
    assert (expression("a", re.MULTILINE).pattern, expression("a").groups) == ("a", 0)


def test_an_expression_with_a_mistake_says_so_when_it_is_used() -> None:
    wrong = expression("(")

    with pytest.raises(re.error):
        wrong.match("")


def modules() -> List[str]:
    paths = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    return [path.as_posix() for path in paths if path.as_posix() not in APART]


def loaded(path: str) -> ModuleType:
    name = path[: -len(".py")].replace("/", ".")
    return importlib.import_module(f"deployable_zipfile.{name}" if name != "__init__" else "deployable_zipfile")


def test_every_expression_of_a_module_compiles() -> None:
    kind = type(expression(""))
    found = [value for path in modules() for value in vars(loaded(path)).values() if isinstance(value, kind)]

    assert len(found) > 80
    for value in found:
        assert value.pattern is not None


@pytest.mark.parametrize("path", modules())
def test_a_module_defines_both_in_little_time(path: str) -> None:
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "typing"]
    values = [node for part in tree.body if isinstance(part, (ast.Assign, ast.AnnAssign)) for node in ast.walk(part)]

    assert [alias.name for node in imports for alias in node.names if alias.name == "NamedTuple"] == []
    assert ast.dump(COMPILE) not in map(ast.dump, values)
