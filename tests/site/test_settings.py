"""Settings read from the environment, and what is said when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from cfgov.settings import environment as reader
from django.core.exceptions import ImproperlyConfigured

from tests.site.conftest import PROJECT, Manage, copy_release, python

SHOW = """
import json
from django.conf import settings
print(json.dumps({name: getattr(settings, name, None) for name in %r}, default=str))
"""


def settings(environment: Dict[str, str], *names: str, project: Any = None, **more: str) -> Dict[str, Any]:
    ran = python(["-c", SHOW % (names,)], dict(environment, PYTHONPATH=str(project or PROJECT), **more))
    assert ran.returncode == 0, ran.stderr
    shown: Dict[str, Any] = json.loads(ran.stdout)
    return shown


def test_a_missing_secret_key_is_one_line_that_says_where_it_belongs(manage: Manage) -> None:
    ran = manage("check", SECRET_KEY="")
    assert ran.returncode != 0
    assert ran.stderr.splitlines()[-1].endswith(
        "SECRET_KEY is not set: put it into environment.json or the process environment."
    )


@pytest.mark.parametrize("value", ["example.gov", "{}", '"x"', "[1]", '[""]', "[", r"[\"*\"]", "null"])
def test_a_list_that_is_no_json_list_of_strings_is_refused_without_its_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", value)
    with pytest.raises(ImproperlyConfigured) as error:
        reader.json_list("ALLOWED_HOSTS", [])
    assert str(error.value) == 'ALLOWED_HOSTS must be a JSON list of strings, such as ["example.gov"].'


def test_a_list_is_read_and_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", '["*", "münchen.example"]')
    assert reader.json_list("ALLOWED_HOSTS", []) == ["*", "münchen.example"]
    monkeypatch.setenv("ALLOWED_HOSTS", "")
    assert reader.json_list("ALLOWED_HOSTS", ["localhost"]) == ["localhost"]


@pytest.mark.parametrize(
    "value",
    [
        "hunter2", "sqlite://", "sqlite:///", "mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2@[h/d", "postgres://u:hunter2@h",
    ],
)  # fmt: skip
def test_a_bad_database_url_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DATABASE_URL", value)
    with pytest.raises(ImproperlyConfigured) as error:
        reader.database("DATABASE_URL", "")
    assert str(error.value).startswith("DATABASE_URL must be a URL such as sqlite:////srv/site.sqlite3")
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(error.value.__cause__)


def test_a_postgresql_url_is_read_with_its_escapes_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://us%40er:p%3Da%2Fss@db.example:5433/site?sslmode=require")
    found = reader.database("DATABASE_URL", "")
    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("us@er", "p=a/ss", "db.example", 5433)
    assert found["NAME"] == "site"
    assert found["OPTIONS"] == {"connect_timeout": 5, "sslmode": "require"}
    assert found["CONN_HEALTH_CHECKS"] is True


def test_only_postgresql_brings_the_app_of_its_field_types(environment: Dict[str, str]) -> None:
    app = "django.contrib.postgres"
    assert app not in settings(environment, "INSTALLED_APPS")["INSTALLED_APPS"]
    url = "postgres://u:p@127.0.0.1:1/d"
    assert app in settings(environment, "INSTALLED_APPS", DATABASE_URL=url)["INSTALLED_APPS"]


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True)])
def test_a_flag_is_0_or_1(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("CFGOV_TEST_VIEWS", value)
    assert reader.flag("CFGOV_TEST_VIEWS") is expected


def test_a_flag_that_is_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFGOV_TEST_VIEWS", "yes")
    with pytest.raises(ImproperlyConfigured, match=r"^CFGOV_TEST_VIEWS must be 0 or 1\.$"):
        reader.flag("CFGOV_TEST_VIEWS")


def test_forwarded_headers_are_believed_only_behind_a_proxy_that_ends_tls(environment: Dict[str, str]) -> None:
    names = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
    plain = settings(environment, *names)
    assert list(plain.values()) == [None, False, False, False]
    https = settings(environment, *names, APACHE_HTTPS_FORWARDED_HOST="www.example.gov")
    assert list(https.values()) == [["HTTP_X_FORWARDED_PROTO", "https"], True, True, True]


def test_the_views_that_misbehave_are_off_unless_asked_for(environment: Dict[str, str]) -> None:
    code = "import django; django.setup(); from cfgov import urls; print([str(u.pattern) for u in urls.urlpatterns])"
    normal = python(["-c", code], dict(environment, PYTHONPATH=str(PROJECT)))
    asked = python(["-c", code], dict(environment, PYTHONPATH=str(PROJECT), CFGOV_TEST_VIEWS="1"))
    assert "health/" in normal.stdout
    assert "__test__" not in normal.stdout
    assert "__test__" in asked.stdout


def test_static_root_is_read_from_either_name_and_media_from_its_own(environment: Dict[str, str]) -> None:
    both = dict(environment, STATIC_ROOT="/one", STATIC_PATH="/two", MEDIA_ROOT="/three")
    assert settings(both, "STATIC_ROOT", "MEDIA_ROOT") == {"STATIC_ROOT": "/one", "MEDIA_ROOT": "/three"}
    assert settings(dict(both, STATIC_ROOT=""), "STATIC_ROOT") == {"STATIC_ROOT": "/two"}


def test_a_release_in_a_folder_with_blanks_and_umlauts_keeps_its_own_defaults(
    environment: Dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "a release % # ü"
    project = copy_release(folder)
    for number in ("0", "1"):
        (folder / "static.in" / number).mkdir(parents=True)
    bare = {name: value for name, value in environment.items() if not name.endswith(("ROOT", "URL"))}
    found = settings(
        bare, "DATABASES", "STATIC_ROOT", "MEDIA_ROOT", "STATICFILES_DIRS", project=project, PYTHONUTF8="1"
    )
    assert found["DATABASES"]["default"]["NAME"] == f"{folder}/cfgov.sqlite3"
    assert found["STATIC_ROOT"] == f"{folder}/static"
    assert found["MEDIA_ROOT"] == f"{folder}/media"
    assert found["STATICFILES_DIRS"][1:] == [f"{folder}/static.in/0", f"{folder}/static.in/1"]
