"""The noxfile as people start it: by the console script ``nox`` of a virtualenv, and by ``tools/nox``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Sequence

import pytest

from tests.support.documentation import ROOT

RUNNING = "{}.{}".format(*sys.version_info)


@pytest.fixture(scope="module")
def console_nox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command that ``pip install nox`` makes; it puts no folder of this checkout on sys.path."""
    folder = tmp_path_factory.mktemp("nox")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements/nox.txt")]
    subprocess.run([str(folder / "bin/python"), *install], check=True)
    return folder / "bin/nox"


def listed(*options: str, command: Sequence[str] = ("tools/nox",), folder: Path = ROOT) -> Dict[str, Dict[str, str]]:
    """Return mark (``*`` selected, ``-`` not) and description of every session that nox lists under *options*."""
    done = subprocess.run([*command, "--list", *options], cwd=str(folder), check=True, stdout=subprocess.PIPE)
    pattern = re.compile(r"^([*-]) (\S+)(?: \[.*?\])?(?: -> (.*))?$", re.MULTILINE)
    found = pattern.findall(done.stdout.decode("utf-8"))
    return {name: {"mark": mark, "description": description} for mark, name, description in found}


def test_the_console_script_lists_the_sessions_in_the_checkout_and_from_elsewhere(
    console_nox: Path, tmp_path: Path
) -> None:
    expected = listed()

    assert expected
    assert listed(command=[str(console_nox)]) == expected
    assert listed(command=[str(console_nox), "-f", str(ROOT / "noxfile.py")], folder=tmp_path) == expected


def test_the_console_script_runs_a_session_from_elsewhere(console_nox: Path, tmp_path: Path) -> None:
    # With environments of its own: those of the checkout may be in use by the run that this test is part of.
    command = [str(console_nox), "-f", str(ROOT / "noxfile.py"), "--envdir", str(tmp_path / "envs"), "-s", "matrix"]
    output = tmp_path / "output"

    subprocess.run([*command, "--", "unit", "--output", str(output)], cwd=str(tmp_path), check=True)

    rows = json.loads(output.read_text().partition("=")[2])
    assert {"python": "3.8", "session": "unit-3.8"} in rows


def test_an_older_nox_is_refused_by_its_own_message(console_nox: Path, tmp_path: Path) -> None:
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    (stated,) = re.findall(r'^nox\.needs_version = ">=(.+)"$', text, re.MULTILINE)
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    (tmp_path / "noxfile.py").write_text(text.replace(stated, "9999.1.1"), encoding="utf-8")

    done = subprocess.run([str(console_nox), "-l"], cwd=str(tmp_path), check=False, capture_output=True)

    assert done.returncode != 0
    assert b"requires Nox >=9999.1.1" in done.stderr


def test_every_session_says_in_one_line_what_it_does() -> None:
    assert [name for name, session in listed().items() if not session["description"]] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [f"unit-{RUNNING}", "site", "core"]),
        (("--tags", "ci"), [*[f"unit-3.{minor}" for minor in range(8, 15)], "deep", "site", "integration", "e2e"]),
    ],
)
def test_what_runs_without_and_with_the_tag_of_ci(
    options: Sequence[str], expected: Sequence[str], console_nox: Path
) -> None:
    found = listed(*options, command=[str(console_nox)])

    assert [name for name, session in found.items() if session["mark"] == "*"] == list(expected)
