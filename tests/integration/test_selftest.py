"""A self-test whose environment names a real database, cache and mail server: nothing is touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import pytest

from tests.support.depth import sampled
from tests.support.helpers import run_cli
from tests.support.projects import CANARY, Workshop, append, environment

DATABASES = """
import os
from pathlib import Path
REAL = Path(os.environ["REAL"])
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": REAL / "site.sqlite3"},
    "billing": {
        "ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": os.environ["PORT_POSTGRESQL"],
        "NAME": "billing", "USER": "billing", "PASSWORD": os.environ["PASSWORD"],
    },
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]},
    "files": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": REAL / "cache"},
}
EMAIL_HOST, EMAIL_PORT = "127.0.0.1", int(os.environ["PORT_MAIL"])
ADMINS = [("Admin", "admin@example.org")]
MEDIA_ROOT = REAL / "media"
STATIC_ROOT = REAL / "static"
SESSION_ENGINE = "django.contrib.sessions.backends.file"
SESSION_FILE_PATH = str(REAL / "sessions")
LOGGING = {
    "version": 1, "handlers": {"file": {"class": "logging.FileHandler", "filename": REAL / "site.log"}},
    "root": {"handlers": ["file"], "level": "DEBUG"},
}
INSTALLED_APPS += ["touching"]
ROOT_URLCONF = "touching.urls"
"""

# Everything is used, in the migration and in the request: cache, mail, media, sessions, both databases.
TOUCH = """
from django.core import mail
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connections


def touch(*_):
    for alias in ("default", "billing"):
        with connections[alias].cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS touched (one INTEGER)")
            cursor.execute("INSERT INTO touched VALUES (1)")
    for alias in ("default", "files"):
        caches[alias].set("touched", "yes")
    mail.send_mail("touched", "yes", "site@example.org", ["admin@example.org"])
    mail.mail_admins("touched", "yes")
    default_storage.save("touched.txt", ContentFile(b"yes"))
"""
MIGRATION = """
from django.db import migrations
from touching.touch import touch


class Migration(migrations.Migration):
    operations = [migrations.RunPython(touch)]
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
from touching.touch import touch


def page(request):
    touch()
    request.session["touched"] = "yes"
    return HttpResponse("touched")


urlpatterns = [path("", page)]
"""


class Listener:
    """A server that only counts who connects."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = str(self._socket.getsockname()[1])
        self.connections = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # closing alone does not end an accept(2) of the thread
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("selftest"))


@pytest.fixture(scope="module")
def artifact(workshop: Workshop) -> Path:
    """Return the artifact of a site that uses a database of each kind, caches, mail, media and sessions."""
    project = workshop.startproject("portal", "config")
    append(project / "config" / "settings.py", DATABASES)
    (project / "touching" / "migrations").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "touch": TOUCH,
        "urls": URLS,
        "migrations/__init__": "",
        "migrations/0001_touch": MIGRATION,
    }.items():
        (project / "touching" / f"{name}.py").write_text(text)
    return workshop.pack(project, ["django", "psycopg2-binary", "redis"])


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuple[str, Path]]:
    """Yield the port of a PostgreSQL of our own on 127.0.0.1 with a database ``billing``, and its folder."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path("/tmp") / f"selftest-postgresql-{os.getpid()}"
    folder.mkdir(mode=0o777)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    os.chmod(str(folder), 0o777)
    data = folder / "data"
    run_cli([*become, programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "postgres"], cwd=folder)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    start = [*become, programs[-1] / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log"]
    run_cli([*start, "start"], cwd=folder)
    try:
        for text in ("CREATE ROLE billing LOGIN SUPERUSER", "CREATE DATABASE billing OWNER billing"):
            run_cli(["psql", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-c", text])
        yield port, folder
    finally:
        run_cli([*become, programs[-1] / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], cwd=folder)
        shutil.rmtree(str(folder))


class Real:
    """Everything that a self-test must leave as it is, and what it looks like."""

    def __init__(self, folder: Path, port: str) -> None:
        self.folder = folder
        self.mail, self.redis = Listener(), Listener()
        self._port = port
        for name in ("cache", "media", "static", "sessions"):
            (folder / name).mkdir(parents=True)
        with sqlite3.connect(str(folder / "site.sqlite3")) as database:
            database.execute("CREATE TABLE precious (one INTEGER)")
        (folder / "site.log").write_text("the log\n")
        self.variables = {
            "REAL": str(folder),
            "PORT_POSTGRESQL": port,
            "PASSWORD": CANARY,
            "REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            "PORT_MAIL": self.mail.port,
        }

    def look(self) -> Dict[str, Any]:
        """Return all of it: files with times and contents, tables, and how often somebody connected."""
        tree = {
            str(path.relative_to(self.folder)): (path.stat().st_mtime_ns, path.stat().st_mode, _digest(path))
            for path in sorted(self.folder.rglob("*"))
        }
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        tables = run_cli(["psql", "-h", "127.0.0.1", "-p", self._port, "-U", "billing", "-Atc", query, "billing"])
        return {"files": tree, "tables": tables.stdout, "mail": self.mail.connections, "redis": self.redis.connections}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@pytest.fixture
def real(tmp_path: Path, postgresql: Tuple[str, Path]) -> Iterator[Real]:
    made = Real(tmp_path / "real", postgresql[0])
    yield made
    made.mail.close()
    made.redis.close()


def run(artifact: Path, tmp_path: Path, variables: Dict[str, str], *words: str) -> Tuple[Dict[str, Any], str]:
    """Run the self-test, and return its JSON document and what it said beside."""
    given = environment(tmp_path / "environment.json", **variables)
    command = [sys.executable, "-I", artifact, "selftest", "--json", "--env-file", given, *words]
    done = run_cli(command, code=None, timeout=300)
    document = json.loads(done.stdout)
    assert CANARY not in done.stdout + done.stderr
    return dict(document, code=done.returncode), done.stderr


def faults(document: Dict[str, Any]) -> Dict[str, str]:
    return {one["what"]: one["fault"] for one in document["findings"] if one["fault"]}


def test_the_site_by_itself_touches_all_of_it(artifact: Path, real: Real, tmp_path: Path) -> None:
    """The other tests prove something only if this site does touch everything outside of a self-test."""
    run_cli([sys.executable, "-I", artifact, "-d", tmp_path / "site", "--quiet"])
    environment(tmp_path / "site" / "environment.json", **real.variables)
    before = real.look()
    manage = [
        tmp_path / "site" / "venv" / "bin" / "python",
        "-I",
        tmp_path / "site" / "portal" / "manage.py",
        "migrate",
    ]
    run_cli(manage, code=1)  # the cache is not Redis
    after = real.look()
    assert after["files"] != before["files"]
    assert after["tables"] != before["tables"]
    assert after["redis"] > before["redis"]


def test_nothing_real_is_touched(artifact: Path, real: Real, tmp_path: Path) -> None:
    before = real.look()
    document, said = run(artifact, tmp_path, real.variables)
    assert faults(document) == {}
    assert [one for one in document["findings"] if one["note"]] == []
    assert document["code"] == 0
    assert real.look() == before
    assert "No process may use the network" in said
    assert "DATABASES (billing, default)" in said
    assert [line for line in said.splitlines() if line.startswith(("manage.py", "WSGI", "GET"))] == [
        "manage.py check", "manage.py collectstatic", "WSGI callable", "manage.py migrate", "GET /"
    ]  # fmt: skip


HOSTILE = {
    # Settings that connect, write or start something while they are imported.
    "a connection at import": "import socket; socket.create_connection(('127.0.0.1', int(os.environ['PORT_MAIL'])))",
    "a driver written in C": (
        "import psycopg2; psycopg2.connect(host='127.0.0.1', port=os.environ['PORT_POSTGRESQL'], user='billing',"
        " dbname='billing').cursor().execute('CREATE TABLE IF NOT EXISTS hostile (one INTEGER); COMMIT')"
    ),
    "the real database by sqlite3": (
        "import sqlite3; sqlite3.connect(str(REAL / 'site.sqlite3')).execute('CREATE TABLE hostile (one INTEGER)')"
    ),
    "the real database attached": (
        "import sqlite3; c = sqlite3.connect(':memory:')\n"
        "c.execute('ATTACH ? AS r', (str(REAL / 'site.sqlite3'),)); c.execute('CREATE TABLE r.hostile (one INTEGER)')"
    ),
    "a file": "(REAL / 'media' / 'hostile').write_text('x')",
    "a file through a link": (
        "os.symlink(str(REAL), str(BASE_DIR / 'link')); (BASE_DIR / 'link' / 'media' / 'hostile').write_text('x')"
    ),
    "another program": "import subprocess; subprocess.run(['touch', str(REAL / 'hostile')], check=True)",
    "a mode": "os.chmod(str(REAL / 'site.log'), 0o600)",
    "a name that is looked up": "import socket; socket.getaddrinfo('database.example.org', 5432)",
}


# One of each kind: the network, a driver written in C, a file, another program.
USUAL_HOSTILE = ["a connection at import", "a driver written in C", "a file through a link", "another program"]


@pytest.mark.parametrize("what", sampled(HOSTILE, USUAL_HOSTILE))
def test_what_no_setting_covers_is_refused_and_named(
    what: str, workshop: Workshop, artifact: Path, real: Real, tmp_path: Path
) -> None:
    """The code comes with the environment: one artifact serves all these cases."""
    hostile = hostile_artifact(workshop)
    before = real.look()
    document, _ = run(hostile, tmp_path, dict(real.variables, HOSTILE=HOSTILE[what]))
    assert real.look() == before
    assert document["code"] == 8
    assert "manage.py check" in faults(document)
    text = json.dumps(document)
    named = {
        "a connection at import": f"attempt to connect to 127.0.0.1:{real.mail.port}",
        "a driver written in C": "127.0.0.1",
        "the real database by sqlite3": "SQLite database",
        "the real database attached": "sqlite3.OperationalError",
        "another program": "exit status 1",
        "a name that is looked up": "attempt to look up database.example.org, port 5432",
    }.get(what, "attempt to write")
    assert named in text or what == "another program"


def hostile_artifact(workshop: Workshop) -> Path:
    """Return the artifact whose settings run what the variable HOSTILE holds."""
    path = workshop.folder / "hostile-artifact.zip"
    if not path.exists():
        shutil.copytree(str(workshop.folder / "portal"), str(workshop.folder / "hostile"))
        append(workshop.folder / "hostile" / "config" / "settings.py", "\nexec(os.environ['HOSTILE'])\n")
        workshop.pack(workshop.folder / "hostile", ["django", "psycopg2-binary", "redis"])
    return path


def test_an_attempt_whose_refusal_is_swallowed_is_told_too(
    workshop: Workshop, artifact: Path, real: Real, tmp_path: Path
) -> None:
    code = "try:\n import socket; socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass"
    hostile = hostile_artifact(workshop)
    document, _ = run(hostile, tmp_path, dict(real.variables, HOSTILE=code))
    assert list(faults(document)) == ["attempt to connect to 127.0.0.1:9"] * 1
    document, _ = run(
        hostile, tmp_path, dict(real.variables, HOSTILE=code), "--ignore", "attempt to connect to 127.0.0.1:9"
    )
    assert document["code"] == 0


def test_settings_named_by_the_code_itself_are_changed_too(
    workshop: Workshop, artifact: Path, real: Real, tmp_path: Path
) -> None:
    """``manage.py`` and ``wsgi.py`` that overwrite DJANGO_SETTINGS_MODULE pass by any module of settings of ours."""
    project = workshop.folder / "stubborn"
    shutil.copytree(str(workshop.folder / "portal"), str(project))
    os.rename(str(project / "config" / "settings.py"), str(project / "config" / "other.py"))
    for name in ("manage.py", "config/wsgi.py"):
        text = (project / name).read_text()
        changed = re.sub(r"environ.setdefault\((.*?), .*?\)", r"environ[\1] = 'config.other'", text)
        assert changed != text
        (project / name).write_text(changed)
    hostile = workshop.pack(project, ["django", "psycopg2-binary", "redis"], "--settings-module", "config.other")
    before = real.look()
    document, _ = run(hostile, tmp_path, real.variables)
    assert faults(document) == {}
    assert real.look() == before
