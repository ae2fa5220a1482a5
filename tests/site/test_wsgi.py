"""The WSGI callable, and what happens to a process whose release is switched under it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Dict

import pytest

from cfgov import wsgi
from tests.site.conftest import copy_release, python

SWITCHED = """
import json, os, sys
from cfgov.wsgi import application
os.symlink("b", "next"); os.replace("next", "current")
answers = []
def start(status, headers): answers.append(dict(headers)["X-Build-Id"])
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/__test__/slow", "QUERY_STRING": "seconds=0", "SERVER_NAME": "x",
           "SERVER_PORT": "80", "wsgi.input": sys.stdin.buffer, "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr}
body = json.loads(b"".join(application(environ, start)))
print(answers[0], body["build_id"], body["late_build_id"])
"""


def test_a_process_imports_from_its_own_release_after_the_switch(environment: Dict[str, str], tmp_path: Path) -> None:
    for release in ("a", "b"):
        copy_release(tmp_path / release, f"build-{release}")
    (tmp_path / "current").symlink_to("a")
    ran = python(
        ["-c", f"import os; os.chdir({str(tmp_path)!r})\n" + SWITCHED],
        dict(environment, PYTHONPATH=str(tmp_path / "current" / "cfgov"), CFGOV_TEST_VIEWS="1"),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["build-a", "build-a", "build-a"]
    assert os.readlink(tmp_path / "current") == "b"


def test_links_are_replaced_by_what_they_point_to_and_nothing_else_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "link"), str(tmp_path / "real"), "__editable__.finder.path_hook"])
    wsgi.pin_import_path()
    real = os.path.realpath(tmp_path / "real")
    assert sys.path == [real, real, "__editable__.finder.path_hook"]
