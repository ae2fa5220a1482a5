"""Clients that ask one site on 127.0.0.1 again and again, and remember what each answer came from.

Only the standard library, so that it also runs as a program inside a container:

    python3 traffic.py --url http://127.0.0.1:8000 --clients 50 --slow 0.05 --slow-seconds 8 --seconds 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

# Twenty take long: this many are enough to notice a change, and docs/deploy.md tells what twenty gave.
SWITCHES = int(os.environ.get("ZERO_DOWNTIME_SWITCHES", "4"))
MEASURING = SWITCHES >= 20
MAX_CLIENTS, MAX_SECONDS = 64, 3600.0  # whatever is asked for: this is a test, only on this machine
ANSWER_TIMEOUT = 90.0  # seconds
AFTER_A_FAULT = 0.5  # seconds before a visitor who got no answer tries again


class Answer(NamedTuple):
    """One request."""

    began: float  # seconds, of time.monotonic()
    ended: float
    slow: bool
    status: int  # 0: no answer
    build: str  # that the header names
    late: str  # that a module names, which the request imported after its wait; "" when it was not asked
    fault: str  # of a request without an answer

    @property
    def failed(self) -> bool:
        """Tell whether the visitor did not get what was asked for."""
        return self.status != 200

    @property
    def mixed(self) -> bool:
        """Tell whether two releases worked on one answer."""
        return bool(self.late) and self.late != self.build


class Traffic:
    """*clients* of the site at *host*:*port*; half of them keep their connection open, half take a new one each time.

    Parameters:
        slow: share of the requests that take *slow_seconds*, at ``/__test__/slow``.
        pause: seconds that a client waits between two requests.
    """

    def __init__(
        self, port: int, clients: int = 50, slow: float = 0.05, slow_seconds: float = 8.0, pause: float = 0.0
    ) -> None:
        self.answers: List[Answer] = []
        self._port = port
        self._clients = min(clients, MAX_CLIENTS)
        self._slow, self._slow_seconds, self._pause = slow, slow_seconds, pause
        self._stopping = False

    async def run(self, seconds: float = MAX_SECONDS) -> None:
        """Ask until *seconds* are over or :meth:`stop` is called; requests under way are waited for."""
        end = time.monotonic() + min(seconds, MAX_SECONDS)
        await asyncio.gather(*(self._client(number, end) for number in range(self._clients)))

    def stop(self) -> None:
        """Begin no more requests."""
        self._stopping = True

    async def _client(self, number: int, end: float) -> None:
        choice = random.Random(number)
        keep = number % 2 == 0
        connection: Optional[Tuple[asyncio.StreamReader, asyncio.StreamWriter]] = None
        while not self._stopping and time.monotonic() < end:
            slow = choice.random() < self._slow
            began = time.monotonic()
            reused = connection is not None
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self._port)
                asked = self._ask(connection, slow, keep)
                status, build, late, open_still = await asyncio.wait_for(asked, ANSWER_TIMEOUT)
                fault = ""
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                status, build, late, open_still = 0, "", "", False
                fault = f"{type(error).__name__}: {error}"
                # A server may close a connection that is kept open between two requests (RFC 9112, 9.3.1): every client
                # asks again on a new one, and so does this one. Anything else is a failure.
                cut = isinstance(error, (asyncio.IncompleteReadError, ConnectionError))
                if reused and cut and not getattr(error, "partial", b""):
                    _close(connection)
                    connection = None
                    continue
            if not open_still:
                _close(connection)
                connection = None
            self.answers.append(Answer(began, time.monotonic(), slow, status, build, late, fault))
            await asyncio.sleep(max(self._pause, AFTER_A_FAULT if fault else 0.0))
        _close(connection)

    async def _ask(
        self, connection: Tuple[asyncio.StreamReader, asyncio.StreamWriter], slow: bool, keep: bool
    ) -> Tuple[int, str, str, bool]:
        reader, writer = connection
        path = f"/__test__/slow?seconds={self._slow_seconds if slow else 0}"
        kind = "keep-alive" if keep else "close"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {kind}\r\n\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if headers.get("transfer-encoding") == "chunked":
            body = await _chunks(reader)
        elif "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            body = await reader.read()
        status = int(lines[0].split()[1])
        late = str(json.loads(body)["late_build_id"]) if status == 200 else ""
        return status, headers.get("x-build-id", ""), late, keep and headers.get("connection", "").lower() != "close"


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readline()).split(b";")[0], 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if not size:
            return body


def _close(connection: Optional[Tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
    if connection is not None:
        connection[1].close()


def summary(answers: Sequence[Answer]) -> Dict[str, Any]:
    """Return the numbers that matter."""
    failed = [answer for answer in answers if answer.failed]
    faults: Dict[str, int] = {}
    for answer in failed:
        fault = answer.fault or f"status {answer.status}"
        faults[fault] = faults.get(fault, 0) + 1
    waits = sorted(answer.ended - answer.began for answer in answers if not answer.slow and not answer.failed)
    return {
        "requests": len(answers),
        "slow": sum(answer.slow for answer in answers),
        "failed": len(failed),
        "failed_slow": sum(answer.slow for answer in failed),
        "mixed": sum(answer.mixed for answer in answers),
        "faults": faults,
        "longest_wait": round(waits[-1], 2) if waits else 0.0,  # seconds, of the requests that are not slow
        "median_wait": round(waits[len(waits) // 2], 3) if waits else 0.0,
    }


def main(argv: Sequence[str]) -> int:
    """Ask, and print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--slow", type=float, default=0.05)
    parser.add_argument("--slow-seconds", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args(argv)
    traffic = Traffic(arguments.port, arguments.clients, arguments.slow, arguments.slow_seconds)
    asyncio.run(traffic.run(arguments.seconds))
    print(json.dumps(summary(traffic.answers)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
