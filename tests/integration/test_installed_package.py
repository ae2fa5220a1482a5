"""The tool as other people get it: a wheel in an empty virtualenv packs a project that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from tests.support.depth import sampled
from tools import interpreters

ROOT = Path(interpreters.__file__).resolve().parent.parent
RUNNING = "{}.{}".format(*sys.version_info[:2])

VIEW = """
from django.http import JsonResponse
from django.urls import path
from markupsafe import _speedups  # the compiled half: the import fails where the wheel does not fit


def hello(request):
    return JsonResponse({"compiled": _speedups.__file__, "said": __import__("os").environ["GREETING"]})


urlpatterns = [path("", hello)]
"""

SERVE = """
import sys
from wsgiref.simple_server import make_server
from mysite.wsgi import application
server = make_server("127.0.0.1", 0, application)
print(server.server_address[1], flush=True)
server.handle_request()
"""


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    (wheel,) = folder.iterdir()
    return wheel


@pytest.mark.parametrize("version", sampled(sorted({"3.8", "3.13", RUNNING}), ["3.8"]))
def test_the_installed_tool_packs_a_foreign_project_and_its_artifact_runs(
    version: str, wheel: Path, tmp_path: Path
) -> None:
    python = interpreters.find(version, os.environ)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    tool = make_venv(python, tmp_path / "tool", str(wheel))
    project = make_project(tool.parent / "django-admin", tmp_path / "work", python)

    made = run(
        [str(tool.with_name("deployable-zipfile")), "create", "mysite", "requirements.txt", "mysite_build"], project
    )
    artifact = project / "mysite_build.zip"
    assert "mysite_build.zip" in made
    run(["sha256sum", "--check", "--strict", "mysite_build.zip.sha256"], project)

    destination = tmp_path / "srv" / "my site"
    destination.parent.mkdir()
    run([python, "-I", "-S", str(artifact), "-d", str(destination)], tmp_path, env={"PATH": "/nowhere"})
    settings = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "GREETING": "grüß = dich"}
    (destination / "environment.json").write_text(json.dumps(settings), encoding="utf-8")

    run([str(destination / "venv/bin/django-admin"), "check"], tmp_path, env={})
    run([str(destination / "venv/bin/django-admin"), "migrate", "--verbosity", "0"], tmp_path, env={})
    answer = first_answer([str(destination / "venv/bin/python"), "-c", SERVE])
    assert answer["said"] == "grüß = dich"
    assert answer["compiled"].startswith(str(destination / "venv"))


def make_venv(python: str, folder: Path, *packages: str) -> Path:
    """Make a virtualenv with nothing in it but *packages* and return its Python."""
    run([python, "-m", "venv", str(folder)])
    run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *packages])
    return folder / "bin/python"


def make_project(django_admin: Path, folder: Path, python: str) -> Path:
    """Make what ``django-admin startproject`` makes, with one view and a compiled dependency; return where."""
    folder.mkdir()
    maker = make_venv(python, folder.with_name("maker"), "Django")
    run([str(maker.with_name("django-admin")), "startproject", "mysite"], folder)
    assert not django_admin.exists(), "the tool's own virtualenv holds no Django: the project's does"
    (folder / "mysite/mysite/urls.py").write_text(VIEW, encoding="utf-8")
    frozen = run([str(maker), "-m", "pip", "freeze"])
    (folder / "requirements.txt").write_text(f"{frozen}\nMarkupSafe\n", encoding="utf-8")
    return folder


def first_answer(command: List[str]) -> Dict[str, str]:
    """Start the site with *command*, which prints its port, and return what its first page says."""
    with subprocess.Popen(command, env={}, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            deadline = time.monotonic() + 30
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                        return dict(json.load(answer))
                except ConnectionError:
                    if time.monotonic() > deadline:
                        raise
        finally:
            server.kill()


def run(command: List[str], cwd: Optional[Path] = None, env: Optional[Dict[str, str]] = None) -> str:
    """Run *command* and return what it prints; a failure shows everything it said."""
    done = subprocess.run(command, cwd=cwd and str(cwd), env=env, check=False, capture_output=True)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, f"{command}: {done.returncode}\n{said}\n{done.stderr.decode('utf-8', 'replace')}"
    return said
