"""Small sites for tests of deployment: no Django, but a ``manage.py`` that obeys its commands and fails when told to."""

from __future__ import annotations

import http.server
import json
import os
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from tests.artifacts import make_artifact

PROJECT = "site_one"

# FAIL_AT in environment.json names the command that fails, SLOW_AT the one that hangs.
MANAGE = """
import os, sys, time
words = sys.argv[1:]
print("ran", *words)
if "RAN" in os.environ:
    with open(os.environ["RAN"], "a") as file:
        print(*words, file=file)
if words[0] == "migrate" and "--check" not in words:
    print("  Applying pages.0002_title... OK")
if os.environ.get("FAIL_AT") == words[0]:
    print("  Applying pages.0003_body...", flush=True)
    sys.exit("could not reach " + os.environ.get("SECRET_KEY", "it"))
if os.environ.get("SLOW_AT") == words[0]:
    time.sleep(60)
"""

WSGI = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""

BROKEN_WSGI = "raise RuntimeError('this release cannot be imported')\n"


def make_site(path: Path, version: str = "one", **files: str) -> Path:
    """Write the artifact of one version of the site; *files* replace ``manage``, ``wsgi`` and the like."""
    project = {
        "__init__.py": "",
        "manage.py": files.get("manage", MANAGE),
        "wsgi.py": files.get("wsgi", WSGI),
        "version.txt": version,
        "apache/httpd.conf": files.get("httpd", "Listen 80\n"),
    }
    # An unusual setting must not leak into the files: the bytes of one version are the same in every test.
    return make_artifact(path, dict(project), name=PROJECT)


def write_environment(path: Path, **variables: str) -> Path:
    """Write an environment file."""
    path.write_text(json.dumps(dict({"SECRET_KEY": "canary-of-this-test"}, **variables)))
    path.chmod(0o640)
    return path


def build_id(folder: Path) -> Optional[str]:
    """Return the build id of the release in *folder*."""
    try:
        return str(json.loads((folder / ".deploy" / "installed.json").read_text())["build_id"])
    except FileNotFoundError:
        return None


class Server:
    """A web server on a free port of 127.0.0.1 whose answers *decide* says: status, headers, body.

    ``asked`` counts the requests.
    """

    def __init__(self, decide: Callable[[int], Tuple[int, Dict[str, str], bytes]]) -> None:
        self.asked = 0
        self.seen: List[Dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                outer.seen.append(dict(self.headers.items()))
                status, headers, body = decide(outer.asked)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/health/"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serving_current(root: Path, bad: Tuple[str, ...] = ()) -> Server:
    """Serve as a web server would that is always restarted: it names the release that ``current`` points to.

    A release among *bad* answers 500.
    """

    def decide(_: int) -> Tuple[int, Dict[str, str], bytes]:
        found = build_id(Path(os.path.realpath(str(root / "current"))))
        if found is None or found in bad:
            return 500, {}, b"broken"
        return 200, {"X-Build-Id": found}, b"good"

    return Server(decide)
