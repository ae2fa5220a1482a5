"""The folders of a site, and the switch."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from deployable_zipfile.deploy.releases import Root, release_target
from deployable_zipfile.errors import DeploymentError, DestinationError
from tests.support.roots import add, ident, make_root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_root(tmp_path / "srv")


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
