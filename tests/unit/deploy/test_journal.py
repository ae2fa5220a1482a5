"""The journal: whole records, in order, whatever a crash left at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from deployable_zipfile.deploy import journal
from deployable_zipfile.deploy.journal import Journal, history
from deployable_zipfile.errors import DeploymentError


@pytest.fixture
def books(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def test_an_absent_file_is_an_empty_journal(books: Journal) -> None:
    assert books.read() == []


def test_what_was_written_is_read_in_the_same_order(books: Journal) -> None:
    written = [books.append(journal.STARTED, "releases/a"), books.append(journal.LIVE, "releases/a", verb="deploy")]
    assert books.read() == written
    assert "@" in written[0].by
    assert written[1].details == {"verb": "deploy"}


def test_a_torn_last_line_is_left_out_and_overwritten_by_the_next_record(books: Journal) -> None:
    whole = books.append(journal.STARTED, "releases/a")
    for torn in (b'{"time": "20', b"\0" * 40, b"\0" * 40 + b"\n", b"{}\n"):
        good = books.path.read_bytes()
        books.path.write_bytes(good + torn)
        assert books.read()[0] == whole
        before = len(books.read())
        books.append(journal.BAD, "releases/b")
        assert len(books.read()) == before + 1
        assert torn.strip(b"\n") not in books.path.read_bytes() or torn == b"{}\n"


def test_every_cut_of_the_file_reads_as_the_records_before_the_cut(books: Journal) -> None:
    for number in range(3):
        books.append(journal.STARTED, f"releases/{number}")
    whole, records = books.path.read_bytes(), books.read()
    for size in range(len(whole) + 1):
        books.path.write_bytes(whole[:size])
        assert books.read() == records[: whole[:size].count(b"\n")]


def test_damage_in_the_middle_is_named_by_its_line(books: Journal) -> None:
    for number in range(3):
        books.append(journal.STARTED, f"releases/{number}")
    lines = books.path.read_bytes().splitlines(keepends=True)
    books.path.write_bytes(lines[0] + b"garbage\n" + lines[2])
    with pytest.raises(DeploymentError, match="line 2 is not a record"):
        books.read()


def test_a_record_survives_a_line_feed_in_a_detail(books: Journal) -> None:
    books.append(journal.BAD, "releases/a", why="first\nsecond \u2028 third")
    assert books.read()[0].details["why"] == "first\nsecond \u2028 third"


def test_an_unknown_event_is_a_mistake_of_the_caller(books: Journal) -> None:
    with pytest.raises(ValueError, match="celebrated"):
        books.append("celebrated", "releases/a")


def test_a_journal_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(DeploymentError, match="cannot be"):
        Journal(tmp_path / "journal.jsonl").append(journal.STARTED, "releases/a")


def test_history_knows_what_was_proven_and_what_is_bad(books: Journal) -> None:
    books.append(journal.LIVE, "a", options={"keep": 3})
    books.append(journal.LIVE, "b")
    books.append(journal.BAD, "c", why="health")
    books.append(journal.RETURNED, "b")
    known = history(books.read())
    assert known.proven == ["a", "b"]
    assert known.bad == {"c": "health"}
    assert known.options == {"keep": 3}
    assert known.previous("b") == ["a"]
    assert known.previous("c") == ["b", "a"]


def test_a_bad_release_that_is_proven_later_is_good_again(books: Journal) -> None:
    books.append(journal.BAD, "a", why="the database was away")
    books.append(journal.LIVE, "a")
    assert history(books.read()).bad == {}


def test_a_pruned_release_is_no_choice_any_more(books: Journal) -> None:
    books.append(journal.LIVE, "a")
    books.append(journal.LIVE, "b")
    books.append(journal.PRUNED, "a")
    assert history(books.read()).previous("b") == []


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
    books: Journal, events: List[Tuple[str, str]], unfinished: bool
) -> None:
    books.append(journal.STARTED, "a", verb="rollback", bad=True, **{"from": "b"})
    for event, release in events:
        books.append(event, release)
    begun = history(books.read()).unfinished
    assert (begun is not None) is unfinished
    assert begun is None or (begun.release, begun.details["from"]) == ("a", "b")


@pytest.mark.parametrize("details", [{}, {"bad": False}])
def test_a_rollback_that_marks_nothing_ends_with_its_proof(books: Journal, details: Dict[str, bool]) -> None:
    books.append(journal.STARTED, "a", verb="rollback", **details)
    books.append(journal.LIVE, "a")
    assert history(books.read()).unfinished is None
