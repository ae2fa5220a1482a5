"""A release that is complete by its record and cannot run: refused before anything is touched, mended with --force."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from deployable_zipfile.install import drift
from tests.support.depth import sampled
from tests.support.sites import Host, leftovers

pytestmark = pytest.mark.usefixtures("without_commands")


def interpreter(release: Path) -> None:
    (release / "venv/bin/python").unlink()
    (release / "venv/bin/python").symlink_to("/gone/python3")


def configuration(release: Path) -> None:
    (release / "venv/pyvenv.cfg").write_text("home = /gone\n")


def activation(release: Path) -> None:
    (release / "venv/bin/activate").write_text("")


DAMAGES = [interpreter, configuration, activation]


@pytest.mark.parametrize("damage", sampled(DAMAGES, DAMAGES[:1]))
def test_a_live_release_that_cannot_run_is_named_and_mended(damage: Callable[[Path], None], host: Host) -> None:
    first = host.live("one", "--shared", "media=version.d")
    release = host.root / "releases" / first
    environment = (release / "environment.json").read_bytes()
    damage(release)
    for words in ((), ("--dry-run",)):
        assert host.deploy("one", "--shared", "media=version.d", *words) == 5
        assert "cannot run: " in host.error()
        assert "Deploy its artifact with --force" in host.error()
    assert host.deploy("one", "--shared", "media=version.d", "--force") == 0, host.err
    assert host.current() == first
    assert drift.compare(str(release)).clean
    assert (release / "environment.json").read_bytes() == environment
    assert (release / "version.d").resolve() == host.root / "shared/media"
    assert leftovers(host.root) == []


def test_force_installs_again_what_was_edited_below_the_project(host: Host) -> None:
    first = host.live("one")
    release = host.root / "releases" / first
    (release / "site_one/version.txt").write_text("edited")
    assert host.deploy("one") == 0, host.err
    assert not drift.compare(str(release)).clean
    assert host.deploy("one", "--force") == 0, host.err
    assert drift.compare(str(release)).clean


def test_force_leaves_a_sound_release_where_it_is(host: Host) -> None:
    first = host.live("one")
    release = host.root / "releases" / first
    (release / "site_one/uploads.txt").write_text("mine")
    before = os.stat(str(release)).st_ino
    assert host.deploy("one", "--force") == 0, host.err
    assert os.stat(str(release)).st_ino == before


@pytest.mark.parametrize("damage", sampled(DAMAGES, DAMAGES[:1]))
def test_a_rollback_does_not_go_to_a_release_that_cannot_run(damage: Callable[[Path], None], host: Host) -> None:
    first, second = host.given("one", "two")
    damage(host.root / "releases" / first)
    for words in ((), ("--dry-run",), (first,)):
        assert host.verb("two", "rollback", *host.health, *words) == 5
        assert "cannot run: " in host.error()
        assert host.current() == second
        assert host.states()[first] != "bad"
    assert host.deploy("one", "--force") == 0, host.err
    assert host.current() == first


def test_a_file_of_somebody_else_keeps_the_damaged_release(host: Host) -> None:
    first, second = host.given("one", "two")
    release = host.root / "releases" / first
    configuration(release)
    (release / "site_one/uploads.txt").write_text("mine")
    assert host.deploy("one", "--force") == 5
    assert "the installation did not write site_one/uploads.txt" in host.error()
    assert (release / "site_one/uploads.txt").read_text() == "mine"
    assert host.current() == second
