"""How one command works on one root: its options, and those that the root remembers."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ..definitions import NamedTuple
from ..errors import UsageError
from . import health, links, provision, restart
from .commands import can_start, person, words_of
from .signing import Wish

NO_STORE = "none"  # no absolute path, so no store's


class Settings(NamedTuple):
    """What a successful deployment leaves in the journal for the next command on this root. Holds no secret."""

    restart: str = "none"
    first_restart: str = ""  # when there is no `current` yet; "": as restart
    restart_timeout: float = 120.0  # seconds
    httpd_pid_file: str = ""
    health_url: str = ""  # "": no check
    health_headers: Tuple[str, ...] = ()
    health_count: int = 10  # right answers in a row
    health_timeout: float = 60.0  # seconds
    owner: str = ""
    group: str = ""
    run_as: str = ""
    shared: Tuple[str, ...] = ()  # NAME=PATH
    links: Tuple[str, ...] = ()  # PATH=TARGET
    manage: Tuple[str, ...] = ()  # further management commands
    config_test: str = ""
    httpd_env: str = ""
    config_path: str = ""  # relative to the release
    wsgi_script: str = ""  # relative to the release; "": the file of the WSGI module
    wsgi_module: str = ""  # MODULE or MODULE:CALLABLE; "": the artifact's
    asgi_module: str = ""
    step_timeout: float = 1800.0  # seconds
    keep: int = 5
    store: str = ""  # absolute path of the store of unpacked wheels; "": the root's own, NO_STORE: none
    keep_static: float = 30.0  # days
    older_than: Optional[float] = None  # seconds

    def document(self, shown: Callable[[str], str] = str) -> Dict[str, Any]:
        """Return it as JSON values, every text as *shown* gives it back."""
        found: Dict[str, Any] = {}
        for key, value in self._asdict().items():
            if isinstance(value, tuple):
                found[key] = [shown(one) for one in value]
            else:
                found[key] = shown(value) if isinstance(value, str) else value
        return found

    @classmethod
    def remembered(cls, document: Mapping[str, Any]) -> "Settings":
        """Return the settings in *document*; what an older or newer tool wrote and this one does not know is left."""
        defaults = cls()._asdict()
        known = {key: value for key, value in document.items() if key in defaults and _fits(value, defaults[key])}
        return cls().replaced(known)

    def replaced(self, values: Mapping[str, Any]) -> "Settings":
        """Return a copy with *values*, by field name; lists become tuples."""
        plain: Dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return self._replace(**plain)

    def check(self) -> None:
        """Refuse what is wrong in itself.

        Raises:
            UsageError: an option that cannot mean anything.
        """
        for text in filter(None, (self.restart, self.first_restart)):
            restart.parse(text)
        if self.health_url:
            health.parse_url(self.health_url)
        for text in self.health_headers:
            health.parse_header(text)
        for text in self.shared:
            links.parse_shared(text)
        for text in self.links:
            links.parse_link(text)
        if self.store not in ("", NO_STORE) and not os.path.isabs(self.store):
            raise UsageError("--store", "is not an absolute path", "Give the absolute path of a folder")
        provision.ownership(self.owner or None, self.group or None)
        if self.run_as:
            person(self.run_as)
        if self.httpd_env:
            read_variables(Path(self.httpd_env))
        _check_command("--config-test", self.config_test)
        _check_counts({"--keep": self.keep, "--health-count": self.health_count})


class Options(NamedTuple):
    """How one command works on one root."""

    settings: Settings = Settings()
    given: Mapping[str, Any] = {}  # settings that the command line names; the others are as the root remembers them
    forget: bool = False  # do not take over what the root remembers
    env_file: Optional[provision.EnvironmentFile] = None
    base: Tuple[str, ...] = ()  # what a delta may be completed from, beside the root
    migrate: str = "auto"  # auto, check, skip
    force: bool = False
    allow_dirty: bool = False
    allow_unsigned: bool = False  # rollback: to a release whose signature was never checked
    lock_wait: float = 0.0  # seconds
    signing: Wish = Wish()
    workers: int = 0  # processes that unpack, 0: one for each core

    def settled(self, remembered: Mapping[str, Any]) -> "Options":
        """Return a copy whose settings are: given, else *remembered*, else the default."""
        settings = Settings.remembered({} if self.forget else remembered)
        return self._replace(settings=settings.replaced(self.given))


def read_variables(path: Path) -> Dict[str, str]:
    """Return the variables in a file as systemd's ``EnvironmentFile=`` or a shell reads it: ``KEY=VALUE`` lines.

    Raises:
        UsageError: it cannot be read, or a line is not an assignment.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(path, f"cannot be read ({type(error).__name__})", "Name the web server's variables") from None
    variables = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith(("#", ";")):
            continue
        try:
            words = shlex.split(text[len("export ") :] if text.startswith("export ") else text)
        except ValueError:
            words = []
        if len(words) != 1 or not re.match(r"[A-Za-z_][A-Za-z0-9_]*=", words[0]):
            raise UsageError(path, f"line {number} is not KEY=VALUE", "Put quotes around a value with spaces")
        key, _, value = words[0].partition("=")
        variables[key] = value
    return variables


def _fits(value: Any, default: Any) -> bool:
    """Tell whether *value* from a journal has the kind of its setting's *default*."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if isinstance(default, str):
        return isinstance(value, str)
    number = isinstance(value, int) if isinstance(default, int) else isinstance(value, (int, float, type(None)))
    return number and not isinstance(value, bool)


def _check_counts(counts: Mapping[str, int]) -> None:
    for option, number in counts.items():
        if number < 1:
            raise UsageError(f"{option} {number}", "must be at least 1", "Give 1 or more")


def _check_command(option: str, text: str) -> None:
    """Refuse a command that cannot be started; a part of the release that is not there yet may be named."""
    if not text:
        return
    words = words_of(option, text)
    if not words or ("{release}" not in words[0] and not can_start(words[0])):
        raise UsageError(option, f"command not found: {words[0] if words else text!r}", "Give its absolute path")
