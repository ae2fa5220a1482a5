"""What Django's settings become in a self-test."""

from __future__ import annotations

import json
from typing import Any, Dict

import pytest

from deployable_zipfile.deploy import scratch

REAL = "real.example"
SETTINGS: Dict[str, Any] = {
    "DATABASES": {
        "default": {"ENGINE": "django.db.backends.postgresql", "HOST": REAL, "OPTIONS": {"service": REAL}},
        "replica": {"ENGINE": "django.db.backends.mysql", "HOST": REAL, "TEST": {"MIRROR": "default"}},
    },
    "DATABASE_ROUTERS": [f"{REAL}.Router"],
    "CACHES": {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://{REAL}"}},
    "EMAIL_HOST": REAL,
    "EMAIL_HOST_PASSWORD": REAL,
    "ADMINS": [("x", f"x@{REAL}")],
    "STORAGES": {
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket_name": REAL}},
        "staticfiles": {"BACKEND": "storages.backends.s3.S3StaticStorage", "OPTIONS": {"bucket_name": REAL}},
    },
    "DEFAULT_FILE_STORAGE": f"{REAL}.Storage",
    "MEDIA_ROOT": f"/{REAL}",
    "STATIC_ROOT": f"/{REAL}",
    "SESSION_ENGINE": f"{REAL}.sessions",
    "SESSION_FILE_PATH": f"/{REAL}",
    "CHANNEL_LAYERS": {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REAL]}}},
    "CELERY_BROKER_URL": f"amqp://{REAL}",
    "CELERY_RESULT_BACKEND": f"redis://{REAL}",
    "BROKER_URL": f"amqp://{REAL}",
    "Q_CLUSTER": {"redis": {"host": REAL}},
    "RQ_QUEUES": {"default": {"HOST": REAL}},
    "HUEY": {"connection": {"host": REAL}},
    "TASKS": {"default": {"BACKEND": f"{REAL}.Backend"}},
    "HAYSTACK_CONNECTIONS": {"default": {"ENGINE": "x", "URL": f"http://{REAL}"}},
    "WAGTAILSEARCH_BACKENDS": {"default": {"BACKEND": "x", "URLS": [f"http://{REAL}"]}},
    "ELASTICSEARCH_DSL": {"default": {"hosts": f"http://{REAL}"}},
    "LOGGING": {"version": 1, "handlers": {"file": {"class": "logging.FileHandler", "filename": f"/{REAL}"}}},
}


def test_nothing_real_is_left() -> None:
    found = scratch.replaced(SETTINGS, "/scratch")
    assert REAL not in json.dumps(dict(SETTINGS, **found))


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_each_setting_is_replaced_by_itself(name: str) -> None:
    assert REAL not in json.dumps(scratch.replaced({name: SETTINGS[name]}, "/scratch")[name])


def test_each_alias_is_an_sqlite_file_of_its_own_in_the_folder_without_routers() -> None:
    found = scratch.replaced(SETTINGS, "/scratch")
    assert {alias: entry["NAME"] for alias, entry in found["DATABASES"].items()} == {
        "default": "/scratch/scratch.sqlite3",
        "replica": "/scratch/scratch-0.sqlite3",
    }
    assert found["DATABASE_ROUTERS"] == []


def test_what_needs_nothing_from_outside_stays() -> None:
    caches = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "table"}}
    found = scratch.replaced({"CACHES": caches, "SESSION_ENGINE": "django.contrib.sessions.backends.db"}, "/scratch")
    assert found["CACHES"] == caches
    assert "SESSION_ENGINE" not in found
    assert not {"CHANNEL_LAYERS", "CELERY_BROKER_URL", "LOGGING", "STORAGES"} & set(found)


@pytest.mark.parametrize(
    ("backend", "kept"),
    [
        ("django.contrib.staticfiles.storage.ManifestStaticFilesStorage", True),
        ("whitenoise.storage.CompressedManifestStaticFilesStorage", True),
        ("portal.storage.Own", True),
        ("storages.backends.s3.S3StaticStorage", False),
    ],
)
def test_a_storage_of_static_files_stays_when_it_writes_to_static_root(backend: str, kept: bool) -> None:
    storages = {"staticfiles": {"BACKEND": backend, "OPTIONS": {"location": "/real", "manifest_strict": False}}}
    entry = scratch.replaced({"STORAGES": storages, "ROOT_URLCONF": "portal.urls"}, "/scratch")["STORAGES"][
        "staticfiles"
    ]
    assert (entry["BACKEND"] == backend) is kept
    assert entry["OPTIONS"] == {"manifest_strict": False}


def test_both_kinds_of_mail_settings_are_never_set_together() -> None:
    found = scratch.replaced({"MAILERS": {"default": {"BACKEND": "x", "OPTIONS": {"host": REAL}}}}, "/scratch")
    assert found["MAILERS"] == {"default": {"BACKEND": "django.core.mail.backends.dummy.EmailBackend"}}
    assert not [name for name in found if name.startswith("EMAIL_")]


def test_the_description_names_entries_and_no_value() -> None:
    lines = scratch.described(SETTINGS, scratch.replaced(SETTINGS, "/scratch"))
    assert "DATABASES (default, replica)" in lines
    assert "HUEY" in lines
    assert REAL not in "".join(lines)
