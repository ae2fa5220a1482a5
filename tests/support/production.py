"""What environment.json holds on the servers of the tests; needs no engine."""

from __future__ import annotations

ROOT = "/srv/cfgov"
SITE = {
    "SECRET_KEY": "canary-of-a-container-0123456789-abcdefghijklmnop",
    "ALLOWED_HOSTS": '["*"]',
    "DATABASE_URL": f"sqlite:///{ROOT}/data/site.sqlite3",
    "DJANGO_SETTINGS_MODULE": "cfgov.settings.production",
    "STATIC_ROOT": f"{ROOT}/static",
    "MEDIA_ROOT": f"{ROOT}/shared/media",
    "CFGOV_TEST_VIEWS": "1",
}
