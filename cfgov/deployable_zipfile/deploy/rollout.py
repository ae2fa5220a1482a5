"""What the verbs deploy, rollback and prune do: checks, the lock, and then the steps in :mod:`transaction`.

A kill at any point leaves ``current`` on a complete release, and the next run goes on from the journal.
"""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, Optional, Tuple

from .. import durable
from ..artifact import delta
from ..artifact.zipreader import Artifact
from ..console import Console
from ..errors import DeploymentError, UsageError
from ..install import base, installation, signature
from . import pruning, releases, selection, signing, steps, transaction
from .context import Context
from .lock import Lock, locked
from .options import NO_STORE, Options
from .outcome import Outcome
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
        before = durable.identity(archive)
        with _locked(root, "deploy", options, console) as (lock, settled):
            _check_is_still(archive, before)
            releases.check_release(root, target)
            context = Context(root, target, settled, console, lock)
            context.checked = checked
            return transaction.Transaction(context).deploy(artifact)


def planned_deploy(archive: str, root: Root, options: Options, console: Console) -> Dict[str, Any]:
    """Return what :func:`deploy` would do, as JSON values, after every check that writes nothing.

    Raises:
        DeployableZipfileError: what :func:`deploy` would refuse at once.
    """
    with _signed(archive, root, options) as (given, _), _whole(given, root, options, console) as artifact:
        settled = options.settled(selection.folded(root).options)
        settled.settings.check()
        installation.verify(artifact, options.workers, console)
        target = release_target(artifact.manifest.build_id)
        releases.check_release(root, target)
        return transaction.Transaction(Context(root, target, settled, console)).plan(artifact)


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
    with _locked(root, "rollback", options, console) as (lock, settled):
        target = selection.rollback_target(root, wanted, settled.force)
        check_target(root, target, settled.allow_unsigned)
        return transaction.Transaction(Context(root, target, settled, console, lock)).rollback(mark_bad)


def prune(root: Root, options: Options, console: Console) -> Tuple[str, ...]:
    """Remove old releases and return their link texts, oldest first. See :func:`releases.prunable`.

    Raises:
        DeployableZipfileError: the lock is held, or a folder cannot be removed.
    """
    check(root)
    check_is_root(root)
    with _locked(root, "prune", options, console) as (_, settled):
        root.empty_trash()
        return pruning.remove_old(root, settled.settings, console)


@contextlib.contextmanager
def _signed(archive: str, root: Root, options: Options) -> Iterator[Tuple[Artifact, signing.Checked]]:
    """Open the artifact, signed as the root and the options demand. Nothing is written before."""
    with Artifact.open(archive) as artifact:
        check(root)
        policy = signing.known_policy(selection.folded(root))
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
    store = options.settled(selection.folded(root).options).settings.store
    stores = [str(root.store), "" if store == NO_STORE else store]
    folder = str(root.state if root.state.is_dir() else root.path.parent)
    return base.completed(artifact, [*options.base, *trees, *stores], folder, options.workers, console)


def _check_is_still(archive: str, before: Optional[durable.Identity]) -> None:
    """Refuse an artifact whose file was replaced or removed while this command waited for the lock.

    Raises:
        DeploymentError: the file *archive* is not what it was *before*.
    """
    now = durable.identity(archive)
    if now != before:  # a removed one has its code no more, which is loaded when it is needed
        what = "replaced" if now else "removed"
        raise DeploymentError(archive, f"was {what} while this command waited for the lock", "Run it again")


@contextlib.contextmanager
def _locked(root: Root, verb: str, options: Options, console: Console) -> Iterator[Tuple[Lock, Options]]:
    """Hold the root's lock; everything that a decision rests on is read after this."""
    with locked(root.lock, verb, options.lock_wait, console.step) as lock:
        check(root)
        settled = options.settled(selection.folded(root).options)
        settled.settings.check()
        yield lock, settled


def check(root: Root) -> None:
    """Refuse a root that no verb could work with, before anything is opened for writing.

    Raises:
        DestinationError: what is wrong.
    """
    releases.check_place(root)
    root.target()


def check_target(root: Root, target: str, allow_unsigned: bool) -> None:
    """Refuse to go back to a release of ours that cannot run, or that somebody else can change.

    Parameters:
        allow_unsigned: take it although the root demands signatures and its own was never checked.

    Raises:
        DestinationError: what is wrong with it.
        DeploymentError: its signature was never checked.
    """
    signing.check_rollback(selection.folded(root), root.target(), target, allow_unsigned)
    releases.check_release(root, target)
    if build_id_of(target) is not None:
        steps.check_sound(str(root.folder(target)))


def check_is_root(root: Root) -> None:
    """Refuse a folder in which nothing was ever deployed.

    Raises:
        UsageError: it has no state directory.
    """
    if not root.state.is_dir():
        raise UsageError(f"--root {root.path}", "was never deployed to", "Name the folder that contains `current`")
