"""Prove, on the machine itself and without a web server, that what the artifact holds can run there.

The artifact is installed into a scratch folder; then the new virtualenv imports every top-level module and every
compiled file of every wheel, runs Django's checks, loads the WSGI or ASGI callable and answers one request.

Nothing of the site is touched. Every process runs without a network and can write to the scratch folder only, by the
kernel (``confine``); what it tries nevertheless is named (``guard``); and Django's settings are changed after they are
loaded, so that databases, caches, mail, files, queues and search are scratch ones (``scratch``, ``overlay``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import process
from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeploymentError
from ..install import installation
from . import guard, provision
from .commands import CommandError, Commands, Log
from .excerpt import excerpt
from .redaction import Secrets
from .site import NO_COLLECTSTATIC, Site, program, site_of

_TIMEOUT = 900.0  # seconds for one command
_MODULE_TIMEOUT = 120.0  # seconds without a word from the process that imports
_CRASHES = 20  # of the importing process, after which something more general is wrong

# Runs in the release's Python: imports what it reads from stdin, and says so line by line, so that a crash is known.
_IMPORT = """
import ctypes, importlib, os, sys, json, traceback
out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
import warnings
warnings.simplefilter("ignore")
try:
    importlib.import_module(sys.argv[1])  # libraries of Django want its settings when they are imported
except BaseException:
    pass  # a step of its own says why
for line in sys.stdin:
    kind, name = json.loads(line)
    out.write(json.dumps(["begin", name]) + "\\n"); out.flush()
    try:
        ctypes.CDLL(name) if kind == "library" else importlib.import_module(name)
        fault = ""
    except BaseException as error:
        fault = type(error).__name__ + ": " + str(error)
        if getattr(error, "name", None) in ("tkinter", "_tkinter"):
            fault = ""  # systems leave the windows out of their servers' Python
    out.write(json.dumps(["end", name, fault]) + "\\n"); out.flush()
os._exit(0)
"""

# Runs in the release's Python: lists what its distributions hold, as pairs ["module" or "library", name or path].
_LIST = """
import importlib.machinery, json, os, sys
from importlib.metadata import distributions
suffixes = importlib.machinery.EXTENSION_SUFFIXES
found, seen = [], set()
def add(kind, name):
    if (kind, name) not in seen:
        seen.add((kind, name)); found.append([kind, name])
for distribution in sorted(distributions(), key=lambda one: one.metadata["Name"].lower()):
    for file in sorted(distribution.files or [], key=str):
        parts = file.parts
        if ".." in parts or parts[0].endswith((".dist-info", ".data")) or parts[0] == "__pycache__":
            continue
        if {"test", "tests", "conftest.py"} & set(parts):
            continue  # they do what they like: some connect, some write
        name = parts[-1]
        suffix = next((one for one in suffixes if name.endswith(one)), None)
        package = parts[:-1]
        plain = all(part.isidentifier() for part in package)
        if suffix and plain and name[:-len(suffix)].isidentifier():
            stem = name[:-len(suffix)]
            add("module", ".".join(package + (() if stem == "__init__" else (stem,))))
        elif name.endswith(".so") or ".so." in name:
            add("library", str(distribution.locate_file(file)))
        elif name.endswith(".py") and len(parts) == 1 and name[:-3].isidentifier():
            add("module", name[:-3])
        elif name == "__init__.py" and len(parts) == 2 and plain:
            add("module", parts[0])
print(json.dumps(found))
"""


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

_DATABASE_URL = re.compile(
    r"(postgres|postgresql|postgis|psql|pgsql|mysql|mysql2|mysqlgis|mariadb|mssql|oracle|oraclegis|cockroachdb|redshift|timescale|spatialite|sqlite)(\+\w+)?:"
)
_DATABASE_FAULT = re.compile(
    r"\b(OperationalError|ProgrammingError|NotSupportedError|DatabaseError|NotImplementedError)\b"
)


class Finding(NamedTuple):
    """One thing that was tried."""

    what: str
    fault: str  # "": good
    note: str = ""  # why it was not tried, or not to its end


class Report(NamedTuple):
    """What a self-test came to."""

    build_id: str
    tried: int  # modules and compiled files
    findings: Tuple[Finding, ...]  # the bad ones, and each further step
    seconds: float

    @property
    def faults(self) -> List[Finding]:
        """Return what did not work."""
        return [finding for finding in self.findings if finding.fault]


class Wanted(NamedTuple):
    """What to try, beyond what the artifact says of itself."""

    env_file: Optional[Path] = None  # an environment.json
    path: str = "/"  # of the one request
    ignored: Sequence[str] = ()  # modules and attempts that may fail, for reasons of their own
    wsgi: str = ""  # MODULE:CALLABLE instead of the artifact's
    asgi: str = ""
    workers: int = 0  # processes that unpack, 0: one for each core


def selftest(artifact: Artifact, scratch: Path, console: Console, wanted: Wanted) -> Report:
    """Install *artifact* below the folder *scratch* and try everything in it.

    Raises:
        DeployableZipfileError: it cannot be installed, a step cannot be run at all, or this machine cannot keep a
            process from the network. What runs and fails is in the report.
    """
    began = time.monotonic()
    console.step(f"Installing into {scratch}")
    release = scratch / "release"
    installation.install(artifact, str(release), workers=wanted.workers, sync=False, console=console)
    variables = _environment(wanted.env_file, scratch)
    provision.place_environment(release, variables, provision.NOBODY)
    site = site_of(artifact.manifest, release, variables, wanted.wsgi, wanted.asgi)
    trial = _Trial(scratch, release, site, variables)
    console.step(trial.confine())
    console.step("Importing every module and every compiled file")
    tried, findings = _imported(trial, wanted.ignored)
    for attempt in trial.attempts("imports"):
        console.warn(f"{attempt.what}: {attempt.fault}")
    replaced: List[str] = []
    for name, step, skipped in _steps(trial, wanted.path):
        console.step(f"{name}: {skipped}" if skipped else name)
        if skipped:
            findings.append(Finding(name, "", skipped))
            continue
        findings.extend(one for one in trial.found(name, step) if one.what not in wanted.ignored)
        if not replaced and trial.replaced():
            replaced = trial.replaced()
            console.step(f"Settings with scratch values: {', '.join(replaced)}")
    return Report(artifact.manifest.build_id, tried, tuple(findings), time.monotonic() - began)


def _steps(trial: "_Trial", path: str) -> List[Tuple[str, Callable[[], object], str]]:
    """Return the steps after the imports: name, what to do, and why not to."""
    site = trial.site
    load = "ASGI callable" if site.asgi and not site.wsgi else "WSGI callable"
    host = _host(trial.variables)
    return [
        ("manage.py check", lambda: trial.manage("check", ["check"]), site.without("check")),
        ("manage.py collectstatic", trial.collect_static, site.without("collectstatic")),
        (load, lambda: trial.python("callable", site.callable_arguments()), ""),
        ("manage.py migrate", lambda: trial.manage("migrate", ["migrate", "--noinput"]), site.without("migrate")),
        (f"GET {path}", lambda: trial.request(path, host), ""),
    ]


class _Trial(Commands):
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
        done = subprocess.run(self.confined([self.interpreter, "-I", "-c", ""]), capture_output=True, check=False)
        if done.returncode:
            why = excerpt(done.stderr.decode("utf-8", "replace"))
            raise DeploymentError("selftest", f"cannot be kept from what is real: {why}", "Run it on another machine")
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
            raise _Skipped("skipped: django.contrib.staticfiles is not installed") from None

    def request(self, path: str, host: str) -> None:
        """Send one request into the callable."""
        output = self.python("request", self.site.callable_arguments(path=path, host=host))
        status = output.strip().splitlines()[-1].split()[0]
        if not status.isdigit() or int(status) >= 500:
            raise DeploymentError(f"GET {path}", f"status {status}")

    def found(self, name: str, step: Callable[[], object]) -> List[Finding]:
        """Do one step; return what it tried and must not, and how it ended."""
        try:
            step()
        except _Skipped as skipped:
            return [Finding(name, "", str(skipped))]
        except DeploymentError as error:
            why = error.why
            if isinstance(error, CommandError):  # whose own words are those that may be shown of a real environment
                why = f"{why.partition(': ')[0]}: {excerpt(error.output)}"
            tried = self.attempts(name)
            if not tried and self._is_other_database(name, why):
                return [Finding(name, "", self._incomplete)]
            return [*tried, Finding(name, why)]
        return [*self.attempts(name), Finding(name, "")]

    def _is_other_database(self, name: str, why: str) -> bool:
        """Tell whether a step failed because the site's migrations are written for another kind of database."""
        engines = [engine for one in guard.read(str(self.scratch / "settings")) for engine in one["engines"].values()]
        others = sorted({engine for engine in engines if engine and "sqlite" not in engine})
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


class _Skipped(Exception):
    """A step that does not apply."""


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb ``selftest``. See :func:`verbs.add_parsers`."""
    verb = subparsers.add_parser("selftest", parents=common, help="install aside and try everything")
    verb.add_argument("--scratch", type=Path, metavar="DIR", help="parent of the scratch folder")
    verb.add_argument("--env-file", type=Path, metavar="FILE", help="environment.json to try with")
    verb.add_argument("--path", default="/", metavar="PATH", help="of the one request (default: /)")
    verb.add_argument("--wsgi-module", default="", metavar="MODULE[:NAME]", help="instead of the artifact's own")
    verb.add_argument("--asgi-module", default="", metavar="MODULE[:NAME]", help="the same for ASGI")
    verb.add_argument("--ignore", action="append", default=[], metavar="WHAT", help="a module or attempt that may fail")
    verb.add_argument("--keep", action="store_true", help="leave the scratch folder")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    wanted = Wanted(
        arguments.env_file,
        arguments.path,
        arguments.ignore,
        arguments.wsgi_module,
        arguments.asgi_module,
        arguments.workers,
    )
    with scratch_folder("selftest-", arguments.scratch, arguments.keep) as scratch, Artifact.open(archive) as artifact:
        report = selftest(artifact, scratch, console, wanted)
    console.result(_document(report), _text(report))
    if report.faults:
        first = report.faults[0]
        error_line = DeploymentError(first.what, f"{first.fault} ({len(report.faults)} of these)", "See above")
        if not console.as_json:
            console.error(error_line)
        return error_line.exit_code
    return 0


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


def _document(report: Report) -> Dict[str, Any]:
    return {
        "ok": not report.faults,
        "build_id": report.build_id,
        "tried": report.tried,
        "seconds": round(report.seconds, 3),
        "findings": [finding._asdict() for finding in report.findings],
    }


def _text(report: Report) -> str:
    lines = [f"{finding.what}: {finding.fault or finding.note or 'good'}" for finding in report.findings]
    lines.append(f"{report.tried} modules and compiled files tried, {report.seconds:.1f} s")
    return "\n".join(lines)


def _environment(env_file: Optional[Path], scratch: Path) -> Dict[str, str]:
    """Return the variables to try with: those of the file, or what a site needs at least.

    Addresses of databases, and the few that libraries read from the environment by themselves, are replaced here:
    settings may decide by them what they import.
    """
    variables = {"SECRET_KEY": secrets.token_urlsafe(48), "ALLOWED_HOSTS": '["*"]'}
    if env_file is not None:
        variables = provision.read_environment(env_file)
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
    return {**variables, **own}


def _host(variables: Mapping[str, str]) -> str:
    """Return a host name that the site answers to."""
    try:
        hosts = json.loads(variables.get("ALLOWED_HOSTS", "[]"))
    except ValueError:
        hosts = []
    names = [host for host in hosts if isinstance(host, str) and host.strip("*.")] if isinstance(hosts, list) else []
    return names[0].lstrip(".") if names else "localhost"


def _imported(trial: _Trial, ignored: Sequence[str]) -> Tuple[int, List[Finding]]:
    """Import everything; a module that takes its process down is named, and the rest goes on in another one.

    What fails among the others is tried once more alone: setuptools, for one, refuses to come after distutils.
    """
    python = trial.confined([trial.interpreter, "-I", "-c"])
    environment = {**process.environment(), **trial.environment()}
    listed = subprocess.run([*python, _LIST], env=environment, capture_output=True, timeout=_TIMEOUT, check=False)
    if listed.returncode:
        raise DeploymentError("the new Python", excerpt(listed.stderr.decode("utf-8", "replace")), "Read it above")
    first = (trial.site.wsgi or trial.site.asgi).partition(":")[0] or trial.site.settings_module
    wanted: List[Tuple[str, str]] = [(kind, name) for kind, name in json.loads(listed.stdout.decode("utf-8"))]
    rest, findings, crashes = wanted, [], 0
    kinds = {name: kind for kind, name in wanted}
    while rest and crashes < _CRASHES:
        done, bad, crashed = _import_some(python, environment, first, rest)
        for finding in bad:
            findings.extend(_import_some(python, environment, first, [(kinds[finding.what], finding.what)])[1])
        crashes += crashed
        rest = rest[done:]
    if rest:
        findings.append(Finding(rest[0][1], f"not tried, nor {len(rest) - 1} more: the process ended {crashes} times"))
    return len(wanted), [one for one in findings if one.what not in ignored]


def _import_some(
    python: List[str], environment: Mapping[str, str], first: str, wanted: Sequence[Tuple[str, str]]
) -> Tuple[int, List[Finding], int]:
    """Return how many of *wanted* were tried, the bad ones, and 1 when the process did not live to the end."""
    request = "".join(json.dumps(pair) + "\n" for pair in wanted)
    process = subprocess.Popen(
        [*python, _IMPORT, first],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        output = process.communicate(request.encode("utf-8"), timeout=_MODULE_TIMEOUT + len(wanted))[0]
        ending = f"its process ended with status {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        output, ending = process.communicate()[0], "its process did not come back"
    events = [json.loads(line) for line in output.decode("utf-8", "replace").splitlines()]
    ended = [event for event in events if event[0] == "end"]
    bad = [Finding(name, fault) for _, name, fault in ended if fault]
    begun = sum(1 for event in events if event[0] == "begin")
    if begun == len(ended) and begun == len(wanted):
        return begun, bad, 0
    name = wanted[len(ended)][1]
    return len(ended) + 1, [*bad, Finding(name, ending)], 1
