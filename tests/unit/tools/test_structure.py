"""The table of sizes and mechanisms counts what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("size", "counts"), [(39, "0"), (40, "1: m.py:long 41")])
def test_a_function_of_forty_lines_beside_its_docstring_is_not_large(size: int, counts: str) -> None:
    text = "def long():\n    '''One.'''\n" + "    pass\n" * size
    assert structure.measured({"cfgov/deployable_zipfile/m.py": text})["functions over 40 lines"] == counts


def test_the_working_tree_and_a_commit_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    if not (Path(structure.ROOT) / ".git").exists():
        pytest.skip("not a checkout")
    assert structure.main(["HEAD", "HEAD"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "| | HEAD |"
    assert structure.main([]) == 0
    assert capsys.readouterr().out.startswith("| | working tree |\n|---|---|\n| modules of the package | ")
