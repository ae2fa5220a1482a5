"""tools.picture: what it draws, and that the committed picture is drawn from the committed session."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tools import picture

SVG = picture.FOLDER / "terminal.svg"
TEXT = picture.FOLDER / "terminal.txt"


def shown(svg: str) -> "list[str]":
    """Return the texts of a picture from top to bottom and from left to right."""
    found = []
    for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        text = "".join(element.itertext()).replace("\xa0", " ").strip()
        if text:
            found.append((float(element.attrib["y"]), float(element.attrib["x"]), text))
    return [text for _, _, text in sorted(found)]


def test_the_committed_picture_shows_the_committed_session() -> None:
    lines = TEXT.read_text("utf-8").splitlines()
    assert shown(SVG.read_text("utf-8")) == shown(picture.drawn(lines))
    assert [line[len(picture.PROMPT) :] for line in lines if line.startswith(picture.PROMPT)] == list(picture.COMMANDS)
    assert max(map(len, lines)) <= picture.COLUMNS
    assert any("is live" in line for line in lines)


def test_a_picture_asks_no_other_host() -> None:
    urls = set(re.findall(r"\w+://[^\s\"')]+", SVG.read_text("utf-8")))
    assert urls == {"http://www.w3.org/2000/svg"}


def test_the_text_of_a_session_cannot_act_in_a_picture() -> None:
    assert shown(picture.drawn(["$ x", "<script>alert(1)</script> [bold]a[/bold] &amp;"]))[1:] == [
        "<script>alert(1)</script> [bold]a[/bold] &amp;"
    ]


@pytest.mark.deep
def test_a_session_is_recorded_and_drawn_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(picture, "COMMANDS", ("deployable-zipfile --version", "python3 -I -c 'print(6 * 7)'"))
    assert picture.main(["--output", str(tmp_path / "new")]) == 0
    lines = (tmp_path / "new/terminal.txt").read_text("utf-8").splitlines()
    assert lines[0] == "$ deployable-zipfile --version"
    assert lines[2:] == ["$ python3 -I -c 'print(6 * 7)'", "42"]
    assert "42" in shown((tmp_path / "new/terminal.svg").read_text("utf-8"))


def test_a_command_that_fails_draws_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(picture, "COMMANDS", ("python3 -I -c 'raise SystemExit(3)'",))
    assert picture.main(["--output", str(tmp_path / "new")]) == 1
    assert "exit code 3" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
