"""A local server that speaks the part of GitHub's REST API which a release needs, and fails in its ways.

Shapes (fields, status codes, pagination by Link header, the templated ``upload_url``, the ``starter`` state of a broken
upload, 422 ``already_exists``, drafts absent from ``/tags``, immutable published releases) are those of GitHub's
documentation of releases, release assets, issues and rate limits.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import time
import urllib.parse
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

REPOSITORY = "office/site"
TOKEN = "t0k3n-of-the-test"
PAGE = 2  # entries per page, whatever the client asks for: makes every list a long one


class Fault(NamedTuple):
    """What happens to the next request that fits: *kind* is one of the methods ``_fault_KIND`` of the handler."""

    method: str
    path: str  # regular expression, searched in the path
    kind: str


class State:
    """Everything the server knows."""

    def __init__(self) -> None:
        self.releases: List[Dict[str, Any]] = []
        self.files: Dict[int, bytes] = {}
        self.issues: List[Dict[str, Any]] = []
        self.comments: List[Tuple[int, str]] = []
        self.faults: List[Fault] = []
        self.requests: List[str] = []
        self.last_id = 100

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def names(self) -> Dict[str, bytes]:
        """Return name and bytes of every asset."""
        return {asset["name"]: self.files[asset["id"]] for release in self.releases for asset in release["assets"]}


class Server:
    """The running server; ``api`` is its root."""

    def __init__(self) -> None:
        self.state = State()
        handler = type("Handler", (_Handler,), {"state": self.state})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.api = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body: the client would wait for the second one
    state: State

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""

    def _handle(self, method: str) -> None:
        path, _, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        self.state.requests.append(f"{method} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for fault in self.state.faults:
            if fault.method == method and re.search(fault.path, path):
                self.state.faults.remove(fault)
                return getattr(self, f"_fault_{fault.kind}")(method, path, body)
        return self._serve(method, path, body)

    def _serve(self, method: str, path: str, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"message": "Bad credentials"})
        for wanted, pattern, action in self._routes():
            match = re.match(pattern + r"\Z", path)
            if match and wanted == method:
                return action(body, *match.groups())
        return self._answer(404, {"message": "Not Found"})

    def _routes(self) -> Iterator[Tuple[str, str, Any]]:
        root = f"/repos/{REPOSITORY}"
        yield "GET", f"{root}/releases", lambda _: self._page(self.state.releases)
        yield "POST", f"{root}/releases", self._create
        yield "PATCH", rf"{root}/releases/(\d+)", self._patch
        yield "GET", rf"{root}/releases/(\d+)/assets", lambda _, i: self._page(self._release(i)["assets"])
        yield "POST", rf"/uploads{root}/releases/(\d+)/assets", self._upload
        yield "GET", rf"{root}/releases/assets/(\d+)", lambda _, i: self._answer(200, self.state.files[int(i)])
        yield "DELETE", rf"{root}/releases/assets/(\d+)", self._delete
        yield "GET", f"{root}/issues", lambda _: self._page([i for i in self.state.issues if i["state"] == "open"])
        yield "POST", f"{root}/issues", self._open_issue
        yield "POST", rf"{root}/issues/(\d+)/comments", self._comment

    def _release(self, number: str) -> Dict[str, Any]:
        return next(release for release in self.state.releases if release["id"] == int(number))

    def _create(self, body: bytes) -> None:
        document = json.loads(body)
        number = self.state.next_id()
        host = f"http://{self.headers['Host']}"
        release = {
            "id": number,
            "tag_name": document["tag_name"],
            "name": document["name"],
            "body": document["body"],
            "draft": document["draft"],
            "html_url": f"{host}/{REPOSITORY}/releases/tag/{document['tag_name']}",
            "upload_url": f"{host}/uploads/repos/{REPOSITORY}/releases/{number}/assets{{?name,label}}",
            "assets": [],
        }
        self.state.releases.append(release)
        self._answer(201, release)

    def _patch(self, body: bytes, number: str) -> None:
        self._release(number).update(json.loads(body))
        self._answer(200, self._release(number))

    def _upload(self, body: bytes, number: str) -> None:
        release, name = self._release(number), self.query["name"][0]
        if not release["draft"]:
            return self._answer(422, {"message": "Cannot upload assets to an immutable release."})
        if any(asset["name"] == name for asset in release["assets"]):
            error = {"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}
            return self._answer(422, {"message": "Validation Failed", "errors": [error]})
        asset = self._store(release, name, body, "uploaded")
        return self._answer(201, asset)

    def _store(self, release: Dict[str, Any], name: str, body: bytes, state: str) -> Dict[str, Any]:
        number = self.state.next_id()
        asset = {
            "id": number,
            "name": name,
            "state": state,
            "size": len(body),
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}" if state == "uploaded" else None,
            "url": f"http://{self.headers['Host']}/repos/{REPOSITORY}/releases/assets/{number}",
        }
        self.state.files[number] = body
        release["assets"].append(asset)
        return asset

    def _delete(self, body: bytes, number: str) -> None:
        for release in self.state.releases:
            for asset in release["assets"]:
                if asset["id"] == int(number):
                    if not release["draft"]:
                        return self._answer(422, {"message": "Cannot delete asset from an immutable release"})
                    release["assets"].remove(asset)
                    return self._answer(204, b"")
        return self._answer(404, {"message": "Not Found"})

    def _open_issue(self, body: bytes) -> None:
        number = self.state.next_id()
        host = f"http://{self.headers['Host']}"
        issue = {
            "number": number,
            "state": "open",
            "url": f"{host}/repos/{REPOSITORY}/issues/{number}",
            "html_url": f"{host}/{REPOSITORY}/issues/{number}",
            **json.loads(body),
        }
        self.state.issues.append(issue)
        self._answer(201, issue)

    def _comment(self, body: bytes, number: str) -> None:
        self.state.comments.append((int(number), json.loads(body)["body"]))
        self._answer(201, {"html_url": f"http://{self.headers['Host']}/{REPOSITORY}/issues/{number}#issuecomment-1"})

    def _page(self, entries: List[Dict[str, Any]]) -> None:
        number = int(self.query.get("page", ["1"])[0])
        headers = {}
        if number * PAGE < len(entries):
            path = self.path.partition("?")[0]
            headers["Link"] = f'<http://{self.headers["Host"]}{path}?page={number + 1}>; rel="next"'
        self._answer(200, entries[(number - 1) * PAGE : number * PAGE], headers)

    def _answer(self, status: int, content: Any, headers: Dict[str, str] = {}) -> None:  # noqa: B006 - never changed
        body = content if isinstance(content, bytes) else json.dumps(content).encode("utf-8")
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _fault_bad_gateway(self, method: str, path: str, body: bytes) -> None:
        self._answer(502, b"<html>Bad Gateway</html>")

    def _fault_hang_up(self, method: str, path: str, body: bytes) -> None:
        self.close_connection = True
        self.connection.close()

    def _fault_lost_answer(self, method: str, path: str, body: bytes) -> None:
        """Do the work, then hang up instead of answering."""
        answer, self._answer = self._answer, lambda *_, **__: None  # type: ignore[method-assign,assignment]
        self._serve(method, path, body)
        self._answer = answer  # type: ignore[method-assign]
        self._fault_hang_up(method, path, body)

    def _fault_starter(self, method: str, path: str, body: bytes) -> None:
        """Break an upload: the name is taken by an asset that never becomes complete."""
        number = re.findall(r"/releases/(\d+)/", path)[0]
        self._store(self._release(number), self.query["name"][0], b"", "starter")
        self._answer(502, b"<html>Bad Gateway</html>")

    def _fault_cut(self, method: str, path: str, body: bytes) -> None:
        """Store half of an upload and say that all is well."""
        self._serve(method, path, body[: len(body) // 2])

    def _fault_no_digest(self, method: str, path: str, body: bytes) -> None:
        self._serve(method, path, body)
        self.state.releases[-1]["assets"][-1]["digest"] = None

    def _fault_secondary_limit(self, method: str, path: str, body: bytes) -> None:
        self._answer(403, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "7"})

    def _fault_primary_limit(self, method: str, path: str, body: bytes) -> None:
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 30)}
        self._answer(403, {"message": "API rate limit exceeded"}, headers)

    def _fault_too_many(self, method: str, path: str, body: bytes) -> None:
        self._answer(429, {"message": "Too many requests"}, {"Retry-After": "9999"})

    def _fault_forbidden(self, method: str, path: str, body: bytes) -> None:
        self._answer(403, {"message": "Resource not accessible by integration"})
