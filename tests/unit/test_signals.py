"""Signals that come at a bad moment wait for a better one, also while other threads run."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any, Iterator, List

import pytest

from deployable_zipfile import process, workers
from deployable_zipfile.signals import ENDING_SIGNALS, unbroken
from tests.support.artifacts import PACKAGE
from tests.support.processes import children, descriptors

REAL_CLOSE = os.close


@contextlib.contextmanager
def handled(handler: Any, number: int = signal.SIGTERM) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class Other:
    """A thread that blocks no signal, as the reader of a test runner or a request that hangs."""

    def __enter__(self) -> "Other":
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._end.wait, args=(60,))
        self._thread.start()
        self._came, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._before = signal.set_wakeup_fd(self._told)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._before)
        self._end.set()
        self._thread.join()
        REAL_CLOSE(self._came)
        REAL_CLOSE(self._told)

    def take(self, number: int) -> int:
        """Let this thread take the signal, and return it when Python knows of it."""
        assert self._thread.ident is not None
        while select.select([self._came], [], [], 0)[0]:
            os.read(self._came, 1)  # of a signal before
        signal.pthread_kill(self._thread.ident, number)
        assert select.select([self._came], [], [], 30)[0]
        return os.read(self._came, 1)[0]


def mask() -> Any:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


class Stop(Exception):
    pass


def stop(*_: object) -> None:
    raise Stop


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_takes_effect_after_the_block(number: int) -> None:
    seen: List[str] = []
    with handled(lambda *_: seen.append("signal"), number):
        with unbroken():
            signal.pthread_kill(threading.get_ident(), number)
            seen.append("work")
        seen.append("after")
    assert seen == ["work", "signal", "after"]


@pytest.mark.parametrize("number", ENDING_SIGNALS)
def test_a_signal_that_another_thread_takes_waits_too(number: int) -> None:
    seen: List[str] = []
    with handled(lambda *_: seen.append("signal"), number), Other() as other:
        with unbroken():
            other.take(number)
            seen.append("work")
        seen.append("after")
    assert seen == ["work", "signal", "after"]


def test_an_exception_of_a_handler_comes_after_the_step_and_leaves_mask_and_handler_as_they_were() -> None:
    done, before = [], mask()
    with handled(stop), Other() as other:
        with pytest.raises(Stop), unbroken():
            done.append(other.take(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is stop
    assert done == [signal.SIGTERM]
    assert mask() == before


def test_an_ignored_signal_stays_ignored() -> None:
    with handled(signal.SIG_IGN, signal.SIGHUP):
        with unbroken():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_blocks_within_blocks_wait_for_the_outermost() -> None:
    seen: List[str] = []
    with handled(lambda *_: seen.append("signal")), Other() as other:
        with unbroken():
            with unbroken(signal.valid_signals()):
                other.take(signal.SIGTERM)
            seen.append("work")
        seen.append("after")
    assert seen == ["work", "signal", "after"]


def test_outside_of_the_main_thread_the_mask_is_all() -> None:
    found: List[Any] = []

    def work() -> None:
        with unbroken():
            found.append(set(ENDING_SIGNALS) <= mask())
        found.append(mask())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True, mask()]


def test_what_no_handler_takes_ends_the_process_after_the_block() -> None:
    program = (
        f"import os, signal, sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from deployable_zipfile.signals import unbroken\n"
        "with unbroken():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.write(1, b'work')\n"
        "os.write(1, b'after')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, b"work")


def test_a_team_is_ended_when_another_thread_takes_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every close of a descriptor, which is where a handler would cut the tidying up short."""
    closed = at = 0
    parent = os.getpid()
    with handled(stop), Other() as other:

        def close(descriptor: int) -> None:
            nonlocal closed
            REAL_CLOSE(descriptor)
            if os.getpid() == parent:
                closed += 1
                if closed == at:
                    other.take(signal.SIGTERM)

        monkeypatch.setattr(os, "close", close)
        before = descriptors()
        for number in range(1, 7):
            closed, at = 0, number
            with pytest.raises(Stop):
                list(workers.run(lambda number: number, 2, 2))
            assert descriptors() == before
            assert children() == []


def test_a_program_is_stopped_when_another_thread_takes_the_signal_while_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: List[Any] = []
    real = process._popen

    with handled(stop), Other() as other:

        def popen(*words: Any, **options: Any) -> Any:
            begun.append(real(*words, **options))
            other.take(signal.SIGTERM)
            return begun[-1]

        monkeypatch.setattr(process, "_popen", popen)
        with pytest.raises(Stop):
            process.run(["sleep", "60"], timeout=90)
        with pytest.raises(Stop), process.Server(["sleep", "60"], 2, "/", dict(os.environ)):
            raise AssertionError("the signal was lost")
    assert [one.returncode for one in begun] == [-signal.SIGTERM] * 2
