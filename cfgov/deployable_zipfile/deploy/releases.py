"""The folders of one deployed site, and the atomic switch to another release.

ROOT/current            -> releases/BUILD_ID      relative, replaced by one rename
ROOT/releases/BUILD_ID/                           a complete destination, never changed after it was live
ROOT/shared/NAME/                                 what releases have in common: uploads
ROOT/.deploy/journal.jsonl, lock, logs/, tool     the state directory, and the verbs for use without an artifact
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import List, Optional

from .. import durable, removal
from ..artifact import layout
from ..definitions import expression
from ..errors import DeploymentError, DestinationError
from ..install import ownership, soundness
from ..install.destination import normal_destination
from .journal import Journal

_BUILD_ID = expression(r"[0-9a-f]{32}\Z")
_TRASH = ".trash-"


def inside(path: str, folder: Path) -> Optional[str]:
    """Return *path* relative to *folder*, "" for the folder itself, None outside; however the folder is reached."""
    wanted, place, rest = durable.identity(str(folder)), path, ""
    while wanted is not None and durable.identity(place) != wanted:
        place, _, name = place.rpartition("/")
        rest = f"{name}/{rest}" if rest else name
        if not name:
            return None
    return None if wanted is None else rest


class Root:
    """The deployed site in the folder *path*. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = Path("/" + os.path.abspath(str(path)).lstrip("/"))
        except OSError as error:
            why = f"is relative to a current folder that cannot be read ({error.strerror})"
            raise DestinationError(path, why, "Give an absolute path") from None
        self.current = self.path / "current"
        self.releases = self.path / "releases"
        self.shared = self.path / "shared"
        self.state = self.path / layout.DEPLOY
        self.logs = self.state / "logs"
        self.tool = self.state / "tool"
        self.store = self.state / "store"
        self.lock = self.state / "lock"
        self.journal = Journal(self.path / layout.JOURNAL)

    def folder(self, target: str) -> Path:
        """Return the folder that a link text *target* of ``current`` names."""
        return Path(os.path.normpath(str(self.path / target)))

    def inside(self, path: str, release: Path) -> Optional[str]:
        """Return *path* relative to the folder *release*, which ``current`` may not lead to yet; None outside."""
        inner, below = inside(path, release), inside(path, self.path)
        if inner is None and below is not None and (below + "/").startswith("current/"):
            return below[len("current/") :]
        return inner

    def target(self) -> Optional[str]:
        """Return what ``current`` points to: ``releases/ID`` for a release of ours, however the link is written.

        A link to anything else comes back as written; None when there is no ``current``.

        Raises:
            DestinationError: ``current`` is not a symbolic link.
        """
        try:
            written = os.readlink(str(self.current))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise DestinationError(self.current, f"cannot be read ({error.strerror})") from error
        else:
            return self._ours(written) or written
        raise DestinationError(
            self.current,
            "is a real folder or file, not a symbolic link, so it cannot be switched atomically",
            f"Move it away and link to it: mv {self.current} {self.path / 'before'} && ln -s before {self.current}",
        )

    def _ours(self, written: str) -> Optional[str]:
        """Return ``releases/ID`` when the link text *written* leads to that release."""
        live = durable.identity(str(self.current))
        if live is None:  # it dangles: only its text can tell
            plain = os.path.relpath(str(self.folder(written)), str(self.path))
            return plain if build_id_of(plain) else None
        # The folder's own name first: a release that is a link to another one is the same folder.
        first = [os.path.basename(os.path.realpath(str(self.current))), os.path.basename(written.rstrip("/"))]
        for name in [one for one in first if is_build_id(one)] + self._names():
            if durable.identity(str(self.releases / name)) == live:
                return release_target(name)
        return None

    def _names(self) -> List[str]:
        """Return the names in ``releases`` that are build ids, sorted."""
        try:
            return sorted(name for name in os.listdir(str(self.releases)) if is_build_id(name))
        except FileNotFoundError:
            return []

    def is_live(self, target: str) -> bool:
        """Tell whether ``current`` is, passes through or is inside the folder or link that *target* names."""
        try:
            status = os.lstat(str(self.folder(target)))
        except OSError:
            return False
        return (status.st_dev, status.st_ino) in durable.way_to(str(self.current))

    def installed(self) -> List[str]:
        """Return the link texts of the complete releases, sorted by build id."""
        return [release_target(name) for name in self._names() if self.is_complete(name)]

    def is_complete(self, build_id: str) -> bool:
        """Tell whether the release was installed to its last file: that is written last."""
        return (self.releases / build_id / layout.INSTALLED).is_file()

    def create(self) -> None:
        """Make the folders that are missing, all of mode 0755.

        Raises:
            DestinationError: the root's parent is missing or one folder cannot be made.
        """
        for folder in (self.path, self.releases, self.state):
            try:
                os.mkdir(str(folder), 0o755)
            except FileExistsError:
                continue
            except OSError as error:
                raise DestinationError(
                    folder, f"cannot be made ({error.strerror})", "Create its parent first"
                ) from error
            os.chmod(str(folder), 0o755)
            durable.sync_folder(str(folder.parent))

    def switch(self, target: str) -> None:
        """Point ``current`` to *target*, a path relative to the root, at one instant.

        ``ln -sfn`` removes the old link first; a new link renamed over the old one leaves no instant without
        (deployphp/deployer#73). The caller holds the lock.

        Raises:
            DeploymentError: *target* is not a folder, or the link cannot be written.
            DestinationError: ``current`` is a real folder.
        """
        self.target()
        if not self.folder(target).is_dir():
            raise DeploymentError(
                target, "is not a folder, so `current` stays as it is", "Choose a release that exists"
            )
        try:
            durable.point(str(self.current), target)
        except OSError as error:
            raise DeploymentError(
                self.current, f"cannot be switched ({error.strerror})", "Check permissions"
            ) from error

    def unlink_current(self) -> None:
        """Remove ``current``: the way back of a first deployment that failed."""
        self.target()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(self.current))
        durable.sync_folder(str(self.path))

    def remove(self, target: str) -> None:
        """Remove the release *target*, so that a crash never leaves half of it under its name.

        Raises:
            DeploymentError: it is live, no release of ours, a link, holds a mount, or cannot be removed.
        """
        build_id = build_id_of(target)
        if build_id is None or self.is_live(target):
            raise DeploymentError(target, "is current or was not made here, so it is not removed")
        folder, trash = self.releases / build_id, self.releases / (_TRASH + build_id)
        if folder.is_symlink():
            raise DeploymentError(target, "is a symbolic link, so it is not removed", "Remove the link by hand")
        mounts = removal.mounts_below(str(folder))
        if mounts:
            raise DeploymentError(target, f"is not removed: {mounts[0]} is mounted there", f"Run: umount {mounts[0]}")
        try:
            self._destroy(trash)
            os.rename(str(folder), str(trash))
            durable.sync_folder(str(self.releases))
            self._destroy(trash)
        except OSError as error:
            raise DeploymentError(target, f"cannot be removed ({error.strerror})", "Remove it by hand") from error

    def empty_trash(self) -> None:
        """Finish removals that a crash cut short. The caller holds the lock.

        Raises:
            DeploymentError: one cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(str(self.releases)):
                if name.startswith(_TRASH) and is_build_id(name[len(_TRASH) :]):
                    try:
                        self._destroy(self.releases / name)
                    except OSError as error:
                        why = f"cannot be removed ({error.strerror})"
                        raise DeploymentError(f"releases/{name}", why, "Remove it by hand") from error

    def _destroy(self, trash: Path) -> None:
        """Remove what was taken out of the way, unless it is live."""
        if self.is_live(f"releases/{trash.name}"):
            raise OSError(errno.EBUSY, "`current` leads there")
        if os.path.lexists(str(trash)):
            removal.remove_tree(str(trash))


def is_build_id(name: str) -> bool:
    """Tell whether *name* is the name of a release of ours."""
    return bool(_BUILD_ID.match(name))


def release_target(build_id: str) -> str:
    """Return the text of ``current`` for the release *build_id*."""
    return f"releases/{build_id}"


def build_id_of(target: str) -> Optional[str]:
    """Return the build id in the link text *target*, None when it is none of ours."""
    folder, _, name = target.rpartition("/")
    return name if folder == "releases" and is_build_id(name) else None


def check_folder(root: Root) -> None:
    """Refuse a root that exists and is not a folder, or below which nothing can be installed.

    Raises:
        DestinationError: it is.
    """
    if os.path.lexists(str(root.path)) and not root.path.is_dir():
        raise DestinationError(root.path, "is not a folder", "Name the folder that contains `current` and `releases`")
    normal_destination(str(root.path))


def check_place(root: Root) -> None:
    """Refuse a root that is not a folder, or in which another user could put a trap for root's process.

    Raises:
        DestinationError: as for :func:`ownership.check_folder`.
    """
    check_folder(root)
    if os.path.lexists(str(root.path / layout.INSTALLED)):
        why = "is a folder that an artifact was installed into with -d, not the root of a site"
        raise DestinationError(root.path, why, "Name a folder of its own")
    ownership.check_folder(str(root.path), "releases", "shared", "current", layout.DEPLOY)
    if root.state.is_dir():
        ownership.check_folder(str(root.state), root.journal.path.name, "lock", "logs", "tool")


def check_release(root: Root, target: str) -> None:
    """Refuse a release of ours that somebody else can change: root runs its code.

    Raises:
        DestinationError: as for :func:`ownership.check_folder`.
    """
    build_id = build_id_of(target)
    if build_id is not None and root.folder(target).is_dir():
        release = str(root.folder(target))
        ownership.check_folder(release, layout.VENV, layout.DEPLOY, layout.INSTALLED, layout.FILES)
        soundness.check_owners(release)
