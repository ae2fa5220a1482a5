"""A release in a scratch folder whose processes can reach nothing real: what `selftest` and `serve` run in.

See :mod:`confine` for the limits, :mod:`guard` for what is told of attempts, :mod:`scratch` for the settings.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Sequence

from .. import cli, process
from ..artifact import layout
from ..definitions import NamedTuple, expression
from ..errors import DeploymentError
from . import guard, provision
from .commands import CommandError, Commands, Log
from .excerpt import excerpt
from .redaction import Secrets
from .site import NO_COLLECTSTATIC, Site, program

_TIMEOUT = 900.0  # seconds for one command
_CONFINE_TIMEOUT = 60.0  # seconds for the start of one confined process

# The package that is put into the scratch virtualenv, and the module that starts it.
_GUARD = "deployable_zipfile_selftest"
_START = """
import os
try:
    from . import guard
    guard.install({folder!r})
except BaseException as error:
    os.write(2, ("selftest: " + repr(error) + "\\n").encode())
    os._exit(78)  # without it nothing may run
"""

_DATABASE_URL = expression(
    r"(postgres|postgresql|postgis|psql|pgsql|mysql|mysql2|mysqlgis|mariadb|mssql|oracle|oraclegis|cockroachdb|redshift|timescale|spatialite|sqlite)(\+\w+)?:"
)
# Names of variables that hold a folder to write to, which settings often do while they are imported.
_WRITTEN = expression(
    r"(.*_)?(DATA|STATE|MEDIA|UPLOADS?|LOGS?|CACHE|VAR|RUN|BASE|STORAGE)(_?(DIR|DIRECTORY|ROOT|PATH|HOME|FOLDER))?",
    re.I,
)
_DATABASE_FAULT = expression(
    r"\b(OperationalError|ProgrammingError|NotSupportedError|DatabaseError|NotImplementedError)\b"
)


class Finding(NamedTuple):
    """One thing that was tried."""

    what: str
    fault: str  # "": good
    note: str = ""  # why it was not tried, or not to its end


class Trial(Commands):
    """Commands of the scratch release: confined, in a home and a temporary folder of their own."""

    def __init__(self, scratch: Path, release: Path, site: Site, variables: Mapping[str, str]) -> None:
        super().__init__(release, site.manage, Log(scratch / "logs" / "selftest.log", Secrets(variables)), _TIMEOUT)
        self.scratch = scratch
        self.release = release
        self.site = site
        self.variables = variables
        self._incomplete = ""  # why no step after this one can be held against the artifact
        self._seen = 0  # attempts that were told

    @property
    def interpreter(self) -> str:
        """Return the release's Python."""
        return str(self.release / layout.VENV / "bin" / "python")

    def confine(self) -> str:
        """Put the limits in place, prove them with a first process, and say what they are.

        Raises:
            DeploymentError: this machine has no such limits.
        """
        (self.scratch / "home").mkdir()
        (self.scratch / "tmp").mkdir()
        (self.scratch / "confine.py").write_text(program("confine"), "utf-8")
        (packages,) = (self.release / layout.VENV / "lib").glob("python*/site-packages")
        inside = packages / _GUARD
        inside.mkdir()
        for name, text in {
            "__init__": "",
            "start": _START.format(folder=str(self.scratch)),
            **{name: program(name) for name in ("guard", "overlay", "scratch")},
        }.items():
            (inside / f"{name}.py").write_text(text, "utf-8")
        done = process.run(self.confined([self.interpreter, "-I", "-c", ""]), _CONFINE_TIMEOUT)
        if done.status or done.timed_out:
            why = excerpt(done.output) or done.why()
            raise DeploymentError("selftest", f"cannot be confined: {why}", "Run it on another machine")
        # Last: from here on every start of this Python is guarded.
        (packages / f"00-{_GUARD}.pth").write_text(f"import {_GUARD}.start\n", "ascii")
        limits = (self.scratch / "confined").read_text("ascii").split()
        writes = "the kernel refuses" if "files" in limits else "Python refuses (this kernel has no Landlock)"
        return f"No process may use the network (seccomp); {writes} to write outside {self.scratch}"

    def confined(self, words: Sequence[str]) -> List[str]:
        """Return the command line that runs *words* within the limits."""
        return [self.interpreter, "-I", "-S", str(self.scratch / "confine.py"), str(self.scratch), *words]

    def environment(self) -> Dict[str, str]:
        """Return what is in the environment of each process beside environment.json."""
        places = {"HOME": str(self.scratch / "home"), "TMPDIR": str(self.scratch / "tmp")}
        return {**self.site.variables(), **places}

    def command(self, step: str, words: Sequence[str], variables: Mapping[str, str]) -> str:
        """Run *words* within the limits."""
        return super().command(step, self.confined(words), {**self.environment(), **variables})

    def collect_static(self) -> str:
        """Collect static files, if the project has Django's command for it."""
        try:
            return self.manage("collectstatic", ["collectstatic", "--noinput"])
        except CommandError as error:
            if NO_COLLECTSTATIC not in error.output:
                raise
            raise Skipped("skipped: django.contrib.staticfiles is not installed") from None

    def migrate(self) -> None:
        """Migrate every scratch database: without routers a query may go to any of them."""
        self.manage("migrate", ["migrate", "--noinput"])
        for alias in sorted(set(self._engines()) - {"default"}):
            self.manage("migrate", ["migrate", "--noinput", "--database", alias])

    def _engines(self) -> Dict[str, str]:
        """Return the engines of the project's own databases, by alias."""
        return next((one["engines"] for one in guard.read(str(self.scratch / "settings"))), {})

    def request(self, path: str, host: str) -> None:
        """Send one request into the callable."""
        output = self.python("request", self.site.callable_arguments(path=path, host=host))
        status = output.strip().splitlines()[-1].split()[0]
        if not status.isdigit() or int(status) >= 500:
            before = "\n".join(output.strip().splitlines()[:-1])
            raise DeploymentError(f"GET {path}", f"status {status}" + (f": {excerpt(before)}" if before else ""))

    def found(self, name: str, step: Callable[[], object]) -> List[Finding]:
        """Do one step; return what it tried and must not, and how it ended."""
        try:
            step()
        except Skipped as skipped:
            return [Finding(name, "", str(skipped))]
        except DeploymentError as error:
            why = error.why
            if isinstance(error, CommandError):  # whose own words are those that may be shown of a real environment
                why = f"{why.partition(': ')[0]}: {excerpt(error.output)}"
            tried = self.attempts(name)
            if self._is_other_database(name, why):
                return [*tried, Finding(name, "", self._incomplete)]
            return [*tried, Finding(name, why)]
        return [*self.attempts(name), Finding(name, "")]

    def _is_other_database(self, name: str, why: str) -> bool:
        """Tell whether a step failed because the site's migrations are written for another kind of database."""
        others = sorted({engine for engine in self._engines().values() if engine and "sqlite" not in engine})
        if others and name == "manage.py migrate" and _DATABASE_FAULT.search(why):
            self._incomplete = f"not tried to its end: made for {others[0]}, and SQLite is what there is here ({why})"
        return bool(self._incomplete)

    def attempts(self, step: str) -> List[Finding]:
        """Return what was tried and refused since the last call."""
        told = guard.read(str(self.scratch / "refused"))
        new, self._seen = told[self._seen :], len(told)
        shown = {(one["tried"], one["place"].replace(f"{self.release}/", "")) for one in new}
        return [Finding(f"attempt {tried}", f"refused at {place} during {step}") for tried, place in sorted(shown)]

    def replaced(self) -> List[str]:
        """Return the settings that were given scratch values."""
        return next((one["replaced"] for one in guard.read(str(self.scratch / "settings"))), [])


class Skipped(Exception):
    """A step that does not apply."""


def add_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of every verb that tries a release in a scratch folder."""
    verb.add_argument("--scratch", type=cli.path, metavar="DIR", help="parent of the scratch folder")
    verb.add_argument(
        "--manage", action="append", default=[], metavar="'COMMAND ...'", help="management command to run after migrate"
    )
    verb.add_argument(
        "--wsgi-module", default="", metavar="MODULE[:NAME]", help="WSGI callable to use instead of the artifact's"
    )
    verb.add_argument(
        "--asgi-module", default="", metavar="MODULE[:NAME]", help="ASGI callable to use instead of the artifact's"
    )


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: Optional[Path], keep: bool = False) -> Iterator[Path]:
    """Make a folder, and remove it at the end unless it is to be kept.

    Raises:
        DeploymentError: it cannot be made.
    """
    try:
        scratch = Path(os.path.realpath(tempfile.mkdtemp(prefix=prefix, dir=None if parent is None else str(parent))))
    except OSError as error:
        why = f"cannot be made ({error.strerror})"
        raise DeploymentError("the scratch folder", why, "Give --scratch DIR") from None
    try:
        yield scratch
    finally:
        if not keep:
            shutil.rmtree(str(scratch), ignore_errors=True)


def scratch_environment(env_file: Optional[Path], scratch: Path) -> Dict[str, str]:
    """Return the variables to try with: those of the file, or what a site needs at least.

    Addresses of databases, the few that libraries read from the environment by themselves, and existing folders to
    write to are replaced here: settings may decide by them what they import, and make files while they are imported.
    """
    variables = {"SECRET_KEY": secrets.token_urlsafe(48), "ALLOWED_HOSTS": '["*"]'}
    if env_file is not None:
        variables = provision.EnvironmentFile(env_file).read()
    own = {"DATABASE_URL": f"sqlite:///{scratch}/scratch.sqlite3"}
    for key, value in variables.items():
        if _DATABASE_URL.match(value):
            own[key] = own["DATABASE_URL"]
    for key in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "SENTRY_DSN"):
        if key in variables:
            own[key] = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "cache+memory://"}.get(key, "")
    for key, name in (("STATIC_ROOT", "static"), ("STATIC_PATH", "static"), ("MEDIA_ROOT", "media")):
        own[key] = str(scratch / name)
    for key, name in (("HOME", "home"), ("TMPDIR", "tmp")):
        if key in variables:
            own[key] = str(scratch / name)
    return {**variables, **_folders(variables, scratch), **own}


def _folders(variables: Mapping[str, str], scratch: Path) -> Dict[str, str]:
    """Return a scratch folder for each variable that names an existing folder to write to."""
    own = {}
    for key, value in variables.items():
        if _WRITTEN.fullmatch(key) and os.path.isabs(value) and os.path.isdir(value):
            own[key] = str(scratch / "folders" / key)
            os.makedirs(own[key], exist_ok=True)
    return own
