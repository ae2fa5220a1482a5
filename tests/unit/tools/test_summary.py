"""What a pull request is told about its artifact."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.artifacts import make_artifact
from tests.support.helpers import make_wheel, run_cli
from tools import summary


def test_the_summary_names_size_digest_build_and_commit(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")

    text = summary.summary(artifact, None)

    assert text.startswith(summary.MARK)
    assert f"| size | {artifact.stat().st_size:,} bytes |" in text
    assert "| build id | `" in text
    assert "Main has no artifact" in text


def test_the_same_artifact_has_no_changes(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")

    assert "The same build as main's." in summary.summary(artifact, artifact)


def test_what_was_added_removed_changed_and_upgraded_is_named(tmp_path: Path) -> None:
    old = make_wheel(tmp_path / "old", "thing", "1.0", {"thing/__init__.py": "1"})
    new = make_wheel(tmp_path / "new", "thing", "2.0", {"thing/__init__.py": "2"})
    before = make_artifact(tmp_path / "before.zip", {"__init__.py": "", "a.py": "1", "b.py": "1"}, [old])
    after = make_artifact(tmp_path / "after.zip", {"__init__.py": "", "a.py": "2", "c.py": "1"}, [new])

    text = summary.summary(after, before)

    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")]
    named = {(row[0][2:], row[1], row[2]) for row in rows if len(row) == 5}
    assert named >= {
        ("package", "upgraded", "thing"),
        ("project file", "added", "site&#95;one/c.py"),
        ("project file", "removed", "site&#95;one/b.py"),
        ("project file", "changed", "site&#95;one/a.py"),
    }
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


def test_the_page_is_written_and_a_text_that_was_written_is_handed_on(tmp_path: Path) -> None:
    before, after = (
        make_artifact(tmp_path / "a.zip"),
        make_artifact(tmp_path / "b.zip", {"__init__.py": "", "c.py": ""}),
    )
    text, page, output = tmp_path / "text.md", tmp_path / "page.html", tmp_path / "out.md"

    command = ["--artifact", str(after), "--base", str(before), "--output", str(text), "--page", str(page)]
    assert summary.main(command) == 0
    assert summary.main(["--text", str(text), "--output", str(output)]) == 0

    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert output.read_text("utf-8") == text.read_text("utf-8")
    assert "c.py" in output.read_text("utf-8")


def test_a_text_is_never_longer_than_a_comment_may_be(tmp_path: Path) -> None:
    names = {f"{'<' * 200}{number}.txt": "1" for number in range(400)}
    before, after = make_artifact(tmp_path / "a.zip"), make_artifact(tmp_path / "b.zip", {"__init__.py": "", **names})

    text = summary.summary(after, before)

    assert len(text) < 65_536
    assert "more lines are left out here" in text.splitlines()[-1]
    (tmp_path / "text.md").write_text(text, encoding="utf-8")


def test_handing_on_needs_the_standard_library_alone(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("something\n", encoding="utf-8")
    command = [sys.executable, "-I", "-S", "-c", "import runpy, sys; sys.path[:0] = sys.argv[1:3]; del sys.argv[1:3];"]
    command[-1] += "runpy.run_module('tools.summary', run_name='__main__', alter_sys=True)"
    root = Path(summary.__file__).resolve().parents[1]

    done = run_cli([*command, root, root / "cfgov", "--text", tmp_path / "text.md"])

    assert done.stdout == "something\n"
