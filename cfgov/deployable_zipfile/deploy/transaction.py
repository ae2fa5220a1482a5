"""The order of a deployment's steps, and going back when one fails.

Everything before the step *switch* leaves the site as it is; everything from there until the health check has proven
the new release ends, when it fails, with the release that was live before.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from ..artifact.zipreader import Artifact
from ..errors import DeployableZipfileError, DeploymentError, Interrupted
from . import configuration, journal, provision, pruning, static, steps
from .commands import CommandError
from .context import Context
from .outcome import Outcome, Step
from .releases import build_id_of


class Transaction:
    """One deployment or rollback: its steps in their order, and the way back."""

    def __init__(self, context: Context) -> None:
        self._at = context
        self._verb = "deploy"
        self._steps: List[Step] = []
        self._expected = 1  # steps, for the bar

    def deploy(self, artifact: Artifact) -> Outcome:
        """Do the steps of a deployment of *artifact*; only those that are needed."""
        todo = steps.preparation(self._at, artifact)
        self._expected = len(["check", *todo, "switch", "restart", "health", "prune"])
        self._step("check", lambda: steps.check(self._at, artifact))
        steps.warn(self._at, artifact)
        policy_changed = steps.settle_signature(self._at)
        # Also when nothing else is to be done: it may have been the pruning that was cut short.
        self._at.root.empty_trash()
        # A deployment that was killed left a new environment in the live release, and maybe a server that loaded it.
        restored = provision.restore_environment(self._at.root.current)
        if not restored and self._is_live_already():
            steps.note_signer(self._at)
            return self._outcome(changed=policy_changed)
        self._at.write(journal.STARTED, verb="deploy", **{"from": self._at.before})
        self._prepare(todo)
        self._make_live()
        provision.forget_environment(self._at.release)
        self._settle_static()
        pruned = self._prune()
        return self._outcome(changed=True, pruned=pruned)

    def rollback(self, mark_bad: bool) -> Outcome:
        """Do the steps of a rollback; *mark_bad*: mark the release that is left as bad."""
        self._verb = "rollback"
        self._expected = len(["config-test", "switch", "restart", "health"])
        left, begun = self._at.before, self._at.known.unfinished
        if begun is not None and begun.release == self._at.before == self._at.target:
            left = begun.details.get("from")
        self._at.root.empty_trash()
        for target in {left, self._at.target} - {None}:
            provision.restore_environment(self._at.root.folder(str(target)))  # of a deployment that was killed
        self._at.variables = provision.environment_of(self._at.release)
        self._at.write(journal.STARTED, verb="rollback", bad=mark_bad, **{"from": left})
        self._prepare([("config-test", lambda: configuration.check(self._at))])
        self._make_live()
        self._settle_static()
        if mark_bad and left is not None and left != self._at.target:
            why = f"rolled back by {journal.whoami()}"
            self._at.root.journal.append(journal.BAD, left, step="rollback", why=why)
        return self._outcome(changed=True)

    def plan(self, artifact: Artifact) -> Dict[str, Any]:
        """Return what would be done."""
        self._step("check", lambda: steps.check(self._at, artifact))
        steps.warn(self._at, artifact)
        return {
            "verb": "deploy",
            "dry_run": True,
            "changed": not steps.is_unchanged(self._at),
            "release": self._at.release.name,
            "previous": self._at.before and (build_id_of(self._at.before) or self._at.before),
            "back_to": self._at.fallback and (build_id_of(self._at.fallback) or self._at.fallback),
            "install": not self._at.root.is_complete(self._at.release.name),
            "migrate": self._at.options.migrate,
            "settings": self._at.settings.document(self._at.secrets().hidden),
        }

    def _is_live_already(self) -> bool:
        """Tell whether nothing is to be done, the health check included."""
        if not steps.is_unchanged(self._at):
            return False
        try:
            self._step("health", lambda: steps.prove(self._at, self._at.target))
        except DeploymentError as error:
            self._at.console.warn(f"{error} It is deployed again")
            return False
        return True

    def _prepare(self, todo: Sequence[steps.Named]) -> None:
        """Do the steps *todo*; a failure leaves the live release as it is, and marks the new one bad once installed."""
        name = ""
        try:
            for name, step in todo:
                self._step(name, step)
        except BaseException as error:
            with _undisturbed():
                self._abandon(name, error)
            raise

    def _abandon(self, name: str, error: BaseException) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            provision.restore_environment(self._at.release)
        if not self._at.release.is_dir():
            return
        if isinstance(error, (Interrupted, KeyboardInterrupt)):
            self._at.write(journal.INTERRUPTED, step=name)
        elif self._at.target != self._at.fallback and self._verb == "deploy":
            # What a rollback goes to was proven before; that it could not be prepared says nothing against it.
            self._at.write(journal.BAD, step=name, why=self._reason(error))

    def _make_live(self) -> None:
        """Switch, restart, prove, and record it; a failure on the way goes back to what was live."""
        name = "switch"
        try:
            self._step("switch", lambda: steps.go_live(self._at))
            self._at.write(journal.SWITCHED, **{"from": self._at.before})
            name = "restart"
            self._step("restart", lambda: steps.restart_server(self._at, self._at.target))
            name = "health"
            self._step("health", lambda: steps.prove(self._at, self._at.target))
            name = "record"
            self._at.write(
                journal.LIVE,
                verb=self._verb,
                options=self._at.settings.document(),
                seconds={one.name: round(one.seconds, 3) for one in self._steps},
                **{"from": self._at.before},
            )
        except BaseException as error:
            with _undisturbed():
                raise self._gone_back(name, error) from error

    def _gone_back(self, name: str, error: BaseException) -> DeployableZipfileError:
        """Bring back the release that was live; return what to raise: *error*, and what became of the site."""
        where = self._returned()
        try:
            if isinstance(error, (Interrupted, KeyboardInterrupt)):
                self._at.write(journal.INTERRUPTED, step=name)
            elif self._at.target != self._at.fallback:
                self._at.write(journal.BAD, step=name, why=self._reason(error))
            if self._at.fallback is not None and self._at.root.target() == self._at.fallback:
                self._at.root.journal.append(journal.RETURNED, self._at.fallback, **{"from": self._at.target})
        except DeploymentError as unwritten:
            where = f"{where}; {unwritten.what} {unwritten.why}"
        if isinstance(error, (Interrupted, KeyboardInterrupt)):
            return Interrupted(name, f"was interrupted; {where}", "Run it again")
        fix = error.fix if isinstance(error, DeployableZipfileError) else None
        return DeploymentError(name, f"{self._reason(error)}; {where}", fix)

    def _returned(self) -> str:
        """Go back and say where the site is now."""
        try:
            provision.restore_environment(self._at.release)
            static.withdraw(self._at)
            if self._at.fallback is None:
                self._at.root.unlink_current()
                return "no release was live before, so there is no `current` now"
            name = build_id_of(self._at.fallback) or self._at.fallback
            self._step("back: switch", lambda: steps.switch(self._at, str(self._at.fallback)))
            self._step("back: restart", lambda: steps.restart_server(self._at, str(self._at.fallback)))
            self._step("back: health", lambda: steps.prove(self._at, str(self._at.fallback)))
        except (DeployableZipfileError, OSError) as error:
            now = self._at.root.target()
            return f"going back failed too, `current` points to {now}: {self._reason(error)}"
        return f"{name} is live again"

    def _settle_static(self) -> None:
        try:
            static.settle(self._at)
        except (DeployableZipfileError, OSError) as error:  # the release is live and proven: that is what counts
            self._at.console.warn(f"static files: {self._reason(error)}")

    def _reason(self, error: BaseException) -> str:
        said = _reason(error)
        return said if isinstance(error, CommandError) else self._at.secrets().hidden(said)

    def _step(self, name: str, action: Callable[[], str]) -> None:
        began = time.monotonic()
        done = len(self._steps)
        try:
            with self._at.console.phase(f"{name} ...", place=(done, max(self._expected, done + 1))):
                what = perform(name, action)
        except OSError as error:
            place = error.filename or f"step {name}"
            why = error.strerror or type(error).__name__
            raise DeploymentError(place, f"{name} failed ({why})", "Check disk space and permissions there") from error
        self._steps.append(Step(name, time.monotonic() - began, what))

    def _prune(self) -> Tuple[str, ...]:
        pruned: List[str] = []

        def remove() -> str:
            pruned.extend(pruning.remove_old(self._at.root, self._at.settings, self._at.console))
            return f"{len(pruned)} removed"

        try:
            self._step("prune", remove)
        except Interrupted:
            raise
        except (DeployableZipfileError, OSError) as error:  # the new release is live: that is what was asked for
            self._at.console.warn(f"prune: {error}")
        return tuple(pruned)

    def _outcome(self, changed: bool, pruned: Tuple[str, ...] = ()) -> Outcome:
        return Outcome(self._verb, changed, self._at.target, self._at.before, tuple(self._steps), pruned)


def perform(_name: str, action: Callable[[], str]) -> str:
    """Do one step. A function of its own, so that a test can make any step fail before or after it is done."""
    return action()


def _reason(error: BaseException) -> str:
    if isinstance(error, DeployableZipfileError):
        return f"{error.what}: {error.why}"
    return f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"


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
