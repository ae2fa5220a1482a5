"""Releases switched on a host while visitors ask: what is measured, and how it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple

from tests.support.fixtures_docker import one_at_a_time, result_folder
from tests.support.hosts import Host
from tests.support.traffic import MEASURING, Answer, Traffic, summary

CLIENTS, SLOW = 50, 0.05
# Without a pause the clients take the whole machine. Where nothing is measured they leave some of it to the site.
SLOW_SECONDS, PAUSE = (8.0, 0.0) if MEASURING else (4.0, 1.0)


class Change(NamedTuple):
    """One switch, as it was reported."""

    began: float
    ended: float
    release: str


class Visitors:
    """Traffic in a thread of its own while something happens to the site; one such crowd at a time on this machine."""

    def __init__(self, port: int) -> None:
        self.traffic = Traffic(port, CLIENTS, SLOW, SLOW_SECONDS, PAUSE)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.traffic.run()))
        self._turn = contextlib.ExitStack()

    def __enter__(self) -> "Visitors":
        self._turn.enter_context(one_at_a_time("traffic"))
        self._thread.start()
        time.sleep(3)
        return self

    def __exit__(self, *_: object) -> None:
        with self._turn:
            self.traffic.stop()
            self._thread.join()

    @property
    def answers(self) -> List[Answer]:
        """Return what was answered so far."""
        return self.traffic.answers


def from_elsewhere(answers: List[Answer], changes: List[Change]) -> List[Answer]:
    """Return the answers to requests begun after a switch was reported done that came from another release."""
    wrong = []
    for number, change in enumerate(changes):
        following = changes[number + 1].began if number + 1 < len(changes) else float("inf")
        for answer in answers:
            settled = change.ended <= answer.began and answer.ended < following
            if settled and not answer.failed and answer.build != change.release:
                wrong.append(answer)
    return wrong


def summary_of_switches(answers: List[Answer], changes: List[Change]) -> Dict[str, Any]:
    """Return the numbers of the traffic and those of the switches meanwhile."""
    return dict(
        summary(answers),
        switches=len(changes),
        wrong=len(from_elsewhere(answers, changes)),
        longest_switch=round(max(change.ended - change.began for change in changes), 1),  # seconds
    )


def keep(file: str, name: str, numbers: Dict[str, Any]) -> None:
    """Print the numbers of a measurement and keep them beside the test results of *file*."""
    print(f"zero downtime, {name}: {json.dumps(numbers)}")
    folder = result_folder(file)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name.replace(':', '-').replace('/', '_')}.json").write_text(json.dumps(numbers, indent=1) + "\n")


def switched(host: Host, ids: List[str], count: int, restart: str, after: Callable[[], None]) -> List[Change]:
    """Switch *count* times between the two releases, of which the first is live."""
    changes = []
    for number in range(count):
        target = ids[(number + 1) % 2]
        began = time.monotonic()
        words = (target, "--force", "--not-bad", "--restart", restart)
        document = host.verb("one.zip", "rollback", *words)
        assert document["release"] == target
        changes.append(Change(began, time.monotonic(), target))
        after()
    return changes
