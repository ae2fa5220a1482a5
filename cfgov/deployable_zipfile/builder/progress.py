"""What a person sees while a build runs: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Callable, Iterator

from ..console import Console

_EVERY = 0.1  # seconds between two drawings of a bar


@contextlib.contextmanager
def phase(console: Console, text: str, total: int = 0) -> Iterator[Callable[[int], None]]:
    """Show that a phase has begun; the callable that is yielded takes what was done of *total* since its last call.

    ``NO_COLOR`` (no-color.org) and ``TERM=dumb`` are honoured. The bar is drawn from the caller's own thread, since
    phases fork.
    """
    if not total or console.quiet or console.as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        console.step(text)
        yield _ignore
        return
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Terminal(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task(text, total=total)
        drawn = 0.0

        def advance(done: int) -> None:
            nonlocal drawn
            bar.advance(task, done)
            if time.monotonic() - drawn > _EVERY:
                bar.refresh()
                drawn = time.monotonic()

        yield advance
    console.step(text)


def _ignore(done: int) -> None:
    del done
