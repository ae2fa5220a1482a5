"""What a visitor sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import List

import pytest
from django.contrib.staticfiles.finders import find
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from home.models import GuideIndexPage, GuidePage
from wagtail.models import Page

from tests.site.conftest import text_of


def addresses() -> List[str]:
    return [page.url for page in Page.objects.live().filter(depth__gt=1)]


def test_every_page_of_the_demonstration_answers_with_one_main_heading_and_a_title(client: Client) -> None:
    assert len(addresses()) == 10
    for address in addresses():
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert text_of(answer).count("<h1") == 1, address
        assert re.search(r"<title>[^<]*Plain Terms Office</title>", text_of(answer)), address


def test_the_home_page_leads_to_the_newest_guides_and_shows_the_menu(client: Client) -> None:
    page = text_of(client.get("/"))
    guides = GuidePage.objects.order_by("-reviewed_on")
    assert [page.index(guide.url) for guide in guides] == sorted(page.index(guide.url) for guide in guides)
    for address in ("/guides/", "/about/", "/contact/"):
        assert f'<a href="{address}"' in page


def test_a_guide_renders_each_kind_of_block(client: Client) -> None:
    page = text_of(client.get("/guides/before-you-rent/"))
    assert "<h2>The lines that matter</h2>" in page
    assert '<ol class="steps">' in page
    assert 'alt="A magnifying glass over the last lines of a contract"' in page
    assert "callout--tip" in page
    assert "<li>Who reads the meters, and on which day?</li>" in page
    assert "<blockquote>" in text_of(client.get("/guides/repair-estimates/"))


def test_reading_pages_writes_nothing_to_the_database(client: Client) -> None:
    for address in [*addresses(), "/search/?query=deposit", "/nope/"]:
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        written = [query["sql"] for query in queries if not query["sql"].startswith("SELECT")]
        assert written == [], address


def test_the_first_visit_after_demo_content_makes_no_image(client: Client) -> None:
    for address in addresses():
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        assert not [query for query in queries if query["sql"].startswith('INSERT INTO "wagtailimages')], address


def test_every_image_and_style_that_a_page_names_comes_from_the_site_itself(client: Client) -> None:
    for address in addresses():
        named = re.findall(r'(?:src|href|action)="([^"]*)"', text_of(client.get(address)))
        assert named
        assert [name for name in named if not name.startswith(("/", "#", "?"))] == [], address
        for image in {name for name in named if name.startswith("/media/")}:
            answer = client.get(image)
            assert (answer.status_code, answer["Content-Type"]) == (200, "image/png"), image
            answer.close()


def test_an_unpublished_page_is_not_found_and_not_listed(client: Client) -> None:
    guide = GuidePage.objects.get(slug="parcel-lost")
    guide.unpublish()
    assert client.get(guide.url).status_code == 404
    assert guide.title not in text_of(client.get("/guides/"))


def test_a_long_list_of_guides_is_cut_into_pages(client: Client) -> None:
    index = GuideIndexPage.objects.get()
    some = GuidePage.objects.first()
    for number in range(9):
        index.add_child(
            instance=GuidePage(
                title=f"More {number}", slug=f"more-{number}", summary="x", reviewed_on=some.reviewed_on, body=[]
            )
        )
    first, second = text_of(client.get("/guides/")), text_of(client.get("/guides/?page=2"))
    assert "Page 1 of 2" in first
    assert "Page 2 of 2" in second
    assert second.count('class="card"') == 6
    assert "Page 2 of 2" in text_of(client.get("/guides/?page=77"))
    assert "Page 1 of 2" in text_of(client.get("/guides/?page=zero"))


@pytest.mark.parametrize("address", ["/nope/", "/guides/nope/", "/media/none.png", "/__test__/none/"])
def test_an_address_that_does_not_exist_shows_the_page_of_the_site_for_404(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "This page is not on file" in text_of(answer)
    assert 'role="search"' in text_of(answer)


def test_an_error_shows_the_page_of_the_site_for_500_and_nothing_of_the_failure(client: Client) -> None:
    answer = client.get("/__test__/error")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in text_of(answer)
    assert "provoked" not in text_of(answer)
    assert "Traceback" not in text_of(answer)


def test_the_page_for_500_needs_no_context_and_no_manifest() -> None:
    page = render_to_string("500.html")
    assert 'href="/static/cfgov/css/site.css"' in page
    assert "{%" not in page
    assert "{#" not in page


def test_the_slow_view_waits_and_names_the_build_of_early_and_late_code(client: Client) -> None:
    answer = client.get("/__test__/slow?seconds=0.01")
    assert answer.json() == {"build_id": "development", "late_build_id": "development", "seconds": 0.01}


@pytest.mark.parametrize("seconds", ["-1", "61", "nan", "inf", "soon"])
def test_the_slow_view_refuses_a_wait_that_is_no_number_in_its_range(client: Client, seconds: str) -> None:
    assert client.get("/__test__/slow", {"seconds": seconds}).status_code == 400


@pytest.mark.parametrize("address", ["/", "/nope/", "/__test__/error", "/health/", "/admin/login/"])
def test_every_answer_names_its_build(client: Client, address: str) -> None:
    assert client.get(address)["X-Build-Id"] == "development"


def test_public_pages_forbid_foreign_and_inline_scripts_and_the_editor_foreign_ones(client: Client) -> None:
    answer = client.get("/")
    assert answer["Content-Security-Policy"].startswith("default-src 'self'")
    assert not re.search(r"<style|<script(?! src=)| style=| on[a-z]+=", text_of(answer))
    editor = client.get("/admin/login/")["Content-Security-Policy"]
    assert editor.startswith("default-src 'self'; script-src 'self' 'unsafe-inline'; ")
    assert "frame-ancestors 'self'" in editor


def test_a_page_that_did_not_change_is_not_sent_again(client: Client) -> None:
    for address in ("/", "/guides/before-you-rent/", "/sitemap.xml"):
        first = client.get(address)
        again = client.get(address, HTTP_IF_NONE_MATCH=first["ETag"])
        assert (again.status_code, again.content) == (304, b""), address


def test_robots_find_the_pages_and_stay_out_of_the_editor(client: Client) -> None:
    text = text_of(client.get("/robots.txt"))
    assert "Disallow: /admin/\n" in text
    (sitemap,) = re.findall(r"^Sitemap: http://testserver(/\S+)$", text, re.MULTILINE)
    listed = re.findall(r"<loc>[a-z]+://[^/]+(/[^<]*)</loc>", text_of(client.get(sitemap)))
    assert sorted(listed) == sorted(addresses())


def test_a_browser_that_asks_for_the_icon_by_its_fixed_name_gets_it(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert answer.status_code == 302
    assert re.fullmatch(r"/static/favicon(\.[0-9a-f]{12})?\.ico", answer["Location"])
    assert Path(str(find("favicon.ico"))).read_bytes().startswith(b"\0\0\1\0")


def test_the_search_forms_of_a_page_have_names_of_their_own(client: Client) -> None:
    names = re.findall(r'role="search" aria-label="([^"]+)"', text_of(client.get("/search/")))
    assert len(names) == 2
    assert len(set(names)) == 2


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    answer = client.get("/")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "SAMEORIGIN"
    assert answer["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert not answer.cookies
