"""What docs/security.md promises: each sentence has tests, and what no other file tests is tested here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from deployable_zipfile import extract
from tests.support.artifacts import make_artifact
from tests.support.helpers import make_wheel

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs/security.md").read_text(encoding="utf-8")


def rows() -> List[Tuple[str, List[str]]]:
    """Return each promise of the page's table with its tests."""
    table = PAGE.partition("### Where each promise is tested")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (?!promise|---)(.+?) \| (.+) \|$", table, re.MULTILINE)
    return [(promise, re.findall(r"`([^`]+)`", tests)) for promise, tests in cells]


def test_each_promise_names_tests_that_there_are() -> None:
    assert len(rows()) > 20
    for promise, tests in rows():
        assert tests, promise
        for test in tests:
            path, name = test.split("::")
            text = (TESTS / path).read_text(encoding="utf-8")
            assert re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), f"{promise}: {test}"


def test_every_paragraph_of_promises_has_a_row() -> None:
    promised = PAGE.partition("## What we promise")[2].partition("### Where")[0]
    kinds = re.findall(r"^\*\*(\w+)\.\*\*", promised, re.MULTILINE)
    assert kinds == ["Reading", "Writing", "Wheels", "Secrets", "Output", "Network"]


@pytest.mark.parametrize("words", [["check"], ["verify"], ["info"], ["list"], ["-d", "DEST"]])
def test_no_code_of_project_or_wheels_is_run_before_the_site_starts(
    words: List[str], tmp_path: Path, capsys: Any
) -> None:
    mark = tmp_path / "was-run"
    code = f"open({str(mark)!r}, 'w').close()\n"
    wheel = make_wheel(
        tmp_path,
        "runner",
        "1.0",
        {"runner/__init__.py": code, "runner.pth": f"import sys; {code}", "sitecustomize.py": code},
    )
    project = {"__init__.py": code, "manage.py": code, "settings.py": code, "conftest.py": code, "setup.py": code}
    artifact = make_artifact(tmp_path / "site.zip", dict(project), [wheel], bytecode=False)
    given = [word.replace("DEST", str(tmp_path / "dest")) for word in words]
    assert extract.main(given, str(artifact)) == 0, capsys.readouterr().err
    assert not mark.exists()
