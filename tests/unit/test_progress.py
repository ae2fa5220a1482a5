"""Progress: a bar on a terminal, plain lines in a log. The terminal is a pseudo-terminal, as a person has one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, List

import pytest

from deployable_zipfile import console as module
from deployable_zipfile.console import Console, bar_line, waiting_line
from tests.support.artifacts import make_artifact
from tests.support.depth import sampled
from tests.support.sites import MANAGE, make_site, write_environment
from tests.support.terminal import Shown, open_terminal, parsed, read_all, run_in_terminal


def shown(columns: int, **options: Any) -> str:
    """Return what a phase of 100 parts, interrupted by a warning, writes to a terminal that is *columns* wide."""
    master, slave = open_terminal(columns)
    with os.fdopen(slave, "w") as stream:
        console = Console(err=stream, **options)
        with console.phase("Fetching wheels for CPython 3.11 on x86_64", 100) as advance:
            advance(50)
            console.warn("something")
            advance(50)
    return read_all(master)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_gets_a_bar_that_fits_and_keeps_one_line(columns: int) -> None:
    text = shown(columns)
    assert "0% 0/100 -:--" in text
    lines = text.replace("\r\n", "\n").split("\n")
    assert lines[0].rpartition("\x1b[K")[2] == "warning: something"
    assert lines[1].rpartition("\x1b[K")[2] == "Fetching wheels for CPython 3.11 on x86_64"
    drawn = [part for line in lines for part in line.split("\r\x1b[K") if "/100" in part]
    assert drawn
    assert max(map(len, drawn)) < columns


def test_there_is_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" in shown(80)
    assert shown(80).replace("\x1b[K", "").count("\x1b") == 0


@pytest.mark.parametrize(("options", "term"), [({"quiet": True}, "xterm"), ({"as_json": True}, "xterm"), ({}, "dumb")])
def test_no_bar_is_drawn_when_nobody_would_see_one(monkeypatch: pytest.MonkeyPatch, options: Any, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    assert "%" not in shown(80, **options)


def test_a_log_gets_one_plain_line_before_the_work() -> None:
    stream = io.StringIO()
    with Console(err=stream).phase("Packing", 100) as advance:
        assert stream.getvalue() == "Packing\n"
        advance(100)
    assert stream.getvalue() == "Packing\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Packing", 25, 100, 10.0, 80), "Packing #####---------------  25% 25/100 0:30"),
        (("Packing", 100, 100, 10.0, 80), "Packing #################### 100% 100/100 0:00"),
        (("Verifying", 50_000_000, 200_000_000, 100.0, 80), "Verifying #####---------------  25% 50/200 MB 5:00"),
        (("A very long name", 1, 100, 2.0, 25), "A very l   1% 1/100 3:18"),
        (("x", 0, 5, 0.0, 1), ""),
    ],
)
def test_a_bar_has_a_count_and_an_estimate(arguments: Any, line: str) -> None:
    found = bar_line(*arguments)
    assert len(found) <= arguments[4] - 1
    assert found == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Fetching", 0, 4, 5.0, 80), "Fetching --------------------   0% 0/4 0:05 so far"),
        (("Fetching wheels for CPython 3.11", 0, 4, 5.0, 40), "Fetching wheels fo   0% 0/4 0:05 so far"),
    ],
)
def test_a_bar_without_an_estimate_shows_the_time_so_far(arguments: Any, line: str) -> None:
    assert bar_line(*arguments) == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("Fetching wheels", 65.0, 80), "Fetching wheels 1:05"),
        (("Fetching wheels", 65.0, 12), "Fetchi 1:05"),
        (("migrate ...", 3.0, 60, (2, 4)), "migrate ... ##########---------- 3/4 0:03"),
        (("Importing every module and every file", 3.0, 40, (1, 7)), "Importing every module and eve 2/7 0:03"),
        (("x", 3.0, 1), ""),
    ],
)
def test_work_of_unknown_size_shows_its_place_and_its_time(arguments: Any, line: str) -> None:
    assert len(line) <= max(arguments[2] - 1, 0)
    assert waiting_line(*arguments) == line


def terminal_shows(work: Any, columns: int = 80) -> Shown:
    """Return what *work*, given a console, shows on a terminal."""
    master, slave = open_terminal(columns)
    with os.fdopen(slave, "w") as stream:
        work(Console(err=stream))
    return parsed(0, read_all(master))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second pass in a fifth of one."""
    began = time.monotonic()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: began + 5 * (time.monotonic() - began)))
    monkeypatch.setattr(module, "_TICK", module._TICK / 5)


def test_a_phase_lives_while_the_process_only_waits(quick: None) -> None:
    def work(console: Console) -> None:
        with console.phase("Waiting"):
            subprocess.run(["sleep", "0.25"], check=True)

    found = terminal_shows(work)
    assert {"Waiting 0:00", "Waiting 0:01"} <= {line.replace("0:02", "0:01") for line in found.drawn}
    [line] = found.lines
    assert line.startswith("Waiting ")
    assert line.endswith(" s")


def test_the_inner_one_of_two_phases_is_shown_and_then_the_outer_one_again(quick: None) -> None:
    def work(console: Console) -> None:
        with console.phase("install ...", place=(1, 4)):
            with console.phase("Verifying", 10) as advance:
                advance(10)
                time.sleep(0.15)
            time.sleep(0.15)

    found = terminal_shows(work)
    shapes = [line.split()[0] for line in found.drawn]
    assert shapes.index("Verifying") > shapes.index("install")
    assert shapes[-1] == "install"
    assert [line.split()[0] for line in found.lines] == ["Verifying", "install"]


def test_a_process_that_was_forked_draws_nothing(quick: None) -> None:
    def work(console: Console) -> None:
        with console.phase("Working"):
            child = os.fork()
            if not child:
                time.sleep(0.15)
                os._exit(0)
            signal.setitimer(signal.ITIMER_REAL, 0)  # what is drawn from here on is the child's
            drawn = console._drawn
            os.waitpid(child, 0)
            assert drawn

    found = terminal_shows(work)
    assert set(found.drawn) == {"Working 0:00"}


def test_the_timer_and_its_signal_are_as_before_afterwards() -> None:
    def before(_number: int, _frame: Any) -> None:
        raise AssertionError("the timer still runs")

    old = signal.signal(signal.SIGALRM, before)
    try:

        def fail(console: Console) -> None:
            with console.phase("Working", 3):
                raise KeyError("x")

        with pytest.raises(KeyError):
            terminal_shows(fail)
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is before
    finally:
        signal.signal(signal.SIGALRM, old)


def test_a_phase_of_another_thread_needs_no_signal() -> None:
    def work(console: Console) -> None:
        def phase() -> None:
            with console.phase("Working", 2) as advance:
                advance(2)

        thread = threading.Thread(target=phase)
        thread.start()
        thread.join()

    assert terminal_shows(work).lines == ["Working"]


SLOW = (
    MANAGE
    + """
if words[0] == "migrate":
    time.sleep(1.2)  # a phase that took a second is told with its time
"""
)


@pytest.mark.parametrize("columns", sampled([40, 80], 1))
def test_a_deployment_shows_every_step_its_place_and_its_time(columns: int, tmp_path: Path) -> None:
    artifact = make_site(tmp_path / "site.zip", manage=SLOW)
    environment = write_environment(tmp_path / "environment.json")
    command = [sys.executable, "-I", artifact, "deploy", "--root", tmp_path / "root", "--restart", "none"]
    found = run_in_terminal([*command, "--allow-dirty", "--env-file", environment], columns)
    assert found.code == 0, found.text
    assert max(map(len, found.drawn)) < columns
    steps = ["check", "install", "migrate", "switch", "restart", "health", "prune"]
    places = {name: {line.split()[-2] for line in found.drawn if line.startswith(f"{name} ...")} for name in steps}
    assert all(len(place) == 1 for place in places.values()), places
    assert places["check"] == {"1/15"}
    assert places["prune"] == {"15/15"}
    assert any(line.startswith("migrate ...") and line.endswith((" 0:01", " 0:02")) for line in found.drawn)
    [line] = [line for line in found.lines if line.startswith("migrate ...")]  # of a quick step none stays
    assert line.endswith(" s"), line


@pytest.mark.parametrize("columns", sampled([40, 120], 1))
def test_an_installation_shows_a_bar_for_each_phase(columns: int, tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "site.zip")
    found = run_in_terminal([sys.executable, "-I", artifact, "-d", tmp_path / "site", "--no-sync"], columns)
    assert found.code == 0, found.text
    for phase in ("Verifying", "Installing"):
        drawn = [part for part in found.drawn if part.startswith(phase[:4]) and "%" in part]
        assert drawn
        assert max(map(len, drawn)) < columns


@pytest.mark.parametrize("columns", sampled([40, 80], 1))
@pytest.mark.parametrize("verb", sampled([["selftest"], ["serve", "--check", "--port", "0"]], [["selftest"]]))
def test_what_runs_in_a_scratch_folder_shows_its_steps(columns: int, verb: List[str], tmp_path: Path) -> None:
    artifact = make_site(tmp_path / "site.zip", manage=SLOW)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-I", artifact, *verb, "--scratch", scratch]
    found = run_in_terminal(command, columns, {"NO_COLOR": "1"})
    assert found.code == 0, found.text
    assert max(map(len, found.drawn)) < columns
    assert "\x1b[3" not in found.text
    assert any(line.startswith("Installing site") and "%" in line for line in found.drawn)
    step = "manage.py migrate" if verb[0] == "selftest" else "migrate"
    assert any(line.startswith(step) and line.endswith((" 0:01", " 0:02")) for line in found.drawn)
    [line] = [line for line in found.lines if line.startswith(f"{step} ")]
    assert line.endswith(" s"), line
    if verb[0] == "selftest":
        assert any(line.startswith(step) and " 6/7 " in line for line in found.drawn)
    assert os.listdir(str(scratch)) == []
