"""The site in a real browser: styled, without an error in its console, with an editor that works."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple

import pytest

from tests.support import containers
from tests.support.fixtures_docker import RESULTS

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SHOTS = RESULTS / "screenshots"
# Chromium gives up all that it is loading when an interface of this machine comes or goes, as those of containers do.
INTERRUPTED = "ERR_NETWORK_CHANGED"
TRIES = 5


class Visit(NamedTuple):
    """A browser window and everything that went wrong in it."""

    page: Any
    faults: List[str]
    root: str

    def go(self, path: str, status: int = 200) -> None:
        """Open *path* and wait until the network is idle."""
        answer = self.loaded(lambda: self.page.goto(self.root + path, wait_until="networkidle"))
        assert answer.status == status

    def click(self, what: Any) -> None:
        """Click on *what*, which opens another page, and wait until the network is idle."""
        clicked: List[bool] = []

        def load() -> None:
            if clicked:
                self.page.reload(wait_until="networkidle")
                return
            with self.page.expect_navigation(wait_until="networkidle"):
                what.click()
                clicked.append(True)

        self.loaded(load)

    def loaded(self, load: Callable[[], Any]) -> Any:
        """Call *load*, which may be repeated, until Chromium was not interrupted meanwhile; return what it returns."""
        for left in reversed(range(TRIES)):
            before = len(self.faults)
            try:
                answer = load()
            except Exception as error:
                if not left or INTERRUPTED not in " ".join([str(error), *self.faults[before:]]):
                    raise
            else:
                if not left or INTERRUPTED not in " ".join(self.faults[before:]):
                    return answer
            del self.faults[before:]  # what else is wrong with the page is wrong again

    def shot(self, name: str) -> None:
        """Keep what is seen of the whole page, of which parts are loaded only now."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        taken: List[bool] = []

        def take() -> None:
            if taken:
                self.page.reload(wait_until="networkidle")
            taken.append(True)
            self.page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)

        self.loaded(take)


@pytest.fixture(params=list(WIDTHS))
def visit(site: containers.Tester, browser: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-US")
    context.set_default_timeout(60_000)  # milliseconds
    page = context.new_page()
    faults: List[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(f"{request.url}: {request.failure}"))
    page.on(
        "response", lambda answer: faults.append(f"{answer.url}: {answer.status}") if answer.status >= 400 else None
    )
    yield Visit(page, faults, f"http://{site.address}")
    if getattr(request.node, "failed", False):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"failed-{request.node.name}.png"))
    context.close()


def test_the_home_page_is_styled_and_fits_the_window(visit: Visit, request: pytest.FixtureRequest) -> None:
    visit.go("/")
    assert visit.page.title()
    sheets = visit.page.evaluate("[...document.styleSheets].filter(s => s.href && s.cssRules.length > 20).length")
    assert sheets >= 1
    assert visit.page.evaluate("getComputedStyle(document.querySelector('.skip')).position") == "absolute"
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visit.loaded(lambda: pictures(visit))
    visit.shot(f"home-{request.node.callspec.id}")
    assert visit.faults == []


def pictures(visit: Visit) -> None:
    """Load the page again with all its pictures, also those that load when they are scrolled to."""
    visit.page.reload(wait_until="networkidle")
    # decode() fails for a picture that cannot be shown.
    visit.page.evaluate("Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))")


def test_a_visitor_searches_and_opens_a_guide(visit: Visit, request: pytest.FixtureRequest) -> None:
    visit.go("/guides/")
    guide = visit.page.locator("main a[href^='/guides/']").first
    title, address = guide.inner_text().strip(), guide.get_attribute("href")
    visit.go("/search/")
    visit.page.locator("input[name=query]").last.fill(max(title.split(), key=len))
    visit.click(visit.page.locator("button[type=submit]").last)
    visit.shot(f"search-{request.node.callspec.id}")
    visit.click(visit.page.locator(f".results a[href='{address}']"))
    assert visit.page.url == visit.root + address
    assert visit.page.locator("h1").inner_text().split() == title.split()
    visit.shot(f"guide-{request.node.callspec.id}")
    assert visit.faults == []


def sign_in(visit: Visit) -> None:
    password: Dict[str, str] = containers.variables_of(containers.test_environment())
    visit.go("/admin/login/")
    visit.page.fill("input[name=username]", "admin")
    visit.page.fill("input[name=password]", password["DEMO_ADMIN_PASSWORD"])
    visit.click(visit.page.locator("button[type=submit]"))
    assert visit.page.url == f"{visit.root}/admin/"


def test_an_editor_signs_in_and_opens_a_page_in_the_editor(visit: Visit, request: pytest.FixtureRequest) -> None:
    sign_in(visit)
    visit.shot(f"admin-{request.node.callspec.id}")
    visit.go("/admin/pages/3/edit/")
    assert visit.page.locator("[data-contentpath], .w-panel, form#page-edit-form").count() > 0
    visit.shot(f"editor-{request.node.callspec.id}")
    assert visit.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_editors_pages_have_no_error(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)
    sign_in(visit)
    for path in (
        "account/",
        "pages/",
        "images/",
        "documents/multiple/add/",
        "users/",
        "sites/",
        "reports/site-history/",
    ):
        visit.go(f"/admin/{path}")
    assert visit.faults == []


def test_an_unknown_address_shows_the_sites_own_page(visit: Visit, request: pytest.FixtureRequest) -> None:
    visit.go("/no/such/page/", status=404)
    assert "not on file" in visit.page.inner_text("h1")
    visit.shot(f"404-{request.node.callspec.id}")
    # The page itself is the one answer that is not a success, and Chromium notes it in the console.
    assert [fault for fault in visit.faults if "404" not in fault] == []
