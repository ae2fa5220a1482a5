"""Prove, on the machine itself and without a web server, that the artifact's contents can run there.

The artifact is installed into a scratch folder; then the new virtualenv imports every top-level module and every
compiled file of every wheel, runs Django's checks, loads the WSGI or ASGI callable and answers one request.

Nothing of the site is touched. Every process runs without a network and can write to the scratch folder only, by the
kernel (``confine``); what it tries nevertheless is named (``guard``); and Django's settings are changed after they are
loaded, so that databases, caches, mail, files, queues and search are scratch ones (``scratch``, ``overlay``).
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .. import cli, process
from ..artifact.zipreader import Artifact
from ..console import Console
from ..definitions import NamedTuple
from ..errors import DeploymentError
from ..install import installation
from . import provision
from .excerpt import excerpt
from .site import site_of
from .trial import Finding, Trial, add_options, scratch_environment, scratch_folder

_TIMEOUT = 900.0  # seconds for one command
_MODULE_TIMEOUT = 120.0  # seconds without a word from the process that imports
_CRASHES = 20  # of the importing process, after which something more general is wrong

# Runs in the release's Python: imports what it reads from stdin, and says so line by line in a file, so that a crash is
# known.
_IMPORT = """
import ctypes, importlib, os, sys, json
out = open(sys.argv[2], "w", encoding="utf-8")
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
        if isinstance(error, ModuleNotFoundError) and error.name in ("pytest", "_pytest", "hypothesis", "nose"):
            fault = ""  # tests, or helpers of tests, of a project without a test runner
        if "does not define module export function" in str(error) and kind == "module":
            fault = ""  # a library named as a module is, which was loaded: packages open such ones with cffi
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
with open(sys.argv[1], "w", encoding="utf-8") as file:
    json.dump(found, file)
"""


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
    manage: Sequence[str] = ()  # management commands to run after migrate
    workers: int = 0  # processes that unpack, 0: one for each core


def selftest(artifact: Artifact, scratch: Path, console: Console, wanted: Wanted) -> Report:
    """Install *artifact* below the folder *scratch* and try everything in it.

    Raises:
        DeployableZipfileError: it cannot be installed, a step cannot be run at all, or this machine cannot keep a
            process from the network. What runs and fails is in the report.
    """
    began = time.monotonic()
    release = scratch / "release"
    phases = 7 + len(wanted.manage)  # the installation, the imports, and what _steps returns
    with console.phase(f"Installing into {scratch}", place=(0, phases)):
        installation.install(artifact, str(release), workers=wanted.workers, sync=False, console=console)
    variables = scratch_environment(wanted.env_file, scratch)
    provision.place_environment(release, variables, provision.NOBODY)
    site = site_of(artifact.manifest, release, variables, wanted.wsgi, wanted.asgi)
    trial = Trial(scratch, release, site, variables)
    console.step(trial.confine())
    with console.phase("Importing every module and every compiled file", place=(1, phases)):
        tried, findings = _imported(trial, wanted.ignored)
    for attempt in trial.attempts("imports"):
        console.warn(f"{attempt.what}: {attempt.fault}")
    replaced: List[str] = []
    for number, (name, step, skipped) in enumerate(_steps(trial, wanted), 2):
        if skipped:
            console.step(f"{name}: {skipped}")
            findings.append(Finding(name, "", skipped))
            continue
        with console.phase(name, place=(number, phases)):
            findings.extend(one for one in trial.found(name, step) if one.what not in wanted.ignored)
        if not replaced and trial.replaced():
            replaced = trial.replaced()
            console.step(f"Settings with scratch values: {', '.join(replaced)}")
    return Report(artifact.manifest.build_id, tried, tuple(findings), time.monotonic() - began)


def _steps(trial: Trial, wanted: Wanted) -> List[Tuple[str, Callable[[], object], str]]:
    """Return the steps after the imports: name, what to do, and why not to."""
    site = trial.site
    load = "ASGI callable" if site.asgi and not site.wsgi else "WSGI callable"
    host, path = _host(trial.variables), wanted.path
    manage = [
        (f"manage.py {text}", functools.partial(trial.manage, "manage", shlex.split(text)), "")
        for text in wanted.manage
    ]
    return [
        ("manage.py check", lambda: trial.manage("check", ["check"]), site.without("check")),
        ("manage.py collectstatic", trial.collect_static, site.without("collectstatic")),
        (load, lambda: trial.python("callable", site.callable_arguments()), ""),
        ("manage.py migrate", trial.migrate, site.without("migrate")),
        *manage,
        (f"GET {path}", lambda: trial.request(path, host), ""),
    ]


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb ``selftest``. See :func:`verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "selftest", "install into a scratch folder and try everything", common)
    add_options(verb)
    verb.add_argument("--env-file", type=cli.path, metavar="FILE", help="environment.json to test with")
    verb.add_argument("--path", default="/", metavar="PATH", help="path of the test request (default: /)")
    verb.add_argument("--ignore", action="append", default=[], metavar="WHAT", help="module or attempt that may fail")
    verb.add_argument("--keep", action="store_true", help="keep the scratch folder")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    wanted = Wanted(
        arguments.env_file,
        arguments.path,
        arguments.ignore,
        arguments.wsgi_module,
        arguments.asgi_module,
        arguments.manage,
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


def _host(variables: Mapping[str, str]) -> str:
    """Return a host name that the site answers to."""
    try:
        hosts = json.loads(variables.get("ALLOWED_HOSTS", "[]"))
    except ValueError:
        hosts = []
    names = [host for host in hosts if isinstance(host, str) and host.strip("*.")] if isinstance(hosts, list) else []
    return names[0].lstrip(".") if names else "localhost"


def _imported(trial: Trial, ignored: Sequence[str]) -> Tuple[int, List[Finding]]:
    """Import everything; a module that takes its process down is named, and the rest goes on in another one.

    What fails among the others is tried once more in a process of its own: setuptools refuses to come after distutils.
    """
    python = trial.confined([trial.interpreter, "-I", "-c"])
    environment = {**process.environment(), **trial.environment()}
    path = trial.scratch / "modules.json"
    listed = process.run([*python, _LIST, str(path)], _TIMEOUT, env=environment)
    if listed.status or listed.timed_out:
        raise DeploymentError("the new Python", excerpt(listed.output) or listed.why(), "See above")
    first = (trial.site.wsgi or trial.site.asgi).partition(":")[0] or trial.site.settings_module
    wanted: List[Tuple[str, str]] = [(kind, name) for kind, name in json.loads(path.read_text("utf-8"))]
    rest, findings, crashes = wanted, [], 0
    kinds = {name: kind for kind, name in wanted}
    while rest and crashes < _CRASHES:
        done, bad, crashed = _import_some(trial.scratch, [*python, _IMPORT, first], environment, rest)
        for finding in bad:
            again = [(kinds[finding.what], finding.what)]
            findings.extend(_import_some(trial.scratch, [*python, _IMPORT, first], environment, again)[1])
        crashes += crashed
        rest = rest[done:]
    if rest:
        findings.append(Finding(rest[0][1], f"not tried, nor {len(rest) - 1} more: the process ended {crashes} times"))
    return len(wanted), [one for one in findings if one.what not in ignored]


def _import_some(
    scratch: Path, command: List[str], environment: Mapping[str, str], wanted: Sequence[Tuple[str, str]]
) -> Tuple[int, List[Finding], int]:
    """Return how many of *wanted* were tried, the bad ones, and 1 when the process did not live to the end."""
    request, answers = scratch / "imports", scratch / "imported"
    request.write_text("".join(json.dumps(pair) + "\n" for pair in wanted), "utf-8")
    answers.write_text("", "utf-8")
    with request.open("rb") as file:
        words = [*command, str(answers)]
        done = process.run(words, _MODULE_TIMEOUT + len(wanted), env=environment, stdin=file.fileno())
    ending = "its process did not come back" if done.timed_out else f"its process ended with status {done.status}"
    # The last line of a process that was stopped may be cut.
    events = [json.loads(line) for line in answers.read_text("utf-8", "replace").splitlines(True) if line[-1] == "\n"]
    ended = [event for event in events if event[0] == "end"]
    bad = [Finding(name, fault) for _, name, fault in ended if fault]
    begun = sum(1 for event in events if event[0] == "begin")
    if begun == len(ended) and begun == len(wanted):
        return begun, bad, 0
    name = wanted[len(ended)][1]
    return len(ended) + 1, [*bad, Finding(name, ending)], 1
