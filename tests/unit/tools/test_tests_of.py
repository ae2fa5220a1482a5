"""The tests of a module are found by its name."""

from __future__ import annotations

from typing import List

import pytest

from tools import tests_of


@pytest.mark.deep
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("cfgov/deployable_zipfile/deploy/health.py", "tests/unit/deploy/test_health.py"),
        ("deploy/health", "tests/unit/deploy/test_health.py"),
        ("loadenv.py", "tests/unit/test_loadenv.py"),
    ],
)
def test_a_test_of_the_modules_name_comes_first(name: str, first: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tests_of.main([name]) == 0
    assert capsys.readouterr().out.splitlines()[0] == first


def test_tests_that_import_the_module_are_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert tests_of.main(["artifact/names"]) == 0
    found: List[str] = capsys.readouterr().out.splitlines()
    assert found
    assert all(name.startswith("tests/unit/") for name in found)


def test_every_module_has_tests() -> None:
    known = tests_of.modules()
    assert ("deploy", "health") in known
    assert [module for module in known if not tests_of.tests_of(module, known)] == []


def test_a_module_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert tests_of.main(["builder/absent.py"]) == 2
    assert capsys.readouterr().err.startswith("error: builder/absent.py: is not a module")
