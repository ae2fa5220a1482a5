"""Run a release's own Python, Django's commands and the operator's: logged, timed, and silent about secrets.

What a command says goes to the log of its release, with the values of environment.json replaced. An error names the
log and repeats nothing.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Sequence

from .. import durable, process
from ..artifact import layout
from ..errors import DeploymentError, UsageError
from ..process import Person
from .excerpt import kind
from .redaction import Secrets

_LOG_MODE = 0o640
_MOST_LOG = 16 * 1024 * 1024  # characters of one command's output that are logged

Note = Callable[[Optional[int]], object]  # gets the process id of each command, and None when it has ended


class CommandError(DeploymentError):
    """A command that failed. ``output`` is the end of what it said, secrets hidden."""

    def __init__(self, what: object, why: str, fix: Optional[str] = None, output: str = "") -> None:
        super().__init__(what, why, fix)
        self.output = output


def person(name: str) -> Person:
    """Return the user *name*.

    Raises:
        UsageError: there is no such user, or this process may not become it.
    """
    try:
        found = process.person(name)
    except KeyError:
        raise UsageError(f"--run-as {name}", "there is no such user", "Create it, or name another") from None
    if os.geteuid() not in (0, found.uid):
        raise UsageError(f"--run-as {name}", "only root can become another user", "Run it as root")
    return found


class Log:
    """The log of one release's commands, mode 0640.

    Parameters:
        path: of the file; its folder is made.
        secrets: hidden in it.
    """

    def __init__(self, path: Path, secrets: Secrets) -> None:
        self.path = path
        self._secrets = secrets

    def run(
        self,
        step: str,
        words: Sequence[str],
        timeout: float,
        cwd: str = "/",
        env: Optional[Mapping[str, str]] = None,
        user: Optional[Person] = None,
        note: Note = lambda _: None,
    ) -> str:
        """Run a command, log what it says, and return the end of it, secrets hidden. See :func:`process.run`.

        Raises:
            CommandError: it cannot be started, failed, or took longer than *timeout* seconds.
        """
        with _Writer(self.path) as log:
            line = " ".join("..." if "\n" in word else shlex.quote(word) for word in words)
            log.write(f"--- {_now()} {step}: {self._secrets.hidden(line)}\n")
            try:
                ended = process.run(
                    words, timeout, cwd, env, user, sink=self._secrets.sink(), log=log.write_output, started=note
                )
            except (OSError, subprocess.SubprocessError) as error:
                reason = error.strerror if isinstance(error, OSError) else "its user could not be taken on"
                why = self._secrets.hidden(f"{words[0]} cannot be run ({reason})")
                raise CommandError(step, why, "Give its absolute path, or install the release again") from error
            finally:
                note(None)
            log.finish_line()
            log.write(f"=== {ended.why()}, {ended.seconds:.1f} s\n")
        if ended.timed_out:
            raise CommandError(step, ended.why(), f"Read {self.path}, or give more time", ended.output)
        if ended.status:
            raise CommandError(step, ended.why(), f"Read {self.path}", ended.output)
        return ended.output


class Commands:
    """Commands of one release: its virtualenv's Python, isolated, in a clean environment.

    Parameters:
        release: the folder, not through ``current``: a switch in the middle changes nothing.
        manage: the project's manage.py relative to the release; ``python -m django`` is run where there is none.
        log: where their output goes.
        timeout: seconds for one command.
        run_as: the user to become; None stays.
        note: called with the process id of each command.
        variables: further ones for the release's Python; environment.json wins over them.
    """

    def __init__(
        self,
        release: Path,
        manage: str,
        log: Log,
        timeout: float,
        run_as: Optional[Person] = None,
        note: Note = lambda _: None,
        variables: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._variables = dict(variables or {})
        self._release = release
        self._manage = manage
        self._log = log
        self._timeout = timeout
        self._run_as = run_as
        self._note = note

    def manage(self, step: str, words: Sequence[str]) -> str:
        """Run one Django management command and return the end of its output, secrets hidden.

        Raises:
            CommandError: it failed, or took longer than the timeout.
        """
        script = self._release / self._manage
        start = [str(script)] if script.is_file() else ["-m", "django"]
        return self.python(step, start + list(words))

    def python(self, step: str, arguments: Sequence[str]) -> str:
        """Run the release's Python: isolated (``-I``), and unbuffered, so that the last line is the last.

        Raises:
            CommandError: as for :meth:`manage`.
        """
        interpreter = self._release / layout.VENV / "bin" / "python"
        try:
            return self.command(step, [str(interpreter), "-I", "-u", *arguments], self._variables)
        except CommandError as error:
            shown = kind(error.output)
            why = f"{error.why}: {shown}" if shown else error.why
            raise CommandError(error.what, why, error.fix, error.output) from error

    def command(self, step: str, words: Sequence[str], variables: Mapping[str, str]) -> str:
        """Run any command with *variables* added to the clean environment.

        Raises:
            CommandError: as for :meth:`manage`.
        """
        env = {**process.environment(self._run_as), **variables}
        return self._log.run(step, words, self._timeout, str(self._release), env, self._run_as, self._note)


class _Writer:
    """An open log that takes no more than its share of one command's output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = _MOST_LOG
        self._descriptor = -1
        self._in_line = False

    def __enter__(self) -> "_Writer":
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._path.parent.mkdir(mode=0o750, exist_ok=True)
            self._descriptor = os.open(str(self._path), flags, _LOG_MODE)
            os.fchmod(self._descriptor, _LOG_MODE)
        except OSError as error:
            raise DeploymentError(self._path, f"cannot be written ({error.strerror})", "Check its folder") from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def write(self, text: str) -> None:
        try:
            durable.write_all(self._descriptor, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise DeploymentError(self._path, f"cannot be written ({error.strerror})", "Free space") from error

    def write_output(self, text: str) -> None:
        if self._left <= 0:
            return
        part, self._left = text[: self._left], self._left - len(text)
        self.write(part + ("\n(the rest is left out)\n" if self._left <= 0 else ""))
        self._in_line = not part.endswith("\n") and self._left > 0

    def finish_line(self) -> None:
        if self._in_line:
            self.write("\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def words_of(option: str, text: str) -> List[str]:
    """Return the words of the command *text*, as a shell splits it.

    Raises:
        UsageError: a quotation mark is missing; *option* is what gave it.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(option, f"cannot be split into words ({error})") from None


def can_start(word: str) -> bool:
    """Tell whether *word* is a program that can be started from any folder: in PATH, or by its absolute path."""
    return ("/" not in word or os.path.isabs(word)) and shutil.which(word, path=process.search_path()) is not None
