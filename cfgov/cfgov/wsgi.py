"""WSGI callable of the site, for mod_wsgi (``WSGIScriptAlias / .../cfgov/wsgi.py``) and gunicorn."""

from __future__ import annotations

import os
import sys
from typing import List


def pin_import_path() -> None:
    """Replace symbolic links in the import path by what they point to now.

    Releases are switched by moving a symlink. A process that still answers its last requests would otherwise import
    a module that it needs late from the new release, into the old one. Packages imported already (gunicorn's, and
    ours when gunicorn loads this file as ``cfgov.wsgi``) hold paths of their own.
    """
    _pin(sys.path)
    for module in list(sys.modules.values()):
        locations = getattr(module, "__path__", None)
        if isinstance(locations, list):
            _pin(locations)


def _pin(paths: List[str]) -> None:
    # Entries that are no files belong to import hooks and mean something else.
    paths[:] = [os.path.realpath(path) if os.path.exists(path or ".") else path for path in paths]


pin_import_path()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cfgov.settings.production")

from django.core.wsgi import get_wsgi_application  # noqa: E402  (only after the path is pinned)

application = get_wsgi_application()
