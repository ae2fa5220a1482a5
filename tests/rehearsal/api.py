"""The part of GitHub's API that the workflows use, on 127.0.0.1, for ``gh`` with GH_HOST=github.localhost.

``gh`` uses plain HTTP to that host, and to its proxy; so the server is the proxy. Everything is in memory.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Tuple
from urllib.parse import parse_qs, urlsplit

HOST = "github.localhost"


class Repository:
    """Releases, issues, comments and pull requests of one repository."""

    def __init__(self) -> None:
        self.releases: List[Dict[str, Any]] = []
        self.files: Dict[int, bytes] = {}
        self.issues: List[Dict[str, Any]] = []
        self.comments: Dict[int, List[Dict[str, Any]]] = {}
        self.pulls: List[Dict[str, Any]] = []
        self.dispatched: List[str] = []
        self.enabled: List[str] = []
        self.unknown: List[str] = []
        self.serial = 0

    def number(self) -> int:
        """Return a number that nothing has yet."""
        self.serial += 1
        return self.serial

    def assets(self, release: Dict[str, Any]) -> Dict[str, bytes]:
        """Return name and bytes of each asset of *release*."""
        return {asset["name"]: self.files[asset["id"]] for asset in release["assets"]}


class Server:
    """The API in a thread; a context manager."""

    def __init__(self) -> None:
        self.repository = Repository()
        handler = type("Handler", (Handler,), {"repository": self.repository})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def proxy(self) -> str:
        """Return the value of HTTP_PROXY."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    repository: Repository

    def log_message(self, *_: Any) -> None:
        """Write nothing."""

    def body(self) -> bytes:
        """Return the body, of a length that is known before or sent in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while True:
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return body

    def answer(self) -> None:
        """Find the route of the request and send what it returns."""
        parts = urlsplit(self.path)
        body = self.body()
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, re.sub(r"\A(/api/v3|/api/uploads)?/repos/[^/]+/[^/]+", "", parts.path))
            if method == self.command and match:
                status, content = action(self.repository, match.groups(), body, parse_qs(parts.query))
                break
        else:
            self.repository.unknown.append(f"{self.command} {self.path} {body[:300]!r}")
            status, content = 404, {"message": "Not Found"}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json; charset=utf-8"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer  # noqa: N815 - names that http.server calls


Answer = Tuple[int, Any]


def _release_by_tag(here: Repository, names: Any, *_: Any) -> Answer:
    found = [entry for entry in here.releases if entry["tag_name"] == names[0] and not entry["draft"]]
    return (200, found[0]) if found else (404, {"message": "Not Found"})


def _create_release(here: Repository, _: Any, body: bytes, __: Any) -> Answer:
    number = here.number()
    root = f"http://api.{HOST}/repos/cfpb/deployable-zipfile/releases/{number}"
    entry = {
        "draft": False,
        "name": "",
        **json.loads(body),
        "id": number,
        "url": root,
        "html_url": f"http://{HOST}/releases/{number}",
        "upload_url": f"http://uploads.{HOST}/repos/cfpb/deployable-zipfile/releases/{number}/assets{{?name,label}}",
        "assets": [],
    }
    here.releases.append(entry)
    return 201, entry


def _find(here: Repository, number: str) -> Dict[str, Any]:
    return next(entry for entry in here.releases if entry["id"] == int(number))


def _edit_release(here: Repository, names: Any, body: bytes, _: Any) -> Answer:
    entry = _find(here, names[0])
    entry.update(json.loads(body))
    return 200, entry


def _upload(here: Repository, names: Any, body: bytes, query: Any) -> Answer:
    entry, number, name = _find(here, names[0]), here.number(), query["name"][0]
    if any(asset["name"] == name for asset in entry["assets"]):
        return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
    url = f"http://api.{HOST}/repos/cfpb/deployable-zipfile/releases/assets/{number}"
    asset = {"id": number, "name": name, "state": "uploaded", "size": len(body), "url": url, "label": ""}
    entry["assets"].append(asset)
    here.files[number] = body
    return 201, asset


def _download(here: Repository, names: Any, *_: Any) -> Answer:
    return 200, here.files[int(names[0])]


def _delete_asset(here: Repository, names: Any, *_: Any) -> Answer:
    for entry in here.releases:
        entry["assets"] = [asset for asset in entry["assets"] if asset["id"] != int(names[0])]
    return 204, b""


def _create_issue(here: Repository, _: Any, body: bytes, __: Any) -> Answer:
    number = here.number()
    entry = {**json.loads(body), "number": number, "html_url": f"http://{HOST}/issues/{number}"}
    here.issues.append(entry)
    return 201, entry


def _comments(here: Repository, names: Any, *_: Any) -> Answer:
    return 200, here.comments.get(int(names[0]), [])


def _comment(here: Repository, names: Any, body: bytes, _: Any) -> Answer:
    number = here.number()
    entry = {**json.loads(body), "id": number, "user": {"type": "Bot"}, "html_url": f"http://{HOST}/comments/{number}"}
    here.comments.setdefault(int(names[0]), []).append(entry)
    return 201, entry


def _edit_comment(here: Repository, names: Any, body: bytes, _: Any) -> Answer:
    for entries in here.comments.values():
        for entry in entries:
            if entry["id"] == int(names[0]):
                entry.update(json.loads(body))
                return 200, entry
    return 404, {"message": "Not Found"}


def _create_pull(here: Repository, _: Any, body: bytes, __: Any) -> Answer:
    number, document = here.number(), json.loads(body)
    entry = {
        **document,
        "head": {"ref": document["head"]},
        "number": number,
        "html_url": f"http://{HOST}/pull/{number}",
    }
    here.pulls.append(entry)
    return 201, entry


def _dispatch(here: Repository, names: Any, body: bytes, _: Any) -> Answer:
    here.dispatched.append(f"{names[0]} {json.loads(body)['ref']}")
    return 204, b""


def _enable(here: Repository, names: Any, *_: Any) -> Answer:
    here.enabled.append(names[0])
    return 204, b""


def _graphql(here: Repository, _: Any, body: bytes, __: Any) -> Answer:
    document = json.loads(body)
    query, variables = document["query"], document.get("variables") or {}
    if "refs/tags" in json.dumps(variables) or "RepositoryFindRef" in query:
        return 200, {"data": {"repository": {"ref": {"id": "REF"}}}}
    if "release(" in query:
        tag = variables.get("tagName")
        found = [
            {"databaseId": entry["id"], "isDraft": entry["draft"]}
            for entry in here.releases
            if entry["tag_name"] == tag
        ]
        return 200, {"data": {"repository": {"release": found[0] if found else None}}}
    if "viewerPermission" in query:
        return 200, {"data": {"repository": {"id": "R", "viewerPermission": "WRITE", "name": "deployable-zipfile"}}}
    here.unknown.append(f"graphql {query} {variables}")
    return 200, {"data": {}, "errors": [{"message": "unknown query"}]}


ROUTES = (
    ("POST", r"(?:/api)?/graphql", _graphql),
    ("GET", r"/releases", lambda here, *_: (200, here.releases)),
    ("POST", r"/releases", _create_release),
    ("GET", r"/releases/tags/([^/]+)", _release_by_tag),
    ("GET", r"/releases/assets/(\d+)", _download),
    ("DELETE", r"/releases/assets/(\d+)", _delete_asset),
    ("GET", r"/releases/(\d+)", lambda here, names, *_: (200, _find(here, names[0]))),
    ("PATCH", r"/releases/(\d+)", _edit_release),
    ("POST", r"/releases/(\d+)/assets", _upload),
    ("GET", r"/issues", lambda here, *_: (200, here.issues)),
    ("POST", r"/issues", _create_issue),
    ("GET", r"/issues/(\d+)/comments", _comments),
    ("POST", r"/issues/(\d+)/comments", _comment),
    ("PATCH", r"/issues/comments/(\d+)", _edit_comment),
    ("GET", r"/pulls", lambda here, *_: (200, here.pulls)),
    ("POST", r"/pulls", _create_pull),
    ("POST", r"/actions/workflows/([^/]+)/dispatches", _dispatch),
    ("PUT", r"/actions/workflows/([^/]+)/enable", _enable),
)
