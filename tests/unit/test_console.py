"""Messages to stderr, the result to stdout, whatever these two are."""

from __future__ import annotations

import errno
import io
import json
from typing import Any, List

import pytest

from deployable_zipfile.console import Console
from deployable_zipfile.errors import DeployableZipfileError, DestinationError


class Full(io.StringIO):
    """A stream on a full disk, or one whose reader is gone."""

    def __init__(self, number: int = errno.ENOSPC) -> None:
        super().__init__()
        self._number = number

    def write(self, _: str) -> int:
        raise OSError(self._number, "No space left on device") if self._number != errno.EPIPE else BrokenPipeError()


def streams(**options: Any) -> "tuple[Console, io.StringIO, io.StringIO]":
    out, err = io.StringIO(), io.StringIO()
    return Console(out=out, err=err, **options), out, err


def test_steps_and_warnings_go_to_stderr_and_the_result_to_stdout() -> None:
    console, out, err = streams()
    console.step("Verifying a\nb")
    console.warn("no \x1b[0m")
    console.result({"a": 1}, "done")
    assert err.getvalue() == "Verifying a\\nb\nwarning: no \\x1b[0m\n"
    assert out.getvalue() == "done\n"


def test_quiet_keeps_warnings_errors_and_the_result() -> None:
    console, out, err = streams(quiet=True)
    console.step("Verifying")
    console.warn("look")
    console.error(DestinationError("/srv", "is full", "Free space"))
    console.result({}, "done")
    assert err.getvalue() == "warning: look\nerror: /srv: is full. Free space.\n"
    assert out.getvalue() == "done\n"


def test_an_empty_text_prints_nothing() -> None:
    console, out, _ = streams()
    console.result({}, "")
    assert out.getvalue() == ""


def test_json_is_one_object_on_stdout_also_for_an_error() -> None:
    console, out, err = streams(as_json=True)
    console.result({"b": 1, "a": "é"}, "text")
    assert json.loads(out.getvalue()) == {"ok": True, "a": "é", "b": 1}
    assert out.getvalue().isascii()
    console, out, err = streams(as_json=True)
    console.error(DestinationError("/srv", "is full", "Free space"))
    assert json.loads(out.getvalue()) == {
        "ok": False,
        "exit_code": 5,
        "error": {"kind": "DestinationError", "what": "/srv", "why": "is full", "fix": "Free space"},
    }
    assert err.getvalue() == "error: /srv: is full. Free space.\n"


def test_a_result_can_say_that_all_is_not_well() -> None:
    console, out, _ = streams(as_json=True)
    console.result({"ok": False}, "")
    assert json.loads(out.getvalue()) == {"ok": False}


def test_messages_that_stderr_does_not_take_stop_nothing() -> None:
    out = io.StringIO()
    console = Console(out=out, err=Full())
    console.step("one")
    console.warn("two")
    console.error(DestinationError("/srv", "is full"))
    console.result({}, "done")
    assert out.getvalue() == "done\n"


def test_a_result_that_stdout_does_not_take_is_an_error() -> None:
    console = Console(out=Full(), err=io.StringIO())
    with pytest.raises(
        DeployableZipfileError, match=r"cannot be written to stdout \(No space left on device\)"
    ) as caught:
        console.result({}, "done")
    assert caught.value.exit_code == 1


def test_a_reader_that_is_gone_is_told_apart() -> None:
    with pytest.raises(BrokenPipeError):
        Console(out=Full(errno.EPIPE), err=io.StringIO()).result({}, "done")


def test_an_error_in_json_reaches_stderr_when_stdout_is_full() -> None:
    err = io.StringIO()
    Console(as_json=True, out=Full(), err=err).error(DestinationError("/srv", "is full"))
    assert err.getvalue() == "error: /srv: is full.\n"


def test_closed_streams_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr", None)
    console = Console()
    console.step("step")
    console.error(DestinationError("/srv", "is full"))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(DeployableZipfileError, match="it is closed"):
        Console().result({}, "done")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding_of_a_terminal_takes_any_text(encoding: str) -> None:
    raw: List[io.BytesIO] = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(one, encoding=encoding, errors="strict", newline="\n") for one in raw)
    console = Console(out=out, err=err)
    console.step("日本 é")
    console.result({}, "日本 é")
    expected = "日本 é\n".encode(encoding, "backslashreplace")
    assert [one.getvalue() for one in raw] == [expected, expected]
