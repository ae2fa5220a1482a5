"""What the tools read from the noxfile is what nox itself says."""

from __future__ import annotations

import re
import subprocess
from typing import Dict

from tests.support.documentation import ROOT
from tools import workflows


def listed(*options: str) -> Dict[str, Dict[str, str]]:
    """Return mark (``*`` selected, ``-`` not) and description of every session that nox lists under *options*."""
    done = subprocess.run(["tools/nox", "--list", *options], cwd=str(ROOT), check=True, stdout=subprocess.PIPE)
    pattern = re.compile(r"^([*-]) (\S+)(?: \[.*?\])?(?: -> (.*))?$", re.MULTILINE)
    found = pattern.findall(done.stdout.decode("utf-8"))
    return {name: {"mark": mark, "description": description} for mark, name, description in found}


def test_the_sessions_that_the_workflow_rules_know_are_those_of_nox() -> None:
    known = workflows.sessions_of((ROOT / "noxfile.py").read_text(encoding="utf-8"))

    assert set(listed()) == known - {"unit"}, "unit alone is short for all of its versions"


def test_every_session_says_in_one_line_what_it_does() -> None:
    assert [name for name, session in listed().items() if not session["description"]] == []


def test_the_test_command_runs_every_tier_on_every_python() -> None:
    expected = [*[f"unit-3.{minor}" for minor in range(8, 15)], "site", "integration", "e2e"]

    for options in ((), ("--tags", "test")):
        assert [name for name, session in listed(*options).items() if session["mark"] == "*"] == expected
