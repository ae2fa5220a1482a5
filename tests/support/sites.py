"""Small sites for tests of deployment: no Django, but a ``manage.py`` that obeys commands and fails when told to."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from deployable_zipfile import extract
from deployable_zipfile.deploy import releases, selection
from tests.support.artifacts import make_artifact

PROJECT = "site_one"

# FAIL_AT in environment.json names the command that fails, SLOW_AT the one that hangs, LEFT leaves migrations.
MANAGE = """
import os, sys, time
words = sys.argv[1:]
print("ran", *words)
if "RAN" in os.environ:
    with open(os.environ["RAN"], "a") as file:
        print(*words, file=file)
if words[0] == "migrate" and "--check" not in words:
    print("  Applying pages.0002_title... OK")
if words[0] == "migrate" and "--check" in words and "LEFT" in os.environ:
    print("Planned operations:", "pages.0004_more", "    Raw SQL operation", "users.0002_less", sep="\\n")
    sys.exit(1)
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
        f"{PROJECT}/__init__.py": "",
        "manage.py": files.get("manage", MANAGE),
        f"{PROJECT}/wsgi.py": files.get("wsgi", WSGI),
        "version.txt": version,
        "apache/httpd.conf": files.get("httpd", "Listen 80\n"),
    }
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


def states(root: Path) -> Dict[str, str]:
    """Return the state of each release under *root*."""
    return {row.release: row.state for row in selection.listing(releases.Root(root))}


def leftovers(root: Path) -> List[str]:
    """Return what a deployment that was cut short left behind."""
    found = [str(path) for path in root.rglob(".*") if path.name.endswith((".new", ".partial"))]
    found += [str(path) for path in root.rglob(".trash-*")]
    return found + [str(path) for path in root.rglob("*.before.json")]


def make_sites(folder: Path) -> Dict[str, Path]:
    """Write the artifacts of three good versions, one that cannot be imported, and one with another httpd.conf."""
    made = {name: make_site(folder / f"{name}.zip", name) for name in ("one", "two", "three")}
    made["broken"] = make_site(folder / "broken.zip", "broken", wsgi=BROKEN_WSGI)
    made["httpd"] = make_site(folder / "httpd.zip", "httpd", httpd="Listen 81\n")
    return made


class _HTTPServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words: Any) -> None:
        """Say nothing when a client left before its answer was complete: what a test prints is looked at."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*words)


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

        self._server = _HTTPServer(("127.0.0.1", 0), Handler)
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


class Host:
    """One host: runs verbs of the artifacts as their command line would.

    Parameters:
        stock: folder of the roots that :meth:`given` has made; they fit only hosts of the same *root* and *url*.
    """

    def __init__(self, root: Path, artifacts: Dict[str, Path], url: str, stock: Path, capsys: Any) -> None:
        self.root = root
        self._stock = stock
        self.artifacts = artifacts
        self.environment = write_environment(root.parent / "environment.json")
        self.health = ["--health-url", url, "--health-timeout", "5", "--health-count", "2"]
        self._capsys = capsys
        self.out = self.err = ""

    def verb(self, archive: str, verb: str, *words: str) -> int:
        code = extract.main([verb, "--root", str(self.root), *words], str(self.artifacts[archive]))
        self.out, self.err = self._capsys.readouterr()
        assert "canary" not in self.out + self.err
        return code

    def deploy(self, archive: str, *words: str) -> int:
        # These few files are written sooner than a process of this size forks.
        fixed = ["--workers", "1", "--env-file", str(self.environment)]
        return self.verb(archive, "deploy", *fixed, *self.health, *words)

    def live(self, archive: str, *words: str) -> str:
        """Deploy, which must succeed; return the build id."""
        assert self.deploy(archive, *words) == 0, self.err
        found = self.current()
        assert found is not None
        return found

    def given(self, *archives: str) -> Tuple[str, ...]:
        """Begin where :meth:`live` has deployed *archives* one after the other; return the build ids.

        It is done once, and copied for every other test that begins there.
        """
        assert not self.root.exists()
        stock = self._stock / "-".join(archives)
        if (stock / "builds").exists():
            shutil.copytree(str(stock / "root"), str(self.root), symlinks=True)
        else:
            found = [*self.given(*archives[:-1]), self.live(archives[-1])] if archives[1:] else [self.live(*archives)]
            shutil.copytree(str(self.root), str(stock / "root"), symlinks=True)
            (stock / "builds").write_text("\n".join(found))
        return tuple((stock / "builds").read_text().split())

    def current(self) -> Optional[str]:
        return build_id(self.root / "current")

    def states(self) -> Dict[str, str]:
        assert self.verb("one", "releases", "--json") == 0
        return {row["release"]: row["state"] for row in json.loads(self.out)["releases"]}

    def log(self) -> str:
        """Return what the commands of all releases said."""
        return "".join(path.read_text() for path in sorted((self.root / ".deploy" / "logs").iterdir()))

    def error(self) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]
