"""Old releases are removed, and what they shared with others."""

from __future__ import annotations

import time
from typing import List, Sequence, Tuple

from ..console import Console
from ..errors import DeploymentError
from . import journal, selection, shelves
from .options import Settings
from .releases import Root


def remove_old(root: Root, settings: Settings, console: Console) -> Tuple[str, ...]:
    """Remove what the settings do not keep and return the link texts, oldest first. See :func:`releases.prunable`.

    Raises:
        DeploymentError: a folder cannot be removed; the others are.
    """
    victims = selection.prunable(root, settings.keep, settings.older_than, time.time())
    with shelves.in_order(root, settings, bool(victims), console):
        return _remove(root, victims, console)


def _remove(root: Root, victims: Sequence[str], console: Console) -> Tuple[str, ...]:
    removed: List[str] = []
    refused: List[DeploymentError] = []
    for target in victims:
        console.step(f"removing {target}")
        try:
            root.remove(target)
        except DeploymentError as error:  # the others can go nevertheless
            refused.append(error)
            continue
        root.journal.append(journal.PRUNED, target)
        removed.append(target)
    for other in refused[1:]:
        console.warn(str(other))
    if refused:
        raise refused[0]
    return tuple(removed)
