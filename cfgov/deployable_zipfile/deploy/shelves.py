"""The store of unpacked wheels that the releases of a root share."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Iterator, List, Set, Tuple

from ..console import Console
from ..definitions import NamedTuple
from ..errors import DestinationError
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
                console.warn(f"store {store.path}: not searched, {error.strerror or error}")
        yield
        for store, entries in tracked:
            try:
                store.follow(entries)
                for label in store.collect():
                    console.step(f"removing {label} from the store")
            except OSError as error:
                console.warn(f"store {store.path}: not searched, {error.strerror or error}")


def prune(path: str, wait: float, dry_run: bool, console: Console) -> List[str]:
    """Remove from the store in the folder *path* what no installation has files of; return the names of the wheels.

    Parameters:
        wait: seconds to wait for somebody else who uses it.
        dry_run: only say what would be removed.

    Raises:
        DestinationError: it is not a store, belongs to somebody else, is in use or cannot be written.
    """
    store = Store(os.path.abspath(path))
    if not is_store(store.path):
        raise DestinationError(
            path, "is not a store", "Name a folder that was given with --store, or ROOT/.deploy/store"
        )
    store.check()
    try:
        if dry_run:
            return sorted(store.unused().values())
        with store.locked(wait, console.step):
            return store.collect()
    except OSError as error:
        raise DestinationError(path, f"cannot be pruned: {error.strerror or error}", "Run it again") from None


class DiskUse(NamedTuple):
    """What the files of an installation occupy, in bytes."""

    own: int  # nothing else has them
    shared: int  # a store or other installations have them too, by hard links


def disk_use(folder: str) -> DiskUse:
    """Return what the files and folders in *folder* occupy. Blocks that reflinks share count as its own.

    Raises:
        DestinationError: it cannot be read.
    """
    own = shared = 0
    seen: Set[Tuple[int, int]] = set()
    for path in _paths_in(folder):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue  # removed meanwhile
        size = status.st_blocks * 512  # stat(2): of 512 bytes, whatever the file system's are
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            own += size
        elif (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            shared += size
    return DiskUse(own, shared)


def _paths_in(folder: str) -> Iterator[str]:
    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise DestinationError(folder, f"cannot be measured ({error.strerror})", "Run it as its owner") from None

    for place, folders, names in os.walk(folder, onerror=fail):
        yield place
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        yield from (os.path.join(place, name) for name in [*names, *links])


def _stores(root: Root, settings: Settings) -> List[Store]:
    """Return the stores that releases of *root* use or used: also its own, when it uses another or none by now."""
    paths = {str(root.store), store_of(root, settings)} - {""}
    return [Store(path) for path in sorted(paths) if os.path.isdir(path) and is_store(path)]
