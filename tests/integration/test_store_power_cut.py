"""The power fails while a store is filled: every entry and installation that is there afterwards is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployable_zipfile import extract
from deployable_zipfile.install import drift
from deployable_zipfile.install.store import Store, is_store
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.disks import Disk, missing
from tests.support.helpers import make_wheel, run_cli
from tests.support.machine import lacking

PACKAGE = Path(extract.__file__).parents[1]
CHECKOUT = Path(__file__).parents[2]

# Installs, and cuts the power before one call of a function that changes a name.
CUT = """
import os, signal, sys
sys.path[:0] = sys.argv[1:3]
from deployable_zipfile import durable, extract
from tests.support.disks import cut_power
point, name, at, archive = sys.argv[3:7]
calls = 0
module = durable if hasattr(durable, name) else os
real = getattr(module, name)
def call(*arguments, **options):
    global calls
    calls += 1
    if calls == int(at):
        cut_power(point)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(module, name, call)
sys.exit(extract.main(sys.argv[7:], archive))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    reason = missing(tmp_path)
    if reason:
        lacking(reason, "REQUIRE_POWER_CUT")
    made = Disk(tmp_path / "disk.img", tmp_path / "disk")
    made.format()
    return made


@pytest.mark.parametrize("name", ["rename", "sync_file_system", "sync_folder", "link"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_after_a_power_cut_the_store_holds_whole_entries_only(name: str, at: int, disk: Disk, tmp_path: Path) -> None:
    wheels = [simple_wheel(tmp_path), make_wheel(tmp_path, "beta", "1.0", {"beta/data": os.urandom(300_000)})]
    site = make_artifact(tmp_path / "site.zip", {"__init__.py": ""}, wheels)
    with disk.mounted() as point:
        words = ["-d", point / "dest", "--store", point / "store", "--workers", "1"]
        command = [sys.executable, "-c", CUT, PACKAGE, CHECKOUT, point, name, at, site, *words]
        cut = subprocess.run(list(map(str, command)), check=False, capture_output=True, timeout=120)
        # 5: it was the process that writes out early, and the installation met a disk that is gone.
        assert cut.returncode in (0, 5, -signal.SIGKILL), cut.stderr
    with disk.mounted() as point:
        store = Store(str(point / "store"))
        if is_store(store.path):
            assert store.drift().clean
        if (point / "dest").exists():
            assert drift.compare(str(point / "dest")).clean
        run_cli([sys.executable, site, *words])
        assert store.drift().clean
        assert drift.compare(str(point / "dest")).clean
        assert len(store.names()) == 2
