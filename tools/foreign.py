"""Third-party projects, from their lock to a page: pack, install, self-test, deploy, serve.

    python -m tools.foreign [NAME]... [--work FOLDER] [--write]

Applications and templates come from the package index, pinned by version; the others are written here in the shape of
projects that people have. Each step is the command of a user, run with a Python that has nothing installed. --write
puts the results into docs/foreign.md, where projects that are not named keep theirs. Needs uv, git and the network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
CREATE = ROOT / "cfgov" / "deployable_zipfile" / "create.py"
DOCUMENT = ROOT / "docs" / "foreign.md"
GUNICORN, UVICORN = "gunicorn==27.0.1", "uvicorn==0.54.0"
DJANGO = "django==5.2.8"
TIMEOUT = 1500.0  # seconds for one command
STEPS = ("pack", "install", "selftest", "deploy", "page", "serve")


class Project(NamedTuple):
    """One project and how it is made, packed and shown."""

    name: str
    origin: str  # what it is, for the table
    requirements: Tuple[str, ...]
    folder: str  # of the project
    start: Tuple[str, ...] = ()  # command that makes it in the empty folder; {folder} is the folder
    files: Dict[str, str] = {}  # written after that
    options: Tuple[str, ...] = ()  # of create
    variables: Dict[str, str] = {}  # of environment.json; {state} is a folder that outlives releases
    manage: Tuple[str, ...] = ()  # management commands that it needs before it can be served
    page: str = "/"
    server: str = GUNICORN
    module: str = ""  # of the callable
    lock: str = "requirements.txt"  # uv.lock: the project has one
    library: bool = False  # it needs the small package from a local git repository


MANAGE = """\
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
FLASK = "import flask\napp = flask.Flask(__name__)\n\n@app.get('/')\ndef home():\n    return 'flask'\n"
STARLETTE = """\
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def home(request):
    return PlainTextResponse("starlette")

app = Starlette(routes=[Route("/", home)])
"""
UV = """\
[project]
name = "grouped"
version = "1"
requires-python = ">=3.11"
dependencies = ["flask==3.1.3"]

[dependency-groups]
server = ["gunicorn==27.0.1"]
dev = ["pytest==9.0.1"]

[tool.uv]
package = false
"""
KEY = "a-key-of-fifty-characters-for-a-site-that-nobody-visits"
MAILMAN = """\
import os
from mailman_web.settings.base import *
from mailman_web.settings.mailman import *

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ.get("STATE", ""), "db.sqlite3")}
}
COMPRESS_ENABLED = COMPRESS_OFFLINE = False  # both need sassc on the machine
COMPRESS_PRECOMPILERS = ()
LOGGING["handlers"]["file"]["filename"] = os.path.join(os.environ.get("STATE", ""), "mailman-web.log")
"""
MEZZANINE = """\
import os
from gazette.settings import *

SECRET_KEY = NEVERCACHE_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ.get("STATE", ""), "db.sqlite3")}
}
"""
START = ("python", "-m", "django", "startproject")

PROJECTS: Tuple[Project, ...] = (
    Project(
        "wagtail-start", "`wagtail start`", ("wagtail==8.0.1",), "bakery",
        ("wagtail", "start", "bakery", "{folder}"), module="bakery.wsgi", variables={
            "SECRET_KEY": KEY,
            "DJANGO_SETTINGS_MODULE": "bakery.settings.dev",
        },
        options=("--settings-module", "bakery.settings.dev"),
    ),
    Project(
        "coderedcms", "`coderedcms start`", ("coderedcms==6.0.0",), "newsroom",
        ("coderedcms", "start", "newsroom", "{folder}"), module="newsroom.wsgi",
        options=("--settings-module", "newsroom.settings.dev"),
        variables={"DJANGO_SETTINGS_MODULE": "newsroom.settings.dev"},
    ),
    Project(
        "pretix", "application from the index", ("pretix==2026.8.0",), "tickets",
        files={"manage.py": MANAGE.format(settings="pretix.settings")},
        options=("--settings-module", "pretix.settings", "--wsgi", "pretix.wsgi:application"),
        variables={"DATA_DIR": "{state}", "DJANGO_SETTINGS_MODULE": "pretix.settings"},
        page="/control/login", module="pretix.wsgi", manage=("compress",),
    ),
    Project(
        "mailman-web", "application from the index, with our settings", ("mailman-web==0.0.9", "setuptools==80.9.0"),
        "lists", files={"manage.py": MANAGE.format(settings="lists_settings"), "lists_settings.py": MAILMAN},
        options=("--settings-module", "lists_settings", "--wsgi", "mailman_web.wsgi:application"),
        variables={"STATE": "{state}", "SECRET_KEY": KEY, "DJANGO_SETTINGS_MODULE": "lists_settings"},
        page="/accounts/login/", module="mailman_web.wsgi",
    ),
    Project(
        "ara", "application from the index", ("ara[server]==1.8.0",), "records",
        files={"manage.py": MANAGE.format(settings="ara.server.settings")},
        options=("--settings-module", "ara.server.settings", "--wsgi", "ara.server.wsgi:application"),
        variables={"ARA_BASE_DIR": "{state}"}, page="/", module="ara.server.wsgi",
    ),
    Project(
        "mezzanine", "`mezzanine-project`, with our settings", ("mezzanine==6.1.1", "setuptools==80.9.0"), "gazette",
        ("mezzanine-project", "gazette", "{folder}"), module="gazette.wsgi",
        files={"gazette/production.py": MEZZANINE}, options=("--settings-module", "gazette.production"),
        variables={"STATE": "{state}", "SECRET_KEY": KEY, "DJANGO_SETTINGS_MODULE": "gazette.production"},
    ),
    Project(
        "config", "`startproject config .` in a flat sandbox", (DJANGO,), "sandbox",
        (*START, "config", "{folder}"), module="config.wsgi",
    ),
    Project("hc", "package of two letters", (DJANGO,), "hc", (*START, "hc", "{folder}"), module="hc.wsgi"),
    Project(
        "online-judge", "hyphenated folder", (DJANGO,), "online-judge",
        (*START, "dmoj", "{folder}"), module="dmoj.wsgi",
    ),
    Project(
        "djangoproject.com", "folder with a dot", (DJANGO,), "djangoproject.com",
        (*START, "djangoproject", "{folder}"), module="djangoproject.wsgi",
    ),
    Project(
        "site", "folder named as a module of Python", (DJANGO,), "site",
        (*START, "mysite", "{folder}"), module="mysite.wsgi",
    ),
    Project(
        "flask", "Flask", ("flask==3.1.3",), "hello-flask", files={"app.py": FLASK},
        options=("--wsgi", "app:app"), module="app:app",
    ),
    Project(
        "starlette", "Starlette", ("starlette==1.10.0",), "hello-starlette", files={"main.py": STARLETTE},
        options=("--asgi", "main:app"), module="main:app", server=UVICORN,
    ),
    Project(
        "uv-groups", "`uv.lock` with groups", (), "grouped", files={"app.py": FLASK, "pyproject.toml": UV},
        options=("--wsgi", "app:app", "--group", "server"), module="app:app", lock="uv.lock",
    ),
    Project(
        "git-commit", "git dependency at a commit", ("flask==3.1.3",), "pinned",
        files={"app.py": FLASK.replace("import flask", "import flask, greeting").replace("'flask'", "greeting.TEXT")},
        options=("--wsgi", "app:app"), module="app:app", library=True,
    ),
)  # fmt: skip


class Failed(Exception):
    """A step did not do what it should; the text is for the table."""


class Row(NamedTuple):
    """What came of one project."""

    project: Project
    results: Dict[str, str]  # step -> what happened
    size: int  # bytes of the artifact
    wheels: int


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Try the projects; return 1 if a step of one failed."""
    parser = argparse.ArgumentParser(prog="tools.foreign", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(one.name for one in PROJECTS))
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep everything here (default: a scratch folder)")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.relative_to(ROOT)}")
    arguments = parser.parse_args(argv)
    unknown = sorted(set(arguments.names) - {one.name for one in PROJECTS})
    if unknown:
        parser.error(f"unknown project {unknown[0]!r}")
    chosen = [one for one in PROJECTS if not arguments.names or one.name in arguments.names]
    with contextlib.ExitStack() as stack:
        scratch = arguments.work or stack.enter_context(tempfile.TemporaryDirectory(prefix="foreign-"))
        rows = [attempt(project, Path(scratch).resolve() / project.name) for project in chosen]
    lines = {row.project.name: line(row) for row in rows}
    print(table(lines))
    if arguments.write:
        DOCUMENT.write_text(table({**recorded(DOCUMENT), **lines}), "utf-8")
    return 0 if all(result.startswith("yes") for row in rows for result in row.results.values()) else 1


def attempt(project: Project, work: Path) -> Row:
    """Take *project* through all steps below *work*, until one fails."""
    shutil.rmtree(str(work), ignore_errors=True)
    work.mkdir(parents=True)
    results: Dict[str, str] = {}
    trial = Trial(project, work)
    step = "make"
    try:
        trial.make()
        for step in STEPS:
            began = time.monotonic()
            results[step] = f"yes{getattr(trial, step)()}"
            print(f"{project.name}: {step}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    except Failed as failure:
        results[step] = f"no: {failure}"
        print(f"{project.name}: {step}: {failure}", file=sys.stderr, flush=True)
    size = trial.artifact.stat().st_size if trial.artifact.is_file() else 0
    return Row(project, results, size, trial.wheels)


class Trial:
    """One project in one folder."""

    def __init__(self, project: Project, work: Path) -> None:
        self.project = project
        self.work = work
        self.folder = work / "src" / project.folder
        self.artifact = work / "artifact.zip"
        self.bare = os.path.realpath(sys.executable)  # the Python behind the virtualenv: it has nothing installed
        self.environment = work / "environment.json"
        self.wheels = 0

    def run(self, words: Sequence[object], cwd: Optional[Path] = None, **variables: str) -> str:
        """Run a command and return what it printed on stdout."""
        known = {name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))}
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.work), "LANG": "C.UTF-8", **known, **variables}
        done = subprocess.run(
            [str(word) for word in words], cwd=str(cwd or self.work), env=environ, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        with (self.work / "log").open("ab") as log:
            log.write(f"\n$ {' '.join(map(str, words))}\n".encode() + done.stderr + done.stdout)
        if done.returncode:
            lines = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
            errors = [line for line in lines if line.startswith("error:")] or lines[-1:]
            raise Failed(f"{errors[0] if errors else 'no output'} ({done.returncode})")
        return done.stdout.decode("utf-8", "replace")

    def make(self) -> None:
        """Lay the project and its lock, and commit them."""
        self.folder.mkdir(parents=True)
        requirements = self.work / "requirements.in"
        requirements.write_text("".join(f"{line}\n" for line in self.project.requirements))
        server = self.work / "server.in"
        server.write_text(f"{self.project.server}\n")
        for path in (requirements, server):
            compiled = ["uv", "pip", "compile", "--quiet", "--generate-hashes", "--python", sys.executable]
            constraint = ["--constraint", requirements.with_suffix(".txt")] if path is server else []
            self.run([*compiled, *constraint, path, "--output-file", path.with_suffix(".txt")])
        if self.project.start:
            self._start(requirements.with_suffix(".txt"))
        for name, text in self.project.files.items():
            (self.folder / name).write_text(text)
        if self.project.lock == "uv.lock":
            self.run(["uv", "lock", "--quiet", "--python", sys.executable], self.folder)
        else:
            text = requirements.with_suffix(".txt").read_text()
            (self.folder / "requirements.txt").write_text(text + self._library())
        self._commit(self.folder)
        state = self.work / "state"
        state.mkdir()
        values = {name: value.replace("{state}", str(state)) for name, value in self.project.variables.items()}
        self.environment.write_text(json.dumps(values))
        self.environment.chmod(0o600)

    def _start(self, lock: Path) -> None:
        tools = self.work / "tools"
        self.run(["uv", "venv", "--quiet", "--python", sys.executable, tools])
        self.run(["uv", "pip", "install", "--quiet", "--python", tools / "bin" / "python", "-r", lock])
        words = [word.replace("{folder}", str(self.folder)) for word in self.project.start]
        self.run([tools / "bin" / words[0], *words[1:]], PATH=f"{tools / 'bin'}:{os.environ['PATH']}")

    def _library(self) -> str:
        """Return the line of a dependency in a local repository, at its commit."""
        if not self.project.library:
            return ""
        library = self.work / "greeting"
        library.mkdir()
        (library / "greeting.py").write_text("TEXT = 'greeting'\n")
        (library / "pyproject.toml").write_text(
            '[build-system]\nrequires = ["flit_core==3.12.0"]\nbuild-backend = "flit_core.buildapi"\n\n'
            '[project]\nname = "greeting"\nversion = "1"\ndescription = "greets"\n'
        )
        return f"greeting @ git+file://{library}@{self._commit(library)}\n"

    def _commit(self, folder: Path) -> str:
        git = ["git", "-c", "user.name=foreign", "-c", "user.email=foreign@example.org", "-C", folder]
        self.run([*git, "init", "--quiet"])
        self.run([*git, "add", "--all"])
        self.run([*git, "commit", "--quiet", "--message", "as it came"])
        return self.run([*git, "rev-parse", "HEAD"]).strip()

    def pack(self) -> str:
        """Create the artifact."""
        server = [] if self.project.lock == "uv.lock" else ["--extra-requirements", self.work / "server.txt"]
        words = [
            sys.executable,
            CREATE,
            self.folder,
            self.folder / self.project.lock,
            self.artifact,
            "--json",
            "--check",
        ]
        self.run([*words, *server, *self.project.options])
        manifest = json.loads(self.run([self.bare, "-I", self.artifact, "list", "--json"]))
        self.wheels = sum(1 for member in json.dumps(manifest).split('"') if member.endswith(".whl"))
        return ""

    def install(self) -> str:
        """Install it beside all others."""
        self.run([self.bare, "-I", self.artifact, "-d", self.work / "installed"])
        return ""

    def _manage(self) -> List[str]:
        return [part for text in self.project.manage for part in ("--manage", text)]

    def selftest(self) -> str:
        """Run its self-test."""
        words = ["--env-file", self.environment, "--path", self.project.page, *self._manage()]
        self.run([self.bare, "-I", self.artifact, "selftest", *words])
        return ""

    def deploy(self) -> str:
        """Deploy it as its first release."""
        words = [self.bare, "-I", self.artifact, "deploy", "--root", self.work / "srv"]
        self.run([*words, "--env-file", self.environment, *self._manage()])
        return ""

    def page(self) -> str:
        """Run the server from the release that is current and get the page."""
        current = self.work / "srv" / "current"
        info = json.loads(self.run([self.bare, "-I", self.artifact, "info", "--json"]))
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        name = self.project.module if ":" in self.project.module else f"{self.project.module}:application"
        kind = self.project.server.partition("=")[0]
        where = ["--host", "127.0.0.1", "--port", str(port)] if kind == "uvicorn" else ["--bind", f"127.0.0.1:{port}"]
        words = [str(current / "venv" / "bin" / "python"), "-I", "-m", kind, *where, name]
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.work), **self._settings(info)}
        with (self.work / "server.log").open("wb") as log, subprocess.Popen(
            words, cwd=str(current), env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as server:
            try:
                status = answer(f"http://127.0.0.1:{port}{self.project.page}", server)
            finally:
                server.terminate()
        if status != 200:
            raise Failed(f"{self.project.page} answers {status}")
        return f" ({kind})"

    def _settings(self, info: Dict[str, object]) -> Dict[str, str]:
        site = info.get("site")
        module = site.get("settings_module") if isinstance(site, dict) else ""
        return {"DJANGO_SETTINGS_MODULE": module} if module else {}

    def serve(self) -> str:
        """Show it from a scratch folder."""
        words = [self.bare, "-I", self.artifact, "serve", "--check", "--json", "--port", "0"]
        found = json.loads(self.run([*words, "--path", self.project.page, *self._manage()]))
        if found["status"] != 200:
            raise Failed(f"{self.project.page} answers {found['status']}")
        return ""


def answer(url: str, server: "subprocess.Popen[bytes]") -> int:
    """Return the status of the first answer, 0 when there is none within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as found:
                return int(found.status)
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code)
        except OSError:
            time.sleep(0.2)
    return 0


def recorded(document: Path) -> Dict[str, str]:
    """Return the line of each known project in *document*."""
    known = {project.name for project in PROJECTS}
    texts = document.read_text("utf-8").splitlines() if document.is_file() else []
    named = ((text.split("|")[1].strip(), text) for text in texts if text.startswith("| "))
    return {name: text for name, text in named if name in known}


def line(row: Row) -> str:
    """Return the line of the table for one project."""
    project = row.project
    pinned = ", ".join(project.requirements) or "its `uv.lock`"
    found = [row.results.get(step, "not tried").replace("|", "\\|") for step in STEPS]
    size = f"{row.size / 1e6:.1f}"
    return f"| {project.name} | {project.origin} | {pinned} | {row.wheels} | {size} | {' | '.join(found)} |"


def table(lines_: Dict[str, str]) -> str:
    """Return the document.

    Parameters:
        lines_: of the table, by name of the project.
    """
    lines = [
        "# Third-party projects",
        "",
        "`nox -s foreign` writes this page; `tools/foreign.py` has the versions and commands. Each project is",
        "committed to git, packed with a web server from a lock with hashes, and tested with a Python outside any",
        "virtualenv: `-d`, `selftest`, `deploy --root`, a page from the web server of that release, and",
        "`serve --check`. *yes* means exit code 0, and status 200 for the page. Projects that the last run did not",
        "include keep their earlier results.",
        "",
        f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}.",
        "",
        f"| project | what it is | pinned | wheels | MB | {' | '.join(STEPS)} |",
        "|" + "---|" * (5 + len(STEPS)),
    ]
    lines += [lines_[project.name] for project in PROJECTS if project.name in lines_]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
