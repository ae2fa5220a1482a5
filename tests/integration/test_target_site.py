"""This repository's site, packed once for several Pythons, installed on each bare one, served by gunicorn.

The oldest, the newest and the running Python of this machine; with EVERY_PYTHON=1 all of them.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import pytest
import requests

from tests.integration.test_target_pythons import FOUND, without_network
from tests.support.artifacts import PACKAGE
from tests.support.helpers import run_cli

pytestmark = pytest.mark.core

ROOT = PACKAGE.parent.parent
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
EVERY = os.environ.get("EVERY_PYTHON") == "1"
CHOSEN = [version for version in FOUND if EVERY or version in (next(iter(FOUND)), RUNNING, [*FOUND][-1])]
PASSWORD = "a password of this test"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
LISTENING = re.compile(r"Listening at: (http://127\.0\.0\.1:\d+)")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the artifact for the running Python and every other supported one that is found."""
    folder = tmp_path_factory.mktemp("site")
    command: List[Any] = [
        sys.executable,
        PACKAGE / "create.py",
        "cfgov",
        "requirements/deployment.txt",
        folder / "site",
    ]
    for version in CHOSEN:
        if version != RUNNING:
            command += ["--extra-python", FOUND[version]]
    run_cli([*command, "--quiet"], cwd=ROOT, timeout=1800)
    return folder / "site.zip"


class Served(NamedTuple):
    """An installed site and its server."""

    python: str
    root: Path
    address: str
    session: requests.Session

    def get(self, path: str, **options: Any) -> requests.Response:
        """Ask for *path*."""
        return self.session.get(self.address + path, timeout=60, **options)

    def submit(self, path: str, fields: Dict[str, str], **options: Any) -> requests.Response:
        """Fill in the form at *path*."""
        token = CSRF.search(self.get(path).text)
        assert token, f"{path} holds no form"
        fields = dict(fields, csrfmiddlewaretoken=token.group(1))
        return self.session.post(self.address + path, data=fields, timeout=60, **options)


@pytest.fixture(scope="module", params=CHOSEN)
def served(
    request: pytest.FixtureRequest, artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Install with nothing at hand, prepare with django-admin, serve with gunicorn."""
    python = FOUND[request.param]
    root = tmp_path_factory.mktemp("served") / "current"
    nothing = {"TMPDIR": "/proc/nowhere"}
    command = [*without_network(), python, "-I", "-S", artifact, "-d", root]
    run_cli(command, env=nothing, preexec_fn=lambda: os.umask(0o077), timeout=600)
    _write_environment(root)
    for words in ("check", "migrate --noinput", "createcachetable", "collectstatic --noinput", "demo_content"):
        run_cli([root / "venv" / "bin" / "django-admin", *words.split()], env={}, cwd=Path("/"), timeout=600)
    log = root.parent / "gunicorn.log"
    server = _start(root, log)
    try:
        with requests.Session() as session:
            session.trust_env = False
            yield Served(request.param, root, _address(server, log), session)
    finally:
        server.terminate()
        server.wait(60)


def _write_environment(root: Path) -> None:
    variables = {
        "DJANGO_SETTINGS_MODULE": "cfgov.settings.production",
        "SECRET_KEY": "of this test alone, and long enough for the check of Django 0123456789",
        "DEMO_ADMIN_PASSWORD": PASSWORD,
        "DATABASE_URL": f"sqlite:///{root.parent}/site.sqlite3",
        "MEDIA_ROOT": str(root.parent / "media"),
    }
    (root / "environment.json").write_text(json.dumps(variables))


def _start(root: Path, log: Path) -> "subprocess.Popen[bytes]":
    command = [str(root / "venv" / "bin" / "gunicorn"), "--bind", "127.0.0.1:0", "--workers", "1", "cfgov.wsgi"]
    with open(log, "wb") as output:
        return subprocess.Popen(command, cwd=str(root), env={}, stdout=output, stderr=subprocess.STDOUT)


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    for _ in range(600):
        found: Optional["re.Match[str]"] = LISTENING.search(log.read_text())
        if found:
            return found.group(1)
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_the_site_runs_on_the_python_that_installed_it(served: Served) -> None:
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = run_cli([served.root / "venv" / "bin" / "python", "-c", show], env={})
    assert done.stdout.strip() == served.python


def test_the_health_page_names_the_installed_build(served: Served) -> None:
    installed = json.loads((served.root / ".deploy" / "installed.json").read_text())
    answer = served.get("/health/")
    assert answer.status_code == 200
    assert answer.json()["build_id"] == installed["build_id"]


def test_the_home_page_and_a_static_file_with_a_hashed_name_answer(served: Served) -> None:
    page = served.get("/")
    assert page.status_code == 200
    found = re.search(r'(?:href|src)="(/static/[^"]+\.[0-9a-f]{12}\.css)"', page.text)
    assert found
    style = served.get(found.group(1))
    assert style.status_code == 200
    assert "immutable" in style.headers["Cache-Control"]


def test_search_answers(served: Served) -> None:
    answer = served.get("/search/", params={"query": "guide"})
    assert answer.status_code == 200


def test_an_editor_logs_in_and_an_uploaded_image_is_served(served: Served) -> None:
    login = {"username": "admin", "password": PASSWORD, "next": "/admin/"}
    landed = served.submit("/admin/login/", login)
    assert landed.status_code == 200
    assert landed.url == served.address + "/admin/"
    files = {"file": ("green.png", _png(), "image/png")}
    answer = served.submit("/admin/images/add/", {"title": "Green", "collection": "1"}, files=files)
    assert answer.status_code == 200
    found = re.search(r'src="(/media/images/[^"]+)"', served.get("/admin/images/?q=Green").text)
    assert found
    image = served.get(found.group(1))
    assert image.status_code == 200
    assert image.headers["Content-Type"].startswith("image/")


def _png() -> bytes:
    """Return one pixel in green (PNG specification, section 5)."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0\x40\xa0\x60")), (b"IEND", b""))
    )


def test_the_tree_is_as_installed_after_all_that(served: Served, artifact: Path) -> None:
    python = served.root / "venv" / "bin" / "python"
    done = run_cli([python, "-I", artifact, "verify", served.root, "--json"], code=None, timeout=300)
    found = json.loads(done.stdout)
    assert (found["changed"], found["missing"]) == ([], [])


def test_pip_works_in_it(served: Served) -> None:
    done = run_cli([served.root / "venv" / "bin" / "pip", "--isolated", "list", "--disable-pip-version-check"], env={})
    assert "wagtail" in done.stdout.lower()
