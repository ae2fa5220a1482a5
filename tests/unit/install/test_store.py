"""Wheels are unpacked once into a store; what an installation takes from it is what its artifact says."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from deployable_zipfile import durable
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.console import Console
from deployable_zipfile.errors import DestinationError
from deployable_zipfile.install import drift, installation, links, sharing
from deployable_zipfile.install.store import Store, is_store
from tests.support import faults
from tests.support.artifacts import PYTHON, make_artifact, simple_wheel
from tests.support.depth import sampled
from tests.support.helpers import make_wheel, read_tree, run_cli, write_tree

SITE = f"venv/lib/python{PYTHON}/site-packages"
MODULE = f"{SITE}/alpha/__init__.py"
BYTECODE = f"{SITE}/alpha/__pycache__"


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's disk need not be waited for with each of these small entries."""
    monkeypatch.setattr(durable, "sync_file_system", lambda path: None)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_site(tmp_path / "made")


def make_site(folder: Path, number: int = 1, **options: Any) -> Path:
    """Return an artifact with the wheel alpha, which is the same for every *number*, and beta, which is not."""
    folder.mkdir(exist_ok=True)
    data = {
        "scripts/alpha-script": ("#!python\nprint('script')\n", 0o755),
        "data/share/alpha.txt": "shared",
        "purelib/alpha_more.py": "MORE = 1\n",
    }
    alpha = simple_wheel(folder, data=data)
    beta = make_wheel(folder, "beta", "1.0", {"beta/__init__.py": f"NUMBER = {number}\n"})
    return make_artifact(
        folder / f"site{number}.zip", {"__init__.py": "", "release.py": f"N = {number}\n"}, [alpha, beta], **options
    )


def install(path: Path, destination: Path, store: Path, quiet: bool = True, **options: Any) -> str:
    """Install and return what was said."""
    options.setdefault("workers", 1)
    options.setdefault("sync", False)
    said = io.StringIO()
    console = Console(quiet=quiet, err=said, out=io.StringIO())
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(destination), store=str(store), console=console, **options)
    return said.getvalue()


def content(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return a tree without what differs between two installations: the time, and who wrote it."""
    return {name: entry for name, entry in read_tree(destination).items() if name != layout.INSTALLED}


def install_plainly(path: Path, destination: Path) -> None:
    with Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(destination), workers=1, sync=False)


def plain(path: Path, destination: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return what *path* installs into *destination* without a store; it is removed again."""
    install_plainly(path, destination)
    expected = content(destination)
    shutil.rmtree(str(destination))
    return expected


def entry_of(store: Path, label: str) -> Path:
    """Return the folder of the only entry of a wheel."""
    shelf = Store(str(store))
    found = [key for key in shelf.names() if label in getattr(shelf.entry(key), "label", "")]
    assert len(found) == 1, found
    return store / "entries" / found[0]


@contextlib.contextmanager
def process_deadline(seconds: int) -> Iterator[None]:
    """Fail after so many *seconds* of CPU, in a loop without end for instance."""

    def stop(*_: object) -> None:
        raise AssertionError(f"used {seconds} s of CPU")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def same_file(one: Path, other: Path) -> bool:
    return os.path.samefile(str(one), str(other))


@pytest.mark.parametrize("workers", sampled([1, 3], 1))
@pytest.mark.parametrize("bytecode", [True, False])
def test_the_tree_is_the_same_with_and_without_a_store(tmp_path: Path, workers: int, bytecode: bool) -> None:
    site = make_site(tmp_path / "made", bytecode=bytecode)
    expected = plain(site, tmp_path / "dest")
    for _ in range(2):  # the store is filled, and used
        assert install(site, tmp_path / "dest", tmp_path / "store", workers=workers) == ""
        assert content(tmp_path / "dest") == expected
        assert drift.compare(str(tmp_path / "dest")).clean
        shutil.rmtree(str(tmp_path / "dest"))


@pytest.mark.parametrize("store", ["store", "new/folder/store", "./store"])
def test_a_store_and_a_destination_may_be_relative_paths(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path / "made")
    monkeypatch.chdir(tmp_path)
    with process_deadline(20):
        install(site, Path("dest"), Path(store))
    assert (tmp_path / store / "entries").is_dir()
    assert drift.compare(str(tmp_path / "dest")).clean


def test_a_second_release_shares_what_has_not_changed(tmp_path: Path) -> None:
    one, two = make_site(tmp_path / "one", 1), make_site(tmp_path / "two", 2)
    install(one, tmp_path / "a", tmp_path / "store")
    install(two, tmp_path / "b", tmp_path / "store")
    assert same_file(tmp_path / "a" / MODULE, tmp_path / "b" / MODULE)
    assert same_file(tmp_path / "a" / "venv/share/alpha.txt", tmp_path / "b" / "venv/share/alpha.txt")
    [pyc] = os.listdir(str(tmp_path / "a" / BYTECODE))
    assert same_file(tmp_path / "a" / BYTECODE / pyc, tmp_path / "b" / BYTECODE / pyc)
    beta = f"{SITE}/beta/__init__.py"
    assert [(tmp_path / one / beta).read_text() for one in "ab"] == ["NUMBER = 1\n", "NUMBER = 2\n"]
    for own in ("venv/bin/alpha-tool", "venv/bin/alpha-script", f"{SITE}/alpha-1.0.dist-info/RECORD"):
        assert os.stat(str(tmp_path / "a" / own)).st_nlink == 1, own
    assert len(Store(str(tmp_path / "store")).names()) == 3


def test_files_of_the_project_are_never_shared(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    for folder, _, names in os.walk(str(tmp_path / "a" / "site_one")):
        assert {os.stat(os.path.join(folder, name)).st_nlink for name in names} <= {1}


def edit(path: Path, text: str) -> None:
    """Write into the file in place, as some editors do; it is another time by then."""
    before = os.stat(str(path))
    path.write_text(text)
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns + 20_000_000))


def edit_unseen(path: Path, text: str) -> None:
    """The same with size and modification time kept: what is left is the time of change."""
    before = os.stat(str(path))
    path.write_text(text[: before.st_size].ljust(before.st_size))
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [edit, edit_unseen])
def test_an_edit_in_place_shows_in_verify_of_every_tree_and_is_not_taken_by_the_next(
    change: Callable[[Path, str], None], site: Path, tmp_path: Path
) -> None:
    expected = plain(site, tmp_path / "c")
    install(site, tmp_path / "a", tmp_path / "store")
    install(site, tmp_path / "b", tmp_path / "store")
    change(tmp_path / "a" / MODULE, "raise SystemExit('edited')\n")
    assert drift.compare(str(tmp_path / "a")).changed == [MODULE]
    assert drift.compare(str(tmp_path / "b")).changed == [MODULE]
    inner = os.path.relpath(str(entry_of(tmp_path / "store", "alpha")), str(tmp_path / "store"))
    assert Store(str(tmp_path / "store")).drift().changed == [f"{inner}/wheel/alpha/__init__.py"]
    said = install(site, tmp_path / "c", tmp_path / "store")
    assert said.count("\n") == 1
    assert "alpha-1.0-py3-none-any.whl was changed there" in said
    assert content(tmp_path / "c") == expected
    assert drift.compare(str(tmp_path / "c")).clean
    assert Store(str(tmp_path / "store")).drift().clean
    assert install(site, tmp_path / "d", tmp_path / "store") == ""
    assert same_file(tmp_path / "c" / MODULE, tmp_path / "d" / MODULE)


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def other_mode(path: Path) -> None:
    path.chmod(0o777)


def to_a_link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def to_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(str(path))


def harmless(inner: str, damage: Callable[[Path], None]) -> bool:
    """Tell whether nothing of what was unpacked is lost, and what was seen of it can be found again."""
    if inner == "index":
        return damage is other_mode
    return inner == "seen" and damage not in (to_a_link, to_a_folder, to_a_pipe)


@pytest.mark.parametrize(
    "damage", sampled([remove, truncate, grow, other_mode, to_a_link, to_a_folder, to_a_pipe], [truncate])
)
@pytest.mark.parametrize(
    "inner", sampled(["wheel/alpha/__init__.py", "index", "seen", "bytecode"], ["wheel/alpha/__init__.py", "index"])
)
def test_a_damaged_entry_is_made_again(damage: Callable[[Path], None], inner: str, site: Path, tmp_path: Path) -> None:
    expected = plain(site, tmp_path / "b")
    store = tmp_path / "store"
    install(site, tmp_path / "a", store)
    victim = entry_of(store, "alpha") / inner
    if inner == "bytecode":
        victim = next(path for path in victim.rglob("*.pyc"))
    damage(victim)
    said = install(site, tmp_path / "b", store, workers=2)
    assert content(tmp_path / "b") == expected
    if harmless(inner, damage):
        assert said == ""
    else:
        assert said.count("\n") == 1
        assert "it is unpacked again" in said
    assert Store(str(store)).drift().clean
    assert not (store / "new").exists()
    assert install(site, tmp_path / "c", store) == ""
    assert same_file(tmp_path / "b" / MODULE, tmp_path / "c" / MODULE)


def test_a_store_that_was_copied_elsewhere_is_read_once_and_used(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    shutil.copytree(str(tmp_path / "store"), str(tmp_path / "other"))
    assert install(site, tmp_path / "b", tmp_path / "other") == ""
    assert same_file(tmp_path / "b" / MODULE, entry_of(tmp_path / "other", "alpha") / "wheel/alpha/__init__.py")


def refuses(number: int) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", sampled([errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP], 1))
def test_where_no_link_can_be_made_files_are_copied(
    number: int, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    expected = content(tmp_path / "a")
    shutil.rmtree(str(tmp_path / "a"))
    monkeypatch.setattr(os, "link", refuses(number))
    assert install(site, tmp_path / "a", tmp_path / "store") == ""
    assert content(tmp_path / "a") == expected
    assert os.stat(str(tmp_path / "a" / MODULE)).st_nlink == 1


def test_a_store_on_another_file_system_is_copied_from(site: Path, tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or os.stat(str(other)).st_dev == os.stat(str(tmp_path)).st_dev:
        pytest.skip("there is no second file system here")
    expected = plain(site, tmp_path / "a")
    store = Path(tempfile.mkdtemp(dir=str(other)))
    try:
        for _ in range(2):
            assert install(site, tmp_path / "a", store / "store") == ""
            assert content(tmp_path / "a") == expected
            shutil.rmtree(str(tmp_path / "a"))
    finally:
        shutil.rmtree(str(store))


def test_a_file_system_that_shares_blocks_gives_each_tree_its_own_files(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(descriptor: int, request: int, source: int) -> int:
        assert request == 0x40049409
        os.write(descriptor, os.pread(source, 1 << 20, 0))
        return 0

    install(site, tmp_path / "a", tmp_path / "store")
    monkeypatch.setattr(fcntl, "ioctl", clone)
    install(site, tmp_path / "b", tmp_path / "store")
    edit(tmp_path / "b" / MODULE, "edited\n")
    assert drift.compare(str(tmp_path / "b")).changed == [MODULE]
    assert drift.compare(str(tmp_path / "a")).clean
    assert Store(str(tmp_path / "store")).drift().clean
    assert install(site, tmp_path / "c", tmp_path / "store") == ""
    assert drift.compare(str(tmp_path / "c")).clean


def test_files_of_another_group_are_copied(site: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to a group that it is not in")
    install(site, tmp_path / "a", tmp_path / "store")
    (tmp_path / "b").mkdir()
    os.chown(str(tmp_path / "b"), -1, 4242)
    (tmp_path / "b").chmod(0o2755)
    install(site, tmp_path / "b", tmp_path / "store")
    assert os.stat(str(tmp_path / "b" / MODULE)).st_gid == 4242
    assert drift.compare(str(tmp_path / "b")).clean
    assert drift.compare(str(tmp_path / "a")).clean


@pytest.mark.parametrize("number", sampled([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO], 1))
def test_a_store_that_cannot_be_written_is_a_warning(
    number: int, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(site, tmp_path / "a")
    monkeypatch.setattr(Store, "publish", refuses(number))
    said = install(site, tmp_path / "a", tmp_path / "store")
    assert said.count("\n") == 1
    assert f"not used, {os.strerror(number)}" in said
    assert content(tmp_path / "a") == expected
    assert not (tmp_path / "store" / "new").exists()


def test_a_store_in_use_is_waited_for_and_then_left(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_WAIT", 0.1)
    with Store(str(tmp_path / "store")).locked(0):
        (tmp_path / "store" / "new").mkdir()
        said = install(site, tmp_path / "a", tmp_path / "store", quiet=False)
        assert (tmp_path / "store" / "new").exists()  # it is somebody's
    assert said.count(f"Waiting up to 0.1 s: store {tmp_path}/store is in use by {durable.this_process()}") == 1
    assert f"in use by process {os.getpid()}" in said
    assert drift.compare(str(tmp_path / "a")).clean


def test_a_store_that_is_left_names_nobody(tmp_path: Path) -> None:
    """The next process to use it has the lock before it has written its own name."""
    with Store(str(tmp_path / "store")).locked(0):
        assert (tmp_path / "store/lock").read_text().rstrip(" ") == durable.this_process()
    assert (tmp_path / "store/lock").read_text().strip() == ""


@pytest.mark.parametrize("text", ["", "process 12", "{dead}"])
def test_a_store_that_is_in_use_by_a_process_without_a_name_is_left_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(durable, "_NAMING", 0.1)
    dead = subprocess.Popen(["true"])
    dead.wait()
    with Store(str(tmp_path / "store")).locked(0):
        (tmp_path / "store/lock").write_text(text.format(dead=f"process {dead.pid} on {socket.gethostname()}\n"))
        with pytest.raises(OSError, match="in use by another process"), Store(str(tmp_path / "store")).locked(0):
            pass


@pytest.mark.parametrize("held", [{"notes.txt": "mine"}, {"store.json": "{}\n", "more": "mine"}, {"entries/x": "mine"}])
def test_a_folder_that_is_no_store_is_refused_untouched(held: Dict[str, Any], site: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "store", held)
    before = read_tree(tmp_path / "store")
    with pytest.raises(DestinationError, match="not a store"):
        install(site, tmp_path / "a", tmp_path / "store")
    assert read_tree(tmp_path / "store") == before
    assert not (tmp_path / "a").exists()


def test_a_file_as_store_is_refused(site: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    with pytest.raises(DestinationError, match="is not a folder"):
        install(site, tmp_path / "a", tmp_path / "store")


@pytest.mark.parametrize("inner", ["dest/store", "dest", "."])
def test_a_store_and_a_destination_are_kept_apart(inner: str, site: Path, tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="is in the other"):
        install(site, tmp_path / "dest", tmp_path / inner)


def test_root_uses_no_store_that_others_can_change(site: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    install(site, tmp_path / "a", tmp_path / "store")
    for inner in ("", "entries", "store.json"):
        path = tmp_path / "store" / inner
        mode = stat.S_IMODE(os.lstat(str(path)).st_mode)
        path.chmod(mode | 0o020)
        with pytest.raises(DestinationError, match="others may write to it"):
            install(site, tmp_path / "b", tmp_path / "store")
        path.chmod(mode)
        os.chown(str(path), 4242, -1)
        with pytest.raises(DestinationError, match="belongs to"):
            install(site, tmp_path / "b", tmp_path / "store")
        os.chown(str(path), 0, -1)
    assert not (tmp_path / "b").exists()


def test_verify_takes_a_store(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    store = tmp_path / "store"
    assert "as unpacked" in run_cli([sys.executable, site, "verify", store]).stdout
    folder = entry_of(store, "alpha")
    edit(folder / "wheel/alpha/__init__.py", "edited")
    (folder / "wheel/alpha/added.py").write_text("added")
    document = json.loads(run_cli([sys.executable, site, "verify", store, "--json"], code=5).stdout)
    inner = f"entries/{folder.name}/wheel/alpha"
    assert (document["changed"], document["added"]) == ([f"{inner}/__init__.py"], [f"{inner}/added.py"])
    assert document["exit_code"] == 5


def attempt(site: Path, destination: Path, store: Path) -> str:
    return install(site, destination, store)


def is_whole(store: Path) -> None:
    """Whatever is in its place is complete."""
    if is_store(str(store)):
        assert Store(str(store)).drift().clean


@pytest.mark.deep
def test_killed_before_any_call_store_and_destination_are_whole_and_a_rerun_succeeds(tmp_path: Path) -> None:
    site = make_site(tmp_path / "made")
    place = tmp_path / "place"
    destination, store = place / "dest", place / "store"
    install_plainly(site, destination)
    complete = content(destination)
    for at, ended in faults.sweep(lambda: attempt(site, destination, store), place, faults.dies, 7):
        assert ended.code == -signal.SIGKILL, at
        is_whole(store)
        if destination.exists():
            assert content(destination) == complete, at
        assert attempt(site, destination, store) == "", at
        assert content(destination) == complete, at
        assert not (store / "new").exists(), at
        is_whole(store)


@pytest.mark.deep
def test_killed_while_a_damaged_entry_is_made_again_it_is_whole_afterwards(tmp_path: Path) -> None:
    site = make_site(tmp_path / "made")
    place = tmp_path / "place"
    install(site, tmp_path / "first", tmp_path / "good")
    destination, store = place / "dest", place / "store"

    def damaged() -> str:
        shutil.copytree(str(tmp_path / "good"), str(store))
        edit(entry_of(store, "alpha") / "wheel/alpha/__init__.py", "edited\n")
        install(site, destination, store)
        return ""

    place.mkdir()
    for at, _ in faults.sweep(damaged, place, faults.dies, 41):
        if destination.exists():
            assert drift.compare(str(destination)).clean, at
            shutil.rmtree(str(destination))
        install(site, destination, store)
        assert drift.compare(str(destination)).clean, at
        is_whole(store)


@pytest.mark.parametrize(
    "number", sampled([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES], [errno.ENOSPC])
)
def test_whichever_call_fails_the_destination_is_absent_or_right(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "ways", lambda *_: [links.link, links.copy])  # nothing depends on how a trial ends
    site = make_site(tmp_path / "made")
    place = tmp_path / "place"
    destination, store = place / "dest", place / "store"
    install_plainly(site, destination)
    complete = content(destination)
    for at, ended in faults.sweep(lambda: attempt(site, destination, store), place, faults.fails(number), 29):
        is_whole(store)
        if ended.code == 0:
            assert content(destination) == complete, at
            # A link that is not allowed is a copy, and no word is lost about it.
            assert "warning: " in ended.answer or number == errno.EACCES, at
        else:
            assert (ended.code, ended.answer.partition("|")[0]) == (5, "DestinationError"), (at, ended)
            assert not destination.exists(), at
            attempt(site, destination, store)
            assert content(destination) == complete, at


def test_nothing_is_left_of_a_trial_whichever_call_fails(tmp_path: Path) -> None:
    write_tree(tmp_path, {"store/file": b"x", "place/kept": b"y"})

    def trial() -> str:
        links.ways(str(tmp_path / "store/file"), str(tmp_path / "place"))
        return ""

    calls = faults.run_with_fault(trial, None, lambda _: None).calls
    assert calls >= 2
    for at in range(1, calls + 1):
        faults.run_with_fault(trial, at, faults.fails(errno.EIO))
        left = faults.leftovers(str(tmp_path / "place"))
        # Once a file cannot be removed, the trial fails as a whole, and so does the installation into that folder.
        assert left == ["kept"] or at == calls, at


def started(action: Callable[[], str]) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if action() == "" else 2
        finally:
            os._exit(code)
    return pid


@pytest.mark.parametrize("racers", sampled([2, 8], [2]))
def test_many_at_once_share_one_store(racers: int, tmp_path: Path) -> None:
    sites = [make_site(tmp_path / f"made{number}", number) for number in (1, 2)]
    store = tmp_path / "store"
    pids: List[int] = []
    for number in range(racers):
        site, destination = sites[number % 2], tmp_path / f"dest{number}"
        pids.append(started(lambda site=site, destination=destination: install(site, destination, store)))  # type: ignore[misc]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * racers
    modules = {os.stat(str(tmp_path / f"dest{number}" / MODULE)).st_ino for number in range(racers)}
    assert len(modules) == 1
    assert all(drift.compare(str(tmp_path / f"dest{number}")).clean for number in range(racers))
    assert Store(str(store)).drift().clean
    assert len(Store(str(store)).names()) == 3


def collected(store: Path) -> List[str]:
    shelf = Store(str(store))
    with shelf.locked(0):
        return shelf.collect()


def test_what_no_installation_refers_to_is_collected(tmp_path: Path) -> None:
    one, two = make_site(tmp_path / "one", 1), make_site(tmp_path / "two", 2)
    store = tmp_path / "store"
    install(one, tmp_path / "a", store)
    install(two, tmp_path / "b", store)
    assert collected(store) == []
    shutil.rmtree(str(tmp_path / "a"))
    assert collected(store) == ["beta-1.0-py3-none-any.whl"]
    assert drift.compare(str(tmp_path / "b")).clean
    shutil.rmtree(str(tmp_path / "b"))
    assert collected(store) == ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"]
    assert sorted(os.listdir(str(store))) == ["entries", "lock", "references", "store.json"]
    assert os.listdir(str(store / "entries")) == os.listdir(str(store / "references")) == []


def test_what_was_copied_is_kept_as_long_as_its_installation(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuses(errno.EXDEV))
    install(site, tmp_path / "a", tmp_path / "store")
    assert collected(tmp_path / "store") == []
    shutil.rmtree(str(tmp_path / "a"))
    assert len(collected(tmp_path / "store")) == 2


def test_an_installation_that_was_moved_keeps_its_files(site: Path, tmp_path: Path) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    os.rename(str(tmp_path / "a"), str(tmp_path / "moved"))
    assert collected(tmp_path / "store") == []
    shutil.rmtree(str(tmp_path / "store"))  # even without the store nothing of it is missing
    assert (tmp_path / "moved" / MODULE).read_text().startswith("VERSION")


@pytest.mark.deep
def test_killed_while_it_collects_the_store_is_whole(tmp_path: Path) -> None:
    site = make_site(tmp_path / "made")
    store = tmp_path / "place" / "store"
    (tmp_path / "place").mkdir()
    install(site, tmp_path / "a", store)
    shutil.rmtree(str(tmp_path / "a"))
    shutil.copytree(str(store), str(tmp_path / "copy"))
    calls = faults.run_with_fault(lambda: str(collected(store)), None, faults.dies).calls
    for at in range(1, calls + 1):
        shutil.rmtree(str(store))
        shutil.copytree(str(tmp_path / "copy"), str(store))
        assert faults.run_with_fault(lambda: str(collected(store)), at, faults.dies).code == -signal.SIGKILL
        is_whole(store)
        collected(store)
        assert Store(str(store)).names() == []
        assert not (store / "new").exists()


def test_removing_a_release_makes_nothing_be_read_again(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    install(site, tmp_path / "a", tmp_path / "store")
    install(site, tmp_path / "b", tmp_path / "store")
    with store.locked(0):
        tracked = store.track()
        shutil.rmtree(str(tmp_path / "a"))
        store.follow(tracked)
    monkeypatch.setattr(sharing, "state_of", lambda path, row: pytest.fail(f"{path} was read"))
    assert install(site, tmp_path / "c", tmp_path / "store") == ""


def test_an_edit_while_a_release_is_removed_is_still_found(site: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    install(site, tmp_path / "a", tmp_path / "store")
    install(site, tmp_path / "b", tmp_path / "store")
    with store.locked(0):
        tracked = store.track()
        edit(tmp_path / "b" / MODULE, "edited")
        shutil.rmtree(str(tmp_path / "a"))
        store.follow(tracked)
    assert "was changed there" in install(site, tmp_path / "c", tmp_path / "store")
    assert drift.compare(str(tmp_path / "c")).clean


def test_the_second_use_reads_no_file_of_the_store(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, tmp_path / "a", tmp_path / "store")
    monkeypatch.setattr(sharing, "state_of", lambda path, row: pytest.fail(f"{path} was read"))
    assert install(site, tmp_path / "b", tmp_path / "store") == ""
