"""The settings that an installed release runs with: ``base`` plus the environment (docs/site.md)."""

from __future__ import annotations

from urllib.parse import quote

import django

from cfgov.settings import environment
from cfgov.settings.base import *  # noqa: F403  (a settings module is the sum of its parts)
from cfgov.settings.base import FOLDER, INSTALLED_APPS, WAGTAIL_SITE_NAME

DEBUG = False
SECRET_KEY = environment.required("SECRET_KEY")
ALLOWED_HOSTS = environment.json_list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.json_list("CSRF_TRUSTED_ORIGINS", [])
WAGTAILADMIN_BASE_URL = environment.text("WAGTAILADMIN_BASE_URL", "http://localhost")

DATABASES = {"default": environment.database("DATABASE_URL", "sqlite:///" + quote(f"{FOLDER}/cfgov.sqlite3"))}
if DATABASES["default"]["ENGINE"] == environment.POSTGRESQL:
    # Wagtail's search index has fields of this kind then; it imports psycopg2, which SQLite does not need.
    INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres"]

STATIC_ROOT = environment.text("STATIC_ROOT", environment.text("STATIC_PATH", str(FOLDER / "static")))
MEDIA_ROOT = environment.text("MEDIA_ROOT", str(FOLDER / "media"))

# Behind a proxy that ends TLS, Apache sets X-Forwarded-Proto and X-Forwarded-Host; believed only then,
# since otherwise any client could send them.
BEHIND_HTTPS = bool(environment.text("APACHE_HTTPS_FORWARDED_HOST", ""))
if BEHIND_HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
USE_X_FORWARDED_HOST = BEHIND_HTTPS
SESSION_COOKIE_SECURE = BEHIND_HTTPS
CSRF_COOKIE_SECURE = BEHIND_HTTPS

SILENCED_SYSTEM_CHECKS = [
    "mail.E001",  # a backend that sends nothing: wanted where there is no mail server, see EMAIL_HOST
    "security.W005",  # HSTS for subdomains: they belong to others, who decide about them
    "security.W008",  # redirect to https: the proxy that ends TLS does it, and health checks come without TLS
    "security.W019",  # X-Frame-Options DENY: the editor shows previews in a frame of the same origin
    "security.W021",  # HSTS preload: binds the whole domain, see W005
]

# Without a mail server nothing is sent, and nobody waits for one that does not answer.
_mail_server = environment.text("EMAIL_HOST", "")
_mail_backend = "django.core.mail.backends." + ("smtp" if _mail_server else "dummy") + ".EmailBackend"
if django.VERSION < (6, 1):
    EMAIL_HOST = _mail_server
    EMAIL_BACKEND = _mail_backend
else:
    MAILERS = {"default": {"BACKEND": _mail_backend, "OPTIONS": {"host": _mail_server} if _mail_server else {}}}
DEFAULT_FROM_EMAIL = environment.text("DEFAULT_FROM_EMAIL", f"{WAGTAIL_SITE_NAME} <webmaster@localhost>")

# Views that fail or wait on purpose, for the end-to-end tests.
TEST_VIEWS = environment.flag("CFGOV_TEST_VIEWS")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "[%(levelname)s] [%(name)s] %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}
