"""What a project's Django settings become in a self-test: nothing in them leads out of one folder. Runs in the release.

Every setting of Django and of well-known packages that names a database, cache, mail server, file store, queue, search
engine or log file gets a value that needs none of them. What is not known here is still held back by ``confine`` and
``guard``.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List

Values = Dict[str, Any]

_LOCAL_CACHES = ("db.DatabaseCache", "dummy.DummyCache", "locmem.LocMemCache")
_LOCAL_SESSIONS = ("db", "cached_db", "cache", "signed_cookies")
_LOCAL_STATIC = ("django.contrib.staticfiles.storage.", "whitenoise.storage.")


def replaced(values: Values, folder: str) -> Values:
    """Return the settings of *values* that must change, with their values below *folder*."""
    found: Values = {}
    for part in (_databases, _mail, _files, _sessions):
        found.update(part(values, folder))
    for one in (_caches, _queues, _searches, _logs, _hosts):
        found.update(one(values))
    return found


def _each(values: Values, name: str, become: Callable[[str, Any], Any]) -> Values:
    """Return the dictionary setting *name* with each of its aliases changed; nothing when it is not set."""
    if not isinstance(values.get(name), dict) or not values[name]:
        return {}
    return {name: {alias: become(alias, entry) for alias, entry in values[name].items()}}


def _databases(values: Values, folder: str) -> Values:
    """One SQLite file for each alias, without routers: the self-test migrates every one of them."""
    aliases = sorted({"default", *values.get("DATABASES", {})} - {"default"})
    names = {"default": "scratch", **{alias: f"scratch-{number}" for number, alias in enumerate(aliases)}}
    entries = {
        alias: {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(folder, f"{name}.sqlite3"),
            "OPTIONS": {"timeout": 30},
        }
        for alias, name in names.items()
    }
    return {"DATABASES": entries, "DATABASE_ROUTERS": []}


def _caches(values: Values) -> Values:
    def become(alias: str, entry: Any) -> Any:
        backend = str(entry.get("BACKEND", "")) if isinstance(entry, dict) else ""
        if backend in [f"django.core.cache.backends.{name}" for name in _LOCAL_CACHES]:
            return entry
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": alias}

    return _each(values, "CACHES", become)


def _mail(values: Values, folder: str) -> Values:
    dummy = "django.core.mail.backends.dummy.EmailBackend"
    quiet: Values = {"ADMINS": [], "MANAGERS": []}
    quiet["SILENCED_SYSTEM_CHECKS"] = [*values.get("SILENCED_SYSTEM_CHECKS", []), "mail.E001"]  # nothing is sent
    if values.get("POST_OFFICE"):
        quiet["POST_OFFICE"] = {"BACKENDS": {"default": dummy}}
    if values.get("MAILERS"):  # Django 6.1; it refuses both kinds of settings together
        return dict(quiet, MAILERS={alias: {"BACKEND": dummy} for alias in values["MAILERS"]})
    settings: Values = {"BACKEND": dummy, "HOST": "", "PORT": 0, "HOST_USER": "", "HOST_PASSWORD": ""}
    settings["FILE_PATH"] = os.path.join(folder, "mail")
    return dict(quiet, **{f"EMAIL_{name}": value for name, value in settings.items()})


def _files(values: Values, folder: str) -> Values:
    media, static = os.path.join(folder, "media"), os.path.join(folder, "static")
    disk = "django.core.files.storage.FileSystemStorage"

    def become(alias: str, entry: Any) -> Any:
        if alias != "staticfiles":
            return {"BACKEND": disk, "OPTIONS": {"location": os.path.join(media, alias)}}
        return dict(entry, BACKEND=_static_storage(values, str(entry.get("BACKEND", ""))), OPTIONS=_kept(entry))

    found = {"MEDIA_ROOT": media, "STATIC_ROOT": static, "FILE_UPLOAD_TEMP_DIR": os.path.join(folder, "tmp")}
    found.update(_each(values, "STORAGES", become))
    if "DEFAULT_FILE_STORAGE" in values:  # before Django 5.1
        found["DEFAULT_FILE_STORAGE"] = disk
    if "STATICFILES_STORAGE" in values:
        found["STATICFILES_STORAGE"] = _static_storage(values, str(values["STATICFILES_STORAGE"]))
    for name in ("COMPRESS_ROOT", "THUMBNAIL_MEDIA_ROOT", "SENDFILE_ROOT", "PRIVATE_STORAGE_ROOT"):
        if name in values:
            found[name] = static if name == "COMPRESS_ROOT" else media
    return found


def _kept(entry: Values) -> Values:
    """Return the options of a static files storage without those that place it."""
    return {key: value for key, value in entry.get("OPTIONS", {}).items() if key == "manifest_strict"}


def _static_storage(values: Values, backend: str) -> str:
    """Return *backend* if it writes to STATIC_ROOT: Django's, WhiteNoise's, or one that the project itself defines."""
    own = {str(values.get("ROOT_URLCONF", "")).partition(".")[0], *map(str, values.get("INSTALLED_APPS", ()))} - {""}
    if backend.startswith(_LOCAL_STATIC) or any(backend.startswith(f"{name}.") for name in own):
        return backend
    return "django.contrib.staticfiles.storage.StaticFilesStorage"


def _sessions(values: Values, folder: str) -> Values:
    engine = str(values.get("SESSION_ENGINE", ""))
    if engine in [f"django.contrib.sessions.backends.{name}" for name in _LOCAL_SESSIONS]:
        return {"SESSION_FILE_PATH": folder}
    return {"SESSION_FILE_PATH": folder, "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}


_QUEUES: Values = {
    "BROKER_URL": "memory://",
    "CELERY_BROKER_URL": "memory://",
    "CELERY_BROKER_READ_URL": "memory://",
    "CELERY_BROKER_WRITE_URL": "memory://",
    "CELERY_RESULT_BACKEND": "cache+memory://",
    "CELERY_RESULT_DBURI": "",
    "CELERY_CACHE_BACKEND": "memory",
    "Q_CLUSTER": {"name": "selftest", "orm": "default"},
    "HUEY": {"huey_class": "huey.MemoryHuey", "immediate": True},
    "DRAMATIQ_BROKER": {"BROKER": "dramatiq.brokers.stub.StubBroker", "OPTIONS": {}, "MIDDLEWARE": []},
    "DRAMATIQ_RESULT_BACKEND": {},
    "WAGTAILFRONTENDCACHE": {},
    "CONSTANCE_BACKEND": "constance.backends.memory.MemoryBackend",
    "THUMBNAIL_KVSTORE": "sorl.thumbnail.kvstores.cached_db_kvstore.KVStore",
}


def _queues(values: Values) -> Values:
    found = {name: value for name, value in _QUEUES.items() if values.get(name)}
    found.update(_each(values, "CHANNEL_LAYERS", lambda *_: {"BACKEND": "channels.layers.InMemoryChannelLayer"}))
    dummy = "django.tasks.backends.dummy.DummyBackend"
    found.update(_each(values, "TASKS", lambda _, entry: {"BACKEND": dummy, "QUEUES": entry.get("QUEUES", [])}))
    # Port 1 of the own host: rq connects when a job is queued, not before.
    found.update(_each(values, "RQ_QUEUES", lambda *_: {"HOST": "127.0.0.1", "PORT": 1, "DB": 0}))
    return found


def _searches(values: Values) -> Values:
    wagtail = {"BACKEND": "wagtail.search.backends.database"}

    def become(_: str, entry: Any) -> Any:
        return entry if str(entry.get("BACKEND", "")) == wagtail["BACKEND"] else dict(wagtail)

    simple = "haystack.backends.simple_backend.SimpleEngine"
    return {
        **_each(values, "WAGTAILSEARCH_BACKENDS", become),
        **_each(values, "HAYSTACK_CONNECTIONS", lambda *_: {"ENGINE": simple}),
        **_each(values, "ELASTICSEARCH_DSL", lambda *_: {"hosts": "http://127.0.0.1:1"}),
        **({"ELASTICSEARCH_DSL_AUTOSYNC": False} if "ELASTICSEARCH_DSL" in values else {}),
    }


def _logs(values: Values) -> Values:
    """Keep formatters, filters and loggers; every handler writes to stderr."""
    logging = values.get("LOGGING")
    if not isinstance(logging, dict) or not isinstance(logging.get("handlers"), dict):
        return {}
    kept = ("level", "formatter", "filters")
    handlers = {
        name: dict({key: entry[key] for key in kept if key in entry}, **{"class": "logging.StreamHandler"})
        for name, entry in logging["handlers"].items()
        if isinstance(entry, dict)
    }
    return {"LOGGING": dict(logging, handlers=handlers)}


def _hosts(values: Values) -> Values:
    """Answer on 127.0.0.1 without TLS, whatever hosts the site has."""
    secure = ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
    return {"ALLOWED_HOSTS": ["*"], **{name: False for name in secure if values.get(name)}}


def described(before: Values, after: Values) -> List[str]:
    """Return which settings were replaced, with the names of their entries, never a value."""
    lines = []
    for name in sorted(after):
        if before.get(name) != after[name]:
            entries = sorted(after[name]) if isinstance(after[name], dict) and name.isupper() else []
            plain = name in ("LOGGING", "Q_CLUSTER", "HUEY") or not entries
            lines.append(name if plain else f"{name} ({', '.join(map(str, entries))})")
    return lines
