"""What a command line prints: progress and warnings to people on stderr, the result on stdout.

Only command lines make a :class:`Console`; library code is handed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, TextIO, Tuple, Union

from .errors import DeployableZipfileError, masked, printable
from .signals import is_main_thread

_EVERY = 0.1  # seconds between two drawings of a bar by what is done
_TICK = 0.5  # seconds between two drawings by the clock
_WORTH_TELLING = 1.0  # seconds that a phase took
_INSTANT = 0.05  # seconds of a step that nobody saw, so that no line of it stays
_BAR = 20  # columns of a bar, where there is room
_CLEAR = "\r\x1b[K"  # ECMA-48 8.3.41, erase in line


def columns_of(stream: Optional[TextIO]) -> int:
    """Return how many characters a line of the terminal *stream* has, 80 where it is none."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns if stream else 0) or 80
    except (OSError, ValueError):
        return 80


class Console:
    """Where messages go.

    Parameters:
        quiet: say nothing but warnings, errors and the result.
        as_json: print the result as one JSON object instead of text.
        out, err: streams; the process's own when left out.

    A message that stderr does not take is dropped: nothing else could report it. A result that stdout does not take is
    an error, because the caller believes to have it.
    """

    def __init__(
        self, quiet: bool = False, as_json: bool = False, out: Optional[TextIO] = None, err: Optional[TextIO] = None
    ) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self._out: Optional[TextIO] = out or sys.stdout  # None when the process was started without
        self._err: Optional[TextIO] = err or sys.stderr
        self._drawn = False  # a bar is in the last line
        self._writing = False
        self._phases: List[Callable[[], str]] = []  # their lines, the innermost last

    def step(self, text: str) -> None:
        """Say what is being done now."""
        if not self.quiet:
            self._say(printable(text))

    @contextlib.contextmanager
    def phase(
        self, text: str, total: int = 0, bar: bool = True, place: Optional[Tuple[int, int]] = None
    ) -> Iterator[Callable[[int], None]]:
        """Say what is being done now, on a terminal with a line that shows it until it is done.

        That line is drawn again every half second, also while this process only waits for another one. The timer is a
        signal and no thread, because phases fork; it is not inherited. There is no colour. ``TERM=dumb`` gets the plain
        line of a log. Phases may be nested: the inner one is shown.

        Parameters:
            total: what there is to do, in any unit; 0: not known.
            bar: False when the caller knows that nobody should see one.
            place: number of steps done before this one, and of all steps, when this is one of several.

        Yields a callable that takes what was done since its last call. Another thread may call it.
        """
        if not (bar and self._is_terminal()):
            self.step(text)
            yield _ignore
            return
        began = time.monotonic()
        done, last = 0, 0.0

        def line() -> str:
            seconds = time.monotonic() - began
            if total:
                return bar_line(printable(text), done, total, seconds, columns_of(self._err))
            return waiting_line(printable(text), seconds, columns_of(self._err), place)

        def advance(more: int) -> None:
            nonlocal done, last
            done += more
            now = time.monotonic()
            if now - last > _EVERY and is_main_thread():
                self._draw()
                last = now

        self._phases.append(line)
        try:
            with self._ticking():
                self._draw()
                yield advance
        finally:
            self._phases.pop()
            self._erase()
        seconds = time.monotonic() - began
        if not place or seconds >= _INSTANT:
            self.step(f"{text} {seconds:.1f} s" if place or seconds >= _WORTH_TELLING else text)

    @contextlib.contextmanager
    def _ticking(self) -> Iterator[None]:
        """Draw the line of the innermost phase by the clock, if this thread may have signals and nobody else's timer
        runs."""
        if len(self._phases) > 1 or not is_main_thread():
            yield
            return
        owner = os.getpid()

        def tick(_number: int, _frame: Optional[FrameType]) -> None:
            if os.getpid() == owner and not self._writing:
                self._draw()

        before = signal.signal(signal.SIGALRM, tick)
        try:
            signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before or signal.SIG_DFL)

    def _is_terminal(self) -> bool:
        if self.quiet or self.as_json or self._err is None or os.environ.get("TERM", "dumb") == "dumb":
            return False
        return self._err.isatty()

    def _draw(self) -> None:
        if self._phases:
            self._put(_CLEAR + masked(self._phases[-1]()))
            self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._put(_CLEAR)
        self._drawn = False

    def _put(self, text: str) -> None:
        """Write *text* past the stream's buffer: the timer may have interrupted a writer that holds it."""
        if self._err is not None:
            with contextlib.suppress(OSError):
                os.write(self._err.fileno(), _encodable(text, self._err).encode(self._err.encoding, "replace"))

    def warn(self, text: str) -> None:
        """Say what should be looked at, also when quiet."""
        self._say(f"warning: {printable(text)}")

    def error(self, error: DeployableZipfileError) -> None:
        """Print the one line of *error*; as JSON on stdout too, when JSON was asked for."""
        if self.as_json:
            document = {"ok": False, "exit_code": error.exit_code, "error": error_document(error)}
            with contextlib.suppress(OSError, DeployableZipfileError):  # the line on stderr follows in any case
                self._print(json.dumps(document))
        self._say(f"error: {error}")

    def result(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> None:
        """Print the outcome: *document* (with ``"ok": true`` unless it says otherwise) or *text*.

        Parameters:
            document: for ``--json``.
            text: for people. Its lines are escaped as errors are; given as a sequence, so are newlines inside them.

        Raises:
            BrokenPipeError: the reader is gone.
            DeployableZipfileError: stdout is closed or does not take it.
        """
        shown = self.shown(document, text)
        if shown:
            self._print(shown)

    def shown(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> str:
        """Return what :meth:`result` prints, without the last newline."""
        if self.as_json:
            # DEL is the one character that acts and that JSON in ASCII does not escape.
            return json.dumps(dict({"ok": True}, **document), sort_keys=True).replace("\x7f", "\\u007f")
        lines = text.split("\n") if isinstance(text, str) else text
        return "\n".join(printable(line) for line in lines) if text else ""

    def installed(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> None:
        """Print what was installed, as :meth:`result`; nothing is expected by a stdout that was closed from the start.

        Raises:
            BrokenPipeError, DeployableZipfileError: as :meth:`result`, of a stdout that is open.
        """
        (self.outcome if self._out is None else self.result)(document, text)

    def outcome(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> None:
        """Print what was done. That nobody takes it is a warning: it is done all the same."""
        try:
            self.result(document, text)
        except (OSError, DeployableZipfileError) as error:
            why = error.strerror if isinstance(error, OSError) else error.why
            self.warn(f"everything is done, but the result could not be written ({why})")

    def _say(self, text: str) -> None:
        self._writing = True  # the timer keeps quiet
        try:
            self._erase()
            if self._err is not None:
                with contextlib.suppress(OSError):
                    print(_encodable(masked(text), self._err), file=self._err, flush=True)
        finally:
            self._writing = False

    def _print(self, text: str) -> None:
        reason = "it is closed"
        try:
            if self._out is not None:
                print(_encodable(masked(text), self._out), file=self._out, flush=True)
                return
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
        raise DeployableZipfileError("the result", f"cannot be written to stdout ({reason})", "Redirect it elsewhere")


def bar_line(text: str, done: int, total: int, seconds: float, columns: int) -> str:
    """Return one line of at most *columns* - 1: what is done, a bar, the share of *total*, and the time that is left.

    Parameters:
        seconds: since it began; the rest is expected to take as long for each part of *total*.
    """
    share = min(done / total, 1.0)
    left = "-:--"
    if seconds >= 1:
        left = _clock(seconds * (1 - share) / share) if share > 0 else f"{_clock(seconds)} so far"
    # A large total is a number of bytes.
    count = f"{done / 1e6:.0f}/{total / 1e6:.0f} MB" if total >= 10_000_000 else f"{min(done, total)}/{total}"
    return _line(text, share, f"{share:4.0%} {count} {left}", columns)


def waiting_line(text: str, seconds: float, columns: int, place: Optional[Tuple[int, int]] = None) -> str:
    """Return one line of at most *columns* - 1 for work whose size is not known: what is done, and the time it took.

    Parameters:
        seconds: since it began.
        place: number of steps done before this one, and of all steps; they get a bar.
    """
    if place is None:
        tail = _clock(seconds)
        return f"{text[: max(columns - len(tail) - 2, 0)]} {tail}"[: max(columns - 1, 0)]
    before, steps = place
    return _line(text, before / max(steps, 1), f"{before + 1}/{steps} {_clock(seconds)}", columns)


def _line(text: str, share: float, tail: str, columns: int) -> str:
    room = columns - 1 - len(tail) - 1
    width = max(min(_BAR, room - len(text) - 1), 0)
    full = int(width * share)
    drawn = f"{'#' * full}{'-' * (width - full)} " if width >= 5 else ""
    text = text[: max(room - len(drawn), 0)]
    return f"{text} {drawn}{tail}"[: max(columns - 1, 0)]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02}"


def _ignore(done: int) -> None:
    del done


def _encodable(text: str, stream: TextIO) -> str:
    """Return *text* with escapes for what the encoding of *stream* lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def error_document(error: DeployableZipfileError) -> Dict[str, str]:
    """Return the parts of *error* for JSON output."""
    return {"kind": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
