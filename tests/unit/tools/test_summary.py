"""What a pull request is told about its artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.artifacts import make_artifact
from tests.support.helpers import make_wheel
from tools import summary


def test_the_summary_names_size_digest_build_and_commit(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")

    text = summary.summary(artifact, None)

    assert text.startswith(summary.MARK)
    assert f"| size | {artifact.stat().st_size:,} bytes |" in text
    assert "| build id | `" in text
    assert "no artifact of main" in text


def test_the_same_artifact_has_no_changes(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")

    assert "The same build as main's." in summary.summary(artifact, artifact)


def test_what_was_added_removed_changed_and_upgraded_is_named(tmp_path: Path) -> None:
    old = make_wheel(tmp_path / "old", "thing", "1.0", {"thing/__init__.py": "1"})
    new = make_wheel(tmp_path / "new", "thing", "2.0", {"thing/__init__.py": "2"})
    before = make_artifact(tmp_path / "before.zip", {"__init__.py": "", "a.py": "1", "b.py": "1"}, [old])
    after = make_artifact(tmp_path / "after.zip", {"__init__.py": "", "a.py": "2", "c.py": "1"}, [new])

    text = summary.summary(after, before)

    assert "- package thing: 1.0 → 2.0" in text
    assert "- added: `site_one/c.py`" in text
    assert "- removed: `site_one/b.py`" in text
    assert "`site_one/a.py`" in text.split("- changed:")[1]
    assert " bytes." in text.split("Against main's")[1]


def test_the_summary_is_appended_to_what_the_job_said_before(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")
    (tmp_path / "summary.md").write_text("before\n", encoding="utf-8")

    command = ["--artifact", str(artifact), "--base", str(artifact), "--output", str(tmp_path / "summary.md")]
    assert summary.main(command) == 0

    assert (tmp_path / "summary.md").read_text("utf-8").startswith(f"before\n{summary.MARK}")


def test_a_damaged_artifact_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.zip").write_bytes(b"no zip")

    assert summary.main(["--artifact", str(tmp_path / "site.zip"), "--base", "x"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
