"""SQLite: which one, and how it behaves when several processes write."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sqlite3
import sys
import types
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import django
import pytest
from cfgov.settings import environment as reader
from cfgov.sqlite import MINIMUM, minimum_version, replace_old_sqlite
from django.db.backends.sqlite3.features import DatabaseFeatures
from django.db.utils import ConnectionHandler

from tests.site.conftest import PROJECT, python


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put modules with given versions in the places of sqlite3 and pysqlite3; None: cannot be imported."""

    def put(name: str, version: Any) -> Any:
        if version is None:
            monkeypatch.setitem(sys.modules, name, None)
            return None
        module: Any = types.ModuleType(name)
        module.sqlite_version_info = version
        module.dbapi2 = types.ModuleType(name + ".dbapi2")
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, name + ".dbapi2", module.dbapi2)
        return module

    kept = {name: sys.modules[name] for name in ("sqlite3", "sqlite3.dbapi2")}
    yield put
    monkeypatch.undo()
    sys.modules.update(kept)


def test_the_lowest_version_is_the_one_that_the_running_django_asks_for() -> None:
    assert DatabaseFeatures.minimum_database_version == MINIMUM[django.VERSION[:2]] == minimum_version()


@pytest.mark.parametrize(
    ("line", "expected"),
    [((4, 1), (3, 21)), ((4, 2), (3, 21)), ((5, 1), (3, 21)), ((5, 2), (3, 31)), ((7, 0), (3, 37))],
)
def test_an_unknown_django_line_takes_the_version_of_the_line_below(
    monkeypatch: pytest.MonkeyPatch, line: Tuple[int, int], expected: Tuple[int, int]
) -> None:
    monkeypatch.setattr(django, "VERSION", (*line, 0, "final", 0))
    assert minimum_version() == expected


@pytest.mark.parametrize("found", [None, (3, 7, 17)])
def test_a_missing_or_too_old_sqlite_is_replaced(modules: Any, found: Any) -> None:
    modules("sqlite3", found)
    bundled = modules("pysqlite3", (3, 51, 1))
    assert replace_old_sqlite() is True
    assert sys.modules["sqlite3"] is bundled
    assert importlib.import_module("sqlite3.dbapi2") is bundled.dbapi2


def test_a_sqlite_that_is_new_enough_stays(modules: Any) -> None:
    own = modules("sqlite3", (3, 40, 1))
    modules("pysqlite3", (3, 51, 1))
    assert replace_old_sqlite() is False
    assert sys.modules["sqlite3"] is own


def test_without_a_replacement_the_old_one_stays_for_django_to_complain_about(modules: Any) -> None:
    own = modules("sqlite3", (3, 7, 17))
    modules("pysqlite3", None)
    assert replace_old_sqlite() is False
    assert sys.modules["sqlite3"] is own


STAND_IN = """
from sqlite3.dbapi2 import *
sqlite_version_info = (3, 99, 0)
"""


def test_the_project_runs_on_the_bundled_sqlite_where_the_own_one_is_too_old(
    environment: Dict[str, str], tmp_path: Path
) -> None:
    if importlib.util.find_spec("pysqlite3") is None:  # locked only for Python 3.8
        (tmp_path / "pysqlite3").mkdir()
        for name in ("__init__", "dbapi2"):
            (tmp_path / "pysqlite3" / f"{name}.py").write_text(STAND_IN, encoding="utf-8")
    code = (
        "import sqlite3; sqlite3.sqlite_version_info = sqlite3.dbapi2.sqlite_version_info = (3, 7, 17)\n"
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', 'contenttypes', verbosity=0)\n"
        "from django.db import connection; print(connection.Database.__name__, connection.introspection.table_names())"
    )
    ran = python(["-c", code], dict(environment, PYTHONPATH=f"{PROJECT}{os.pathsep}{tmp_path}"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("pysqlite3.dbapi2 [")
    assert "django_content_type" in ran.stdout


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A connection to a file, with the options of production."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/site.sqlite3")
    handler = ConnectionHandler({"default": reader.database("DATABASE_URL", "")})
    yield handler["default"]
    handler["default"].close()


def test_the_database_keeps_a_write_ahead_log_and_waits_for_others(connection: Any) -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (1,)
        assert cursor.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_transaction_takes_its_place_in_the_queue_of_writers_at_once(connection: Any, tmp_path: Path) -> None:
    connection.ensure_connection()
    other = sqlite3.connect(str(tmp_path / "site.sqlite3"), timeout=0, isolation_level=None)
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    try:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    finally:
        connection.rollback()
        connection.set_autocommit(True)
        other.close()
