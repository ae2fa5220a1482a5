"""tools.foreign: its list of projects, and what it makes of their results."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import foreign


@pytest.mark.parametrize("project", foreign.PROJECTS, ids=lambda project: project.name)
def test_a_project_is_pinned(project: foreign.Project) -> None:
    pins = [*project.requirements, project.server]
    assert all(re.fullmatch(r"[a-z-]+(\[[a-z]+\])?==[0-9.]+", pin) for pin in pins)
    assert project.requirements or project.lock == "uv.lock"


def test_a_step_that_fails_ends_its_project_and_is_in_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(trial: Any) -> str:
        trial.run([sys.executable, "-c", "import sys; sys.exit('error: a | b: wrong. Mend it')"])
        raise AssertionError

    monkeypatch.setattr(foreign.Trial, "make", lambda trial: None)
    monkeypatch.setattr(foreign.Trial, "pack", lambda trial: "")
    monkeypatch.setattr(foreign.Trial, "install", fail)
    monkeypatch.setattr(foreign, "DOCUMENT", tmp_path / "foreign.md")
    monkeypatch.setattr(foreign, "ROOT", tmp_path)
    (tmp_path / "foreign.md").write_text("| flask | old |\n| hc | as it was |\n| project | what it is |\n")
    assert foreign.main(["flask", "--work", str(tmp_path), "--write"]) == 1
    assert "| hc | as it was |" in (tmp_path / "foreign.md").read_text().splitlines()
    assert "old" not in (tmp_path / "foreign.md").read_text()
    row = next(line for line in (tmp_path / "foreign.md").read_text().splitlines() if line.startswith("| flask "))
    assert "| yes | no: error: a \\| b: wrong. Mend it (1) | not tried |" in row
    assert "flask: install: error" in capsys.readouterr().err


def test_an_unknown_project_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        foreign.main(["nothing"])
    assert "unknown project 'nothing'" in capsys.readouterr().err
