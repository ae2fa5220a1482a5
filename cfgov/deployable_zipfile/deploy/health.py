"""Check that the new release answers, not only that something does.

An answer counts when its status is 200 and it names the expected build id, in the header ``X-Build-Id`` or,
where the site sends no such header, as a word of its body. Old processes may answer beside new ones for a
while, so several answers in a row, each over a fresh connection, must be right.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
import urllib.parse
from typing import Dict, Mapping, Optional

from ..definitions import NamedTuple
from ..errors import DeploymentError, UsageError
from ..workers import in_thread

HEADER = "X-Build-Id"

_MAX_BODY = 65_536  # bytes of an answer that are searched for the build id
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 1.0  # seconds between two tries after a wrong answer, doubled each time
_MAX_ANSWER_TIME = 10.0  # seconds for one answer
_TELLING = 1.0  # seconds: that an answer did not come in less, before the deadline, tells nothing


class Check(NamedTuple):
    """What to ask, and how long to go on asking."""

    url: str
    headers: Mapping[str, str]  # sent with each request: Host, X-Forwarded-Proto
    in_a_row: int  # right answers in a row that are proof
    timeout: float  # seconds for all of it


class Proof(NamedTuple):
    """How the proof went."""

    answers: int  # all of them, wrong ones included
    seconds: float


def prove(check: Check, build_id: Optional[str]) -> Proof:
    """Ask until ``check.in_a_row`` answers in a row come from *build_id*; None accepts any release.

    Raises:
        DeploymentError: the deadline passed; the message tells the last wrong answer that was given time to come.
    """
    start = time.monotonic()
    deadline = start + check.timeout
    right = answers = 0
    pause = _FIRST_PAUSE
    wrong = "no answer"
    while right < check.in_a_row:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeploymentError(
                check.url,
                f"{wrong} ({answers} answers in {check.timeout:.0f} s, {check.in_a_row} right in a row are needed)",
                "Read the web server's error log",
            )
        answers += 1
        found = _fault(check, build_id, min(left, _MAX_ANSWER_TIME))
        if found is None:
            right += 1
            pause = _FIRST_PAUSE
            continue
        right = 0
        if not (answers > 1 and left < _TELLING and time.monotonic() >= deadline):
            wrong = found
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 2, _LAST_PAUSE)
    return Proof(answers, time.monotonic() - start)


def parse_url(text: str) -> str:
    """Return *text* when it is a URL that can be asked and shown.

    Raises:
        UsageError: another scheme than http or https, no host, or a password in it, which the journal would keep.
    """
    try:
        parts = urllib.parse.urlsplit(text)
        port_is_valid = parts.port != 0
    except ValueError:
        raise UsageError("--health-url", "is not a URL", "Give http://127.0.0.1/health/") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise UsageError("--health-url", "is not an http or https URL", "Give http://127.0.0.1/health/")
    if parts.username is not None:
        raise UsageError("--health-url", "contains a user name, which the journal would store", "Use a URL without")
    return text


def parse_header(text: str) -> "tuple[str, str]":
    """Return the name and value in ``NAME: VALUE``.

    Raises:
        UsageError: it has another form.
    """
    name, colon, value = text.partition(":")
    if not colon or not re.match(r"[A-Za-z0-9-]+\Z", name) or not re.match(r"[\x20-\x7e\t]*\Z", value):
        raise UsageError(f"--health-header {text}", "must be NAME: VALUE", "Example: 'Host: www.example.org'")
    return name, value.strip()


class _Answer(NamedTuple):
    """What came back."""

    status: int
    build_id: Optional[str]  # of the header, None without one
    location: Optional[str]  # of a redirect, which is an answer of its own: following it could prove another host
    body: bytes  # its beginning


class _Exchange:
    """One request and its answer, by a thread, so that nothing in it can take longer than is left.

    A time-out of the socket is for one read, and a server that drips headers, interim answers or the sizes of chunks
    is never too late for it; looking up the name has none at all.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        self._socket: Optional[socket.socket] = None  # the connection forgets it once the answer has begun
        self._answer: Optional[_Answer] = None
        self._error: Optional[Exception] = None
        self._over = False

    def run(self, timeout: float) -> _Answer:
        """Return the answer that is complete within *timeout* seconds.

        Raises:
            OSError, http.client.HTTPException, ValueError: there is none.
        """
        thread = in_thread(self._work, timeout)
        thread.join(timeout)
        self._over = True
        if thread.is_alive():
            self._cut()
            raise OSError(f"it was not complete within {timeout:.1f} s")
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer

    def _work(self, timeout: float) -> None:
        try:
            self._answer = self._ask(timeout)
        except Exception as error:
            self._error = error

    def _ask(self, timeout: float) -> _Answer:
        parts = urllib.parse.urlsplit(self._check.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=timeout)
        try:
            connection.connect()
            self._socket = connection.sock
            if self._over:
                raise OSError("it is too late")
            path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request("GET", path, headers=_headers(self._check.headers))
            # Closed here: an answer that is not read to its end keeps the socket open after its connection.
            with connection.getresponse() as answer:
                named = answer.headers.get(HEADER)
                return _Answer(answer.status, named, answer.headers.get("Location"), _body(answer))
        finally:
            connection.close()

    def _cut(self) -> None:
        """End the connection under the thread's hands: its next read fails."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _fault(check: Check, build_id: Optional[str], timeout: float) -> Optional[str]:
    """Return what is wrong with one answer, None when it is right."""
    try:
        answer = _Exchange(check).run(timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"no answer: {type(error).__name__}: {error}"[:200]
    if answer.status != 200:
        return _status_fault(answer.status, answer.location)
    if build_id is None:
        return None
    if answer.build_id is not None:
        named = answer.build_id.strip()
        return None if named == build_id else f"release {named[:64]} answers instead of {build_id}"
    if re.search(rb"(?<![0-9a-f])" + re.escape(build_id.encode("ascii")) + rb"(?![0-9a-f])", answer.body):
        return None
    return f"the answer contains no build id: neither in a header {HEADER} nor in its body"


def _headers(extra: Mapping[str, str]) -> Dict[str, str]:
    return {"User-Agent": "deployable-zipfile", "Cache-Control": "no-cache", "Connection": "close", **extra}


def _body(answer: http.client.HTTPResponse) -> bytes:
    """Return the beginning of the body."""
    body = b""
    while len(body) < _MAX_BODY:
        part = answer.read1(_MAX_BODY - len(body))
        if not part:
            break
        body += part
    return body


def _status_fault(status: int, location: Optional[str]) -> str:
    if location is not None and 300 <= status < 400:
        return f"status {status} to {location[:80]} (for https add --health-header 'X-Forwarded-Proto: https')"
    return f"status {status}"
