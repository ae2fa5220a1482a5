"""The request of the self-test: what every server gives an application is there, and no application waits for more."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from typing import Any, Dict, List

import pytest

from deployable_zipfile.deploy import probe

Received = Dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Return a function that sends one request into an application and returns the last line printed."""

    def ask(kind: str, application: Any, path: str = "/") -> str:
        module = types.ModuleType("probed_site")
        setattr(module, "application", application)  # noqa: B010  (mypy: the module has no such attribute)
        monkeypatch.setitem(sys.modules, "probed_site", module)
        wanted = {"wsgi": "", "asgi": "", kind: "probed_site:application", "path": path, "host": "site.example"}
        probe.main([json.dumps(wanted)])
        return str(capsys.readouterr().out).strip().splitlines()[-1]

    return ask


def test_a_wsgi_application_finds_what_every_server_gives(asked: Any) -> None:
    seen: Received = {}

    def application(environ: Received, start_response: Any) -> List[bytes]:
        seen.update(environ)
        start_response("200 OK", [("X-Build-Id", "ab")])
        return [b"four"]

    assert asked("wsgi", application, "/caf%C3%A9/?one=%20") == "200 4 ab"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/café/"
    assert seen["QUERY_STRING"] == "one=%20"
    for name in ("HTTP_USER_AGENT", "HTTP_ACCEPT", "REMOTE_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "RAW_URI"):
        assert seen[name], name
    assert asked("wsgi", application) == "200 4 ab"
    assert seen["QUERY_STRING"] == ""


def test_an_asgi_application_finds_what_every_server_gives(asked: Any) -> None:
    seen: Received = {}

    async def application(scope: Received, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.update(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Build-Id", b"ab")]})
        await send({"type": "http.response.body", "body": b"four"})

    assert asked("asgi", application, "/caf%C3%A9/?one=%20") == "200 4 ab"
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/café/", b"/caf%C3%A9/", b"one=%20")
    assert {name for name, _ in seen["headers"]} == {b"host", b"user-agent", b"accept"}


def test_the_client_stays_until_the_answer_is_complete(asked: Any) -> None:
    ended: List[str] = []

    async def application(scope: Received, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

        async def listen() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            ended.append("disconnected")

        assert (await receive())["type"] == "http.request"
        task = asyncio.ensure_future(listen())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"four", "more_body": True})
        assert ended == []
        await send({"type": "http.response.body", "body": b""})
        await asyncio.wait_for(task, 30)

    assert asked("asgi", application).split()[:2] == ["200", "12"]
    assert ended == ["disconnected"]


def test_an_asgi_application_that_ends_without_an_answer_is_named(asked: Any) -> None:
    async def application(scope: Received, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    with pytest.raises(SystemExit, match="without an answer"):
        asked("asgi", application)
