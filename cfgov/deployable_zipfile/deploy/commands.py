"""Run a release's own Python, and Django's commands, and tell what they said without telling secrets."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..artifact import layout
from ..errors import DeploymentError, UsageError

# What a command of the release may see of the operator's environment. LD_LIBRARY_PATH and X_SCLS: an SCL Python
# does not start without. Everything else belongs into environment.json.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "X_SCLS")

_SHORTEST_SECRET = 4  # characters; a shorter value is not looked for: "1" stands in every output
_LINE_OF_SECRET = 8  # characters of one line of a value of several lines (a PEM key) that give it away
_EXCERPT = 240  # characters of output in an error line
_LOG_MODE = 0o640


class Person(NamedTuple):
    """A user that commands of the release run as."""

    name: str
    uid: int
    gid: int


def person(name: str) -> Person:
    """Return the user *name*.

    Raises:
        UsageError: there is no such user, or this process may not become it.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"--run-as {name}", "there is no such user", "Make it, or name another") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise UsageError(f"--run-as {name}", "only root can become another user", "Run it as root")
    return Person(name, entry.pw_uid, entry.pw_gid)


class Secrets:
    """The values of an environment file, taken out of texts before anybody sees these."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        found: Dict[str, str] = {}
        for key, value in variables.items():
            for form in _forms(value):
                found.setdefault(form, key)
        self._forms = sorted(found.items(), key=lambda item: -len(item[0]))

    def hidden(self, text: str) -> str:
        """Return *text* with each value replaced by its key in brackets."""
        for form, key in self._forms:
            if form in text:
                text = text.replace(form, f"[{key}]")
        return text


class Commands:
    """Commands of one release: its virtualenv's Python, isolated, in a clean environment, logged.

    Parameters:
        release: the folder, not through ``current``: a switch in the middle changes nothing.
        project: name of the project's folder.
        secrets: hidden in the log and in errors.
        log: file that the output is added to, mode 0640.
        timeout: seconds for one command.
        run_as: the user to become; None stays.
        inherited: descriptors that commands keep open. With the root's lock among them, a command that outlives a
            killed deployment still keeps the next one out.
    """

    def __init__(
        self,
        release: Path,
        project: str,
        secrets: Secrets,
        log: Path,
        timeout: float,
        run_as: Optional[Person] = None,
        inherited: Sequence[int] = (),
    ) -> None:
        self._release = release
        self._project = project
        self._secrets = secrets
        self._log = log
        self._timeout = timeout
        self._run_as = run_as
        self._inherited = tuple(inherited)

    def manage(self, step: str, words: Sequence[str]) -> str:
        """Run one Django management command and return its output, secrets hidden.

        Raises:
            DeploymentError: it failed, or took longer than the timeout.
        """
        script = self._release / self._project / "manage.py"
        start = [str(script)] if script.is_file() else ["-m", "django"]
        return self.python(step, start + list(words))

    def python(self, step: str, arguments: Sequence[str]) -> str:
        """Run the release's Python: isolated (``-I``), and unbuffered, so that the last line is the last.

        Raises:
            DeploymentError: as for :meth:`manage`.
        """
        interpreter = self._release / layout.VENV / "bin" / "python"
        return self.command(step, [str(interpreter), "-I", "-u", *arguments], {})

    def command(self, step: str, words: Sequence[str], variables: Mapping[str, str]) -> str:
        """Run any command with *variables* added to the clean environment.

        Raises:
            DeploymentError: as for :meth:`manage`.
        """
        began = time.monotonic()
        try:
            process = subprocess.Popen(
                list(words),
                cwd=str(self._release),
                env={**clean_environment(os.environ), **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._inherited,
                preexec_fn=self._become(),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DeploymentError(step, f"{words[0]} cannot be run ({error})", "Install the release again") from error
        output = self._secrets.hidden(self._output(step, process).decode("utf-8", "replace"))
        self._write_log(step, words, process.returncode, time.monotonic() - began, output)
        if process.returncode:
            why = f"{_ending(process.returncode)}: {excerpt(output)}"
            raise DeploymentError(step, why, f"Read {self._log}")
        return output

    def _output(self, step: str, process: "subprocess.Popen[bytes]") -> bytes:
        try:
            return process.communicate(timeout=self._timeout)[0]
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeploymentError(
                step, f"did not end within {self._timeout:.0f} s and was stopped", "Give a longer --step-timeout"
            ) from None
        except BaseException:
            _end(process)
            raise

    def _become(self) -> Callable[[], None]:
        user = self._run_as

        def prepare() -> None:
            os.umask(0o022)
            if user is not None and os.geteuid() != user.uid:
                os.initgroups(user.name, user.gid)
                os.setgid(user.gid)
                os.setuid(user.uid)

        return prepare

    def _write_log(self, step: str, words: Sequence[str], status: int, seconds: float, output: str) -> None:
        self._log.parent.mkdir(mode=0o750, exist_ok=True)
        descriptor = os.open(str(self._log), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, _LOG_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as log:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            shown = self._secrets.hidden(" ".join("..." if "\n" in word else shlex.quote(word) for word in words))
            log.write(f"--- {stamp} {step}: {shown} -> {status} after {seconds:.1f} s\n{output}")
            if output and not output.endswith("\n"):
                log.write("\n")


def clean_environment(environment: Mapping[str, str]) -> Dict[str, str]:
    """Return the part of *environment* that commands of a release may see."""
    kept = {key: value for key, value in environment.items() if key in _PASSED_ON or key.startswith("LC_")}
    kept.setdefault("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    return kept


def excerpt(output: str) -> str:
    """Return the last line of *output* that says something, shortened."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Type 'manage.py help")] or lines
    return lines[-1][:_EXCERPT] if lines else "no output"


def _forms(value: str) -> Set[str]:
    """Return the ways in which *value* may stand in an output."""
    texts = {value, value.strip()}
    texts.update(line.strip() for line in value.splitlines() if len(line.strip()) >= _LINE_OF_SECRET)
    texts.update(_url_parts(value))
    forms = set(texts)
    for text in texts:
        forms.update((json.dumps(text)[1:-1], repr(text)[1:-1], urllib.parse.quote(text, safe="")))
    return {form for form in forms if len(form) >= _SHORTEST_SECRET}


def _url_parts(value: str) -> Iterable[str]:
    """Return user, password, host and path of a URL: drivers quote them alone."""
    if "://" not in value:
        return []
    try:
        parts = urllib.parse.urlsplit(value)
        found: List[Optional[str]] = [parts.username, parts.password, parts.netloc, parts.query]
    except ValueError:
        return []
    return [form for part in found if part for form in (part, urllib.parse.unquote(part))]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stop the command and everything in its session."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            process.send_signal(number)
        try:
            process.communicate(timeout=patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _ending(status: int) -> str:
    return f"exit status {status}" if status > 0 else f"ended by {signal.Signals(-status).name}"
