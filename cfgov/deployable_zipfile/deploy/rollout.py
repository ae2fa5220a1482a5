"""From an artifact to a live release, and back.

:func:`deploy` tells the story. Everything before the step *switch* leaves the site as it is; everything from there
until the health check has proven the new release ends, when it fails, with the release that was live before.
A kill at any point leaves ``current`` on a complete release, and the next run goes on from the journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..artifact import layout
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeployableZipfileError, DeploymentError, Interrupted, UsageError
from ..install import installation, preflight
from . import health, journal, provision, releases, restart, selftest
from .commands import Commands, Secrets, person
from .releases import Root, build_id_of, release_target


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
    wsgi_script: str = ""  # relative to the release; "": PROJECT/PROJECT/wsgi.py
    step_timeout: float = 1800.0  # seconds
    keep: int = 5
    older_than: Optional[float] = None  # seconds

    def document(self) -> Dict[str, Any]:
        """Return it as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in self._asdict().items()}

    @classmethod
    def remembered(cls, document: Mapping[str, Any]) -> "Settings":
        """Return the settings in *document*; what an older or newer tool wrote and this one does not know is left."""
        known = {key: value for key, value in document.items() if key in cls._fields}
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
            provision.parse_shared(text)
        for text in self.links:
            provision.parse_link(text)
        provision.ownership(self.owner or None, self.group or None)
        if self.run_as:
            person(self.run_as)
        if self.httpd_env:
            read_variables(Path(self.httpd_env))
        if self.keep < 1 or self.health_count < 1:
            raise UsageError("--keep and --health-count", "are less than 1", "Give 1 or more")


class Step(NamedTuple):
    """One step that was done."""

    name: str
    seconds: float
    what: str  # was done, in a few words


class Outcome(NamedTuple):
    """What a verb did."""

    verb: str
    changed: bool
    release: str  # what `current` points to now
    previous: Optional[str]  # what it pointed to before
    steps: Tuple[Step, ...]
    pruned: Tuple[str, ...]

    def document(self) -> Dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verb": self.verb,
            "changed": self.changed,
            "release": build_id_of(self.release) or self.release,
            "previous": self.previous and (build_id_of(self.previous) or self.previous),
            "steps": [{"name": one.name, "seconds": round(one.seconds, 3), "what": one.what} for one in self.steps],
            "seconds": round(sum(one.seconds for one in self.steps), 3),
            "pruned": [build_id_of(one) or one for one in self.pruned],
        }

    def text(self) -> str:
        """Return it as lines for people: each step's time and its share of the whole."""
        total = sum(one.seconds for one in self.steps) or 1.0
        lines = [f"{one.seconds:8.2f} s {one.seconds / total:5.0%}  {one.name:14} {one.what}" for one in self.steps]
        word = "live" if self.changed else "live already, nothing was changed"
        lines.append(f"{total:8.2f} s        {build_id_of(self.release) or self.release} is {word}")
        return "\n".join(lines)


class Options(NamedTuple):
    """How one command works on one root."""

    settings: Settings = Settings()
    env_file: Optional[Path] = None
    migrate: str = "auto"  # auto, check, skip
    force: bool = False
    lock_wait: float = 0.0  # seconds
    workers: int = 0  # processes that unpack, 0: one for each core


def deploy(archive: str, root: Root, options: Options, console: Console) -> Outcome:
    """Install the artifact *archive* as a release under *root* and make it live.

    Parameters:
        archive: the artifact; verified before anything of it is written.
        root: the site. Its folder may be missing, its parent may not.

    Raises:
        DeployableZipfileError: of the kind that the step has. The release that was live is live still or again;
            when even that failed, the message says so.
    """
    with Artifact.open(archive) as artifact:
        check(root, options)
        root.create()
        with releases.locked(root, "deploy", options.lock_wait) as lock:
            target = release_target(artifact.manifest.build_id)
            return _Rollout(root, target, options, console, lock).deploy(artifact)


def planned_deploy(archive: str, root: Root, options: Options, console: Console) -> Dict[str, Any]:
    """Return what :func:`deploy` would do, as JSON values, after every check that writes nothing.

    Raises:
        DeployableZipfileError: what :func:`deploy` would refuse at once.
    """
    with Artifact.open(archive) as artifact:
        check(root, options)
        artifact.verify(options.workers)
        target = release_target(artifact.manifest.build_id)
        return _Rollout(root, target, options, console, lock=-1).plan(artifact)


def rollback(root: Root, wanted: Optional[str], options: Options, mark_bad: bool, console: Console) -> Outcome:
    """Make an earlier good release live again; the journal and the disk are all that is needed.

    Parameters:
        wanted: build id or its beginning; None: the newest good release before the current one.
        mark_bad: mark the release that is left as bad, so that no later rollback chooses it.

    Raises:
        DeployableZipfileError: there is none, or it does not answer; then the one that was current is so again.
    """
    check(root, options)
    check_is_root(root)
    with releases.locked(root, "rollback", options.lock_wait) as lock:
        target = releases.rollback_target(root, wanted, options.force)
        return _Rollout(root, target, options, console, lock).rollback(mark_bad)


def prune(root: Root, options: Options, console: Console) -> Tuple[str, ...]:
    """Remove old releases and return their link texts, oldest first. See :func:`releases.prunable`.

    Raises:
        DeployableZipfileError: the lock is held, or a folder cannot be removed.
    """
    check(root, options)
    check_is_root(root)
    with releases.locked(root, "prune", options.lock_wait):
        root.empty_trash()
        return _prune(root, options.settings, console)


class _Rollout:
    """One deployment or rollback under way: the steps, and the way back."""

    def __init__(self, root: Root, target: str, options: Options, console: Console, lock: int) -> None:
        self.root = root
        self.target = target
        self.release = root.folder(target)
        self.options = options
        self.settings = options.settings
        self.console = console
        self.lock = lock
        self.before = root.target()
        self.known = releases.folded(root)
        self.fallback = self._fallback()
        self.steps: List[Step] = []
        self.verb = "deploy"
        self.variables: Optional[Dict[str, str]] = None
        self.config_changed = False

    def deploy(self, artifact: Artifact) -> Outcome:
        project = artifact.manifest.project
        self._step("check", lambda: self._check(artifact))
        self.root.empty_trash()  # also when nothing else is to be done: it may have been the pruning that was cut short
        if self._is_live_already():
            return self._outcome(changed=False)
        self._write(journal.STARTED, verb="deploy", **{"from": self.before})
        steps = [
            ("install", lambda: self._install(artifact)),
            ("environment", self._place_environment),
            ("shared", self._place_shared),
            ("labels", lambda: provision.relabel(self.release)),
            ("django-check", lambda: self._manage("django-check", ["check", "--deploy", "--fail-level", "ERROR"])),
            ("collectstatic", self._collect_static),
            ("migrate", self._migrate),
            ("manage", self._manage_more),
            ("wsgi", lambda: self._load_wsgi(project)),
            ("config-test", self._test_configuration),
        ]
        self._prepare(steps)
        self._make_live()
        provision.forget_environment(self.release)
        pruned = self._prune()
        return self._outcome(changed=True, pruned=pruned)

    def rollback(self, mark_bad: bool) -> Outcome:
        self.verb = "rollback"
        left, begun = self.before, self.known.unfinished
        if begun is not None and begun.release == self.before == self.target:
            left = begun.details.get("from")
        self.variables = provision.environment_of(self.release)
        self._write(journal.STARTED, verb="rollback", bad=mark_bad, **{"from": left})
        self._prepare([("config-test", self._test_configuration)])
        self._make_live()
        if mark_bad and left is not None and left != self.target:
            why = f"rolled back by {journal.whoami()}"
            self.root.journal.append(journal.BAD, left, step="rollback", why=why)
        return self._outcome(changed=True)

    # The steps.

    def plan(self, artifact: Artifact) -> Dict[str, Any]:
        """Return what would be done."""
        self._step("check", lambda: self._check(artifact))
        return {
            "verb": "deploy",
            "dry_run": True,
            "changed": not self._is_unchanged(),
            "release": self.release.name,
            "previous": self.before and (build_id_of(self.before) or self.before),
            "back_to": self.fallback and (build_id_of(self.fallback) or self.fallback),
            "install": not self.root.is_complete(self.release.name),
            "migrate": self.options.migrate,
            "settings": self.settings.document(),
        }

    def _check(self, artifact: Artifact) -> str:
        """Refuse what can be refused before anything is written."""
        if not self.root.is_complete(self.release.name):
            found = preflight.problems(artifact.manifest, str(self.release))
            for problem in found[1:]:
                self.console.warn(str(problem))
            if found:
                raise found[0]
        self.variables = self._wanted_variables()
        self._strategy().prepare()
        self._warn(self.variables)
        return f"{artifact.manifest.project} {self.release.name}"

    def _wanted_variables(self) -> Optional[Dict[str, str]]:
        """Return the new environment: of --env-file, or what the release has, or what the live release has."""
        if self.options.env_file is not None:
            return provision.read_environment(self.options.env_file)
        own = provision.environment_of(self.release)
        if own is None and self.fallback is not None:
            return provision.environment_of(self.root.folder(self.fallback))
        return own

    def _warn(self, variables: Optional[Mapping[str, str]]) -> None:
        if variables is None:
            self.console.warn("no environment.json: give --env-file, or the site starts with its defaults")
        elif os.geteuid() == 0 and not self.settings.group:
            self.console.warn("no --group: environment.json can be read by root's group alone")
        if self.options.env_file is not None and os.stat(str(self.options.env_file)).st_mode & 0o007:
            self.console.warn(f"{self.options.env_file} can be read by everybody: chmod 0640")
        for name in provision.loader_variables(variables or {}):
            self.console.warn(f"environment.json sets {name}, which changes the code that every process loads")
        if self.settings.restart == "none":
            self.console.warn("--restart none: running processes keep the release that they loaded")
        if not self.settings.health_url:
            self.console.warn("no --health-url: nothing proves that the new release answers")

    def _is_live_already(self) -> bool:
        """Tell whether nothing is to be done, the health check included."""
        if not self._is_unchanged():
            return False
        try:
            self._step("health", lambda: self._prove(self.target))
        except DeploymentError as error:
            self.console.warn(f"{error} It is deployed again")
            return False
        return True

    def _is_unchanged(self) -> bool:
        return (
            not self.options.force
            and self.before == self.target
            and self.known.proven[-1:] == [self.target]
            and self.target not in self.known.bad
            and self.root.is_complete(self.release.name)
            and not provision.environment_is_unproven(self.release)
            and provision.environment_of(self.release) == self.variables
            and all((self.release / path).is_symlink() for path in self._linked_paths())
            and Settings.remembered(self.known.options) == self.settings
        )

    def _install(self, artifact: Artifact) -> str:
        done = installation.install(
            artifact, str(self.release), workers=self.options.workers, wait=self.options.lock_wait, console=self.console
        )
        write_tool(artifact, self.root)
        source = artifact.manifest.source
        self._write(journal.INSTALLED, commit=source.commit, dirty=source.dirty, project=artifact.manifest.project)
        return "was installed already" if done.already else f"{done.files} files"

    def _place_environment(self) -> str:
        if self.variables is None:
            return "none"
        if provision.environment_of(self.release) == self.variables:
            return "unchanged"
        provision.place_environment(self.release, self.variables, self._owners())
        return f"{len(self.variables)} variables"

    def _place_shared(self) -> str:
        shared = [provision.parse_shared(text) for text in self.settings.shared]
        links = [provision.parse_link(text) for text in self.settings.links]
        for one in shared:
            provision.place_shared(self.root.shared, self.release, one, self._owners())
        for link in links:
            provision.place_link(self.release, link)
        paths = [one.path for one in shared] + [link.path for link in links]
        provision.record_links(self.release, paths)
        return ", ".join(paths) or "none"

    def _migrate(self) -> str:
        if self.options.migrate == "skip":
            return "skipped, as asked"
        if self.options.migrate == "check":
            self._look_for_migrations()
            return "nothing to apply"
        try:
            output = self._commands().manage("migrate", ["migrate", "--noinput"])
        except DeploymentError as error:
            # The command prints "Applying NAME..." before each migration: the last one is the one that failed.
            name = self._last_migration()
            raise DeploymentError(error.what, f"{name}{error.why}", error.fix) from None
        return f"{len(re.findall(r'^ *Applying ', output, re.MULTILINE))} applied"

    def _look_for_migrations(self) -> None:
        try:
            self._manage("migrate", ["migrate", "--check", "--plan"])
        except DeploymentError:
            # A plan with something in it ends with exit status 1 too, and its last line says little.
            left = self._planned_migrations()
            if not left:
                raise
            why = f"{len(left)} left to apply, the first is {left[0]}; --migrate=check applies none"
            fix = "Deploy with --migrate=auto first, on one of the servers that share the database"
            raise DeploymentError("migrate --check", why, fix) from None

    def _planned_migrations(self) -> List[str]:
        """Return the names in the plan that the last command printed, nothing when it printed none."""
        said = self._log().read_text("utf-8", "replace").rpartition("\n--- ")[2]
        _, planned, names = said.partition("\nPlanned operations:\n")
        return re.findall(r"^(\w+\.\w+)$", names, re.MULTILINE) if planned else []

    def _last_migration(self) -> str:
        applied = re.findall(r"^ *Applying ([\w.]+)\.\.\.", self._log().read_text("utf-8", "replace"), re.MULTILINE)
        return f"{applied[-1]}: " if applied else ""

    def _manage_more(self) -> str:
        for text in self.settings.manage:
            self._manage(f"manage {text}", shlex.split(text))
        return ", ".join(self.settings.manage) or "none"

    def _manage(self, step: str, words: Sequence[str]) -> str:
        lines = self._commands().manage(step, words).strip().splitlines()
        return lines[-1].strip()[:80] if lines else "no output"

    def _collect_static(self) -> str:
        said = self._manage("collectstatic", ["collectstatic", "--noinput"])
        # Django takes a file that is there for collected: one that a power failure emptied would stay so for good.
        self._wait_for_disk()
        return said

    def _load_wsgi(self, project: str) -> str:
        return self._commands().python("wsgi", ["-c", selftest.LOAD_WSGI, project]).strip().splitlines()[-1]

    def _test_configuration(self) -> str:
        path = self.settings.config_path
        if path and self.fallback is not None:
            old = self.root.folder(self.fallback)
            self.config_changed = _tree_digest(old / path) != _tree_digest(self.release / path)
        if not self.settings.config_test:
            return "none"
        words = [word.replace("{release}", str(self.release)) for word in shlex.split(self.settings.config_test)]
        self._commands().command("config-test", words, self._httpd_variables())
        return "the server's configuration is good" + (", and differs" if self.config_changed else "")

    def _httpd_variables(self) -> Dict[str, str]:
        """Return the web server's variables as they will be when ``current`` is this release."""
        if not self.settings.httpd_env:
            return {}
        current, release = str(self.root.current), str(self.release)
        pattern = re.compile(re.escape(current) + r"(?![^/:,; ])")
        return {
            key: pattern.sub(lambda _: release, value)
            for key, value in read_variables(Path(self.settings.httpd_env)).items()
        }

    def _go_live(self) -> str:
        self._wait_for_disk()
        return self._switch(self.target)

    def _switch(self, target: str) -> str:
        self.root.switch(target)
        return f"current -> {target}"

    def _restart(self, target: str) -> str:
        strategy = self._strategy()
        release = restart.Release(self.root.folder(target), self._wsgi_script())
        said = strategy.restart(release, self.settings.restart_timeout)
        if self.config_changed and strategy.name in ("mod_wsgi-sigusr1", "touch"):
            graceful = restart.HttpdGraceful(self.settings.httpd_pid_file or None)
            said += ", " + graceful.restart(release, self.settings.restart_timeout)
            self.console.warn("the server's configuration differs: httpd was told too, and cuts requests of over 3 s")
        return said

    def _prove(self, target: str) -> str:
        if not self.settings.health_url:
            return "not checked: no --health-url"
        build_id = build_id_of(target)
        proof = health.prove(self._health_check(), build_id)
        return f"{self.settings.health_count} of {proof.answers} answers in a row from {(build_id or target)[:12]}"

    # The order, and the way back.

    def _prepare(self, steps: Sequence[Tuple[str, Callable[[], str]]]) -> None:
        """Do *steps*; a failure leaves the live release alone and marks the new one bad once it is installed."""
        name = ""
        try:
            for name, step in steps:
                self._step(name, step)
        except BaseException as error:
            with _undisturbed():
                self._abandon(name, error)
            raise

    def _abandon(self, name: str, error: BaseException) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            provision.restore_environment(self.release)
        if not self.release.is_dir():
            return
        if isinstance(error, (Interrupted, KeyboardInterrupt)):
            self._write(journal.INTERRUPTED, step=name)
        elif self.target != self.fallback:
            self._write(journal.BAD, step=name, why=_reason(error))

    def _make_live(self) -> None:
        """Switch, restart, prove, and record it; a failure on the way goes back to what was live."""
        name = "switch"
        try:
            self._step("switch", self._go_live)
            self._write(journal.SWITCHED, **{"from": self.before})
            name = "restart"
            self._step("restart", lambda: self._restart(self.target))
            name = "health"
            self._step("health", lambda: self._prove(self.target))
            name = "record"
            self._write(
                journal.LIVE,
                verb=self.verb,
                options=self.settings.document(),
                seconds={one.name: round(one.seconds, 3) for one in self.steps},
                **{"from": self.before},
            )
        except BaseException as error:
            with _undisturbed():
                raise self._gone_back(name, error) from error

    def _gone_back(self, name: str, error: BaseException) -> DeployableZipfileError:
        """Bring back the release that was live; return what to raise: *error*, and what became of the site."""
        where = self._returned()
        try:
            if isinstance(error, (Interrupted, KeyboardInterrupt)):
                self._write(journal.INTERRUPTED, step=name)
            elif self.target != self.fallback:
                self._write(journal.BAD, step=name, why=_reason(error))
            if self.fallback is not None and self.root.target() == self.fallback:
                self.root.journal.append(journal.RETURNED, self.fallback, **{"from": self.target})
        except DeploymentError as unwritten:
            where = f"{where}; {unwritten.what} {unwritten.why}"
        if isinstance(error, (Interrupted, KeyboardInterrupt)):
            return Interrupted(name, f"was interrupted; {where}", "Run it again")
        fix = error.fix if isinstance(error, DeployableZipfileError) else None
        return DeploymentError(name, f"{_reason(error)}; {where}", fix)

    def _returned(self) -> str:
        """Go back and say where the site is now."""
        try:
            provision.restore_environment(self.release)
            if self.fallback is None:
                self.root.unlink_current()
                return "no release was live before, so there is no `current` now"
            name = build_id_of(self.fallback) or self.fallback
            self._step("back: switch", lambda: self._switch(str(self.fallback)))
            self._step("back: restart", lambda: self._restart(str(self.fallback)))
            self._step("back: health", lambda: self._prove(str(self.fallback)))
        except (DeployableZipfileError, OSError) as error:
            now = self.root.target()
            return f"going back failed too, `current` points to {now}: {_reason(error)}"
        return f"{name} is live again"

    def _fallback(self) -> Optional[str]:
        """Return the release to go back to: what is live, or what was before an unproven one."""
        current = self.before
        if current is None:
            return None
        if current in self.known.proven[-1:] or build_id_of(current) is None or current not in self.known.last:
            return current if self.root.folder(current).is_dir() else None
        for choice in self.known.previous(current):
            if self.root.folder(choice).is_dir():
                return choice
        return current if current != self.target else None

    # What the steps share.

    def _step(self, name: str, action: Callable[[], str]) -> None:
        self.console.step(f"{name} ...")
        began = time.monotonic()
        what = perform(name, action)
        self.steps.append(Step(name, time.monotonic() - began, what))

    def _write(self, event: str, **details: Any) -> None:
        self.root.journal.append(event, self.target, **details)

    def _prune(self) -> Tuple[str, ...]:
        pruned: List[str] = []

        def remove() -> str:
            pruned.extend(_prune(self.root, self.settings, self.console))
            return f"{len(pruned)} removed"

        try:
            self._step("prune", remove)
        except Interrupted:
            raise
        except (DeployableZipfileError, OSError) as error:  # the new release is live: that is what was asked for
            self.console.warn(f"prune: {error}")
        return tuple(pruned)

    def _outcome(self, changed: bool, pruned: Tuple[str, ...] = ()) -> Outcome:
        return Outcome(self.verb, changed, self.target, self.before, tuple(self.steps), pruned)

    def _wait_for_disk(self) -> None:
        """Wait until what the release's commands wrote is on the disk: they do not.

        STATIC_ROOT and the like may lie on file systems of their own: those that the environment names count too.

        Raises:
            DeploymentError: it cannot be written.
        """
        named = [path for path in (self.variables or {}).values() if os.path.isabs(path) and os.path.isdir(path)]
        writable = [path for path in named if os.access(path, os.R_OK | os.W_OK)]
        for path in {os.stat(path).st_dev: path for path in [*writable, str(self.root.path)]}.values():
            try:
                installation.sync_file_system(path)
            except OSError as error:
                why = f"the disk did not take what was written ({error.strerror})"
                raise DeploymentError(path, why, "Check the disk") from error

    def _commands(self) -> Commands:
        return Commands(
            release=self.release,
            project=self._project(),
            secrets=Secrets(self.variables or {}),
            log=self._log(),
            timeout=self.settings.step_timeout,
            run_as=person(self.settings.run_as) if self.settings.run_as else None,
            inherited=[self.lock],
        )

    def _log(self) -> Path:
        return self.root.logs / f"{self.release.name}.log"

    def _project(self) -> str:
        return layout.Manifest.from_json((self.release / layout.MANIFEST).read_bytes()).project

    def _wsgi_script(self) -> str:
        if self.settings.wsgi_script:
            return str(self.settings.wsgi_script)
        if not (self.release / layout.MANIFEST).is_file():
            return ""
        project = self._project()
        return f"{project}/{project}/wsgi.py"

    def _owners(self) -> provision.Ownership:
        return provision.ownership(self.settings.owner or None, self.settings.group or None)

    def _linked_paths(self) -> List[str]:
        shared = [provision.parse_shared(text).path for text in self.settings.shared]
        return shared + [provision.parse_link(text).path for text in self.settings.links]

    def _strategy(self) -> restart.Strategy:
        first = self.before is None and self.settings.first_restart
        return restart.parse(first or self.settings.restart, self.settings.httpd_pid_file or None)

    def _health_check(self) -> health.Check:
        headers = dict(health.parse_header(text) for text in self.settings.health_headers)
        return health.Check(self.settings.health_url, headers, self.settings.health_count, self.settings.health_timeout)


def perform(_name: str, action: Callable[[], str]) -> str:
    """Do one step. A function of its own, so that a test can make any step fail before or after it is done."""
    return action()


def read_variables(path: Path) -> Dict[str, str]:
    """Return the variables in a file as systemd's ``EnvironmentFile=`` or a shell reads it: ``KEY=VALUE`` lines.

    Raises:
        UsageError: it cannot be read, or a line is no assignment.
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
            raise UsageError(path, f"line {number} is no KEY=VALUE", "Put quotes around a value with blanks")
        key, _, value = words[0].partition("=")
        variables[key] = value
    return variables


def write_tool(artifact: Artifact, root: Root) -> None:
    """Keep the verbs beside the releases, for an operator who has no artifact at hand.

    ``python3 ROOT/.deploy/tool rollback`` works with the modules of the artifact that was deployed last.
    """
    name = f"tool-{artifact.manifest.build_id}"
    folder = root.books / name
    if not (folder / "__main__.py").is_file():
        package = folder / "deployable_zipfile"
        package.mkdir(mode=0o755, parents=True, exist_ok=True)
        for member in installation.runtime_members(artifact):
            module = package / layout.runtime_path(member)
            module.parent.mkdir(mode=0o755, exist_ok=True)
            provision.write_atomically(module, artifact.read(member), 0o644)
        provision.write_atomically(
            folder / "__main__.py", _TOOL_MAIN.encode("ascii"), 0o644
        )  # last: it marks the whole
    releases.point(root.tool, name)
    for old in root.books.glob("tool-*"):
        if old.name != name:
            shutil.rmtree(str(old))


_TOOL_MAIN = '''"""Rollback, releases and prune without an artifact at hand. Written by deploy."""

import os
import sys
import types

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(os.path.abspath(__file__)))
package = types.ModuleType("deployable_zipfile")
package.__path__ = [os.path.join(HERE, "deployable_zipfile")]
sys.modules["deployable_zipfile"] = package

from deployable_zipfile import extract  # noqa: E402

if __name__ == "__main__":
    sys.exit(extract.main(sys.argv[1:], archive=HERE))
'''


def check(root: Root, options: Options) -> None:
    """Refuse options and a root that no verb could work with, before anything is opened for writing.

    Raises:
        UsageError, DestinationError: what is wrong.
    """
    options.settings.check()
    releases.check_writable_root(root)
    root.target()


def check_is_root(root: Root) -> None:
    """Refuse a folder in which nothing was ever deployed.

    Raises:
        UsageError: there are no books of ours.
    """
    if not root.books.is_dir():
        raise UsageError(f"--root {root.path}", "was never deployed to", "Name the folder that holds `current`")


def _prune(root: Root, settings: Settings, console: Console) -> Tuple[str, ...]:
    victims = releases.prunable(root, settings.keep, settings.older_than, time.time())
    for target in victims:
        console.step(f"removing {target}")
        root.remove(target)
        root.journal.append(journal.PRUNED, target)
    return tuple(victims)


def _reason(error: BaseException) -> str:
    if isinstance(error, DeployableZipfileError):
        return f"{error.what}: {error.why}"
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


def _tree_digest(path: Path) -> str:
    """Return one digest of the names and contents of the files below *path*; "" when there is nothing."""
    digest = hashlib.sha256()
    empty = True
    for folder, folders, files in os.walk(str(path)):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if not file.is_symlink():
                empty = False
                digest.update(f"{file.relative_to(path)}\0".encode("utf-8", "surrogateescape"))
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return "" if empty else digest.hexdigest()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no signal cut the way back short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
