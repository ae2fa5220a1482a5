"""Where root works, nobody else may change anything: every folder on the way is looked at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest

from deployable_zipfile.errors import DestinationError
from deployable_zipfile.install.ownership import check_folder

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the traps are set for root")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "srv" / "site"
    path.mkdir(parents=True)
    return path


def test_a_folder_of_root_below_tmp_is_good(place: Path) -> None:
    check_folder(str(place))
    check_folder(str(place / "not" / "made" / "yet"))


def own(path: Path) -> None:
    os.chown(str(path), NOBODY, NOBODY)


def open_to_group(path: Path) -> None:
    path.chmod(0o775)


def open_to_all(path: Path) -> None:
    path.chmod(0o777)


@pytest.mark.parametrize("spoil", [own, open_to_group, open_to_all])
@pytest.mark.parametrize("above", [0, 1])
@pytest.mark.parametrize("inner", ["", "not/made/yet"])
def test_a_foreign_or_open_folder_anywhere_on_the_way_is_refused(
    place: Path, spoil: Callable[[Path], None], above: int, inner: str
) -> None:
    spoiled = [place, *place.parents][above]
    spoil(spoiled)
    with pytest.raises(DestinationError) as caught:
        check_folder(str(place / inner))
    assert str(spoiled) in str(caught.value)


def test_a_sticky_folder_is_good_above_what_root_owns_and_bad_as_the_place_itself(place: Path) -> None:
    place.parent.chmod(0o1777)
    check_folder(str(place))
    own(place)
    with pytest.raises(DestinationError, match="belongs to user nobody"):
        check_folder(str(place))
    os.chown(str(place), 0, 0)
    place.chmod(0o1777)
    with pytest.raises(DestinationError, match="others may write"):
        check_folder(str(place))


def test_a_sticky_folder_of_another_user_protects_nothing(place: Path) -> None:
    place.parent.chmod(0o1777)
    own(place.parent)
    with pytest.raises(DestinationError, match="belongs to"):
        check_folder(str(place))


def test_links_are_followed_and_what_they_pass_counts(place: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "back").symlink_to("../srv")
    (tmp_path / "way").symlink_to(tmp_path / "foreign" / "back")
    check_folder(str(tmp_path / "way" / "site"))
    own(tmp_path / "foreign")
    with pytest.raises(DestinationError, match="foreign"):
        check_folder(str(tmp_path / "way" / "site"))


def test_a_link_of_another_user_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(place)
    os.chown(str(tmp_path / "way"), NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(DestinationError, match="chown -h root"):
        check_folder(str(tmp_path / "way"))


@pytest.mark.parametrize("spoil", [own, open_to_group])
def test_names_inside_are_looked_at_too(place: Path, spoil: Callable[[Path], None]) -> None:
    check_folder(str(place), "releases")
    (place / "releases").mkdir()
    check_folder(str(place), "releases")
    spoil(place / "releases")
    with pytest.raises(DestinationError, match="releases"):
        check_folder(str(place), "releases")


def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    check_folder(str(tmp_path / "one"))


def test_another_user_is_free(place: Path) -> None:
    place.chmod(0o777)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setuid(NOBODY)
            check_folder(str(place))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
