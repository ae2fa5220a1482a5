"""Work spread over processes: done once each, errors come back, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile import workers as team
from deployable_zipfile.errors import DestinationError, TargetError, WheelError
from tests.support.artifacts import PACKAGE
from tests.support.depth import sampled
from tests.support.processes import children, descriptors, no_thread_after


@pytest.mark.parametrize("workers", [0, 1, 2, 8])
@pytest.mark.parametrize("count", sampled([0, 1, 3, 5000], [0, 1, 3]))
def test_every_number_is_worked_on_once(count: int, workers: int) -> None:
    before = descriptors()
    assert sorted(team.run(lambda number: number, count, workers)) == list(range(count))
    assert descriptors() == before
    assert children() == []


@pytest.mark.parametrize("workers", sampled([1, 2, 8], [2]))
@pytest.mark.parametrize(("first", "count"), [(1, 2), (5, 12), (3000, 3001), (4, 4), (1, 3000)])
def test_the_first_calls_are_done_before_any_other_begins(first: int, count: int, workers: int, tmp_path: Path) -> None:
    def work(number: int) -> int:
        if number >= first:
            return len(os.listdir(str(tmp_path)))
        if number == 0:
            time.sleep(0.1)
        (tmp_path / str(number)).touch()
        return -1

    before = descriptors()
    assert sorted(team.run(work, count, workers, first)) == [-1] * first + [first] * (count - first)
    assert descriptors() == before
    assert children() == []


def test_an_error_in_the_first_calls_keeps_the_others_from_beginning(tmp_path: Path) -> None:
    def work(number: int) -> None:
        if number == 0:
            raise OSError(28, "No space left on device")
        (tmp_path / str(number)).touch()

    with pytest.raises(OSError, match="No space left"):
        list(team.run(work, 9, 2, 1))
    assert os.listdir(str(tmp_path)) == []
    assert children() == []


def test_one_worker_is_this_process_and_several_are_not() -> None:
    assert set(team.run(lambda _: os.getpid(), 3, 1)) == {os.getpid()}
    assert os.getpid() not in set(team.run(lambda _: os.getpid(), 3, 2))


def test_answers_larger_than_a_pipe_arrive_whole() -> None:
    size = 300_000
    answers = list(team.run(lambda number: bytes([number]) * size, 6, 2))
    assert sorted(answers) == [bytes([number]) * size for number in range(6)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_back_as_what_it_was(workers: int) -> None:
    def work(number: int) -> int:
        if number == 7:
            raise WheelError("wheels/a.whl/x.py", "is cut", "Copy it again")
        return number

    with pytest.raises(WheelError, match=r"wheels/a\.whl/x\.py: is cut\. Copy it again\.") as caught:
        list(team.run(work, 20, workers))
    assert caught.value.exit_code == 6
    assert children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_system_keeps_number_and_path(workers: int) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        list(team.run(lambda _: os.mkdir("/nowhere/at/all"), 2, workers))
    assert caught.value.filename == "/nowhere/at/all"


def test_an_error_of_the_system_without_a_path_comes_back() -> None:
    def work(_: int) -> None:
        raise OSError(28, "No space left on device", 7)

    with pytest.raises(OSError, match="No space left on device") as caught:
        list(team.run(work, 2, 2))
    assert caught.value.errno == 28


def test_a_defect_comes_back_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(team.run(lambda number: 1 // number, 2, 2))


def test_lack_of_memory_is_told_as_such() -> None:
    def work(_: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(team.run(work, 2, 2))


def test_a_worker_killed_from_outside_is_noticed() -> None:
    with pytest.raises(TargetError, match=r"worker process \d+: ended early \(signal 9\).*--workers 1"):
        list(team.run(lambda _: os.kill(os.getpid(), signal.SIGKILL), 4, 2))
    assert children() == []


def test_who_stops_listening_leaves_no_process_and_no_descriptor() -> None:
    before = descriptors()
    answers = team.run(lambda number: time.sleep(60 if number else 0), 4, 2)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert children() == []
    assert descriptors() == before


def test_where_processes_run_out_fewer_do_all_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    forked: List[int] = []

    def rare() -> int:
        if len(forked) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        forked.append(1)
        return fork()

    monkeypatch.setattr(os, "fork", rare)
    before = descriptors()
    assert sorted(team.run(lambda number: number, 100, 8)) == list(range(100))
    assert descriptors() == before


def test_without_any_process_to_spare_it_is_an_error_and_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", never)
    before = descriptors()
    with pytest.raises(BlockingIOError):
        list(team.run(lambda number: number, 10, 2))
    assert descriptors() == before


def test_a_signal_at_the_parent_ends_its_workers() -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGTERM, stop)
    parent = os.getpid()
    try:
        with pytest.raises(Stop):
            list(team.run(lambda number: time.sleep(60) if number else os.kill(parent, signal.SIGTERM), 2, 2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert children() == []


def test_a_signal_while_a_descriptor_is_closed_closes_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stop

    def close(descriptor: int) -> None:
        real(descriptor)
        if os.getpid() == parent and left.pop():
            # To this thread: another one, of the test runner, would take it while this one holds it back.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    real, parent = os.close, os.getpid()
    before, handler = descriptors(), signal.signal(signal.SIGTERM, stop)
    monkeypatch.setattr(os, "close", close)
    try:
        # Of the four that are closed before the first answer, two are the workers' and two the team's own.
        for earlier in range(4):
            left = [False] * 20 + [True] + [False] * earlier
            with pytest.raises(Stop):
                list(team.run(lambda number: number, 2, 2))
            assert descriptors() == before
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert children() == []


def test_workers_take_the_signals_that_end_them_and_spare_the_ignored_ones() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        work = [signal.SIGHUP, signal.SIGTERM]
        found = list(team.run(lambda _: [signal.getsignal(one) == signal.SIG_IGN for one in work], 2, 2))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert found == [[True, False]] * 2


def test_workers_end_soon_after_a_killed_parent() -> None:
    program = (
        f"import sys, os, time; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from deployable_zipfile import workers\n"
        "def work(number):\n"
        "    os.write(1, b'%d\\n' % os.getpid())\n"
        "    time.sleep(120)\n"
        "list(workers.run(work, 2, 2))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        assert all(process.stdout.readline().strip().isdigit() for _ in range(2))
        process.kill()
        process.wait()
        # Ends when the last process that holds the pipe does: both workers.
        assert process.stdout.read() == b""


def test_a_system_without_affinity_counts_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: int) -> None:
        raise AttributeError

    monkeypatch.setattr(os, "sched_getaffinity", missing)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert team.cores() == 1


def test_the_error_of_a_kind_that_is_unknown_is_the_general_one() -> None:
    assert team._error_class("Unknown")("a", "b", None).exit_code == 1
    assert team._error_class("DestinationError") is DestinationError


@pytest.mark.parametrize("workers", [2, 5])
def test_work_begins_before_its_answers_are_taken(workers: int, tmp_path: Path) -> None:
    def work(number: int) -> int:
        (tmp_path / str(number)).touch()
        return number

    with team.started(work, 20, workers) as answers:
        deadline = time.monotonic() + 30
        while len(os.listdir(str(tmp_path))) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir(str(tmp_path))) == 20
        assert sorted(answers) == list(range(20))
    assert children() == []


@pytest.mark.parametrize("workers", [1, 3])
def test_work_whose_answers_nobody_takes_is_given_up(workers: int) -> None:
    before = descriptors()
    with pytest.raises(KeyError), team.started(lambda _: time.sleep(60), 6, workers):
        raise KeyError
    assert children() == []
    assert descriptors() == before


def test_a_thread_that_the_system_does_not_give_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_after(0))
    with pytest.raises(BlockingIOError, match="no further thread can be started"):
        team.in_thread(print)
