from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from deployable_zipfile.builder import progress
from deployable_zipfile.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **options: Any) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.phase(Console(err=stream, **options), "Packing", 100) as advance:
        advance(50)
        advance(50)
    return stream.getvalue()


def test_a_log_gets_one_plain_line_per_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, io.StringIO()) == "Packing\n"


def test_a_terminal_gets_a_bar_and_keeps_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(monkeypatch, Terminal())
    assert "%" in text
    assert text.endswith("Packing\n")


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(monkeypatch, Terminal())
    assert "\x1b[3" not in text
    assert "\x1b[38" not in text


@pytest.mark.parametrize(("options", "term"), [({"quiet": True}, "xterm"), ({"as_json": True}, "xterm"), ({}, "dumb")])
def test_no_bar_is_drawn_when_nobody_would_see_one(monkeypatch: pytest.MonkeyPatch, options: Any, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    assert "%" not in shown(monkeypatch, Terminal(), **options)
