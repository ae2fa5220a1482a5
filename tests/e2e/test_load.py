"""Fifty clients at once get every answer, and the memory that it takes stays what it was.

LOAD_SECONDS sets how long: 20 unless told, 120 before a release.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from typing import Dict, List, NamedTuple, Tuple

from tests.e2e.test_site import Editor
from tests.support import containers
from tests.support.fixtures_docker import one_at_a_time

CLIENTS = 50
SECONDS = float(os.environ.get("LOAD_SECONDS") or 20)
WARM_UP = 10.0  # seconds: every daemon loads its templates and opens its connections
GROWTH = 1.15  # memory afterwards against memory after the warm-up


class Outcome(NamedTuple):
    """One answer."""

    status: int  # 0: none
    seconds: float
    path: str


def test_fifty_clients_get_every_answer_and_memory_stays_flat(site: containers.Tester) -> None:
    with one_at_a_time("traffic"), Editor(site) as editor:
        cookie = f"sessionid={editor._session.cookies['sessionid']}"
        crowd(site.address, cookie, WARM_UP)
        before = memory(site)
        outcomes, elapsed = crowd(site.address, cookie, SECONDS)
    after = memory(site)
    failed = [outcome for outcome in outcomes if outcome.status != 200]
    waits = sorted(outcome.seconds for outcome in outcomes)
    print(
        f"load: {len(outcomes)} answers in {elapsed:.0f} s ({len(outcomes) / elapsed:.0f}/s) to {CLIENTS} clients, "
        f"{len(failed)} failed, median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s, "
        f"memory {before / 2**20:.0f} -> {after / 2**20:.0f} MiB"
    )
    assert failed == []
    assert len(outcomes) > CLIENTS
    assert after < before * GROWTH


def crowd(address: str, cookie: str, seconds: float) -> Tuple[List[Outcome], float]:
    """Let the clients ask for the home page and the editor's start page in turn for *seconds*; return every outcome."""
    outcomes: List[Outcome] = []
    began = time.monotonic()
    threads = [
        threading.Thread(target=_client, args=(address, cookie, began + seconds, number, outcomes))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    return outcomes, time.monotonic() - began


def _client(address: str, cookie: str, end: float, number: int, outcomes: List[Outcome]) -> None:
    host, port = address.split(":")
    asked = number
    while time.monotonic() < end:
        path, headers = ("/", {}) if asked % 2 else ("/admin/", {"Cookie": cookie})
        asked += 1
        outcomes.append(_ask(host, int(port), path, headers))


def _ask(host: str, port: int, path: str, headers: Dict[str, str]) -> Outcome:
    began = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    except (OSError, http.client.HTTPException):
        status = 0
    finally:
        connection.close()
    return Outcome(status, time.monotonic() - began, path)


def memory(site: containers.Tester) -> int:
    """Return the bytes that the container's processes hold for themselves, without files and caches of files."""
    parts = site.container.stats(stream=False)["memory_stats"]["stats"]
    return int(parts["anon"] if "anon" in parts else parts["rss"])  # names of control groups version 2 and 1
