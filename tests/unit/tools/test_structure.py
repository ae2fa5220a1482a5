"""The table of sizes and mechanisms counts what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helpers import write_tree
from tests.unit.builder.conftest import commit_all
from tools import structure

LONG = "def long():\n    '''One.\n\n    Two.\n    '''\n" + "    pass\n" * 40
CLASS = "class Large:\n" + "".join(f"    def m{number}(self):\n        pass\n" for number in range(21))
FILES = {
    "cfgov/deployable_zipfile/small.py": "def _seconds():\n    os.replace('a', 'b')\n    os.replace('c', 'd')\n",
    "cfgov/deployable_zipfile/deep/large.py": LONG + CLASS + "x = 1\n" * 300,
    "cfgov/home/models.py": "import os\nos.replace('a', 'b')\n",
    "tests/unit/test_one.py": "a = 1\n",
    "tools/one.py": "a = 1\nb = 2\n",
}


def test_it_counts_what_is_large_and_each_mechanism() -> None:
    rows = structure.measured(FILES)
    assert rows["modules of the package"] == "2"
    assert rows["modules over 350 lines"] == "1: deep/large.py 388"
    assert rows["functions over 40 lines"] == "1: deep/large.py:long 41"
    assert rows["classes over 20 methods"] == "1: deep/large.py:Large 21"
    assert rows["modules with a replacement by rename"] == "1: small.py 2"
    assert rows["modules with a start of a program"] == "0"
    assert rows["modules with a function for the argument in seconds"] == "1: small.py 1"
    assert (rows["lines of tests"], rows["lines of tools"]) == ("1", "2")


STORY = """
from .builder import collect
from .builder.pack import Packer as Writer
from .errors import Failed
import os

def build():
    os.getcwd()
    _chosen()
    Writer(1).write()
    raise Failed()

def _chosen():
    collect.plan()
    collect.plan()
    collect.check()
    build()

def other():
    collect.never()
"""
RECORD = "class {}:\n    name: str\n    version: str\n    path: str\n"


def test_the_ways_of_the_data_are_followed_through_the_storys_own_functions() -> None:
    package = "cfgov/deployable_zipfile/"
    files = {f"{package}{name}.py": "" for name in ("builder/__init__", "builder/collect", "builder/pack", "errors")}
    files[f"{package}builder/collect.py"] = RECORD.format("One") + "class Other:\n    name: str\n"
    table = "| `a.B`, in a `C` | `d/e:f` |\n| `str`, a path | `e:g` |\n| `other` | a row of another table |\n"
    rows = structure.measured({**files, f"{package}create.py": STORY, structure.ARCHITECTURE: table})
    assert rows["from requirements to an artifact: modules that the story calls, and calls"] == "2 modules, 3 calls"
    assert rows["from an artifact to a destination: modules that the story calls, and calls"] == "not there"
    assert rows["records with name and version of a package"] == "1: builder/collect.py 1"
    assert rows["what a wheel is on its way from the lock to site-packages"] == "2"


def test_a_commit_without_the_table_of_a_wheel_says_so() -> None:
    assert structure.measured(FILES)["what a wheel is on its way from the lock to site-packages"] == "not recorded"


@pytest.mark.parametrize(("size", "counts"), [(39, "0"), (40, "1: m.py:long 41")])
def test_a_function_of_forty_lines_beside_its_docstring_is_not_large(size: int, counts: str) -> None:
    text = "def long():\n    '''One.'''\n" + "    pass\n" * size
    assert structure.measured({"cfgov/deployable_zipfile/m.py": text})["functions over 40 lines"] == counts


def test_the_working_tree_and_a_commit_are_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path, dict(FILES))
    commit_all(tmp_path)
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    assert structure.main(["HEAD", "HEAD"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[2]) == ("| | HEAD |", "| modules of the package | 2 |")
    (tmp_path / "cfgov/deployable_zipfile/small.py").unlink()
    assert structure.main(["HEAD"]) == 0
    assert "| modules of the package | 2 |" in capsys.readouterr().out
    assert structure.main([]) == 0
    assert capsys.readouterr().out.startswith("| | working tree |\n|---|---|\n| modules of the package | 1 |")
