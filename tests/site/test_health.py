"""The page that a deployment asks before it trusts a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cfgov.release import RELEASE, Release, read_release
from django.db import InterfaceError, OperationalError, ProgrammingError, connection
from django.test import Client
from wagtail.models import Site

from tests.site.conftest import text_of, write_identity


def test_the_health_page_names_the_build_and_proves_the_database(client: Client) -> None:
    answer = client.get("/health/")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "build_id": "development", "commit": "", "dirty": False, "database": "ok",
    }  # fmt: skip
    assert answer["Content-Type"] == "application/json"
    assert "no-store" in answer["Cache-Control"]


def test_the_health_page_asks_the_database_each_time(client: Client) -> None:
    Site.objects.all().delete()
    assert client.get("/health/").status_code == 503


@pytest.mark.parametrize("failure", [OperationalError, InterfaceError, ProgrammingError])
def test_a_database_that_does_not_answer_gives_503_and_no_detail(
    client: Client, monkeypatch: pytest.MonkeyPatch, failure: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise failure("password authentication failed for user admin:hunter2@db.internal")

    monkeypatch.setattr(connection, "cursor", refuse)
    monkeypatch.setattr(connection, "close", lambda: None)
    answer = client.get("/health/")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable", "build_id": "development", "commit": "", "dirty": False, "database": "unavailable",
    }  # fmt: skip
    assert "hunter2" not in text_of(answer)


def test_the_health_page_is_for_reading_alone(client: Client) -> None:
    assert client.post("/health/").status_code == 405
    assert client.head("/health/").status_code == 200


def test_outside_an_installed_release_the_build_is_development(tmp_path: Path) -> None:
    assert Release("development", "") == RELEASE
    assert read_release(tmp_path) == Release("development", "")


def test_an_installed_release_says_when_it_holds_more_than_its_commit(tmp_path: Path) -> None:
    write_identity(tmp_path, "0123456789abcdef", "f" * 40)
    path = tmp_path / ".deploy" / "installed.json"
    path.write_text(json.dumps(dict(json.loads(path.read_text()), dirty=True)))
    assert read_release(tmp_path).dirty is True


def test_an_installed_release_knows_its_build_and_commit(tmp_path: Path) -> None:
    write_identity(tmp_path, "0123456789abcdef", "f" * 40)
    assert read_release(tmp_path) == Release("0123456789abcdef", "f" * 40)


@pytest.mark.parametrize("damage", ["", "[]", '{"other": 1}', "\xff", "{"])
def test_a_release_that_cannot_say_what_it_is_says_so_and_goes_on(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_identity(tmp_path, "0123456789abcdef")
    (tmp_path / ".deploy" / "installed.json").write_text(damage, encoding="latin-1")
    assert read_release(tmp_path) == Release("unreadable", "")
    assert "does not say what it is" in caplog.text
