"""One at a time: the lock of a root."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from deployable_zipfile import durable
from deployable_zipfile.deploy import lock, releases
from deployable_zipfile.deploy.journal import whoami
from deployable_zipfile.deploy.lock import Lock, locked
from deployable_zipfile.deploy.releases import Root
from deployable_zipfile.errors import DeploymentError, DestinationError
from tests.support.roots import make_root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_root(tmp_path / "srv")


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from typing import List
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
from typing import List
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

    @pytest.fixture
    def held(self, root: Root) -> Iterator[int]:
        """The lock's file, open and locked, as by a process that has written nothing yet."""
        descriptor = os.open(str(root.lock), os.O_RDWR | os.O_CREAT, 0o640)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
        os.close(descriptor)

    def refused(self, root: Root) -> str:
        with pytest.raises(DeploymentError) as caught, locked(root.lock, "deploy", 0):
            pass
        return caught.value.why

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
        assert root.lock.read_text().strip() == ""

    def test_waiting_gets_it_when_the_holder_ends(self, root: Root) -> None:
        holder = self.hold(root)
        threading.Timer(0.1, holder.kill).start()
        with locked(root.lock, "deploy", 30):
            pass
        holder.communicate()

    def test_who_waits_is_told_once_and_at_once_for_whom(self, root: Root) -> None:
        holder, told = self.hold(root), []

        def tell(text: str) -> None:
            told.append(text)
            threading.Timer(0.2, holder.kill).start()  # not before it was told

        with locked(root.lock, "rollback", 30, tell):
            pass
        holder.communicate()
        assert len(told) == 1
        assert re.fullmatch(
            rf"Waiting up to 30 s: {root.lock} is held by deploy of .* \(process {holder.pid}, for \d+ s\)", told[0]
        )

    def test_who_need_not_or_will_not_wait_is_told_nothing(self, root: Root) -> None:
        told: List[str] = []
        with locked(root.lock, "deploy", 30, told.append), pytest.raises(
            DeploymentError, match="is held by deploy"
        ), locked(root.lock, "prune", 0, told.append):
            pass
        assert told == []

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

    def test_a_command_of_a_holder_that_is_there_does_not_make_it_gone(self, root: Root) -> None:
        package = str(Path(releases.__file__).parents[2])
        holder = subprocess.Popen([sys.executable, "-c", LEAVE, package, str(root.path)], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(DeploymentError, match=rf"\(process {holder.pid}, for \d+ s\)\. Wait"), locked(
                root.lock, "deploy", 0
            ):
                pass
        finally:
            self.end(holder)  # type: ignore[arg-type]
            os.killpg(child, 9)

    def test_a_number_that_belongs_to_another_process_by_now_keeps_nobody_out(self, root: Root) -> None:
        note = {"command": os.getpid(), "started": "1", "boot": lock._boot()}
        root.lock.write_text(json.dumps(note) + "\n")
        with locked(root.lock, "deploy", 0):
            pass

    @pytest.mark.parametrize("text", ["[]", "{", '{"command": "x"}', '{"command": 1, "boot": "another"}'])
    def test_a_file_that_says_anything_else_keeps_nobody_out(self, root: Root, text: str) -> None:
        root.lock.write_text(f"{text}\n")
        with locked(root.lock, "deploy", 0):
            pass

    def is_named_late(self, root: Root, held: int, verb: str) -> None:
        """Let the holder write its name after a moment, and check that it is told."""
        writing = threading.Timer(0.2, Lock(held, verb).begin)
        writing.start()
        assert self.refused(root).startswith(f"is held by {verb} of {whoami()} (process {os.getpid()}, for ")
        writing.join()

    def test_a_holder_that_writes_late_is_named(self, root: Root, held: int) -> None:
        """Others see the lock taken a moment before they can read by whom."""
        self.is_named_late(root, held, "deploy")

    @pytest.mark.parametrize("ends", [0, 1, 40, -2])
    def test_a_note_is_repeated_only_when_it_is_whole(self, root: Root, held: int, ends: int) -> None:
        Lock(held, "deploy").begin()
        whole = root.lock.read_text()
        root.lock.write_text(whole[:ends])
        writing = threading.Timer(0.2, root.lock.write_text, (whole,))
        writing.start()
        assert self.refused(root).startswith("is held by deploy of ")
        writing.join()

    def test_a_holder_that_never_writes_is_another_process(
        self, root: Root, held: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(durable, "_NAMING", 0.2)
        assert self.refused(root) == "is held by another process"

    @pytest.mark.parametrize(
        "former",
        [{"pid": "dead"}, {"began": "1"}, {"boot": "another"}, {"pid": "dead", "began": None}],
        ids=["ended", "its number was given away", "before the machine started", "written by an older version"],
    )
    def test_the_note_of_a_former_holder_is_not_repeated(
        self, root: Root, held: int, monkeypatch: pytest.MonkeyPatch, former: Dict[str, Any]
    ) -> None:
        """It was killed, and who has the lock now is about to write."""
        monkeypatch.setattr(durable, "_NAMING", 0.2)
        dead = subprocess.Popen(["true"])
        dead.wait()
        Lock(held, "deploy").begin()
        note = {**json.loads(root.lock.read_text()), **former}
        note = {name: dead.pid if value == "dead" else value for name, value in note.items() if value is not None}
        root.lock.write_text(json.dumps(note) + "\n")
        assert self.refused(root) == "is held by another process"
        monkeypatch.undo()
        self.is_named_late(root, held, "rollback")

    def test_the_note_of_an_older_version_that_runs_is_repeated(self, root: Root, held: int) -> None:
        Lock(held, "deploy").begin()
        note = json.loads(root.lock.read_text())
        del note["began"]
        root.lock.write_text(json.dumps(note) + "\n")
        assert self.refused(root).startswith("is held by deploy of ")

    @pytest.mark.parametrize("elsewhere", [{"by": "root@another"}, {"began": ""}], ids=["host", "no /proc"])
    def test_a_note_that_cannot_be_checked_is_repeated_when_it_stays(
        self, root: Root, held: int, monkeypatch: pytest.MonkeyPatch, elsewhere: Dict[str, Any]
    ) -> None:
        monkeypatch.setattr(durable, "_NAMING", 0.2)
        Lock(held, "deploy").begin()
        note = {**json.loads(root.lock.read_text()), "pid": 1, **elsewhere}
        root.lock.write_text(json.dumps(note) + "\n")
        assert self.refused(root).startswith(f"is held by deploy of {note['by']} (process 1, for ")
        monkeypatch.undo()
        self.is_named_late(root, held, "rollback")

    def test_a_holder_that_ends_before_it_is_named_is_waited_for(self, root: Root, held: int) -> None:
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        with locked(root.lock, "deploy", 0, lambda text: pytest.fail(text)):
            assert json.loads(root.lock.read_text())["pid"] == os.getpid()

    def test_a_fifo_in_its_place_is_refused_at_once(self, root: Root) -> None:
        os.mkfifo(str(root.lock))
        with pytest.raises(DestinationError, match="not a regular file"), locked(root.lock, "deploy", 0):
            pass
