"""Settings of ``tests/site``: in memory where it can be, without a manifest of static files."""

from __future__ import annotations

import os
import tempfile

os.environ.update(SECRET_KEY="only for tests", ALLOWED_HOSTS='["*"]', DATABASE_URL="sqlite://:memory:")

from cfgov.settings.production import *  # noqa: F403  (reads the environment that the line above sets)
from cfgov.settings.production import STORAGES

MEDIA_ROOT = tempfile.mkdtemp(prefix="cfgov-test-media-")
STATIC_ROOT = tempfile.mkdtemp(prefix="cfgov-test-static-")
STORAGES = dict(STORAGES, staticfiles={"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"})
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # tests log in often
TEST_VIEWS = True
