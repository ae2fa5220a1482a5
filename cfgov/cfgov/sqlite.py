"""Choose between the interpreter's SQLite and the one of ``pysqlite3-binary``.

CentOS 7 carries SQLite 3.7.17, which no supported Django accepts, and some Pythons are compiled without ``_sqlite3``.
"""

from __future__ import annotations

import importlib
import sys
from typing import Dict, Optional, Tuple

import django

# Lowest SQLite of each Django line: DatabaseFeatures.minimum_database_version, which cannot be read
# without importing sqlite3 first.
MINIMUM: Dict[Tuple[int, int], Tuple[int, ...]] = {
    (4, 2): (3, 21),
    (5, 2): (3, 31),
    (6, 1): (3, 37),
}


def replace_old_sqlite() -> bool:
    """Put ``pysqlite3`` in the place of ``sqlite3`` when the latter is missing or too old for the running Django.

    Without ``pysqlite3`` nothing changes: Django's own message then says what is wrong.

    Returns:
        Whether ``sqlite3`` was replaced.
    """
    found = _version("sqlite3")
    if found is not None and found >= minimum_version():
        return False
    if _version("pysqlite3") is None:
        return False
    for name in ("", ".dbapi2"):
        sys.modules["sqlite3" + name] = importlib.import_module("pysqlite3" + name)
    return True


def minimum_version() -> Tuple[int, ...]:
    """Return the lowest SQLite version for the running Django, of the newest known line below it."""
    line = django.VERSION[:2]
    return max((version for known, version in MINIMUM.items() if known <= line), default=min(MINIMUM.values()))


def _version(module: str) -> Optional[Tuple[int, ...]]:
    try:
        found: Tuple[int, ...] = importlib.import_module(module).sqlite_version_info
    except ImportError:
        return None
    return found
