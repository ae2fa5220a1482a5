"""Folders, the switch, the choice of a rollback, pruning, the lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.deploy import journal, lock, releases
from deployable_zipfile.deploy.lock import locked
from deployable_zipfile.deploy.releases import Root, release_target
from deployable_zipfile.errors import DeploymentError, DestinationError


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path / "srv")
    made.create()
    return made


def ident(number: int) -> str:
    return f"{number:032x}"


def add(root: Root, number: int, event: str = "", switch: bool = False) -> str:
    """Put a complete release there, with one record."""
    folder = root.releases / ident(number)
    (folder / ".deploy").mkdir(parents=True)
    (folder / ".deploy" / "installed.json").write_text("{}")
    target = release_target(ident(number))
    if event:
        root.journal.append(event, target)
    if switch:
        root.switch(target)
    return target


def test_no_current_is_no_target(root: Root) -> None:
    assert root.target() is None


def test_the_switch_makes_a_relative_link(root: Root) -> None:
    target = add(root, 1, switch=True)
    assert os.readlink(str(root.current)) == target == f"releases/{ident(1)}"


def test_a_reader_never_meets_an_absent_or_foreign_link_while_it_is_switched(root: Root) -> None:
    targets = [add(root, number) for number in (1, 2)]
    root.switch(targets[0])
    stop, seen, failed = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(os.readlink(str(root.current)))
            except OSError as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(500):
        root.switch(targets[number % 2])
    stop.set()
    reader.join()
    assert failed == []
    assert seen <= set(targets)


def test_the_switch_survives_a_new_link_that_a_crash_left(root: Root) -> None:
    target = add(root, 1)
    os.symlink("nowhere", str(root.path / ".current.new"))
    root.switch(target)
    assert root.target() == target
    assert not os.path.lexists(str(root.path / ".current.new"))


def test_a_real_folder_in_the_place_of_current_is_refused(root: Root) -> None:
    root.current.mkdir()
    with pytest.raises(DestinationError, match="real folder"):
        root.switch(add(root, 1))
    assert root.current.is_dir()


def test_current_never_dangles(root: Root) -> None:
    target = add(root, 1, switch=True)
    with pytest.raises(DeploymentError, match="not a folder"):
        root.switch(release_target(ident(2)))
    assert root.target() == target


def test_half_an_installation_is_no_release(root: Root) -> None:
    (root.releases / ident(3)).mkdir()
    (root.releases / "notes").mkdir()
    assert root.installed() == []


def test_current_is_never_removed(root: Root) -> None:
    target = add(root, 1, switch=True)
    with pytest.raises(DeploymentError, match="not removed"):
        root.remove(target)
    with pytest.raises(DeploymentError, match="not removed"):
        root.remove("releases/notes")


def test_a_removal_cut_short_leaves_no_half_release_and_is_finished_later(root: Root) -> None:
    add(root, 1)
    os.rename(str(root.releases / ident(1)), str(root.releases / f".trash-{ident(1)}"))
    (root.releases / ".trash-of-somebody").mkdir()
    assert root.installed() == []
    root.empty_trash()
    assert sorted(os.listdir(str(root.releases))) == [".trash-of-somebody"]


class TestRollbackTarget:
    def test_it_is_the_last_good_one_not_the_newest_folder(self, root: Root) -> None:
        first = add(root, 9, journal.LIVE)
        add(root, 5, journal.LIVE, switch=True)
        add(root, 7, journal.BAD)
        assert releases.rollback_target(root, None, force=False) == first

    def test_nothing_to_go_back_to_is_said(self, root: Root) -> None:
        add(root, 1, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="no earlier good release"):
            releases.rollback_target(root, None, force=False)

    def test_a_release_that_is_gone_from_the_disk_is_no_choice(self, root: Root) -> None:
        root.journal.append(journal.LIVE, release_target(ident(1)))
        add(root, 2, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="no earlier good release"):
            releases.rollback_target(root, None, force=False)

    def test_the_beginning_of_an_id_is_enough_when_it_fits_one(self, root: Root) -> None:
        one = add(root, 0xA << 124, journal.LIVE)
        add(root, 0xB << 124, journal.LIVE, switch=True)
        assert releases.rollback_target(root, "a000", force=False) == one

    @pytest.mark.parametrize(
        ("wanted", "why"), [("ffff", "not installed here"), ("0000", "more than one"), ("0", "more than one")]
    )
    def test_an_id_that_fits_none_or_several_names_the_choices(self, root: Root, wanted: str, why: str) -> None:
        add(root, 1, journal.LIVE)
        add(root, 2, journal.LIVE)
        add(root, 3, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match=why) as caught:
            releases.rollback_target(root, wanted, force=False)
        assert ident(2)[:12] in str(caught.value)

    def test_a_bad_one_is_taken_only_by_force(self, root: Root) -> None:
        bad = add(root, 1, journal.BAD)
        add(root, 2, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="marked bad"):
            releases.rollback_target(root, ident(1), force=False)
        assert releases.rollback_target(root, ident(1), force=True) == bad

    def test_one_that_was_cut_short_after_its_switch_goes_where_it_went(self, root: Root) -> None:
        one = add(root, 1, journal.LIVE)
        two = add(root, 2, journal.LIVE, switch=True)
        root.journal.append(journal.STARTED, one, verb="rollback", bad=True, **{"from": two})
        assert releases.rollback_target(root, None, force=False) == one
        root.switch(one)
        assert releases.rollback_target(root, None, force=False) == one
        assert releases.rollback_target(root, ident(1), force=False) == one
        assert releases.rollback_target(root, ident(2), force=False) == two

    def test_a_folder_made_by_hand_before_is_a_choice(self, root: Root) -> None:
        (root.path / "by-hand").mkdir()
        root.journal.append(journal.LIVE, "by-hand")
        add(root, 1, journal.LIVE, switch=True)
        assert releases.rollback_target(root, None, force=False) == "by-hand"


class TestPrune:
    def names(self, targets: List[str]) -> List[int]:
        return [int(target.rpartition("/")[2], 16) for target in targets]

    def test_it_keeps_the_newest_by_the_journal_not_by_the_clock(self, root: Root) -> None:
        for number in (5, 3, 4, 1, 2):
            add(root, number, journal.LIVE)
        root.switch(release_target(ident(2)))
        assert self.names(releases.prunable(root, 2, None, time.time())) == [5, 3, 4]

    def test_current_and_its_predecessor_stay_even_when_they_are_the_oldest(self, root: Root) -> None:
        for number in range(1, 6):
            add(root, number, journal.LIVE)
        for number in (1, 2):  # a rollback far back, then one release on
            root.journal.append(journal.LIVE, release_target(ident(number)))
        root.switch(release_target(ident(2)))
        assert self.names(releases.prunable(root, 1, None, time.time())) == [3, 4, 5]

    def test_many_failures_never_push_out_the_last_good_one(self, root: Root) -> None:
        add(root, 1, journal.LIVE)
        add(root, 2, journal.LIVE, switch=True)
        for number in range(3, 60):
            add(root, number, journal.BAD)
        gone = self.names(releases.prunable(root, 3, None, time.time()))
        assert gone == list(range(3, 59))  # the newest bad one is kept for inspection

    def test_unknown_names_are_never_touched(self, root: Root) -> None:
        add(root, 1, journal.LIVE, switch=True)
        (root.releases / "2019-01-01").mkdir()
        (root.releases / ident(2)).mkdir()
        assert releases.prunable(root, 1, 0.0, time.time()) == []

    def test_younger_than_the_age_stays(self, root: Root) -> None:
        for number in range(1, 5):
            add(root, number, journal.LIVE)
        root.switch(release_target(ident(4)))
        assert releases.prunable(root, 1, 60.0, time.time()) == []
        assert self.names(releases.prunable(root, 1, 60.0, time.time() + 120)) == [1, 2]

    def test_five_thousand_releases_are_sorted_out(self, root: Root) -> None:
        lines = []
        for number in range(5000):
            folder = root.releases / ident(number) / ".deploy"
            folder.mkdir(parents=True)
            (folder / "installed.json").write_text("{}")
            record = {"time": "2026-01-01T00:00:00Z", "event": "live", "by": "a@b", "details": {}}
            lines.append(json.dumps(dict(record, release=release_target(ident(number)))))
        root.journal.path.write_text("\n".join(lines) + "\n")
        root.switch(release_target(ident(4999)))
        assert self.names(releases.prunable(root, 5, None, time.time())) == list(range(4995))


def test_the_list_says_what_each_release_is(root: Root) -> None:
    add(root, 1, journal.LIVE)
    add(root, 2, journal.LIVE)
    root.journal.append(journal.LIVE, release_target(ident(8)))
    add(root, 3, journal.BAD)
    add(root, 4, journal.INSTALLED)
    add(root, 5, journal.LIVE, switch=True)
    states = {int(row.release, 16): row.state for row in releases.listing(root)}
    assert states == {1: "good", 2: "previous", 8: "gone", 3: "bad", 4: "installed", 5: "live"}


def test_a_release_that_was_switched_to_but_not_proven_is_called_so(root: Root) -> None:
    add(root, 1, journal.LIVE)
    add(root, 2, journal.SWITCHED, switch=True)
    assert {row.state for row in releases.listing(root)} == {"previous", "unproven"}


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from deployable_zipfile.deploy.lock import locked
from deployable_zipfile.deploy import lock, releases
with locked(releases.Root(Path(sys.argv[2])).lock, "deploy", 0):
    print("held", flush=True)
    time.sleep(60)
"""

LEAVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from deployable_zipfile import process
from deployable_zipfile.deploy import lock, releases
from deployable_zipfile.deploy.lock import locked
with locked(releases.Root(Path(sys.argv[2])).lock, "deploy", 0) as lock:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    words = [sys.executable, "-c", program]
    process.run(words, 60, log=lambda text: print(text, end="", flush=True), started=lock.note)
"""


class TestLock:
    def hold(self, root: Root) -> "subprocess.Popen[str]":
        package = str(Path(releases.__file__).parents[2])
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, package, str(root.path)], stdout=subprocess.PIPE, universal_newlines=True
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    def end(self, holder: "subprocess.Popen[str]") -> None:
        holder.kill()
        holder.communicate()

    def test_the_second_is_told_who_holds_it(self, root: Root) -> None:
        holder = self.hold(root)
        with pytest.raises(DeploymentError, match=rf"held by deploy of .*process {holder.pid}, for \d+ s"), locked(
            root.lock, "rollback", 0
        ):
            pass
        self.end(holder)

    def test_a_killed_holder_holds_nothing(self, root: Root) -> None:
        self.end(self.hold(root))
        with locked(root.lock, "deploy", 0):
            assert json.loads(root.lock.read_text())["pid"] == os.getpid()
        assert root.lock.read_text() == ""

    def test_waiting_gets_it_when_the_holder_ends(self, root: Root) -> None:
        holder = self.hold(root)
        threading.Timer(0.1, holder.kill).start()
        with locked(root.lock, "deploy", 30):
            pass
        holder.communicate()

    def test_a_command_that_outlives_its_killed_deployment_keeps_the_next_one_out(self, root: Root) -> None:
        package = str(Path(releases.__file__).parents[2])
        holder = subprocess.Popen([sys.executable, "-c", LEAVE, package, str(root.path)], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        self.end(holder)  # type: ignore[arg-type]
        try:
            with pytest.raises(DeploymentError, match=f"which is gone, but its command {child} still runs"), locked(
                root.lock, "deploy", 0
            ):
                pass
        finally:
            os.killpg(child, 9)
        for _ in range(200):
            if not lock._runs(json.loads(root.lock.read_text())):
                break
            time.sleep(0.02)
        with locked(root.lock, "deploy", 0):
            pass

    def test_a_number_that_belongs_to_another_process_by_now_keeps_nobody_out(self, root: Root) -> None:
        note = {"command": os.getpid(), "started": "1", "boot": lock._boot()}
        root.lock.write_text(json.dumps(note))
        with locked(root.lock, "deploy", 0):
            pass

    @pytest.mark.parametrize("text", ["[]", "{", '{"command": "x"}', '{"command": 1, "boot": "another"}'])
    def test_a_file_that_says_anything_else_keeps_nobody_out(self, root: Root, text: str) -> None:
        root.lock.write_text(text)
        with locked(root.lock, "deploy", 0):
            pass

    def test_a_fifo_in_its_place_is_refused_at_once(self, root: Root) -> None:
        os.mkfifo(str(root.lock))
        with pytest.raises(DestinationError, match="not a regular file"), locked(root.lock, "deploy", 0):
            pass
