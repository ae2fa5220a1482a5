"""The store of unpacked wheels that the releases of a root share."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, List

from ..console import Console
from ..install.store import Store, is_store
from .options import NO_STORE, Settings
from .releases import Root

_WAIT = 10.0  # seconds for somebody else who uses the store


def store_of(root: Root, settings: Settings) -> str:
    """Return the path of the store that releases of *root* take their wheels from, "" when they shall use none."""
    if settings.store == NO_STORE:
        return ""
    return settings.store or str(root.store)


@contextlib.contextmanager
def in_order(root: Root, settings: Settings, removes: bool, console: Console) -> Iterator[None]:
    """Remove from the stores of *root*, at the end, what no release has files of.

    A store that is in use, or that cannot be written, is left as it is, with a warning: nothing depends on that.

    Parameters:
        removes: releases are removed meanwhile, which changes the times of the files that they share.
    """
    with contextlib.ExitStack() as stack:
        tracked = []
        for store in _stores(root, settings):
            try:
                store.check()
                stack.enter_context(store.locked(_WAIT, console.step))
                tracked.append((store, store.track() if removes else {}))
            except OSError as error:
                console.warn(f"store {store.path}: not looked through, {error.strerror or error}")
        yield
        for store, entries in tracked:
            try:
                store.follow(entries)
                for label in store.collect():
                    console.step(f"removing {label} from the store")
            except OSError as error:
                console.warn(f"store {store.path}: not looked through, {error.strerror or error}")


def _stores(root: Root, settings: Settings) -> List[Store]:
    """Return the stores that releases of *root* use or used: also its own, when it uses another or none by now."""
    paths = {str(root.store), store_of(root, settings)} - {""}
    return [Store(path) for path in sorted(paths) if os.path.isdir(path) and is_store(path)]
