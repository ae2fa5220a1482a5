"""The journal: whole records, in order, whatever a crash left at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from deployable_zipfile.deploy import journal
from deployable_zipfile.deploy.journal import Journal, history
from deployable_zipfile.errors import DeploymentError


@pytest.fixture
def log(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def test_an_absent_file_is_an_empty_journal(log: Journal) -> None:
    assert log.read() == []


def test_what_was_written_is_read_in_the_same_order(log: Journal) -> None:
    written = [log.append(journal.STARTED, "releases/a"), log.append(journal.LIVE, "releases/a", verb="deploy")]
    assert log.read() == written
    assert "@" in written[0].by
    assert written[1].details == {"verb": "deploy"}


def test_a_torn_last_line_is_left_out_and_overwritten_by_the_next_record(log: Journal) -> None:
    whole = log.append(journal.STARTED, "releases/a")
    for torn in (b'{"time": "20', b"\0" * 40, b"\0" * 40 + b"\n", b"{}\n"):
        good = log.path.read_bytes()
        log.path.write_bytes(good + torn)
        assert log.read()[0] == whole
        before = len(log.read())
        log.append(journal.BAD, "releases/b")
        assert len(log.read()) == before + 1
        assert torn.strip(b"\n") not in log.path.read_bytes() or torn == b"{}\n"


def test_every_cut_of_the_file_reads_as_the_records_before_the_cut(log: Journal) -> None:
    for number in range(3):
        log.append(journal.STARTED, f"releases/{number}")
    whole, records = log.path.read_bytes(), log.read()
    for size in range(len(whole) + 1):
        log.path.write_bytes(whole[:size])
        assert log.read() == records[: whole[:size].count(b"\n")]


def test_damage_in_the_middle_is_named_by_its_line(log: Journal) -> None:
    for number in range(3):
        log.append(journal.STARTED, f"releases/{number}")
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(DeploymentError, match="line 2 is not a record"):
        log.read()


def test_a_record_survives_a_line_feed_in_a_detail(log: Journal) -> None:
    log.append(journal.BAD, "releases/a", why="first\nsecond \u2028 third")
    assert log.read()[0].details["why"] == "first\nsecond \u2028 third"


def test_an_unknown_event_is_a_mistake_of_the_caller(log: Journal) -> None:
    with pytest.raises(ValueError, match="celebrated"):
        log.append("celebrated", "releases/a")


def test_a_journal_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(DeploymentError, match="cannot be"):
        Journal(tmp_path / "journal.jsonl").append(journal.STARTED, "releases/a")


def test_history_knows_what_was_proven_and_what_is_bad(log: Journal) -> None:
    log.append(journal.LIVE, "a", options={"keep": 3})
    log.append(journal.LIVE, "b")
    log.append(journal.BAD, "c", why="health")
    log.append(journal.RETURNED, "b")
    known = history(log.read())
    assert known.proven == ["a", "b"]
    assert known.bad == {"c": "health"}
    assert known.options == {"keep": 3}
    assert known.previous("b") == ["a"]
    assert known.previous("c") == ["b", "a"]


def test_a_bad_release_that_is_proven_later_is_good_again(log: Journal) -> None:
    log.append(journal.BAD, "a", why="the database was away")
    log.append(journal.LIVE, "a")
    assert history(log.read()).bad == {}


def test_a_pruned_release_is_no_choice_any_more(log: Journal) -> None:
    log.append(journal.LIVE, "a")
    log.append(journal.LIVE, "b")
    log.append(journal.PRUNED, "a")
    assert history(log.read()).previous("b") == []


@pytest.mark.parametrize(
    ("events", "unfinished"),
    [
        ([], True),
        ([(journal.SWITCHED, "a")], True),
        ([(journal.SWITCHED, "a"), (journal.LIVE, "a")], True),  # "b" is not marked yet
        ([(journal.SWITCHED, "a"), (journal.LIVE, "a"), (journal.BAD, "b")], False),
        ([(journal.BAD, "a")], False),
        ([(journal.RETURNED, "b")], False),
        ([(journal.INTERRUPTED, "a")], False),
        ([(journal.STARTED, "c")], False),
    ],
)
def test_history_knows_a_rollback_that_was_cut_short(
    log: Journal, events: List[Tuple[str, str]], unfinished: bool
) -> None:
    log.append(journal.STARTED, "a", verb="rollback", bad=True, **{"from": "b"})
    for event, release in events:
        log.append(event, release)
    begun = history(log.read()).unfinished
    assert (begun is not None) is unfinished
    assert begun is None or (begun.release, begun.details["from"]) == ("a", "b")


@pytest.mark.parametrize("details", [{}, {"bad": False}])
def test_a_rollback_that_marks_nothing_ends_with_its_proof(log: Journal, details: Dict[str, bool]) -> None:
    log.append(journal.STARTED, "a", verb="rollback", **details)
    log.append(journal.LIVE, "a")
    assert history(log.read()).unfinished is None
