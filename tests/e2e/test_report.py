"""The page of ``report`` in a real browser: fast, quiet, usable without a mouse, harmless whatever an artifact says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from axe_playwright_python.sync_playwright import Axe

from deployable_zipfile.__main__ import main
from tests.support.artifacts import make_artifact, simple_wheel
from tests.support.fixtures_docker import RESULTS
from tests.support.releases import hostile, large, weaknesses

SHOTS = RESULTS / "screenshots"
# What a page may cost is measured by another one in the same browser, since no two machines are equally fast.
MOST_LISTS = 2  # of CPU until it is ready, least of three each; it was 0.8 to 1.1 on a busy machine and on a quiet one
LIST = """<!doctype html><meta charset="utf-8"><title>A plain list</title><ul id="list"></ul><script>
for (let number = 0; number < 5000; number++) {
    const item = document.createElement("li");
    item.textContent = `name-${number}`;
    list.append(item);
}
document.documentElement.dataset.ready = "yes";
</script>
"""
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages once: of a large artifact with releases before it, and of a hostile one."""
    folder = tmp_path_factory.mktemp("report")
    releases = folder / "releases"
    releases.mkdir()
    new = large(releases / "large.zip")
    old = make_artifact(releases / "old.zip", {"__init__.py": ""}, [simple_wheel(folder, "pkg1", "1.0")])
    known = str(weaknesses(folder / "osv.json", "pkg0"))
    options = ["--against", str(old), "--history", str(releases), "--vulnerabilities", known]
    assert main(["report", str(new), "-o", str(folder / "large.html"), *options]) == 0
    bad = hostile(folder / "bad.zip")
    options = [
        "--against",
        str(old),
        "--history",
        str(folder),
        "--vulnerabilities",
        str(weaknesses(folder / "osv.json")),
    ]
    assert main(["report", str(bad), "-o", str(folder / "bad.html"), *options]) == 0
    shutil.rmtree(str(releases))
    return folder


@pytest.fixture(scope="module")
def shipped(artifact: Path, folder: Path) -> str:
    """Write the page of the site's own artifact, and return its name."""
    assert main(["report", str(artifact), "-o", str(folder / "shipped.html")]) == 0
    return "shipped.html"


class Visit:
    """One page in a window of its own, and everything that went wrong in it."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.faults: List[str] = []
        self.context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-US", **options})
        self.context.set_default_timeout(15_000)  # milliseconds
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked(request.url))
        self.page.on("dialog", lambda dialog: self.faults.append("dialog"))
        session = self.context.new_cdp_session(self.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")
        metrics = session.send("Performance.getMetrics")["metrics"]
        found = {metric["name"]: metric["value"] for metric in metrics}
        self.seconds = found["ThreadTime"]  # of CPU, until it was ready

    def asked(self, url: str) -> None:
        if not url.startswith(("file:", "data:")):
            self.faults.append(f"asked for {url}")

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"report-{name}.png"))

    def parts(self) -> List[str]:
        return list(self.page.locator("#parts li > :first-child").all_inner_texts())

    def trail(self) -> List[str]:
        return list(self.page.locator("#trail button").all_inner_texts())


@pytest.fixture
def visits(browser: Any, folder: Path) -> Iterator[Any]:
    made: List[Visit] = []

    def visit(name: str = "large.html", **options: Any) -> Visit:
        made.append(Visit(browser, folder / name, **options))
        return made[-1]

    yield visit
    for one in made:
        one.context.close()
    assert [fault for one in made for fault in one.faults] == []


def see_everything(page: Any) -> None:
    for name in ("#treemap", "#graph", "#history-chart"):
        if page.locator(name).is_visible():
            page.locator(name).scroll_into_view_if_needed()
            page.wait_for_selector(f"{name} canvas")


def test_a_large_artifact_gives_a_small_page_that_loads_at_once(folder: Path, visits: Any) -> None:
    loads_at_once(folder, visits, "large.html")
    visit = visits()
    assert visit.page.locator("#package-table tbody tr").count() == 120
    see_everything(visit.page)
    visit.shot("large")


def loads_at_once(folder: Path, visits: Any, name: str) -> None:
    assert (folder / name).stat().st_size < 3_000_000
    (folder / "list.html").write_text(LIST, encoding="utf-8")
    visits(name)  # the browser itself starts
    taken = [(visits(name).seconds, visits("list.html").seconds) for _ in range(3)]
    page, plain = (min(column) for column in zip(*taken))
    print(f"{name}: ready after {page:.3f} s of CPU, a plain list after {plain:.3f} s")
    assert page < MOST_LISTS * plain


def test_the_page_of_the_site_itself_loads_at_once_and_finds_its_files(folder: Path, visits: Any, shipped: str) -> None:
    loads_at_once(folder, visits, shipped)
    visit = visits(shipped)
    for wanted in ("django/db/models/query.py", "cfgov/settings/production.py"):
        visit.page.fill("#find", wanted)
        visit.page.locator("#hits button").first.click()
        assert wanted.rpartition("/")[2] in visit.page.locator("#treemap-status").inner_text()
    visit.page.wait_for_timeout(600)  # the zoom
    visit.page.locator("#find").scroll_into_view_if_needed()
    visit.shot("shipped-found")


@pytest.mark.parametrize("look", ["light", "dark", "phone", "print"])
def test_the_page_of_the_site_itself_leaves_nobody_out(visits: Any, shipped: str, look: str) -> None:
    visit = visits(shipped, **LOOKS.get(look, {}))
    if look == "print":
        visit.page.emulate_media(media="print")
    else:
        see_everything(visit.page)
    nothing_serious(visit)
    visit.shot(f"shipped-{look}")


def nothing_serious(visit: Visit) -> None:
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(visit.page).response["violations"]
    bad = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    assert bad == []


def test_the_treemap_is_opened_by_clicks_and_by_keys(visits: Any) -> None:
    visit = visits()
    page = visit.page
    assert visit.trail() == ["site_one"]
    assert set(visit.parts()) == {"packages", "project", "tool"}
    page.locator("#treemap").scroll_into_view_if_needed()
    page.wait_for_selector("#treemap canvas")
    page.wait_for_timeout(600)
    page.locator("#treemap").click(position={"x": 200, "y": 200})
    page.wait_for_function("document.querySelectorAll('#trail button').length > 1")
    clicked = visit.trail()
    page.locator("#trail button").first.click()
    assert visit.trail() == ["site_one"]
    page.keyboard.press("ArrowRight")
    assert page.locator("#parts li[aria-current=true]").count() == 1
    first = visit.parts()[0]
    assert first in page.locator("#treemap-status").inner_text()
    page.keyboard.press("Enter")
    assert visit.trail() == ["site_one", first]
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert ", 1 of " in page.locator("#treemap-status").inner_text()
    page.keyboard.press("Enter")
    assert len(visit.trail()) == 3
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert visit.trail() == ["site_one"]
    assert clicked[0] == "site_one"


def test_a_file_is_found(visits: Any) -> None:
    visit = visits()
    visit.page.fill("#find", "PKG119")
    hits = visit.page.locator("#hits button")
    assert "pkg119" in hits.first.inner_text()
    hits.first.focus()
    visit.page.keyboard.press("Enter")
    assert any("pkg119" in one for one in visit.trail())
    for wanted in ("app57/templates/part5/page_17323.html", "pkg7/module59.py", "pkg119"):
        visit.page.fill("#find", wanted)
        hits.first.click()
        place = "/".join([*visit.trail(), visit.page.locator("#treemap-status").inner_text().split(",")[0]])
        assert wanted.rpartition("/")[2] in place
        assert visit.page.locator("#treemap").evaluate("box => box === document.activeElement")
    visit.page.fill("#find", "page_")
    assert visit.page.locator("#treemap-status").inner_text() == "30000 found, the first 50 are listed"
    visit.page.fill("#find", "nothing has this name")
    assert visit.page.locator("#hits").is_hidden()
    assert visit.page.locator("#treemap-status").inner_text() == "0 found"


def test_packages_are_sorted_and_filtered_without_a_mouse(visits: Any) -> None:
    visit = visits()
    page = visit.page

    def column(number: int) -> List[str]:
        return list(page.locator(f"#package-table tbody tr:not([hidden]) > :nth-child({number})").all_inner_texts())

    assert column(1)[:3] == ["pkg0", "pkg1", "pkg10"]
    page.locator("#package-table thead button", has_text="Bytes").focus()
    page.keyboard.press("Enter")
    sizes = [int(text.replace(",", "")) for text in column(3)]
    assert sizes == sorted(sizes, reverse=True)
    page.keyboard.press("Enter")
    assert [int(text.replace(",", "")) for text in column(3)] == sorted(sizes)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Bytes")
    page.locator("#package-table thead button", has_text="Version").press("Enter")
    assert column(2)[:3] == ["1.0", "1.1", "1.2"]
    page.fill("#filter", "pkg11")
    assert len(column(1)) == page.locator("#package-table tbody tr").count() - page.locator("tr[hidden]").count()
    assert "of 120" in page.locator("#packages-status").inner_text()
    page.fill("#filter", "")
    page.select_option("#licence", "MIT")
    assert set(column(4)) == {"MIT"}
    assert len(column(4)) == 30


def test_the_graph_shows_one_package(visits: Any) -> None:
    visit = visits()
    see_everything(visit.page)
    everything = visit.page.locator("#graph-status").inner_text()
    visit.page.select_option("#focus", label="pkg119 and what it is tied to")
    shown = visit.page.locator("#graph-status").inner_text()
    assert everything.startswith("120 packages")
    assert 2 < int(shown.split()[0]) < 60


LOOKS: Dict[str, Dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
    "still": {"reduced_motion": "reduce"},
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["large.html", "bad.html"])
def test_nobody_is_left_out(look: str, name: str, visits: Any) -> None:
    visit = visits(name, **LOOKS[look])
    see_everything(visit.page)
    nothing_serious(visit)
    visit.page.locator("#sizes").scroll_into_view_if_needed()
    visit.shot(f"{name[:-5]}-{look}")


def test_the_theme_can_be_chosen(visits: Any) -> None:
    visit = visits()
    page = visit.page
    see_everything(page)

    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.locator("#theme").press("Enter")
    assert paper() == light
    page.locator("#theme").press("Enter")
    assert paper() != light
    assert page.locator("#theme").inner_text() == "Theme: dark"


def test_it_can_be_printed(visits: Any, tmp_path: Path) -> None:
    visit = visits(color_scheme="dark")
    visit.page.emulate_media(media="print")
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert visit.page.locator("#find").is_hidden()
    visit.page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_a_hostile_artifact_does_nothing(visits: Any) -> None:
    visit = visits("bad.html")
    page = visit.page
    see_everything(page)
    page.fill("#find", "<")
    page.locator("#hits button").first.click()
    page.locator("#treemap").hover(position={"x": 100, "y": 100})
    for _ in range(4):
        page.locator("#treemap").press("ArrowRight")
        page.locator("#treemap").press("Enter")
    page.wait_for_timeout(500)
    assert page.evaluate("window.hacked === undefined")
    assert page.locator("img, iframe, object, link, form").count() == 0
    assert page.locator("script").count() == 3


def test_the_page_is_complete_without_scripts(visits: Any, browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "large.html").as_uri())
    assert page.locator("#package-table tbody tr").count() == 120
    assert "need JavaScript" in page.locator("main").inner_text()
    context.close()
