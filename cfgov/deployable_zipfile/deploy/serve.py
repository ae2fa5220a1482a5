"""Serve the site of an artifact on 127.0.0.1 from a scratch folder, to see that it starts: offline and without root.

Everything is made anew in a folder that is removed at the end: the installation, an SQLite database, uploads, a secret
key. It is confined like a self-test: nothing real is touched, also when --env-file names it. The server is one that the
artifact holds, gunicorn or uvicorn, else the standard library's.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import shlex
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from .. import cli, process
from ..artifact.zipreader import Artifact
from ..console import Console
from ..definitions import NamedTuple
from ..errors import DeploymentError, Interrupted, UsageError
from ..install import installation
from . import provision, show
from .commands import CommandError
from .excerpt import excerpt
from .redaction import Secrets
from .site import program, site_of
from .trial import Skipped, Trial, add_options, scratch_environment, scratch_folder

_START = 60.0  # seconds for the first answer
_HOST = "127.0.0.1"

# Runs in the release's Python: which of these servers it has.
_SERVERS = """
import importlib.util, json
print(json.dumps([name for name in ("gunicorn", "uvicorn") if importlib.util.find_spec(name)]))
"""


class Served(NamedTuple):
    """What is being served."""

    url: str
    server: str  # gunicorn, uvicorn or wsgiref
    status: int  # of the first answer


def add_parsers(subparsers: Any, common: List[argparse.ArgumentParser]) -> None:
    """Add the verb ``serve``. See :func:`verbs.add_parsers`."""
    verb = cli.add_verb(subparsers, "serve", "serve the site from a scratch folder, for a look", common)
    verb.add_argument(
        "--port",
        type=cli.integer(0, 65_535),
        default=8000,
        metavar="N",
        help="port on 127.0.0.1; 0 takes a free one (default: 8000)",
    )
    add_options(verb)
    verb.add_argument("--env-file", type=cli.path, metavar="FILE", help="environment.json with more variables")
    verb.add_argument("--path", default="/", metavar="PATH", help="path of the first request (default: /)")
    verb.add_argument("--check", action="store_true", help="stop after the first response")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, archive: str, console: Console) -> int:
    with scratch_folder("serve-", arguments.scratch) as scratch, Artifact.open(archive) as artifact:
        site = _Show(scratch, console, arguments)
        site.prepare(artifact)
        with site.running() as served:
            document = {"url": served.url, "server": served.server, "status": served.status}
            text = f"{served.url} answers {served.status} ({served.server})"
            if served.status >= 500:
                raise DeploymentError(served.url, f"answers {served.status}: {site.last_words()}", "See above")
            console.result(document, text if arguments.check else f"{text}. Ctrl-C ends it")
            if not arguments.check:
                site.wait()
    return 0


class _Show:
    """One site in a scratch folder."""

    def __init__(self, scratch: Path, console: Console, arguments: argparse.Namespace) -> None:
        self._scratch = scratch
        self._console = console
        self._arguments = arguments
        self._log = scratch / "server.log"
        self._server: Optional[process.Server] = None

    def prepare(self, artifact: Artifact) -> None:
        """Install the artifact and do what a first deployment does.

        Raises:
            DeployableZipfileError: it cannot be installed, or a step fails.
        """
        given = self._arguments
        release = self._scratch / "release"
        with self._console.phase(f"Installing into {self._scratch}"):
            installation.install(artifact, str(release), workers=given.workers, sync=False, console=self._console)
        variables = scratch_environment(None, self._scratch)  # a demo needs no more than the file adds
        if given.env_file is not None:
            variables.update(scratch_environment(given.env_file, self._scratch))
        provision.place_environment(release, variables, provision.NOBODY)
        site = site_of(artifact.manifest, release, variables, given.wsgi_module, given.asgi_module)
        self._trial = Trial(self._scratch, release, site, variables)
        self._console.step(self._trial.confine())
        self._do("collectstatic", self._collect, site.without("collectstatic"))
        self._do("migrate", self._trial.migrate, site.without("migrate"))
        for text in given.manage:
            self._do(f"manage {text}", functools.partial(self._trial.manage, "manage", shlex.split(text)), "")

    def _do(self, step: str, action: Callable[[], object], skipped: str) -> None:
        if skipped:
            self._console.step(f"{step}: {skipped}")
            return
        try:
            with self._console.phase(step):
                action()
        except Skipped as reason:
            self._console.step(f"{step}: {reason}")
        except CommandError as error:
            raise _failed(step, error) from None

    def _collect(self) -> None:
        self._trial.collect_static()

    @contextlib.contextmanager
    def running(self) -> Iterator[Served]:
        """Run the server, and stop it at the end.

        Raises:
            DeploymentError: it does not answer.
        """
        port = _free_port(self._arguments.port)
        server, words, variables = self._command(port)
        environment = {**process.environment(), **self._trial.environment(), **variables}
        confined = self._trial.confined(words)
        with self._log.open("wb") as log:
            started = process.Server(confined, log.fileno(), str(self._trial.release), environment)
            with started as self._server:
                url = f"http://{_HOST}:{port}"
                with self._console.phase(f"Starting {server}"):
                    status = self._first_answer(url + self._arguments.path)
                yield Served(url + "/", server, status)

    def _command(self, port: int) -> Tuple[str, List[str], Dict[str, str]]:
        """Return the server's name, its command line and what its environment needs."""
        site, trial = self._trial.site, self._trial
        there = json.loads(trial.python("servers", ["-c", _SERVERS]).strip().splitlines()[-1])
        try:
            name = trial.python("callable", site.callable_arguments()).strip().splitlines()[-1]
        except CommandError as error:
            raise _failed("WSGI or ASGI callable", error) from None
        python = [trial.interpreter, "-I"]
        if site.asgi and not site.wsgi:
            if "uvicorn" not in there:
                fix = "Add uvicorn to the requirements, or give --wsgi-module"
                raise DeploymentError("serve", f"{name} is an ASGI callable and the artifact holds no uvicorn", fix)
            return "uvicorn", [*python, "-m", "uvicorn", "--host", _HOST, "--port", str(port), name], {}
        prefix = "/static/" if site.is_django else ""
        wanted = {"wsgi": name, "prefix": prefix, "root": str(self._scratch / "static")}
        variables = {show.VARIABLE: json.dumps(wanted)}
        if "gunicorn" not in there:
            return "wsgiref", [*python, "-c", program("show"), str(port)], variables
        (self._scratch / "served").mkdir()
        (self._scratch / "served" / "show.py").write_text(program("show"), "utf-8")
        words = ["--bind", f"{_HOST}:{port}", "--threads", "4", "--worker-tmp-dir", str(self._scratch / "tmp")]
        module = ["--pythonpath", str(self._scratch / "served"), "show:application"]
        return "gunicorn", [*python, "-m", "gunicorn", *words, *module], variables

    def _first_answer(self, url: str) -> int:
        deadline = time.monotonic() + _START
        while True:
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=_START) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                with error:
                    return int(error.code)
            except OSError:
                if self._is_over():
                    raise DeploymentError("the server", f"ended: {self.last_words()}", "See above") from None
                if time.monotonic() > deadline:
                    why = f"did not answer within {_START:.0f} s: {self.last_words()}"
                    raise DeploymentError("the server", why, "See above") from None
            time.sleep(0.1)

    def _is_over(self) -> bool:
        return self._server is not None and self._server.has_ended()

    def last_words(self) -> str:
        """Return the line of the server's log that names an error, secrets hidden."""
        return excerpt(Secrets(self._trial.variables).hidden(self._log.read_text("utf-8", "replace")))

    def wait(self) -> None:
        """Wait until somebody ends it, which is the way it is meant to end.

        Raises:
            DeploymentError: the server ended by itself.
        """
        try:
            while not self._is_over():
                time.sleep(0.2)
        except (KeyboardInterrupt, Interrupted):
            self._console.step("Stopping and removing the scratch folder")
            return
        raise DeploymentError("the server", f"ended: {self.last_words()}", "See above")


def _failed(step: str, error: CommandError) -> DeploymentError:
    """Return what to say of a failed command: its log is removed with the scratch folder."""
    why = f"{error.why.partition(': ')[0]}: {excerpt(error.output)}"
    return DeploymentError(step, why, "Run selftest to see more")


def _free_port(wanted: int) -> int:
    """Return *wanted* if nobody listens there, for 0 a free port.

    Raises:
        UsageError: somebody does.
    """
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((_HOST, wanted))
        except OSError as error:
            raise UsageError(f"--port {wanted}", f"cannot be used ({error.strerror})", "Give another, or 0") from None
        return int(one.getsockname()[1])
