"""What differs from the record of an earlier run is shown, and is not a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import facts


def test_without_a_record_it_says_which_file_to_commit(tmp_path: Path) -> None:
    (line,) = facts.changes(tmp_path / "centos7.txt", "[python]\nPython 3.8.13\n")

    assert line.endswith("Commit the file as docker/centos7/recorded/centos7.txt")


def test_the_same_facts_are_no_news(tmp_path: Path) -> None:
    (tmp_path / "centos7.txt").write_text("[python]\nPython 3.8.13\n", encoding="utf-8")

    assert facts.changes(tmp_path / "centos7.txt", "[python]\nPython 3.8.13\n") == []


def test_what_changed_is_shown_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "centos7.txt").write_text("[python]\nPython 3.8.13\n[libc]\nldd 2.17\n", encoding="utf-8")

    lines = facts.changes(tmp_path / "centos7.txt", "[python]\nPython 3.8.20\n[libc]\nldd 2.17\n")

    assert "-Python 3.8.13" in lines
    assert "+Python 3.8.20" in lines
    assert not any("ldd" in line for line in lines)


def test_an_image_that_does_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 125\n", encoding="utf-8")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert facts.main(["--platform", "centos7", "--image", "no:such"]) == 125
    assert capsys.readouterr().err == "error: no:such: did not answer. Build it: nox -s images\n"
