"""Make the web server's processes load the release that ``current`` points to.

Strategies, as the operator writes them:

    mod_wsgi-sigusr1[:GROUP]   SIGUSR1 to mod_wsgi's daemons, half of them at a time: loses no request
    httpd-graceful[:PIDFILE]   SIGUSR1 to httpd: requests longer than 3 s in mod_wsgi daemons are cut off
    systemd:UNIT               systemctl restart UNIT: loses nothing when a socket unit holds the port
    touch[:PATH]               a new mtime on the WSGI script (or PATH in the release): mod_wsgi reloads
    command:COMMAND            your own, split as a shell would, run without a shell
    none                       nothing: something else restarts

None of them reports success when it signalled nothing. Figures: docs/deploy.md.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Callable, Dict, List, NoReturn, Optional, Sequence

from .. import process
from ..definitions import NamedTuple, expression
from ..errors import DeploymentError, UsageError
from . import processes
from .commands import can_start, words_of
from .processes import PROC, Process

PID_FILES = (
    "/run/httpd/httpd.pid",
    "/run/apache2/apache2.pid",
    "/var/run/apache2/apache2.pid",
    "/opt/rh/httpd24/root/var/run/httpd/httpd.pid",
)
DEFAULT_GROUP = "django"

_POLL = 0.05  # seconds between two looks at the processes
_LOADING = 60.0  # seconds that the other half of the daemons waits for the new ones to load the application
_STARTS = ("ActiveEnterTimestampMonotonic", "MainPID")  # what a restart of a unit changes

_UNIT = expression(r"(?!-)[A-Za-z0-9:_.\\@-]{1,255}\Z")  # systemd.unit(5)

Run = Callable[[Sequence[str], float], str]  # runs a command for at most so many seconds and returns its output


class Release(NamedTuple):
    """What a strategy may need to know of the release that is to be taken up."""

    folder: Path  # the release, not through `current`
    wsgi_script: str  # relative to the folder: "cfgov/cfgov/wsgi.py"


class Strategy:
    """One way to restart. :meth:`prepare` says early what would fail late."""

    name = ""

    def prepare(self, _root: str) -> None:
        """Check, before anything is changed, that the means are at hand.

        Parameters:
            _root: folder of the site.

        Raises:
            DeploymentError: they are not.
        """

    def restart(self, release: Release, timeout: float) -> str:
        """Restart within *timeout* seconds and say what was done, in a few words.

        Raises:
            DeploymentError: nothing was signalled, or it did not act in time.
        """
        raise NotImplementedError


def parse(text: str, pid_file: Optional[str] = None, run: Optional[Run] = None) -> Strategy:
    """Return the strategy written as *text*.

    Parameters:
        pid_file: tells whose children mod_wsgi's daemons must be.
        run: runs commands; None: without a log.

    Raises:
        UsageError: there is no such strategy, or a part of it is missing.
    """
    kind, colon, argument = text.partition(":")
    if kind == "mod_wsgi-sigusr1":
        return ModWsgiSignal(argument or DEFAULT_GROUP, pid_file)
    if kind == "httpd-graceful":
        return HttpdGraceful(argument or pid_file)
    if kind == "systemd" and argument:
        if not _UNIT.match(argument):
            raise UsageError(f"--restart {text}", "is not the name of a unit", "Write it like systemd:site.service")
        return Systemd(argument, run)
    if kind == "touch":
        return Touch(argument)
    if kind == "command" and argument.strip():
        return Command(argument, run)
    if kind == "none" and not colon:
        return Nothing()
    raise UsageError(
        f"--restart {text}",
        "is not a restart strategy",
        "Choose mod_wsgi-sigusr1[:GROUP], httpd-graceful[:PIDFILE], systemd:UNIT, touch[:PATH], command:COMMAND, none",
    )


class ModWsgiSignal(Strategy):
    """SIGUSR1 to each daemon of one mod_wsgi group: it ends when its requests have, and httpd starts another.

    The daemons are found by the title that ``display-name=%{GROUP}`` gives them, ``(wsgi:GROUP)``. Half of
    them at a time are told, so that the others answer meanwhile. A new daemon has one thread while it loads the
    application and its full number when it answers (measured, mod_wsgi 4.9.4): without waiting for that, no daemon
    answered for a while on a busy machine, and 20 of 41657 requests waited longer than queue-timeout.
    """

    name = "mod_wsgi-sigusr1"

    def __init__(self, group: str, pid_file: Optional[str] = None, proc: Path = PROC) -> None:
        self._title = f"(wsgi:{group})"
        self._pid_file = pid_file
        self._proc = proc

    def restart(self, _release: Release, timeout: float) -> str:
        """See :meth:`Strategy.restart`. Returns when every daemon seen at the start has been replaced."""
        deadline = time.monotonic() + timeout
        old = self._daemons()
        if not old:
            self._explain_nothing()
        threads = min(processes.threads(self._proc, process) for process in old)
        half = (len(old) + 1) // 2
        for batch in (old[:half], old[half:]):
            self._replace(batch, len(old), deadline)
            self._let_load(threads, min(deadline, time.monotonic() + _LOADING))
        return f"replaced {len(old)} of {self._title} by SIGUSR1"

    def _replace(self, batch: Sequence[Process], count: int, deadline: float) -> None:
        signalled = [process for process in batch if self._signal(process)]
        while True:
            now = self._daemons()
            if not set(signalled) & set(now) and len(now) >= count:
                return
            if time.monotonic() >= deadline:
                left = ", ".join(str(process.pid) for process in sorted(set(signalled) & set(now))) or "none"
                raise DeploymentError(
                    self._title,
                    f"{len(now)} of {count} daemons run, old ones among them: {left}",
                    "Give graceful-timeout and shutdown-timeout to WSGIDaemonProcess, or a longer --restart-timeout",
                )
            time.sleep(_POLL)

    def _let_load(self, threads: int, deadline: float) -> None:
        """Wait until each daemon has *threads*. Some may never have them: the application may differ."""
        while time.monotonic() < deadline:
            if all(processes.threads(self._proc, process) >= threads for process in self._daemons()):
                return
            time.sleep(_POLL)

    def _signal(self, process: Process) -> bool:
        try:
            os.kill(process.pid, signal.SIGUSR1)
        except ProcessLookupError:  # it ended by itself: what was wanted
            return False
        except PermissionError:
            raise DeploymentError(
                self._title, f"process {process.pid} may not be signalled by uid {os.geteuid()}", "Run it as root"
            ) from None
        return True

    def _daemons(self) -> List[Process]:
        parent = _pid_in(self._pid_file) if self._pid_file else None
        found = [process for process, title in processes.processes(self._proc) if title == self._title]
        return sorted(process for process in found if parent is None or process.parent == parent)

    def _explain_nothing(self) -> NoReturn:
        cut = {title for _, title in processes.processes(self._proc) if processes.is_cut(title, self._title)}
        if cut:
            raise DeploymentError(
                self._title,
                f"no process has this title, but one is titled {sorted(cut)[0]!r}: httpd's own name is too short",
                "Start httpd by its absolute path, as mod_wsgi can write no title longer than that",
            )
        raise DeploymentError(
            self._title,
            "no process has this title, so nothing was signalled",
            "Start httpd, and give WSGIDaemonProcess display-name=%{GROUP}",
        )


class HttpdGraceful(Strategy):
    """SIGUSR1 to httpd's parent, what ``httpd -k graceful`` does, and wait for its old children to end."""

    name = "httpd-graceful"

    def __init__(self, pid_file: Optional[str] = None, proc: Path = PROC) -> None:
        self._pid_file = pid_file
        self._proc = proc

    def restart(self, _release: Release, timeout: float) -> str:
        """See :meth:`Strategy.restart`."""
        deadline = time.monotonic() + timeout
        path = self._pid_file or _first_existing(PID_FILES)
        if path is None:
            raise DeploymentError(self.name, "no PID file of httpd was found", "Name it: httpd-graceful:PIDFILE")
        parent = _pid_in(path)
        children = processes.children(self._proc, parent)
        title = processes.title(self._proc / str(parent))
        if title is None or not any(word in title for word in ("httpd", "apache2")):
            raise DeploymentError(path, f"names process {parent}, not httpd; nothing was signalled", "Start it")
        try:
            os.kill(parent, signal.SIGUSR1)
        except PermissionError:
            raise DeploymentError(path, f"process {parent} may not be signalled", "Run it as root") from None
        while children & processes.children(self._proc, parent):
            if time.monotonic() >= deadline:
                raise DeploymentError(path, "old children of httpd still run", "Give a longer --restart-timeout")
            time.sleep(_POLL)
        return f"signalled httpd {parent}, {len(children)} children replaced"


class Systemd(Strategy):
    """``systemctl restart UNIT``, believed only when the unit became active anew, or has another main process.

    systemd 219 has neither ``show --value`` nor InvocationID, and prints nothing for a property that it does not know.
    """

    name = "systemd"

    def __init__(self, unit: str, run: Optional[Run] = None) -> None:
        self._unit = unit
        self._run = run or _run

    def prepare(self, _root: str) -> None:
        """See :meth:`Strategy.prepare`."""
        if shutil.which("systemctl", path=process.search_path()) is None:
            raise DeploymentError(f"systemd:{self._unit}", "systemctl is not installed here", "Use another --restart")
        # Without the release's log: nothing may be written yet, and before a first deployment there is no place for it.
        try:
            state = self._show("LoadState", run=_run).get("LoadState")
        except DeploymentError as error:
            why = f"systemctl cannot ask systemd ({error.why})"
            raise DeploymentError(
                f"systemd:{self._unit}", why, "Use another --restart if it does not run here"
            ) from error
        if state != "loaded":
            raise DeploymentError(self._unit, "is not a unit that systemd has loaded", "Run: systemctl daemon-reload")

    def restart(self, _release: Release, timeout: float) -> str:
        """See :meth:`Strategy.restart`."""
        before = self._show(*_STARTS)
        self._run(["systemctl", "restart", self._unit], timeout)
        after = self._show("ActiveState", *_STARTS)
        state = after.get("ActiveState", "unknown")
        started = any(after.get(item, "0") not in ("", "0", before.get(item)) for item in _STARTS)
        if state != "active" or not started:
            raise DeploymentError(self._unit, f"was not restarted (state {state})", f"Read: journalctl -u {self._unit}")
        return f"restarted {self._unit}"

    def _show(self, *items: str, run: Optional[Run] = None) -> Dict[str, str]:
        said = (run or self._run)(["systemctl", "show", *(f"--property={item}" for item in items), self._unit], 30.0)
        pairs = (line.partition("=") for line in said.splitlines())
        return {name: value.strip() for name, equals, value in pairs if equals and name in items}


class Touch(Strategy):
    """A new modification time on the WSGI script, which mod_wsgi compares at each request."""

    name = "touch"

    def __init__(self, path: str = "") -> None:
        self._path = path

    def prepare(self, root: str) -> None:
        """See :meth:`Strategy.prepare`. What is in the site's folder may not be there before the first deployment."""
        if not os.path.isabs(self._path) or os.path.isfile(self._path):
            return
        if not os.path.realpath(self._path).startswith(f"{os.path.realpath(root)}/"):
            raise DeploymentError(self._path, "is not a file", "Name the WSGI script: touch:PATH")

    def restart(self, release: Release, _timeout: float) -> str:
        """See :meth:`Strategy.restart`."""
        path = release.folder / (self._path or release.wsgi_script)
        try:
            os.utime(str(path))
        except OSError as error:
            raise DeploymentError(path, f"cannot be touched ({error.strerror})", "Name it: touch:PATH") from error
        return f"touched {path.name}"


class Command(Strategy):
    """The operator's own command; its exit status is all that is known of it."""

    name = "command"

    def __init__(self, command: str, run: Optional[Run] = None) -> None:
        self._run = run or _run
        self._words = words_of("--restart command", command)

    def prepare(self, _root: str) -> None:
        """See :meth:`Strategy.prepare`."""
        word = self._words[0]
        if not can_start(word):
            raise DeploymentError(word, "command not found", "Give its absolute path")

    def restart(self, _release: Release, timeout: float) -> str:
        """See :meth:`Strategy.restart`."""
        self._run(self._words, timeout)
        return f"ran {self._words[0]}"


class Nothing(Strategy):
    """No restart: said so, and left to the health check."""

    name = "none"

    def restart(self, _release: Release, _timeout: float) -> str:
        """See :meth:`Strategy.restart`."""
        return "nothing was restarted, as asked"


def _run(words: Sequence[str], timeout: float) -> str:
    """Run a command without a log: its exit status is what is told of it."""
    try:
        ended = process.run(words, timeout, env=environment())
    except OSError as error:
        raise DeploymentError(words[0], f"cannot be run ({error.strerror})", "Give its absolute path") from error
    if ended.timed_out or ended.status:
        raise DeploymentError(words[0], ended.why(), "Run it by hand")
    return ended.output


def environment() -> Dict[str, str]:
    """Return the environment of the operator's own commands: the whole of the caller's, with a complete PATH."""
    return {**os.environ, "PATH": process.search_path()}


def _pid_in(path: str) -> int:
    try:
        return int(Path(path).read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise DeploymentError(path, "contains no process id, so nothing was signalled", "Start httpd") from error


def _first_existing(paths: Sequence[str]) -> Optional[str]:
    return next((path for path in paths if os.path.exists(path)), None)
