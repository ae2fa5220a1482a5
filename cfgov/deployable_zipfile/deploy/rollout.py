"""From an artifact to a live release, and back.

:func:`deploy` tells the story. Everything before the step *switch* leaves the site as it is; everything from there
until the health check has proven the new release ends, when it fails, with the release that was live before.
A kill at any point leaves ``current`` on a complete release, and the next run goes on from the journal.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ..artifact import delta
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeployableZipfileError, DeploymentError, Interrupted, UsageError
from ..install import base, installation, signature
from . import configuration, journal, provision, pruning, releases, signing, static, steps
from .commands import CommandError
from .context import Context
from .lock import Lock, locked
from .options import Options
from .outcome import Outcome, Step
from .releases import Root, build_id_of, release_target


def deploy(archive: str, root: Root, options: Options, console: Console) -> Outcome:
    """Install the artifact *archive* as a release under *root* and make it live.

    Parameters:
        archive: the artifact; verified before anything of it is written.
        root: the site. Its folder may be missing, its parent may not.

    Raises:
        DeployableZipfileError: of the kind that the step has. The release that was live is live still or again;
            when even that failed, the message says so.
    """
    with _signed(archive, root, options) as (given, checked), _whole(given, root, options, console) as artifact:
        target = release_target(artifact.manifest.build_id)
        if not root.state.is_dir():  # what would be refused is refused before the root is made
            first = options.settled({})
            first.settings.check()
            steps.check(Context(root, target, first, console), artifact)
            installation.verify(artifact, options.workers, console)
        root.create()
        with _locked(root, "deploy", options) as (lock, settled):
            releases.check_release(root, target)
            context = Context(root, target, settled, console, lock)
            context.checked = checked
            return _Rollout(context).deploy(artifact)


def planned_deploy(archive: str, root: Root, options: Options, console: Console) -> Dict[str, Any]:
    """Return what :func:`deploy` would do, as JSON values, after every check that writes nothing.

    Raises:
        DeployableZipfileError: what :func:`deploy` would refuse at once.
    """
    with _signed(archive, root, options) as (given, _), _whole(given, root, options, console) as artifact:
        settled = options.settled(releases.folded(root).options)
        settled.settings.check()
        installation.verify(artifact, options.workers, console)
        target = release_target(artifact.manifest.build_id)
        return _Rollout(Context(root, target, settled, console)).plan(artifact)


def rollback(root: Root, wanted: Optional[str], options: Options, mark_bad: bool, console: Console) -> Outcome:
    """Make an earlier good release live again; the journal and the disk are all that is needed.

    Parameters:
        wanted: build id or its beginning; None: the newest good release before the current one.
        mark_bad: mark the release that is left as bad, so that no later rollback chooses it.

    Raises:
        DeployableZipfileError: there is none, or it does not answer; then the one that was current is so again.
    """
    check(root)
    check_is_root(root)
    with _locked(root, "rollback", options) as (lock, settled):
        target = releases.rollback_target(root, wanted, settled.force)
        check_target(root, target)
        return _Rollout(Context(root, target, settled, console, lock)).rollback(mark_bad)


def prune(root: Root, options: Options, console: Console) -> Tuple[str, ...]:
    """Remove old releases and return their link texts, oldest first. See :func:`releases.prunable`.

    Raises:
        DeployableZipfileError: the lock is held, or a folder cannot be removed.
    """
    check(root)
    check_is_root(root)
    with _locked(root, "prune", options) as (_, settled):
        root.empty_trash()
        return pruning.remove_old(root, settled.settings, console)


@contextlib.contextmanager
def _signed(archive: str, root: Root, options: Options) -> Iterator[Tuple[Artifact, signing.Checked]]:
    """Open the artifact, signed as the root and the options demand. Nothing is written before."""
    with Artifact.open(archive) as artifact:
        check(root)
        policy = signing.known_policy(releases.folded(root))
        wanted = options.signing.demand(policy, artifact.path)
        with signature.checked(artifact, wanted) as (safe, signer):
            yield safe, signing.Checked(policy, signer)


def _whole(
    artifact: Artifact, root: Root, options: Options, console: Console
) -> "contextlib.AbstractContextManager[Artifact]":
    """Complete a delta from what the root has: the build that it is against, other releases, the store."""
    known = root.installed()
    against = delta.base_of(artifact)
    first = [release_target(against)] if against else []
    trees = [str(root.folder(target)) for target in [*first, *reversed(known)]]
    stores = [str(root.store), str(options.given.get("store") or "")]
    folder = str(root.state if root.state.is_dir() else root.path.parent)
    return base.completed(artifact, [*options.base, *trees, *stores], folder, options.workers, console)


@contextlib.contextmanager
def _locked(root: Root, verb: str, options: Options) -> Iterator[Tuple[Lock, Options]]:
    """Hold the root's lock; everything that a decision rests on is read after this."""
    with locked(root.lock, verb, options.lock_wait) as lock:
        check(root)
        settled = options.settled(releases.folded(root).options)
        settled.settings.check()
        yield lock, settled


class _Rollout:
    """The order of the steps, and the way back."""

    def __init__(self, context: Context) -> None:
        self._at = context
        self._verb = "deploy"
        self._steps: List[Step] = []
        self._expected = 1  # steps, for the bar

    def deploy(self, artifact: Artifact) -> Outcome:
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
            return self._outcome(changed=policy_changed)
        self._at.write(journal.STARTED, verb="deploy", **{"from": self._at.before})
        self._prepare(todo)
        self._make_live()
        provision.forget_environment(self._at.release)
        self._settle_static()
        pruned = self._prune()
        return self._outcome(changed=True, pruned=pruned)

    def rollback(self, mark_bad: bool) -> Outcome:
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
            raise DeploymentError(place, f"{name} failed ({why})", "Check space and rights there") from error
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


def check(root: Root) -> None:
    """Refuse a root that no verb could work with, before anything is opened for writing.

    Raises:
        DestinationError: what is wrong.
    """
    releases.check_place(root)
    root.target()


def check_target(root: Root, target: str) -> None:
    """Refuse to go back to a release of ours that cannot run, or that somebody else can change.

    Raises:
        DestinationError: what is wrong with it.
    """
    releases.check_release(root, target)
    if build_id_of(target) is not None:
        steps.check_sound(str(root.folder(target)))


def check_is_root(root: Root) -> None:
    """Refuse a folder in which nothing was ever deployed.

    Raises:
        UsageError: it has no state directory.
    """
    if not root.state.is_dir():
        raise UsageError(f"--root {root.path}", "was never deployed to", "Name the folder that holds `current`")


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
