"""The power fails at every step of a deployment, and before every change: after the reboot the site is right.

``kill -9``, in ``test_deployment_faults.py``, leaves in memory what was written; here it is gone. An ext4 file system
of our own is stopped at once and mounted again, so that only what the deployment waited for is left.
"""

from __future__ import annotations

import json
import marshal
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import pytest

from deployable_zipfile import extract
from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.deploy import journal, releases
from deployable_zipfile.deploy.journal import Journal
from deployable_zipfile.deploy.releases import Root
from deployable_zipfile.install import drift, installation
from tests.support.artifacts import runtime
from tests.support.disks import Disk, cut_power, missing
from tests.support.helpers import read_tree, run_cli
from tests.support.machine import lacking
from tests.support.sites import (
    PROJECT,
    Server,
    build_id,
    leftovers,
    make_site,
    serving_current,
    states,
    write_environment,
)
from tests.support.steps import STEPS, STRIKE_AT_STEP

PACKAGE = Path(extract.__file__).parents[1]
CHECKOUT = Path(__file__).parents[2]
MOMENTS = [(when, step) for step in STEPS for when in ("before", "after")]
ROLLBACK_MOMENTS = [moment for moment in MOMENTS if moment[1] in ("config-test", "switch", "restart", "health")]
SWITCHED = ("after", "switch")
# The first moment at which the journal tells of it.
RECORDED = {
    journal.STARTED: ("before", "install"),
    journal.INSTALLED: ("after", "install"),
    journal.SWITCHED: ("before", "restart"),
    journal.LIVE: ("before", "prune"),
}
Tree = Dict[str, Tuple[int, bytes]]
STATIC_SIZE = 200_000
PYC_HEADER = 16  # bytes, PEP 552
_MANY = 40  # states of the disk; if there are more, only some of them are looked at without --deep
_LAST = 12  # states at the end that are always looked at: few come after the switch

# As Django does: static files are written without waiting for the disk, and one that is there is taken for collected;
# the database waits. "publish" is a command of the project's own.
MANAGE = f"""
import os, pathlib, sys
here = pathlib.Path(__file__).parent
folder = pathlib.Path(os.environ["STATIC_ROOT"])
folder.mkdir(exist_ok=True)
version = here.joinpath("version.txt").read_text()
content = version[:1] * {STATIC_SIZE}
collected = folder / (version + ".css")
if sys.argv[1] == "collectstatic" and not collected.exists():
    collected.write_text(content)
if sys.argv[1] == "publish":
    folder.joinpath(version + ".txt").write_text(content)
if sys.argv[1] == "migrate":
    with open(folder / "database", "ab") as file:
        file.write(b"migration")
        file.flush()
        os.fsync(file.fileno())
"""

# Runs the command line and cuts the power before or after one step.
CUT = """
import os, signal, sys
sys.path[:0] = sys.argv[1:3]
from deployable_zipfile import extract
from deployable_zipfile.deploy import rollout
from tests.support.disks import cut_power
point, when, step, archive = sys.argv[3:7]
def strike():
    cut_power(point)
    os.kill(os.getpid(), signal.SIGKILL)
{strike_at_step}
sys.exit(extract.main(sys.argv[7:], archive))
""".replace("{strike_at_step}", STRIKE_AT_STEP)

# Runs the command line and copies the disk before every change that it makes, unless the last copy is still true.
RECORD = """
import os, pathlib, shutil, sys
sys.path[:0] = sys.argv[1:3]
from deployable_zipfile import durable, extract
from deployable_zipfile.install import installation
from tests.support.disks import Disk
point, image, folder, archive = sys.argv[3:7]
disk = Disk(pathlib.Path(image), pathlib.Path(point))
parent, calls, last = os.getpid(), 0, -1
def before(name, real):
    def call(*arguments, **options):
        global calls, last
        if os.getpid() != parent:
            return real(*arguments, **options)
        calls += 1
        written = disk.written()
        if written != last:
            last = written
            disk.copy(pathlib.Path(folder, f"{calls:05} before {name}"))
        return real(*arguments, **options)
    return call
for module, name in [(os, name) for name in sys.argv[7].split(",")] + [(durable, "sync_file_system")]:
    setattr(module, name, before(name, getattr(module, name)))
# The second process only writes early what is waited for later. Two at once would blur the copies.
installation.WriteBehind._write_out = lambda self, watched: os._exit(0)
code = extract.main(sys.argv[8:], archive)
print(calls, file=sys.stderr)
sys.exit(code)
"""
CHANGES = "mkdir,open,write,pwrite,ftruncate,rename,replace,symlink,unlink,rmdir,fsync,chmod,fchmod"


class Base(NamedTuple):
    """Disks to be copied, and what is needed to deploy to them."""

    folder: Path
    empty: Disk
    one: Disk  # "one" is live
    two: Disk  # "two" is live, "one" was
    three: Disk  # "three" is live, "one" and "two" were
    artifacts: Dict[str, Path]
    builds: Dict[str, str]  # build id -> name of the artifact
    installed: Dict[str, Tree]  # name of the artifact -> what an installation writes
    environment: Path
    server: Server

    def build(self, name: str) -> str:
        return next(build for build, artifact in self.builds.items() if artifact == name)


class Site:
    """A mounted disk with a site on it, or room for one."""

    def __init__(self, base: Base, disk: Disk) -> None:
        self.base = base
        self.disk = disk
        self.root = disk.point / "srv"
        self.static = disk.point / "static"

    def words(self, verb: str, *more: str) -> List[str]:
        """Return the words of a command line."""
        words = [verb, "--root", str(self.root), "-q", "--json", "--workers", "1", *more]
        if verb == "deploy":
            words += ["--env-file", str(self.base.environment), "--shared", f"media={PROJECT}/media"]
            words += ["--manage", "publish"]
        if verb != "prune":
            words += ["--health-url", self.base.server.url, "--health-timeout", "60", "--health-count", "1"]
        return words

    def run(self, artifact: str, verb: str, *more: str, moment: Tuple[str, str] = ("", "")) -> "Tuple[int, str]":
        """Run a verb, until the power fails at *moment*; return the exit code and what was said."""
        script = [sys.executable, "-c", CUT, str(PACKAGE), str(CHECKOUT), str(self.disk.point), *moment]
        done = subprocess.run(
            [*script, str(self.base.artifacts[artifact]), *self.words(verb, *more)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stderr if done.returncode else done.stdout

    def succeed(self, artifact: str, verb: str, *more: str) -> str:
        """Run a verb to its end; return what it printed."""
        code, said = self.run(artifact, verb, *more)
        assert code == 0, said
        return said

    def current(self) -> Optional[str]:
        """Return the name of the artifact whose release is current."""
        build = build_id(self.root / "current")
        return self.base.builds[build] if build else None

    def events(self, name: str) -> List[str]:
        """Return what the journal tells of one release."""
        target = releases.release_target(self.base.build(name))
        return [one.event for one in Root(self.root).journal.read() if one.release == target]

    def states(self) -> Dict[str, str]:
        return {self.base.builds[build]: state for build, state in states(self.root).items()}

    def check_whole(self) -> None:
        """Everything that goes by its final name is what it was meant to be, down to the last byte."""
        for folder in sorted((self.root / "releases").glob("*")) if self.root.exists() else []:
            if releases.is_build_id(folder.name):
                self.check_release(folder)
        if os.path.lexists(str(self.root / "current")):
            self._check_live()
        tool = self.root / ".deploy" / "tool"
        if os.path.lexists(str(tool)):
            members = runtime().items()
            modules = {layout.runtime_path(name): content for name, content in members if layout.runtime_path(name)}
            package = tool / "deployable_zipfile"
            kept = {path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*.py")}
            assert kept == modules
            assert "extract.main" in (tool / "__main__.py").read_text()
        assert Journal(self.root / ".deploy" / "journal.jsonl").read() or self.current() is None

    def check_release(self, folder: Path) -> None:
        """What the installation wrote is there, and the environment is none or whole."""
        found = read_tree(folder)
        for path, entry in self.base.installed[self.base.builds[folder.name]].items():
            if path == layout.INSTALLED:
                assert json.loads(found[path][1])["build_id"] == folder.name
            else:
                assert path in found, path
                assert _comparable(path, found[path]) == _comparable(path, entry), path
        if layout.ENVIRONMENT in found:
            mode, text = found[layout.ENVIRONMENT]
            assert mode == 0o640
            assert json.loads(text)["STATIC_ROOT"] == str(self.static)

    def _check_live(self) -> None:
        """The live release has what it needs from elsewhere, and a visitor gets an answer."""
        import urllib.request

        name = self.current()
        assert name is not None
        live = self.root / "current"
        assert os.readlink(str(live)) == f"releases/{self.base.build(name)}"
        assert (live / layout.ENVIRONMENT).is_file()
        assert (live / PROJECT / "media").is_dir()
        for written in (self.static / f"{name}.css", self.static / f"{name}.txt"):
            content = written.read_bytes()
            assert (written.name, len(content), set(content)) == (written.name, STATIC_SIZE, set(name[:1].encode()))
        with urllib.request.urlopen(self.base.server.url, timeout=10) as answer:
            assert answer.status == 200
            assert answer.headers["X-Build-Id"] == self.base.build(name)

    def check_verified(self) -> None:
        """The verb ``verify`` finds nothing changed, missing or added in the live release."""
        found = drift.compare(os.path.realpath(str(self.root / "current")))
        assert found.clean, found

    def check_converged(self, name: str, expected: Sequence[str] = ("live", "previous")) -> None:
        """The same deployment run again makes *name* live whatever happened before, and leaves nothing behind."""
        assert json.loads(self.succeed(name, "deploy"))["release"] == self.base.build(name)
        assert self.current() == name
        assert sorted(self.states().values()) == list(expected)
        assert leftovers(self.root) == []
        self.check_whole()
        self.check_verified()
        assert json.loads(self.succeed(name, "deploy"))["changed"] is False


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    folder = tmp_path_factory.mktemp("power")
    problem = missing(folder)
    if problem:
        lacking(problem, "REQUIRE_POWER_CUT")
    names = ("one", "two", "three")
    artifacts = {name: make_site(folder / f"{name}.zip", name, manage=MANAGE) for name in names}
    point = folder / "disk"
    empty = Disk(folder / "empty.img", point)
    empty.format()
    environment = write_environment(folder / "environment.json", STATIC_ROOT=str(point / "static"))
    builds, installed = _installed(empty.copy(folder / "scratch.img"), artifacts)
    with serving_current(point / "srv") as server:
        bare = Base(folder, empty, empty, empty, empty, artifacts, builds, installed, environment, server)
        one = _deployed(bare, empty, "one")
        two = _deployed(bare, one, "two")
        yield bare._replace(one=one, two=two, three=_deployed(bare, two, "three"))
    for image in folder.glob("*.img"):
        image.unlink()


def _installed(scratch: Disk, artifacts: Dict[str, Path]) -> "Tuple[Dict[str, str], Dict[str, Tree]]":
    """Return the build id of each artifact, and what an installation as a release writes."""
    builds, trees = {}, {}
    with scratch.mounted() as point:
        for name, path in artifacts.items():
            with Artifact.open(str(path)) as artifact:
                build = artifact.manifest.build_id
                folder = point / "srv" / "releases" / build
                installation.install(artifact, str(folder), workers=1, sync=False)
            builds[build] = name
            trees[name] = read_tree(folder)
    return builds, trees


def _comparable(path: str, entry: Tuple[int, bytes]) -> Tuple[object, ...]:
    """Return what must be equal: of compiled code what it says, for each process may write it in another way.

    ``marshal`` marks what is referred to more than once, which depends on everything else that the process holds.
    """
    mode, content = entry
    if path.endswith(".pyc"):
        return mode, content[:PYC_HEADER], marshal.loads(content[PYC_HEADER:])
    return mode, content


def _deployed(base: Base, before: Disk, name: str) -> Disk:
    """Return a copy of the disk *before* with *name* deployed to it."""
    disk = before.copy(base.folder / f"{name}.img")
    with disk.mounted():
        Site(base, disk).succeed(name, "deploy")
    return disk


def cut(base: Base, disk: Disk, moment: Tuple[str, str], artifact: str, verb: str) -> None:
    """Run a command on *disk* until the power fails."""
    with disk.mounted():
        code, said = Site(base, disk).run(artifact, verb, moment=moment)
        assert code == -signal.SIGKILL, said


def events_by(moment: Tuple[str, str]) -> List[str]:
    """Return what the journal must tell of the new release when the power fails at *moment*."""
    return [event for event, written in RECORDED.items() if MOMENTS.index(written) <= MOMENTS.index(moment)]


@pytest.mark.parametrize("moment", MOMENTS, ids=" ".join)
def test_a_power_cut_at_any_step_leaves_a_whole_release_and_a_rerun_converges(
    base: Base, moment: Tuple[str, str]
) -> None:
    disk = base.one.copy(base.folder / "disk.img")
    cut(base, disk, moment, "two", "deploy")
    with disk.mounted():
        site = Site(base, disk)
        site.check_whole()
        # What a step has done, and the journal has told, was on the disk before the next one began.
        assert site.current() == ("two" if MOMENTS.index(moment) >= MOMENTS.index(SWITCHED) else "one")
        assert site.events("two") == events_by(moment)
        assert "bad" not in site.states().values()
        site.check_converged("two")


def test_a_power_cut_after_any_step_of_the_very_first_deployment_converges_too(base: Base) -> None:
    for moment in MOMENTS[1::2]:
        disk = base.empty.copy(base.folder / "disk.img")
        cut(base, disk, moment, "one", "deploy")
        with disk.mounted():
            site = Site(base, disk)
            site.check_whole()
            assert site.current() == ("one" if MOMENTS.index(moment) >= MOMENTS.index(SWITCHED) else None)
            assert site.events("one") == events_by(moment)
            site.check_converged("one", ["live"])


@pytest.mark.parametrize("moment", ROLLBACK_MOMENTS, ids=" ".join)
def test_a_power_cut_at_any_step_of_a_rollback_leaves_a_whole_release_and_a_rerun_goes_there(
    base: Base, moment: Tuple[str, str]
) -> None:
    disk = base.two.copy(base.folder / "disk.img")
    cut(base, disk, moment, "two", "rollback")
    with disk.mounted():
        site = Site(base, disk)
        site.check_whole()
        assert site.current() == ("one" if MOMENTS.index(moment) >= MOMENTS.index(SWITCHED) else "two")
        site.succeed("two", "rollback")
        assert site.states() == {"one": "live", "two": "bad"}
        site.check_whole()
        assert leftovers(site.root) == []


def test_what_was_reported_done_survives_a_power_cut_right_afterwards(base: Base) -> None:
    disk = base.one.copy(base.folder / "disk.img")
    history = [
        ("two", "deploy", [], {"one": "previous", "two": "live"}),
        ("three", "deploy", ["--keep", "2"], {"one": "gone", "two": "previous", "three": "live"}),
        ("three", "rollback", [], {"one": "gone", "two": "live", "three": "bad"}),
        ("one", "deploy", [], {"two": "previous", "three": "bad", "one": "live"}),
        ("one", "rollback", ["--not-bad"], {"two": "live", "three": "bad", "one": "previous"}),
        ("two", "prune", ["--keep", "1"], {"two": "live", "three": "bad", "one": "previous"}),
    ]
    for artifact, verb, more, expected in history:
        with disk.mounted() as point:
            Site(base, disk).succeed(artifact, verb, *more)
            cut_power(str(point))
        with disk.mounted():
            site = Site(base, disk)
            assert site.states() == expected, verb
            assert expected[str(site.current())] == "live"
            assert leftovers(site.root) == []
            site.check_whole()
            site.check_verified()


def test_an_installation_that_was_reported_done_survives_a_power_cut_right_afterwards(base: Base) -> None:
    disk = base.empty.copy(base.folder / "disk.img")
    with disk.mounted() as point:
        folder = point / "srv" / "releases" / base.build("one")
        command = [sys.executable, "-I", base.artifacts["one"], "-q", "-d", folder]
        run_cli(command)
        cut_power(str(point))
    with disk.mounted():
        Site(base, disk).check_release(folder)
        run_cli(command)
        assert os.listdir(str(folder.parent)) == [folder.name]


def test_an_environment_that_was_reported_live_is_not_taken_back_after_a_power_cut(base: Base, tmp_path: Path) -> None:
    disk = base.two.copy(base.folder / "disk.img")
    changed = write_environment(tmp_path / "environment.json", STATIC_ROOT=str(disk.point / "static"), NEW="value")
    base = base._replace(environment=changed)
    with disk.mounted() as point:
        Site(base, disk).succeed("two", "deploy")
        cut_power(str(point))
    with disk.mounted():
        site = Site(base, disk)
        assert json.loads((site.root / "current" / layout.ENVIRONMENT).read_text())["NEW"] == "value"
        assert site.states() == {"one": "previous", "two": "live"}
        assert json.loads(site.succeed("two", "deploy"))["changed"] is False


@pytest.mark.parametrize(
    ("before", "artifact", "verb", "more", "outcomes"),
    [
        ("one", "two", "deploy", (), ("one", "two")),
        ("empty", "one", "deploy", (), (None, "one")),
        ("two", "three", "deploy", ("--keep", "2"), ("two", "three")),
        ("two", "one", "rollback", (), ("two", "one")),
        ("three", "one", "prune", ("--keep", "2"), ("three",)),
    ],
    ids=["deploy", "first", "deploy and prune", "rollback", "prune"],
)
def test_a_power_cut_before_any_change_leaves_a_whole_release(
    base: Base,
    tmp_path: Path,
    before: str,
    artifact: str,
    verb: str,
    more: Tuple[str, ...],
    outcomes: Tuple[Optional[str], ...],
    stride: Callable[[int], int],
) -> None:
    disk = getattr(base, before).copy(base.folder / "disk.img")
    copies = tmp_path / "copies"
    copies.mkdir()
    with disk.mounted():
        site = Site(base, disk)
        script = [sys.executable, "-c", RECORD, str(PACKAGE), str(CHECKOUT), str(disk.point), str(disk.image)]
        words = [str(copies), str(base.artifacts[artifact]), CHANGES, *site.words(verb, *more)]
        done = subprocess.run([*script, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        final = site.states()
    found = []
    images = sorted(copies.iterdir())
    step = stride(6) if len(images) > _MANY else 1
    for number, image in enumerate([*images[:-_LAST:step], *images[-_LAST:]]):
        copy = Disk(image, disk.point)
        with copy.mounted():
            site = Site(base, copy)
            site.check_whole()
            found.append(site.current())
            if number % (12 // step) == 0 if verb == "deploy" else site.states() != final:
                site.succeed(artifact, verb, *more)
                assert site.current() == outcomes[-1]
                assert verb == "deploy" or site.states() == final
                site.check_whole()
                assert leftovers(site.root) == []
    for image in images:
        image.unlink()
    print(f"{done.stderr.split()[-1]} changes, {len(found)} of {len(images)} states of the disk between them")
    assert tuple(dict.fromkeys(found)) == outcomes  # once switched, it never goes back
    assert all(found.count(outcome) >= 2 for outcome in outcomes)
