"""One database in memory with the demonstration's content; each test's changes are rolled back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "cfgov.settings.test"

import django
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment

django.setup()

PROJECT = Path(__file__).resolve().parents[2] / "cfgov"
PASSWORD = "a-password-of-the-tests"

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_configure(config: pytest.Config) -> None:
    """Let files that Wagtail leaves open to the garbage collector be found after the last test without failing it."""
    config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Let other people's packages warn: what Wagtail 6.2 says about Django 4.2 is not ours to repair."""
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    call_command("demo_content", verbosity=0)
    yield
    teardown_databases(databases, verbosity=0)
    teardown_test_environment()
    for folder in (settings.MEDIA_ROOT, settings.STATIC_ROOT):
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _rollback(_database: None) -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def client() -> Client:
    """A visitor; an exception inside the site becomes the answer that a visitor would get."""
    return Client(raise_request_exception=False)


@pytest.fixture
def editor(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The administrator of the demonstration, logged in by the form."""
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", PASSWORD)
    call_command("demo_content", verbosity=0)
    answer = client.post("/admin/login/", {"username": "admin", "password": PASSWORD, "next": "/admin/"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    return client


@pytest.fixture
def environment(tmp_path: Path) -> Dict[str, str]:
    """What environment.json would hold on a server, all of it below the test's own folder."""
    return production_environment(tmp_path)


def production_environment(folder: Path) -> Dict[str, str]:
    """Return the variables of a server whose files all lie in *folder*."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "DJANGO_SETTINGS_MODULE": "cfgov.settings.production",
        "SECRET_KEY": "k3y-of-the-tests-" + "0123456789abcdefghijklmnopqrstuvwxyz" * 2,
        "ALLOWED_HOSTS": '["*"]',
        "DATABASE_URL": f"sqlite:///{folder}/site.sqlite3",
        "STATIC_ROOT": str(folder / "static"),
        "MEDIA_ROOT": str(folder / "media"),
    }


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    ran = python([str(PROJECT / "manage.py"), "migrate", "-v0"], production_environment(folder))
    assert ran.returncode == 0, ran.stderr
    return folder / "site.sqlite3"


@pytest.fixture
def migrated(_migrated: Path, tmp_path: Path) -> None:
    """Give the environment a database that was migrated from nothing by its own process."""
    shutil.copyfile(_migrated, tmp_path / "site.sqlite3")


@pytest.fixture
def manage(environment: Dict[str, str]) -> Manage:
    """Run ``manage.py`` of a project as its own process, in the environment of a server."""

    def run(*arguments: str, project: Path = PROJECT, **more: str) -> "subprocess.CompletedProcess[str]":
        return python([str(project / "manage.py"), *arguments], dict(environment, **more))

    return run


def python(arguments: List[str], environment: Dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run this Python with *arguments* and return what it did."""
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def copy_release(folder: Path, build_id: str = "") -> Path:
    """Copy the project into *folder* as an installed release would hold it, and return the project's folder."""
    project = folder / "cfgov"
    ignored = shutil.ignore_patterns("__pycache__", "deployable_zipfile", "apache")
    shutil.copytree(PROJECT, project, ignore=ignored)
    if build_id:
        write_identity(folder, build_id)
    return project


def write_identity(folder: Path, build_id: str, commit: str = "c0ffee" * 6 + "abcd") -> None:
    """Write the file from which a release knows what it is."""
    (folder / ".deploy").mkdir(parents=True, exist_ok=True)
    document = {"build_id": build_id, "commit": commit, "project": "cfgov"}
    (folder / ".deploy" / "installed.json").write_text(json.dumps(document), encoding="utf-8")


def text_of(answer: Any) -> str:
    """Return the body of an answer of the test client."""
    body: str = answer.content.decode("utf-8")
    return body
