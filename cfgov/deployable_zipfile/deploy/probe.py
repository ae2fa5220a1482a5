"""Load a release's WSGI or ASGI callable, and send it one request on demand. Runs in the release's Python.

    python -c PROBE '{"wsgi": "MODULE:NAME", "asgi": "", "settings": "", "path": "/", "host": "localhost"}'

Without ``path`` only the callable is loaded. The last line printed is its name, or ``STATUS SIZE BUILD-ID``.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import sys
from typing import Any, Dict, List, Mapping, Sequence, Tuple
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

Answer = Tuple[int, int, Dict[str, str]]  # status, size of the body in bytes, headers by lower-case name

_HEADERS = {"User-Agent": "deployable-zipfile", "Accept": "*/*"}  # which every client sends
_END = 10.0  # seconds for the end of the lifespan protocol
_ASGI = {"version": "3.0", "spec_version": "2.0"}


def main(argv: Sequence[str]) -> None:
    """Do what the one argument says and print the result."""
    wanted = json.loads(argv[0])
    name, application = loaded(wanted)
    if "path" not in wanted:
        print(name)
        return
    asked = asyncio.run(_asgi(application, wanted)) if name == wanted["asgi"] else _wsgi(application, wanted)
    status, size, headers = asked
    print(status, size, headers.get("x-build-id", ""))


def loaded(wanted: Mapping[str, str]) -> Tuple[str, Any]:
    """Return the name of the callable, ``MODULE:NAME``, and the callable.

    With neither a WSGI nor an ASGI callable named, Django's settings name it (WSGI_APPLICATION).
    """
    if wanted.get("settings"):
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", wanted["settings"])
    name = wanted.get("wsgi") or wanted.get("asgi") or _django_name()
    module, _, names = name.partition(":")
    application: Any = importlib.import_module(module)
    for part in names.split("."):
        application = getattr(application, part)
    if not callable(application):
        raise SystemExit(f"{name} is not callable")
    return name, application


def _django_name() -> str:
    settings: Any = importlib.import_module("django.conf").settings
    path = settings.WSGI_APPLICATION
    if path is None:
        raise SystemExit("the settings name no WSGI_APPLICATION")
    return ":".join(str(path).rpartition(".")[::2])


def _wsgi(application: Any, wanted: Mapping[str, str]) -> Answer:
    path, query = _split(wanted["path"])
    environ: Dict[str, Any] = {
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),  # PEP 3333, "Unicode Issues"
        "QUERY_STRING": query,
        "RAW_URI": wanted["path"],
        "REQUEST_URI": wanted["path"],
        "HTTP_HOST": wanted["host"],
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "deployable-zipfile",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _HEADERS.items()},
    }
    setup_testing_defaults(environ)
    environ["wsgi.errors"] = sys.stderr
    answer: List[Tuple[str, Any]] = []
    body = application(environ, lambda status, headers, *_: answer.append((status, headers)))
    size = sum(len(part) for part in body)
    getattr(body, "close", lambda: None)()
    status, headers = answer[0]
    return int(status.partition(" ")[0]), size, {key.lower(): value for key, value in headers}


async def _asgi(application: Any, wanted: Mapping[str, str]) -> Answer:
    """Start the application as a server does (lifespan protocol, where it has one), then send one request."""
    starts: "asyncio.Queue[Dict[str, Any]]" = asyncio.Queue()
    says: "asyncio.Queue[Dict[str, Any]]" = asyncio.Queue()
    await starts.put({"type": "lifespan.startup"})
    life = asyncio.ensure_future(
        application({"type": "lifespan", "asgi": dict(_ASGI), "state": {}}, starts.get, says.put)
    )
    first = asyncio.ensure_future(says.get())
    await asyncio.wait({life, first}, return_when=asyncio.FIRST_COMPLETED)
    if first.done() and first.result()["type"] == "lifespan.startup.failed":
        raise SystemExit(f"startup failed: {first.result().get('message', '')}")
    sent = await _answered(application, _scope(wanted))
    await starts.put({"type": "lifespan.shutdown"})
    await asyncio.wait({life}, timeout=_END)
    for task in (life, first):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not sent:
        raise SystemExit("the application ended without an answer")
    named = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in sent[0].get("headers", [])}
    return int(sent[0]["status"]), sum(len(one.get("body", b"")) for one in sent[1:]), named


async def _answered(application: Any, scope: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Send one request without a body, and return the messages of the answer."""
    sent: List[Dict[str, Any]] = []
    over = asyncio.Event()
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Dict[str, Any]:
        if received:
            return received.pop()
        await over.wait()  # the client stays until it has its answer
        return {"type": "http.disconnect"}

    async def send(message: Dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            over.set()

    await application(scope, receive, send)
    return sent


def _scope(wanted: Mapping[str, str]) -> Dict[str, Any]:
    path, query = _split(wanted["path"])
    headers = [("host", wanted["host"]), *_HEADERS.items()]
    return {
        "type": "http",
        "asgi": dict(_ASGI),
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def _split(path: str) -> Tuple[str, str]:
    """Return the path and the query of a request's target."""
    path, _, query = path.partition("?")
    return path, query


if __name__ == "__main__":
    main(sys.argv[1:])
