"""Which releases a site has, which of them a rollback takes, and which may be removed."""

from __future__ import annotations

import calendar
import os
import time
from typing import List, Optional

from ..definitions import NamedTuple
from ..errors import DeploymentError
from .journal import History, history
from .releases import Root, build_id_of


class Row(NamedTuple):
    """One line of the list of releases."""

    release: str  # build id, or a link text that is none of ours
    state: str  # live, unproven, previous, bad, installed, gone
    time: str  # of its newest record, UTC
    commit: str
    dirty: bool  # it holds more than its commit
    by: str
    why: str  # of a bad one
    signed_by: str  # who signed its artifact, "" where no signature was checked


def listing(root: Root) -> List[Row]:
    """Return every release that the journal or the disk knows, newest record last."""
    known = folded(root)
    current = root.target()
    present = root.installed()
    order = sorted(known.last, key=lambda target: known.last[target].time)
    unknown = [target for target in present if target not in known.last]
    if current is not None and current not in order and current not in unknown:
        unknown.append(current)
    rows = []
    previous = _existing(root, known.previous(current))
    for target in unknown + order:
        record = known.last.get(target)
        rows.append(
            Row(
                release=build_id_of(target) or target,
                state=_state(root, target, current, known, previous[:1]),
                time=record.time if record else "",
                commit=known.commits.get(target, ""),
                dirty=target in known.dirty,
                by=record.by if record else "",
                why=known.bad.get(target, ""),
                signed_by=known.signers.get(target, ""),
            )
        )
    return rows


def folded(root: Root) -> History:
    """Return the history of *root*."""
    return history(root.journal.read())


def prunable(root: Root, keep: int, older_than: Optional[float], now: float) -> List[str]:
    """Return the releases that may go, oldest first.

    Kept are: ``current``, the release that a rollback would choose, the *keep* newest good ones (these two
    among them), the newest bad one for inspection, and whatever is younger than *older_than* seconds at *now*
    (seconds since 1970). Bad releases do not count, so that many failures never push out the last good one.
    """
    known = folded(root)
    current = root.target()
    present = root.installed()
    kept = {current} | set(_existing(root, known.previous(current))[:1])
    # Never proven and not bad: an interrupted deployment. They come before proven ones, oldest record first.
    age = {target: index for index, target in enumerate(known.last)}
    good = [target for target in known.proven if target in present and target not in known.bad]
    rest = [target for target in present if target not in known.bad and target not in good]
    ranked = sorted(rest, key=lambda target: age.get(target, -1)) + good
    bad = [target for target in known.bad if target in present]
    for target in reversed(ranked):
        if len(kept & set(ranked)) >= max(keep, 1):
            break
        kept.add(target)
    kept.update(bad[-1:])
    victims = [target for target in bad + ranked if target not in kept and not root.is_live(target)]
    if older_than is not None:
        victims = [target for target in victims if now - _changed(root, known, target) >= older_than]
    return victims


def rollback_target(root: Root, wanted: Optional[str], force: bool) -> str:
    """Return the link text that a rollback switches to.

    Parameters:
        wanted: a build id or the unambiguous beginning of one (4 digits at least); None: where a rollback that was
            cut short went, else the newest good one.
        force: take a *wanted* one although it is marked bad.

    Raises:
        DeploymentError: there is none, or the wanted one is unknown, current, bad or incomplete.
    """
    known = folded(root)
    current = root.target()
    present = root.installed()
    choices = _existing(root, known.previous(current))
    kept = ", ".join((build_id_of(target) or target)[:12] for target in choices) or "none"
    # A rollback was cut short after its switch: what is current is where it was to go, not what is to be left.
    unfinished = known.unfinished is not None and known.unfinished.release == current
    if wanted is None:
        if unfinished and current is not None and current not in known.bad:
            return current
        if not choices:
            raise DeploymentError("rollback", "there is no earlier good release to go back to", "Deploy an artifact")
        return choices[0]
    matching = [target for target in present + choices if (build_id_of(target) or target).startswith(wanted)]
    matching = sorted(set(matching))
    if len(wanted) < 4 or len(matching) != 1:
        why = "is not installed here" if not matching else "fits more than one release"
        raise DeploymentError(wanted, why, f"Good releases to go back to: {kept}")
    if matching[0] == current and not unfinished:
        raise DeploymentError(wanted, "is current already", f"Good releases to go back to: {kept}")
    if matching[0] in known.bad and not force:
        raise DeploymentError(wanted, f"is marked bad ({known.bad[matching[0]]})", "Deploy it again, or add --force")
    return matching[0]


def _state(root: Root, target: str, current: Optional[str], known: History, previous: List[str]) -> str:
    if target == current:
        return "live" if known.proven[-1:] == [target] else "unproven"
    if not root.folder(target).is_dir():
        return "gone"
    if target in known.bad:
        return "bad"
    return "previous" if target in previous else "good" if target in known.proven else "installed"


def _existing(root: Root, targets: List[str]) -> List[str]:
    present = set(root.installed())
    return [one for one in targets if one in present or (build_id_of(one) is None and root.folder(one).is_dir())]


def _changed(root: Root, known: History, target: str) -> float:
    """Return when *target* was last spoken of, seconds since 1970."""
    record = known.last.get(target)
    if record is None:
        return os.stat(str(root.folder(target))).st_mtime
    return float(calendar.timegm(time.strptime(record.time, "%Y-%m-%dT%H:%M:%SZ")))
