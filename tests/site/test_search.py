"""The search page."""

from __future__ import annotations

import pytest
from django.test import Client
from home.models import GuidePage

from tests.site.conftest import text_of


def search(client: Client, query: str) -> str:
    answer = client.get("/search/", {"query": query})
    assert answer.status_code == 200
    return text_of(answer)


def test_a_word_from_the_body_of_a_guide_finds_it(client: Client) -> None:
    page = search(client, "odometer") + search(client, "workshop")
    assert "0 pages found for “odometer”" in page
    assert "1 page found for “workshop”" in page
    assert 'href="/guides/repair-estimates/"' in page


def test_words_in_any_order_and_case_find_the_page(client: Client) -> None:
    assert "Before you rent a flat" in search(client, "LEASE ten minutes reads".replace("reads", ""))
    assert "Ending a subscription in time" in search(client, "subscription: ending?")


def test_an_unpublished_guide_is_not_found(client: Client) -> None:
    GuidePage.objects.get(slug="repair-estimates").unpublish()
    assert "0 pages found" in search(client, "workshop")


def test_results_show_the_summary_of_what_was_found(client: Client) -> None:
    assert GuidePage.objects.get(slug="parcel-lost").summary in search(client, "carrier")


def test_without_a_query_there_is_a_form_and_no_result(client: Client) -> None:
    page = text_of(client.get("/search/"))
    assert 'name="query"' in page
    assert "found" not in page


@pytest.mark.parametrize(
    "query",
    [
        '"', "'", '"open', "it's", "(", ")", "NEAR(", "a AND", "NOT", "*", "par*", "-", "+", ":", "title:x", "^", "\\",
        "%", "_", ";", "!!", "&", "|", "<->", "\U0001f600", "ä", "{title}", "'; DROP TABLE x; --", "x" * 200,
    ],
)  # fmt: skip
def test_nothing_that_people_type_ends_in_an_error(client: Client, query: str) -> None:
    assert "found for" in search(client, query)


@pytest.mark.parametrize("query", ["", "   ", "\u2028", "\x00", "x\x00y", "x" * 201])
def test_empty_overlong_and_binary_queries_are_refused_in_words(client: Client, query: str) -> None:
    assert "Please type between 1 and 200 characters." in search(client, query)


def test_markup_in_a_query_is_shown_as_text(client: Client) -> None:
    page = search(client, '<script>alert("x")</script>')
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_many_results_come_in_pages_that_keep_the_query(client: Client) -> None:
    parent = GuidePage.objects.first().get_parent()
    for number in range(12):
        parent.add_child(
            instance=GuidePage(
                title=f"Zebra {number}", slug=f"zebra-{number}", summary="x", reviewed_on="2026-01-01", body=[]
            )
        )
    page = search(client, "zebra")
    assert "12 pages found" in page
    assert 'href="?query=zebra&amp;page=2"' in page
    assert text_of(client.get("/search/?query=zebra&page=2")).count("Zebra") == 2


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/search/", {"query": "x"}).status_code == 405
