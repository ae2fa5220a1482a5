"""``artifact.zip serve``: the site of any artifact on 127.0.0.1, and nothing left at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.support.helpers import run_cli
from tests.support.projects import Workshop, append

FLASK = "from flask import Flask\napp = Flask(__name__)\n\n@app.get('/')\ndef home():\n    return 'flask is here'\n"
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def home(request):
    return PlainTextResponse("starlette is here")

app = Starlette(routes=[Route("/", home)])
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def django(workshop: Workshop) -> Path:
    """Return the artifact of ``startproject config .`` in a folder ``portal``, without a server."""
    project = workshop.startproject("portal", "config")
    append(project / "config" / "settings.py", "\nALLOWED_HOSTS = ['www.example.org']\nDEBUG = False\n")
    return workshop.pack(project, ["django"])


def checked(artifact: Path, tmp_path: Path, *words: str, code: int = 0) -> Dict[str, Any]:
    command = [
        sys.executable,
        "-I",
        artifact,
        "serve",
        "--port",
        "0",
        "--check",
        "--json",
        "--scratch",
        tmp_path,
        *words,
    ]
    done = run_cli(command, code=code, timeout=300)
    assert os.listdir(str(tmp_path)) == []
    document: Dict[str, Any] = json.loads(done.stdout)
    return dict(document, said=done.stderr)


def plain(workshop: Workshop, name: str, text: str, *packages: str) -> Path:
    project = workshop.folder / name
    project.mkdir()
    (project / "main.py").write_text(text)
    option = "--asgi" if "starlette" in packages else "--wsgi"
    return workshop.pack(project, packages, option, "main:app")


def test_a_django_project_without_a_server_is_served_by_the_standard_library(django: Path, tmp_path: Path) -> None:
    found = checked(django, tmp_path, "--path", "/admin/login/")
    assert (found["server"], found["status"]) == ("wsgiref", 200)


def test_it_is_served_with_its_static_files_until_ctrl_c(django: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(django), "serve", "--port", "0", "--scratch", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+/) answers 404 \(wsgiref\)\. Ctrl-C ends it", line)
        assert found, line
        with urllib.request.urlopen(found.group(1) + "admin/login/", timeout=30) as page:
            style = re.search(rb'href="(/static/admin/css/base\.css)"', page.read())
        assert style
        with urllib.request.urlopen(found.group(1).rstrip("/") + style.group(1).decode(), timeout=30) as answer:
            assert answer.headers["Content-Type"] == "text/css"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert os.listdir(str(tmp_path)) == []


def test_flask_and_starlette_skip_what_is_djangos_and_say_so(workshop: Workshop, tmp_path: Path) -> None:
    flask = plain(workshop, "hello-flask", FLASK, "flask", "gunicorn")
    found = checked(flask, tmp_path)
    assert (found["server"], found["status"]) == ("gunicorn", 200)
    assert "migrate: skipped: not a Django project" in found["said"]
    starlette = plain(workshop, "hello-starlette", STARLETTE, "starlette", "uvicorn")
    found = checked(starlette, tmp_path)
    assert (found["server"], found["status"]) == ("uvicorn", 200)
    for artifact in (flask, starlette):
        done = run_cli([sys.executable, "-I", artifact, "selftest", "--scratch", tmp_path], timeout=300)
        assert "manage.py check: skipped: not a Django project" in done.stdout
        assert "GET /: good" in done.stdout
        root = tmp_path.with_name(f"{tmp_path.name}-{artifact.stem}")
        words = ["deploy", "--root", root, "--allow-dirty", "--json"]
        document = json.loads(run_cli([sys.executable, "-I", artifact, *words], timeout=300).stdout)
        steps = {step["name"]: step["what"] for step in document["steps"]}
        for name in ("django-check", "collectstatic", "migrate"):
            assert steps[name] == "skipped: not a Django project"
        assert steps["wsgi"] == "main:app"


def test_a_server_that_does_not_start_is_one_line_and_leaves_nothing(django: Path, tmp_path: Path) -> None:
    found = checked(django, tmp_path, "--wsgi-module", "config.nothing", code=8)
    assert "No module named 'config.nothing'" in found["said"] or "ModuleNotFoundError" in found["said"]
    assert checked(django, tmp_path, "--port", "70000", code=2)["error"]["kind"] == "UsageError"


def test_a_project_without_staticfiles_is_deployed_without_collectstatic(workshop: Workshop, tmp_path: Path) -> None:
    project = workshop.startproject("bare", "config")
    settings = project / "config" / "settings.py"
    text = re.sub(r".*django\.contrib\.(staticfiles|admin)['\"].*\n", "", settings.read_text())
    settings.write_text(text)
    (project / "config" / "urls.py").write_text("urlpatterns = []\n")
    artifact = workshop.pack(project, ["django"])
    command = [sys.executable, "-I", artifact, "deploy", "--root", tmp_path / "srv", "--allow-dirty", "--json"]
    document = json.loads(run_cli(command, timeout=300).stdout)
    steps = {step["name"]: step["what"] for step in document["steps"]}
    assert steps["collectstatic"] == "skipped: django.contrib.staticfiles is not installed"
    assert steps["wsgi"] == "config.wsgi:application"
    assert [step["name"] for step in document["steps"]].index("wsgi") < list(steps).index("migrate")
