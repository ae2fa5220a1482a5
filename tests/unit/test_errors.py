"""Errors are one printable line each, with an exit code per kind."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from deployable_zipfile import errors
from deployable_zipfile.console import Console
from tests.support.depth import sampled


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.DeployableZipfileError, 1),
        (errors.UsageError, 2),
        (errors.ArtifactError, 3),
        (errors.TargetError, 4),
        (errors.DestinationError, 5),
        (errors.WheelError, 6),
        (errors.BuildInputError, 7),
        (errors.DeploymentError, 8),
        (errors.Interrupted, 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind: "type[errors.DeployableZipfileError]", code: int) -> None:
    assert kind.exit_code == code
    assert isinstance(kind("a", "b"), errors.DeployableZipfileError)


def test_every_class_of_the_module_is_in_the_table_above() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(kinds) == 9


def test_a_line_says_what_why_and_fix() -> None:
    assert str(errors.ArtifactError("x.zip", "is cut", "Copy it again")) == "x.zip: is cut. Copy it again."
    assert str(errors.ArtifactError("x.zip", "is cut")) == "x.zip: is cut."


@pytest.mark.parametrize(
    "hostile", ["\n", "\r", "\x1b[31m", "\u202e", "\u2028", "\u2029", "\ud800", "\x85", "\x00", "\ue000"]
)
def test_no_name_can_forge_a_line_or_act_on_a_terminal(hostile: str) -> None:
    line = str(errors.ArtifactError(f"a{hostile}b", f"is{hostile}cut", f"Copy{hostile}"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line.encode("utf-8")
    assert line.count("\\") == 3


def test_what_can_be_read_stays_as_it_is() -> None:
    assert errors.printable("Grüße 日本 a/b.py '=%$") == "Grüße 日本 a/b.py '=%$"


def test_a_long_line_loses_its_middle_and_keeps_both_ends() -> None:
    line = str(errors.ArtifactError("x" * 2000, "is cut", "Copy it again"))
    assert len(line) == errors.MAX_LINE
    assert line.startswith("xxx")
    assert line.endswith("is cut. Copy it again.")
    assert " ... " in line


def test_an_error_of_a_worker_can_be_made_again_from_its_parts() -> None:
    error = errors.WheelError("a\nb", "is cut", None)
    again = errors.WheelError(error.what, error.why, error.fix)
    assert str(again) == str(error)


GIT = "git+https://{}@h/r.git@" + "a" * 40 + "#egg=x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:TOKEN@h/x", "https://****@h/x"),
        ("https://TOKEN@h:8443/x@1?y", "https://****@h:8443/x@1?****"),
        (GIT.format("u:TOKEN"), GIT.format("****")),
        (GIT.format("u:a%40b%2FTOKEN"), GIT.format("****")),
        ("https://u:a/TOKEN@h/x", "https://****@h/x"),
        ("https://u:a@TOKEN@h/x", "https://****@h/x"),
        ("x @ http://127.0.0.1:9/x-1-py3-none-any.whl?sig=TOKEN", "x @ http://127.0.0.1:9/x-1-py3-none-any.whl?****"),
        ("--index-url http://h/simple?token=TOKEN/foo/", "--index-url http://h/simple?****"),
        ("exceeded with url: /x.whl?sig=TOKEN (Caused by", "exceeded with url: /x.whl?**** (Caused by"),
        ("https%3A%2F%2Fu%3ATOKEN%40h%2Fx%3Fsig%3DTOKEN", "https%3A%2F%2F****%40h%2Fx%3Fsig%3D****"),
        ("at https://h/x?sig=TOKEN. Try again (see /y?z=TOKEN).", "at https://h/x?****. Try again (see /y?****)."),
        ("https://h/x#token=TOKEN", "https://h/x#****"),
        (f"https://h/x#{'a' * 501}=TOKEN", "https://h/x#****"),
        (f"https://h/x#{'a/:b' * 9000}=TOKEN", "https://h/x#****"),
        ("https://h/x#egg=x&token=TOKEN", "https://h/x#****"),
        ("https://h/x#egg=y,https://h/y#sha256=1&TOKEN=TOKEN", "https://h/x#egg=y,https://h/y#****"),
        ("https://h/x#a://b=TOKEN", "https://h/x#****"),
        ('{"why": "https://u:TOKEN@h/x?a=TOKEN", "fix": "?"}', '{"why": "https://****@h/x?****", "fix": "?"}'),
    ],
)
def test_no_text_shows_the_secret_part_of_a_url(text: str, shown: str) -> None:
    assert errors.masked(text) == shown
    assert "TOKEN" not in str(errors.BuildInputError(text, text, text))
    console = Console(as_json=True, out=io.StringIO(), err=io.StringIO())
    console.step(text)
    console.warn(text)
    console.error(errors.BuildInputError("what", text, text))
    console.result({"text": text}, text)
    for stream in (console._out, console._err):
        assert isinstance(stream, io.StringIO)
        assert "TOKEN" not in stream.getvalue()
        assert len(stream.getvalue()) > 20


@pytest.mark.parametrize(
    "text",
    [
        "https://h:8443/a@b#subdirectory=x&egg=y",
        "docs: https://h/x#anchor is it? yes",
        "docs: https://h/x=#anchor, https://h/y#anchor",
        "https://h/x.whl#sha256=ab&egg=y,https://h/y.whl#md5=cd",
        "file:///a/b@c/d.whl",
        "100% of 5",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert errors.masked(text) == text


def test_a_secret_that_was_seen_in_a_url_is_masked_outside_of_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_concealed", set())
    errors.conceal("--index-url https://git:pa%2Fss-w0rd@h/simple\nx @ https://h/x.whl?sig=s1gnature&v=1")
    assert (
        errors.masked("401 for pa/ss-w0rd, pa%2Fss-w0rd and s1gnature; git 1") == "401 for ****, **** and ****; git 1"
    )
    errors.conceal(f"x{'1' * 30}://u:s3cond@h/x {'+' * 50}://u:th1rd@h/")
    assert errors.masked("s3cond, th1rd") == "****, ****"


_SLOW = """
import sys
from deployable_zipfile import errors
words = ("://", "a://", "://a:", "://a#", "://#", "://a?", "%3A%2F%2F", "%3Fa%3D", "?a", "a?b=", "#a", "a@")
for word in (*words, "://#egg=", "#egg=x&", "://#a"):
    for last in ("", "@", "#a", "?", "=", "%40", " @"):
        errors.masked(word * int(sys.argv[1]) + last)
"""


@pytest.mark.parametrize("times", sampled([5_000, 30_000], 1))
def test_no_text_can_make_masking_slow(times: int) -> None:
    """With a search that goes to the end from every URL one of these took minutes."""
    folder = Path(errors.__file__).resolve().parents[1]
    command = [sys.executable, "-c", _SLOW, str(times)]
    subprocess.run(command, check=True, timeout=120, env={"PYTHONPATH": str(folder)})


def test_masking_a_long_log_takes_no_time_that_grows_with_its_square() -> None:
    text = "https://h/" + "a" * 200_000 + " " + "?" * 100_000 + "%3A%2F%2F" * 10_000
    assert len(errors.masked(text)) > 1000
