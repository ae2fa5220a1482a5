"""Prove, on the machine itself and without a web server, that what the artifact holds can run there.

The artifact is installed into a scratch folder; then the new virtualenv imports every top-level module and every
compiled file of every wheel, runs Django's checks, loads the WSGI callable and answers one request. Nothing of the
site is touched: the scratch folder has a database of its own.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import process
from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeploymentError
from ..install import installation
from . import provision
from .commands import CommandError, Commands, Log, excerpt
from .redaction import Secrets

_TIMEOUT = 900.0  # seconds for one command
_MODULE_TIMEOUT = 120.0  # seconds without a word from the process that imports
_CRASHES = 20  # of the importing process, after which something more general is wrong

# Runs in the release's Python: loads the WSGI callable that the settings name, or PROJECT.wsgi.application.
LOAD_WSGI = """
import importlib, os, sys
project = sys.argv[1]
def load(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
path = project + ".wsgi.application"
try:
    application = load(path)
except ModuleNotFoundError as error:
    if error.name != project + ".wsgi":
        raise
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", project + ".settings")
    from django.conf import settings
    path = settings.WSGI_APPLICATION
    application = load(path)
if not callable(application):
    raise SystemExit(path + " is not callable")
print(path)
"""

# Runs after LOAD_WSGI, in the same process: one request, straight into the callable.
_REQUEST = """
import io
from wsgiref.util import setup_testing_defaults
environ = {"PATH_INFO": sys.argv[2], "HTTP_HOST": sys.argv[3], "REMOTE_ADDR": "127.0.0.1"}
setup_testing_defaults(environ)
environ["wsgi.errors"] = sys.stderr
answer = []
body = application(environ, lambda status, headers, *_: answer.append((status, dict(headers))))
size = sum(len(part) for part in body)
getattr(body, "close", lambda: None)()
status, headers = answer[0]
print(status.partition(" ")[0], size, headers.get("X-Build-Id", ""))
"""

# Runs in the release's Python: imports what it reads from stdin, and says so line by line, so that a crash is known.
_IMPORT = """
import ctypes, importlib, os, sys, json, traceback
out = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
import warnings
warnings.simplefilter("ignore")
try:
    importlib.import_module(sys.argv[1] + ".wsgi")  # libraries of Django want its settings when they are imported
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


class Finding(NamedTuple):
    """One thing that was tried."""

    what: str
    fault: str  # "": good


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


def selftest(
    artifact: Artifact,
    scratch: Path,
    console: Console,
    env_file: Optional[Path] = None,
    path: str = "/",
    ignored: Sequence[str] = (),
    workers: int = 0,
) -> Report:
    """Install *artifact* below the folder *scratch* and try everything in it.

    Parameters:
        env_file: an environment.json; DATABASE_URL in it is replaced by a database in the scratch folder.
        path: of the one request.
        ignored: modules that may fail, for reasons of their own.

    Raises:
        DeployableZipfileError: it cannot be installed, or a step cannot be run at all. What runs and fails is in
            the report.
    """
    began = time.monotonic()
    release = scratch / "release"
    installation.install(artifact, str(release), workers=workers, sync=False, console=console)
    variables = _environment(env_file, scratch)
    provision.place_environment(release, variables, provision.NOBODY)
    project = artifact.manifest.project
    commands = Commands(release, project, Log(scratch / "logs" / "selftest.log", Secrets(variables)), _TIMEOUT)
    console.step("Importing every module and every compiled file")
    tried, findings = _imported(release, project, ignored)
    host = _host(variables)
    steps: List[Tuple[str, Callable[[], object]]] = [
        ("manage.py check", lambda: commands.manage("check", ["check"])),
        ("manage.py migrate", lambda: commands.manage("migrate", ["migrate", "--noinput"])),
        ("manage.py collectstatic", lambda: commands.manage("collectstatic", ["collectstatic", "--noinput"])),
        ("WSGI callable", lambda: commands.python("wsgi", ["-c", LOAD_WSGI, project])),
        (f"GET {path}", lambda: _answered(commands, project, path, host)),
    ]
    for name, step in steps:
        console.step(name)
        try:
            step()
        except CommandError as error:
            findings.append(Finding(name, f"{error.why}: {excerpt(error.output)}"))
        except DeploymentError as error:
            findings.append(Finding(name, error.why))
        else:
            findings.append(Finding(name, ""))
    return Report(artifact.manifest.build_id, tried, tuple(findings), time.monotonic() - began)


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb ``selftest``. See :func:`deployment.add_parsers`."""
    verb = subparsers.add_parser("selftest", parents=common, help="install aside and try everything")
    verb.add_argument("--scratch", type=Path, metavar="DIR", help="parent of the scratch folder")
    verb.add_argument("--env-file", type=Path, metavar="FILE", help="environment.json to try with")
    verb.add_argument("--path", default="/", metavar="PATH", help="of the one request, / unless said")
    verb.add_argument("--ignore", action="append", default=[], metavar="MODULE", help="a module that may fail")
    verb.add_argument("--keep", action="store_true", help="leave the scratch folder")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    parent = None if arguments.scratch is None else str(arguments.scratch)
    try:
        scratch = Path(tempfile.mkdtemp(prefix="selftest-", dir=parent))
    except OSError as error:
        raise DeploymentError("the scratch folder", f"cannot be made ({error.strerror})", "Give --scratch") from None
    try:
        with Artifact.open(archive) as artifact:
            report = selftest(
                artifact, scratch, console, arguments.env_file, arguments.path, arguments.ignore, arguments.workers
            )
    finally:
        if not arguments.keep:
            shutil.rmtree(str(scratch), ignore_errors=True)
    console.result(_document(report), _text(report))
    if report.faults:
        first = report.faults[0]
        error_line = DeploymentError(first.what, f"{first.fault} ({len(report.faults)} of these)", "See above")
        if not console.as_json:
            console.error(error_line)
        return error_line.exit_code
    return 0


def _document(report: Report) -> Dict[str, Any]:
    return {
        "ok": not report.faults,
        "build_id": report.build_id,
        "tried": report.tried,
        "seconds": round(report.seconds, 3),
        "findings": [finding._asdict() for finding in report.findings],
    }


def _text(report: Report) -> str:
    lines = [f"{finding.what}: {finding.fault or 'good'}" for finding in report.findings]
    lines.append(f"{report.tried} modules and compiled files tried, {report.seconds:.1f} s")
    return "\n".join(lines)


def _environment(env_file: Optional[Path], scratch: Path) -> Dict[str, str]:
    """Return the variables to try with: those of the file, or what a site needs at least."""
    variables = {"SECRET_KEY": secrets.token_urlsafe(48), "ALLOWED_HOSTS": '["*"]'}
    if env_file is not None:
        variables = provision.read_environment(env_file)
    own = {"DATABASE_URL": f"sqlite:///{scratch}/selftest.sqlite3"}
    for key, name in (("STATIC_ROOT", "static"), ("STATIC_PATH", "static"), ("MEDIA_ROOT", "media")):
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


def _answered(commands: Commands, project: str, path: str, host: str) -> None:
    output = commands.python("request", ["-c", LOAD_WSGI + _REQUEST, project, path, host])
    status = output.strip().splitlines()[-1].split()[0]
    if not status.isdigit() or int(status) >= 500:
        raise DeploymentError(f"GET {path}", f"status {status}")


def _imported(release: Path, project: str, ignored: Sequence[str]) -> Tuple[int, List[Finding]]:
    """Import everything; a module that takes its process down is named, and the rest goes on in another one.

    What fails among the others is tried once more alone: setuptools, for one, refuses to come after distutils.
    """
    python = [str(release / layout.VENV / "bin" / "python"), "-I", "-c"]
    environment = process.environment()
    listed = subprocess.run([*python, _LIST], env=environment, capture_output=True, timeout=_TIMEOUT, check=False)
    if listed.returncode:
        raise DeploymentError("the new Python", excerpt(listed.stderr.decode("utf-8", "replace")), "Read it above")
    wanted: List[Tuple[str, str]] = [(kind, name) for kind, name in json.loads(listed.stdout.decode("utf-8"))]
    rest, findings, crashes = wanted, [], 0
    kinds = {name: kind for kind, name in wanted}
    while rest and crashes < _CRASHES:
        done, bad, crashed = _import_some(python, environment, project, rest)
        for finding in bad:
            findings.extend(_import_some(python, environment, project, [(kinds[finding.what], finding.what)])[1])
        crashes += crashed
        rest = rest[done:]
    if rest:
        findings.append(Finding(rest[0][1], f"not tried, nor {len(rest) - 1} more: the process ended {crashes} times"))
    return len(wanted), [one for one in findings if one.what not in ignored]


def _import_some(
    python: List[str], environment: Mapping[str, str], project: str, wanted: Sequence[Tuple[str, str]]
) -> Tuple[int, List[Finding], int]:
    """Return how many of *wanted* were tried, the bad ones, and 1 when the process did not live to the end."""
    request = "".join(json.dumps(pair) + "\n" for pair in wanted)
    process = subprocess.Popen(
        [*python, _IMPORT, project],
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
