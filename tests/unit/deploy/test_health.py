"""The proof that the new release answers, against servers that lie in every way that is known."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from deployable_zipfile.deploy import health
from deployable_zipfile.deploy.health import Check, prove
from deployable_zipfile.errors import DeploymentError, UsageError
from tests.support.depth import sampled
from tests.support.processes import no_thread_after
from tests.support.sites import Server

NEW, OLD = "a" * 32, "b" * 32


def answer(build: Optional[str], status: int = 200, body: bytes = b"good") -> Tuple[int, Dict[str, str], bytes]:
    return status, {"X-Build-Id": build} if build else {}, body


def check(url: str, in_a_row: int = 3, timeout: float = 1.0, **headers: str) -> Check:
    return Check(url, headers, in_a_row, timeout)


class Clock:
    """Stands in for the module ``time``: it passes by sleeping, so that no machine is too slow for a short deadline."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += max(seconds, 0.001)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass but in pauses of 2 s: the last answer has as long as that too, on any machine."""
    monkeypatch.setattr(health, "time", Clock())
    monkeypatch.setattr(health, "_FIRST_PAUSE", 2.0)
    monkeypatch.setattr(health, "_LAST_PAUSE", 2.0)


def test_the_right_answers_in_a_row_are_proof() -> None:
    with Server(lambda _: answer(NEW)) as server:
        assert prove(check(server.url), NEW).answers == 3


def test_each_answer_comes_over_a_connection_of_its_own() -> None:
    with Server(lambda _: answer(NEW)) as server:
        prove(check(server.url), NEW)
        assert {headers["Connection"] for headers in server.seen} == {"close"}


def test_old_processes_between_new_ones_start_the_count_again() -> None:
    with Server(lambda number: answer(OLD if number in (2, 4) else NEW)) as server:
        assert prove(check(server.url, timeout=10), NEW).answers == 7


def test_half_of_the_workers_old_is_no_proof(clock: None) -> None:
    why = f"release {OLD} answers instead of {NEW}"
    with Server(lambda number: answer(OLD if number % 2 else NEW)) as server, pytest.raises(DeploymentError, match=why):
        prove(check(server.url, timeout=10), NEW)


def test_what_was_wrong_is_told_though_the_last_answer_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    found = iter([f"release {OLD} answers", "status 503", "it was not complete within 0.1 s"])

    def fault(_check: Check, _build: Optional[str], seconds: float) -> str:
        clock.sleep(seconds if seconds < 0.2 else 0.0)
        return next(found)

    monkeypatch.setattr(health, "_fault", fault)
    with pytest.raises(DeploymentError, match=r"status 503 \(3 answers"):
        prove(check("http://127.0.0.1/", timeout=0.3), NEW)


def test_a_first_answer_that_is_cut_short_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    monkeypatch.setattr(health, "_fault", lambda *_: clock.sleep(1) or "it was not complete")
    with pytest.raises(DeploymentError, match=r"it was not complete \(1 answers"):
        prove(check("http://127.0.0.1/", timeout=0.3), NEW)


def test_a_server_that_needs_time_is_asked_again() -> None:
    with Server(lambda number: answer(NEW, 200 if number > 3 else 503)) as server:
        assert prove(check(server.url, timeout=10), NEW).answers == 6


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer(NEW, 500), "status 500"),
        (answer(NEW, 404), "status 404"),
        (answer(NEW, 204), "status 204"),
        (answer(OLD), "instead of"),
        (answer(None), "contains no build id"),
        (answer(None, body=b"x" + NEW.encode() + b"0"), "contains no build id"),
        ((301, {"Location": "https://elsewhere.example/", "X-Build-Id": NEW}, b""), "status 301 to https://elsewhere"),
    ],
)
def test_a_wrong_answer_is_told(said: Tuple[int, Dict[str, str], bytes], why: str, clock: None) -> None:
    with Server(lambda _: said) as server, pytest.raises(DeploymentError, match=why):
        prove(check(server.url, timeout=10), NEW)


def test_a_site_without_the_header_proves_itself_in_the_body() -> None:
    with Server(lambda _: answer(None, body=b'{"build": "' + NEW.encode() + b'"}')) as server:
        prove(check(server.url), NEW)


def test_a_release_of_no_known_build_needs_a_good_status_alone() -> None:
    with Server(lambda _: answer(None)) as server:
        prove(check(server.url), None)


def test_further_headers_are_sent() -> None:
    with Server(lambda _: answer(NEW)) as server:
        prove(check(server.url, in_a_row=1, Host="www.example.org"), NEW)
        assert server.seen[0]["Host"] == "www.example.org"


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Server(lambda _: answer(NEW)) as server:
        prove(check(server.url), NEW)


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing, or the bytes that a hanging server drips."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken: List[socket.socket] = []
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            try:
                taken.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=take)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    stop.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in taken:
        connection.close()


def ends_in_time(url: str, timeout: float, why: str) -> None:
    """Ask *url*, which fails by *why*, and is over within a second after the deadline.

    On a busy machine one try may be late for reasons of its own; a mistake makes every try late.
    """
    late = []
    for _ in range(4):
        began = time.monotonic()
        with pytest.raises(DeploymentError, match=why):
            prove(check(url, timeout=timeout), NEW)
        late.append(time.monotonic() - began - timeout)
        if late[-1] < 1.0:
            break
    assert min(late) < 1.0, late


@pytest.mark.parametrize("scheme", sampled(["http", "https"], 1))
def test_a_server_that_hangs_ends_at_the_deadline(silent: str, scheme: str) -> None:
    """For https it hangs before the handshake."""
    ends_in_time(silent.replace("http", scheme), 0.15, "no answer")


def test_a_server_that_takes_no_connection_ends_at_the_deadline() -> None:
    """Its queue is full, so the kernel answers no further one."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        ends_in_time(f"http://127.0.0.1:{listener.getsockname()[1]}/", 0.15, "no answer")


def test_where_no_thread_can_be_started_it_says_so_at_the_deadline(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread_after(0))
    ends_in_time(silent, 0.15, "no answer: .*no further thread can be started")


def test_nobody_on_the_port_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ends_in_time(f"http://127.0.0.1:{port}/", 0.15, "refused")


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http:///health", "/health", "http://user:secret@host/", "http://h:99999/"]
)
def test_a_url_that_cannot_be_asked_or_shown_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        health.parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["Host", "Host : a", "Ho st: a", "Host: a\r\nX: b", ": a"])
def test_a_header_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        health.parse_header(text)


def test_a_header_is_read() -> None:
    assert health.parse_header("X-Forwarded-Proto:  https ") == ("X-Forwarded-Proto", "https")


@pytest.mark.parametrize("said", sampled([answer(OLD), answer(None, 500)], 1, whole=True))
def test_wrong_answers_without_end_end_at_the_deadline(said: Tuple[int, Dict[str, str], bytes]) -> None:
    with Server(lambda _: said) as server:
        ends_in_time(server.url, 0.2, "answers in 0 s")


def drip(*pieces: bytes, again: bytes = b"", pause: float = 0.05) -> Callable[[socket.socket], None]:
    """Return what a server says that never comes to an end: *pieces*, and *again* for as long as anybody listens."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        for piece in pieces:
            connection.sendall(piece)
        for _ in range(400):
            connection.sendall(again)
            time.sleep(pause)

    return talk


@contextlib.contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on 127.0.0.1 that does *talk* with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            talk(connection)

    def take() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


OK = b"HTTP/1.1 200 OK\r\n"
DRIPPING = {
    "status line": drip(again=b"H"),
    "one long header": drip(OK + b"X-Long: ", again=b"x"),
    "headers": drip(OK, again=b"A: b\r\n"),
    "100 Continue": drip(again=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk sizes": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"0"),
    "chunks": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"1\r\nx\r\n"),
    "trailers": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", again=b"A: b\r\n"),
    "body": drip(OK + b"Content-Length: 1000000\r\n\r\n", again=b"x"),
    "body without an end": drip(OK + b"\r\n", again=b"x"),
}


@pytest.mark.parametrize("what", sampled(DRIPPING, ["status line", "chunks"]))
def test_a_server_that_drips_ends_at_the_deadline(what: str) -> None:
    with talking(DRIPPING[what]) as url:
        ends_in_time(url, 0.2, "no answer")


def reset(connection: socket.socket) -> None:
    """Begin an answer and end it with RST instead of FIN."""
    connection.recv(65_536)
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\nx")
    time.sleep(0.05)  # the client reads that first
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(text: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(text)

    return talk


ENDLESS = {
    **DRIPPING,
    "answer of 1 MiB": say(OK + b"Content-Length: 1048576\r\n\r\n" + b"x" * 1048576),
    "answer of 1 MiB in chunks": say(OK + b"Transfer-Encoding: chunked\r\n\r\n100000\r\n" + b"x" * 1048576),
    "error of 1 MiB": say(b"HTTP/1.1 500 No\r\nContent-Length: 1048576\r\n\r\n" + b"x" * 1048576),
    "chunk of no size": say(OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n"),
    "too short a body": say(OK + b"Content-Length: 1000\r\n\r\nx"),
    "no answer": say(b""),
    "not HTTP": say(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "reset": reset,
}


@pytest.mark.parametrize("what", sampled(ENDLESS, ["headers", "body without an end", "answer of 1 MiB"]))
def test_every_connection_is_closed_however_its_answer_ends(what: str, connections: List[socket.socket]) -> None:
    """Not by the garbage collector, which may come much later."""
    with talking(ENDLESS[what]) as url, pytest.raises(DeploymentError):
        prove(check(url, timeout=0.2), NEW)
    deadline = time.monotonic() + 10  # the server would go on for 20 s
    while any(one.fileno() != -1 for one in connections):  # by the thread that asked, when it finds its connection cut
        assert time.monotonic() < deadline, connections
        time.sleep(0.01)
    assert connections


def test_a_fast_flood_ends_at_the_deadline() -> None:
    flood = drip(again=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0)
    with talking(flood) as url:
        ends_in_time(url, 0.2, "no answer")


def test_a_name_that_takes_long_to_look_up_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(20) and [])
    ends_in_time("http://slow.example/", 0.15, "not complete within")
    done.set()
