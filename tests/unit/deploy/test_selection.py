"""What a rollback goes back to, what may be pruned, and the list of releases."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.deploy import journal, selection
from deployable_zipfile.deploy.releases import Root, release_target
from deployable_zipfile.errors import DeploymentError
from tests.support.depth import sampled
from tests.support.roots import add, ident, make_root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return make_root(tmp_path / "srv")


class TestRollbackTarget:
    def test_it_is_the_last_good_one_not_the_newest_folder(self, root: Root) -> None:
        first = add(root, 9, journal.LIVE)
        add(root, 5, journal.LIVE, switch=True)
        add(root, 7, journal.BAD)
        assert selection.rollback_target(root, None, force=False) == first

    def test_nothing_to_go_back_to_is_said(self, root: Root) -> None:
        add(root, 1, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="no earlier good release"):
            selection.rollback_target(root, None, force=False)

    def test_a_release_that_is_gone_from_the_disk_is_no_choice(self, root: Root) -> None:
        root.journal.append(journal.LIVE, release_target(ident(1)))
        add(root, 2, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="no earlier good release"):
            selection.rollback_target(root, None, force=False)

    def test_the_beginning_of_an_id_is_enough_when_it_fits_one(self, root: Root) -> None:
        one = add(root, 0xA << 124, journal.LIVE)
        add(root, 0xB << 124, journal.LIVE, switch=True)
        assert selection.rollback_target(root, "a000", force=False) == one

    @pytest.mark.parametrize(
        ("wanted", "why"), [("ffff", "not installed here"), ("0000", "more than one"), ("0", "more than one")]
    )
    def test_an_id_that_fits_none_or_several_names_the_choices(self, root: Root, wanted: str, why: str) -> None:
        add(root, 1, journal.LIVE)
        add(root, 2, journal.LIVE)
        add(root, 3, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match=why) as caught:
            selection.rollback_target(root, wanted, force=False)
        assert ident(2)[:12] in str(caught.value)

    def test_a_bad_one_is_taken_only_by_force(self, root: Root) -> None:
        bad = add(root, 1, journal.BAD)
        add(root, 2, journal.LIVE, switch=True)
        with pytest.raises(DeploymentError, match="marked bad"):
            selection.rollback_target(root, ident(1), force=False)
        assert selection.rollback_target(root, ident(1), force=True) == bad

    def test_one_that_was_cut_short_after_its_switch_goes_where_it_went(self, root: Root) -> None:
        one = add(root, 1, journal.LIVE)
        two = add(root, 2, journal.LIVE, switch=True)
        root.journal.append(journal.STARTED, one, verb="rollback", bad=True, **{"from": two})
        assert selection.rollback_target(root, None, force=False) == one
        root.switch(one)
        assert selection.rollback_target(root, None, force=False) == one
        assert selection.rollback_target(root, ident(1), force=False) == one
        assert selection.rollback_target(root, ident(2), force=False) == two

    def test_a_folder_made_by_hand_before_is_a_choice(self, root: Root) -> None:
        (root.path / "by-hand").mkdir()
        root.journal.append(journal.LIVE, "by-hand")
        add(root, 1, journal.LIVE, switch=True)
        assert selection.rollback_target(root, None, force=False) == "by-hand"


class TestPrune:
    def names(self, targets: List[str]) -> List[int]:
        return [int(target.rpartition("/")[2], 16) for target in targets]

    def test_it_keeps_the_newest_by_the_journal_not_by_the_clock(self, root: Root) -> None:
        for number in (5, 3, 4, 1, 2):
            add(root, number, journal.LIVE)
        root.switch(release_target(ident(2)))
        assert self.names(selection.prunable(root, 2, None, time.time())) == [5, 3, 4]

    def test_current_and_its_predecessor_stay_even_when_they_are_the_oldest(self, root: Root) -> None:
        for number in range(1, 6):
            add(root, number, journal.LIVE)
        for number in (1, 2):  # a rollback far back, then one release on
            root.journal.append(journal.LIVE, release_target(ident(number)))
        root.switch(release_target(ident(2)))
        assert self.names(selection.prunable(root, 1, None, time.time())) == [3, 4, 5]

    def test_many_failures_never_push_out_the_last_good_one(self, root: Root) -> None:
        add(root, 1, journal.LIVE)
        add(root, 2, journal.LIVE, switch=True)
        for number in range(3, 60):
            add(root, number, journal.BAD)
        gone = self.names(selection.prunable(root, 3, None, time.time()))
        assert gone == list(range(3, 59))  # the newest bad one is kept for inspection

    def test_unknown_names_are_never_touched(self, root: Root) -> None:
        add(root, 1, journal.LIVE, switch=True)
        (root.releases / "2019-01-01").mkdir()
        (root.releases / ident(2)).mkdir()
        assert selection.prunable(root, 1, 0.0, time.time()) == []

    def test_younger_than_the_age_stays(self, root: Root) -> None:
        for number in range(1, 5):
            add(root, number, journal.LIVE)
        root.switch(release_target(ident(4)))
        assert selection.prunable(root, 1, 60.0, time.time()) == []
        assert self.names(selection.prunable(root, 1, 60.0, time.time() + 120)) == [1, 2]

    @pytest.mark.parametrize("count", sampled([500, 5000], 1))
    def test_thousands_of_releases_are_sorted_out(self, root: Root, count: int) -> None:
        lines = []
        for number in range(count):
            folder = root.releases / ident(number) / ".deploy"
            folder.mkdir(parents=True)
            (folder / "installed.json").write_text("{}")
            record = {"time": "2026-01-01T00:00:00Z", "event": "live", "by": "a@b", "details": {}}
            lines.append(json.dumps(dict(record, release=release_target(ident(number)))))
        root.journal.path.write_text("\n".join(lines) + "\n")
        root.switch(release_target(ident(count - 1)))
        assert self.names(selection.prunable(root, 5, None, time.time())) == list(range(count - 5))


def test_the_list_says_what_each_release_is(root: Root) -> None:
    add(root, 1, journal.LIVE)
    add(root, 2, journal.LIVE)
    root.journal.append(journal.LIVE, release_target(ident(8)))
    add(root, 3, journal.BAD)
    add(root, 4, journal.INSTALLED)
    add(root, 5, journal.LIVE, switch=True)
    states = {int(row.release, 16): row.state for row in selection.listing(root)}
    assert states == {1: "good", 2: "previous", 8: "gone", 3: "bad", 4: "installed", 5: "live"}


def test_a_release_that_was_switched_to_but_not_proven_is_called_so(root: Root) -> None:
    add(root, 1, journal.LIVE)
    add(root, 2, journal.SWITCHED, switch=True)
    assert {row.state for row in selection.listing(root)} == {"previous", "unproven"}
