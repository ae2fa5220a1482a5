"""The WSGI application that `serve` runs: static files first, then the project's. Runs in the release's Python.

    python -c SHOW PORT              serve on 127.0.0.1 with the standard library's server
    gunicorn show:application        or with another one

DEPLOYABLE_ZIPFILE_SHOW in the environment says what: ``{"wsgi": "MODULE:NAME", "prefix": "/static/", "root": "..."}``.
"""

from __future__ import annotations

import importlib
import json
import mimetypes
import os
import socketserver
import sys
from typing import Any, Callable, Dict, Iterable
from wsgiref.simple_server import WSGIServer, make_server

VARIABLE = "DEPLOYABLE_ZIPFILE_SHOW"

_wanted: Dict[str, str] = json.loads(os.environ.get(VARIABLE, "{}"))


def _site() -> Any:
    module, _, names = _wanted["wsgi"].partition(":")
    found: Any = importlib.import_module(module)
    for part in names.split("."):
        found = getattr(found, part)
    return found


def _static_first(site: Any) -> Callable[[Dict[str, Any], Any], Iterable[bytes]]:
    prefix, root = _wanted["prefix"], _wanted["root"]

    def application(environ: Dict[str, Any], start: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if prefix and path.startswith(prefix):
            file = os.path.realpath(os.path.join(root, path[len(prefix) :].lstrip("/")))
            if file.startswith(root + os.sep) and os.path.isfile(file):
                start("200 OK", [("Content-Type", mimetypes.guess_type(file)[0] or "application/octet-stream")])
                with open(file, "rb") as opened:
                    return [opened.read()]
        answer: Iterable[bytes] = site(environ, start)
        return answer

    return application


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


if _wanted:
    application = _static_first(_site())
    if __name__ == "__main__":
        make_server("127.0.0.1", int(sys.argv[1]), application, _Server).serve_forever()
