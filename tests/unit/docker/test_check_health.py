"""The container's health check: the port and the host that the site is configured for."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from tests.support.depth import sampled
from tests.support.documentation import ROOT
from tests.support.helpers import run_cli

SCRIPT = ROOT / "docker/centos7/check_health.py"

Site = Tuple[int, List[str]]


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on a free port of 127.0.0.1 that knows one host; yields the port and the hosts that were asked for."""
    asked: List[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            self.send_response(200 if asked[-1] in ("www.example.org", "localhost") else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


def check(tmp_path: Path, environment: object, code: int = 0) -> str:
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(environment))
    done = run_cli([sys.executable, "-I", SCRIPT, path], code=code)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("allowed", "host"),
    sampled(
        [
            ('["www.example.org"]', "www.example.org"),
            ('["*"]', "localhost"),
            (r"[\"*\"]", "localhost"),
            ('["*", "www.example.org"]', "www.example.org"),
            ('[".www.example.org"]', "www.example.org"),
            ('["other.example.org", "localhost"]', "localhost"),
            ("www.example.org, other.example.org", "www.example.org"),
            ("", "localhost"),
        ],
        3,
    ),
)
def test_it_asks_for_a_host_that_the_site_accepts(allowed: str, host: str, site: Site, tmp_path: Path) -> None:
    port, asked = site
    assert (
        check(tmp_path, {"APACHE_PORT": str(port), "ALLOWED_HOSTS": allowed}) == f"200 for host {host} on port {port}\n"
    )
    assert asked == [host]


def test_an_error_status_is_one_line(site: Site, tmp_path: Path) -> None:
    port, _ = site
    said = check(tmp_path, {"APACHE_PORT": str(port), "ALLOWED_HOSTS": '["unknown.example.org"]'}, code=1)
    assert said == (
        f"error: the site: answers 400 for host unknown.example.org on port {port}. Look at the container's log\n"
    )


def test_without_an_environment_file_the_containers_variables_count(site: Site, tmp_path: Path) -> None:
    port, _ = site
    done = run_cli([sys.executable, "-I", SCRIPT, tmp_path / "absent"], extra_env={"APACHE_PORT": str(port)})
    assert done.stdout == f"200 for host localhost on port {port}\n"


@pytest.mark.parametrize("environment", [{"APACHE_PORT": "1"}, {"APACHE_PORT": "eighty"}, []])
def test_no_answer_is_one_line(environment: object, tmp_path: Path) -> None:
    said = check(tmp_path, environment, code=1)
    assert said.startswith("error: the site: does not answer: ")
    assert said.count("\n") == 1
