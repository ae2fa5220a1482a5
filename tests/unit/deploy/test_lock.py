"""One at a time: the lock of a root."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.deploy import lock, releases
from deployable_zipfile.deploy.lock import locked
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
