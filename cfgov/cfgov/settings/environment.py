"""Typed reading of settings from environment variables. No message shows a value: it may be a secret."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

import dj_database_url
import django
from django.core.exceptions import ImproperlyConfigured

SQLITE = "django.db.backends.sqlite3"
MEMORY = ":memory:"  # also what dj_database_url makes of a URL without a path
POSTGRESQL = "django.db.backends.postgresql"
BUSY_SECONDS = 30
CONNECT_SECONDS = 5
KEEP_SECONDS = 600


def text(name: str, default: str) -> str:
    """Return variable *name*; empty counts as absent, because ``docker --env-file`` cannot say "absent"."""
    return os.environ.get(name) or default


def required(name: str) -> str:
    """Return variable *name*.

    Raises:
        ImproperlyConfigured: it is absent or empty.
    """
    value = os.environ.get(name)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set: put it into environment.json or the process environment.")
    return value


def flag(name: str) -> bool:
    """Return whether variable *name* is ``1``; absent, empty and ``0`` are false.

    Raises:
        ImproperlyConfigured: it is anything else.
    """
    value = text(name, "0")
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} must be 0 or 1.")
    return value == "1"


def json_list(name: str, default: List[str]) -> List[str]:
    """Return variable *name*, a JSON list of strings such as ``["example.gov"]``.

    Raises:
        ImproperlyConfigured: it is no such list.
    """
    if not os.environ.get(name):
        return default
    try:
        value = json.loads(os.environ[name])
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ImproperlyConfigured(f'{name} must be a JSON list of strings, such as ["example.gov"].')
    return value


def database(name: str, default: str) -> Dict[str, Any]:
    """Return Django's settings of the database whose URL is variable *name*.

    SQLite is set up for several processes with several threads each; PostgreSQL answers or fails within seconds.

    Raises:
        ImproperlyConfigured: the URL cannot be read, or names another kind of database.
    """
    url = text(name, default)
    try:
        settings: Dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=KEEP_SECONDS, conn_health_checks=True))
    except ValueError:
        settings = {}
    named = bool(settings.get("NAME")) and (settings["NAME"] != MEMORY or url.endswith(MEMORY))
    if not named or settings["ENGINE"] not in (SQLITE, POSTGRESQL):
        raise ImproperlyConfigured(
            f"{name} must be a URL such as sqlite:////srv/site.sqlite3 or postgres://user:password@host/database."
        )
    settings["OPTIONS"] = dict(_options(settings["ENGINE"]), **settings.get("OPTIONS", {}))
    if settings["ENGINE"] == SQLITE and django.VERSION < (5, 1):
        settings["ENGINE"] = "cfgov.sqlite_backport"
    return settings


def _options(engine: str) -> Dict[str, Any]:
    if engine == POSTGRESQL:
        return {"connect_timeout": CONNECT_SECONDS}
    # Write-ahead log: readers never wait for the writer. Immediate: writers queue instead of failing.
    return {
        "timeout": BUSY_SECONDS,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL",
    }
