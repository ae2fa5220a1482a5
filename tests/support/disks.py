"""A disk of our own whose power can be cut: a file system in a file, behind a loop device. Needs root.

Nothing gets to it by itself: no commit every five seconds, no rescue of files that were renamed without ``fsync``. What
is there after a cut is there because somebody asked for it, and waited.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Iterator, List, Optional

SIZE = 96 * 1024 * 1024
# Without barriers: behind this disk there is no cache of its own, and the disk under it need not be waited for.
_OPTIONS = "loop,noatime,noauto_da_alloc,commit=300,barrier=0"
_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of linux/fs.h
_WITHOUT_JOURNAL = 2  # what waits in memory to be committed is lost too
_PATIENCE = 60.0  # seconds


def missing(folder: Path) -> Optional[str]:
    """Return why no such disk can be had here, None when it can: one was tried in *folder*."""
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program, path=_path()) is None:
            return f"{program} is not installed (Debian: apt-get install e2fsprogs mount)"
    if os.geteuid() != 0:
        return "only root can mount a file system"
    if not os.path.exists("/dev/loop-control"):
        return "there are no loop devices here"
    trial = Disk(folder / "trial.img", folder / "disk")
    try:
        trial.format()
        with trial.mounted() as point:
            cut_power(str(point))
    except OSError as error:
        return f"the power of a disk cannot be cut here: {error}"
    trial.image.unlink()
    return None


class Disk:
    """The disk in the file *image*; mounted, its files are in the folder *point*."""

    def __init__(self, image: Path, point: Path) -> None:
        self.image = image
        self.point = point

    def format(self) -> None:
        """Make an empty file system."""
        with self.image.open("wb") as file:
            file.truncate(SIZE)
        # All of it now: the kernel would go on initialising in the background.
        features = ["-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=8"]
        _run(["mkfs.ext4", "-q", "-F", *features, str(self.image)])

    def copy(self, image: Path) -> "Disk":
        """Return a copy in the file *image*. Of a mounted disk it is what a power cut at this instant would leave."""
        _run(["cp", "--sparse=always", str(self.image), str(image)])
        return Disk(image, self.point)

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount it, which replays the journal after a power cut; unmount and detach it whatever happens."""
        self.point.mkdir(mode=0o755, exist_ok=True)
        _run(["mount", "-o", _OPTIONS, str(self.image), str(self.point)])
        device = self._device()
        try:
            yield self.point
        finally:
            self._unmount(device)

    def written(self) -> int:
        """Return how often the mounted disk was written to."""
        return int((self._device() / "stat").read_text().split()[4])

    def _device(self) -> Path:
        number = os.stat(str(self.point)).st_dev
        return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")

    def _unmount(self, device: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while _silently(["umount", str(self.point)]):
            if time.monotonic() > deadline:
                _run(["umount", "--lazy", str(self.point)])
                raise OSError(f"{self.point}: was still in use after {_PATIENCE:.0f} s")
            time.sleep(0.05)  # a killed process may have workers that are about to end
        # A container that starts at this instant has a copy of the mount for a moment: mounted again meanwhile, the
        # same stopped file system would come back.
        while _text(device / "loop" / "backing_file") == str(self.image):
            if time.monotonic() > deadline:
                raise OSError(f"{self.image}: was not detached after {_PATIENCE:.0f} s")
            time.sleep(0.01)


def cut_power(point: str) -> None:
    """Stop the file system mounted on *point* at once: nothing more of it gets to the disk."""
    folder = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(folder, _SHUTDOWN, struct.pack("=I", _WITHOUT_JOURNAL))
    finally:
        os.close(folder)


def _path() -> str:
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def _run(command: List[str]) -> None:
    environment = dict(os.environ, PATH=_path())
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stdout.strip()}")


def _silently(command: List[str]) -> bool:
    """Return whether the command failed."""
    try:
        _run(command)
    except OSError:
        return True
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
