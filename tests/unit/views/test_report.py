"""The page of ``report``: one file that needs no network and in which nothing that an artifact says is run."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest

from deployable_zipfile.__main__ import main
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.views import report, treemap
from tests.support.artifacts import Content, make_artifact, simple_wheel
from tests.support.releases import hostile, weaknesses

ASSETS = Path(report.__file__).parent / "assets"


class Page(html.parser.HTMLParser):
    """Elements and scripts of a page, and its text without them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: List[Tuple[str, Dict[str, Optional[str]]]] = []
        self.scripts: List[str] = []
        self.text = ""
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def made(tmp_path: Path, artifact: Path, *options: str) -> Page:
    assert main(["report", str(artifact), "-o", str(tmp_path / "page.html"), *options]) == 0
    return Page(tmp_path / "page.html")


def test_the_page_has_its_scripts_inside_and_forbids_the_network(tmp_path: Path) -> None:
    page = made(tmp_path, make_artifact(tmp_path / "one.zip", wheels=[simple_wheel(tmp_path)]))
    named = [name for _, given in page.elements for name in given]
    assert not {"src", "onclick", "onload"} & set(named)
    assert [given["href"] for tag, given in page.elements if "href" in given if (given["href"] or "")[:1] != "#"] == []
    assert not any(tag in ("link", "iframe", "object", "img", "base", "form") for tag, _ in page.elements)
    (policy,) = [given["content"] for tag, given in page.elements if given.get("http-equiv")]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.scripts[1:]]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "alpha" in page.text
    assert page.data["packages"] == [["alpha", "1.0", (tmp_path / "alpha-1.0-py3-none-any.whl").stat().st_size, []]]


def test_what_a_hostile_artifact_says_is_text(tmp_path: Path) -> None:
    old = make_artifact(tmp_path / "old.zip", {"__init__.py": ""}, name="site_one")
    artifact = hostile(tmp_path / "bad.zip")
    plain = made(tmp_path, make_artifact(tmp_path / "one.zip"), "--against", str(old), "--history", str(tmp_path))
    options = ["--against", str(old), "--history", str(tmp_path), "--vulnerabilities"]
    page = made(tmp_path, artifact, *options, str(weaknesses(tmp_path / "osv.json")))
    assert len(page.scripts) == 3
    allowed = {tag for tag, _ in plain.elements} | {
        "bdi",
        "tr",
        "td",
        "th",
        "li",
        "span",
        "details",
        "summary",
        "ul",
        "h2",
    }
    allowed |= {"section", "p", "code", "div", "table", "thead", "tbody", "option"}
    assert {tag for tag, _ in page.elements} <= allowed
    assert not {name for _, given in page.elements for name in given if name.startswith("on")}
    assert "<img src=x onerror=window.hacked=1>" in page.text
    everything = page.text + json.dumps(page.data, ensure_ascii=False)
    assert not set("\x1b\u202e\u200b\x07") & set(everything)
    assert "{{7*7}}{% raw %}.txt" in everything
    assert "window.hacked" not in "".join(page.scripts[1:])
    assert "<" not in page.scripts[0]


def test_what_changed_and_the_releases_of_a_folder_are_shown(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    releases.mkdir()
    old = make_artifact(releases / "a.zip", {"__init__.py": ""}, [simple_wheel(tmp_path / "1")])
    new = make_artifact(
        releases / "b.zip",
        {"__init__.py": "", "s.py": "import os\nos.environ['FRESH_KEY']\n", "big.bin": os.urandom(90_000)},
        [simple_wheel(tmp_path / "2", version="2.0")],
    )
    (releases / "c.zip").write_bytes(b"PK no artifact")
    make_artifact(releases / "d.zip", name="site_two")
    (releases / "copy.zip").write_bytes(old.read_bytes())
    page = made(tmp_path, new, "--against", str(old), "--history", str(releases))
    assert sorted((name, size) for name, _, size in page.data["history"]) == [
        ("a.zip", old.stat().st_size),
        ("b.zip", new.stat().st_size),
    ]
    other = make_artifact(tmp_path / "elsewhere.zip", {"__init__.py": "#"})
    page = made(tmp_path, other, "--against", str(old), "--history", str(releases))
    assert "elsewhere.zip" in [name for name, _, _ in page.data["history"]]
    page = made(tmp_path, new, "--against", str(old), "--history", str(releases))
    for text in ("upgraded", "FRESH_KEY", "Newly read from the environment", f"{new.stat().st_size:,}"):
        assert text in page.text


@pytest.mark.parametrize("payload", [True, False])
def test_the_treemap_counts_every_byte_once(payload: bool, tmp_path: Path) -> None:
    files = {"__init__.py": "", **{f"a/b/c{number}/x.txt": "x" * number for number in range(300)}}
    path = make_artifact(tmp_path / "one.zip", dict(files), [simple_wheel(tmp_path)], payload=payload)
    with Artifact.open(str(path)) as artifact:
        whole = treemap.tree(artifact)

    def check(node: treemap.Node) -> int:
        if node.children:
            assert node.size == sum(check(child) for child in node.children)
        return node.size

    assert check(whole) == path.stat().st_size
    for least in (0, 50, 2000, 10**9):
        small = treemap.grouped(whole, least)
        assert check(small) == path.stat().st_size
        names = [child.name for child in small.children]
        assert set(names) == {"packages", "project", "bytecode", "tool"}


def named(node: List[Any], path: str = "") -> Iterator[str]:
    """Yield every path that the page's search finds."""
    for child in node[2] if len(node) > 2 else []:
        whole = path if len(child) > 3 else f"{path}/{child[0]}"
        if len(child) <= 3:
            yield whole
        yield from named(child, whole)


def widest(node: List[Any]) -> int:
    children = node[2] if len(node) > 2 else []
    return max([len(children), *map(widest, children)])


def test_every_file_can_be_found_and_none_has_too_many_beside_it(tmp_path: Path) -> None:
    files: Dict[str, Content] = {f"many/f{number:04}.txt": "x" * (number % 7) for number in range(1000)}
    files.update({"__init__.py": "", "large.bin": os.urandom(300_000)})
    files.update({f"d{number}/only/one.txt": "" for number in range(200)})
    path = make_artifact(tmp_path / "one.zip", dict(files), [simple_wheel(tmp_path)])
    tree = made(tmp_path, path).data["tree"]
    found = set(named(tree))
    assert {f"/project/{name}" for name in files} <= found
    assert any(name.startswith("/packages/alpha 1.0") and name.endswith("/__init__.py") for name in found)
    assert widest(tree) <= treemap.MAX_CHILDREN + 1


def test_a_page_that_would_be_too_large_counts_the_smallest_parts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: Dict[str, Content] = {f"f{number:04}.bin": os.urandom(20 + number) for number in range(1000)}
    path = make_artifact(tmp_path / "one.zip", {"__init__.py": "", **files})
    monkeypatch.setattr(report, "_LARGEST_TREE", 20_000)
    tree = made(tmp_path, path).data["tree"]
    assert len(json.dumps(tree, separators=(",", ":"))) <= 20_000
    found = "".join(named(tree))
    assert "f0999.bin" in found
    assert "f0000.bin" not in found


def test_a_report_replaces_the_old_one_at_once_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(tmp_path / "one.zip")
    page = tmp_path / "page.html"
    page.write_text("old")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no zip")
    assert main(["report", str(bad), "-o", str(page)]) == 3
    assert page.read_text() == "old"
    for output in (artifact, tmp_path, "/dev/null", tmp_path / "missing/page.html"):
        assert main(["report", str(artifact), "-o", str(output)]) == 2, output
    capsys.readouterr()
    assert main(["report", str(artifact), "-o", str(page), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"ok": True, "report": str(page), "size": page.stat().st_size}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "one.zip", "page.html"]
    monkeypatch.chdir(tmp_path)
    assert main(["report", "one.zip"]) == 0
    assert (tmp_path / "report.html").read_bytes() == page.read_bytes()


def test_the_same_artifact_gives_the_same_page(tmp_path: Path) -> None:
    path = make_artifact(tmp_path / "one.zip", wheels=[simple_wheel(tmp_path)])
    assert report.html(report.Request(str(path))) == report.html(report.Request(str(path)))


def test_a_missing_library_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(make_artifact(tmp_path / "one.zip"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: report: needs the Python package jinja2")
    assert "deployable-zipfile[report]" in line


def test_the_charting_library_is_the_one_of_its_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = json.loads((ASSETS / "echarts/provenance.json").read_text())
    for name, one in record["files"].items():
        assert hashlib.sha256((ASSETS / "echarts" / name).read_bytes()).hexdigest() == one["sha256"]
    assert "Apache License" in (ASSETS / "echarts/LICENSE").read_text()
    copy = tmp_path / "assets"
    (copy / "echarts").mkdir(parents=True)
    for path in ASSETS.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(ASSETS)).write_bytes(path.read_bytes())
    (copy / "echarts/echarts.min.js").write_text("window.hacked = 1")
    monkeypatch.setattr(report, "_ASSETS", str(copy))
    assert main(["report", str(make_artifact(tmp_path / "one.zip")), "-o", str(tmp_path / "page.html")]) == 3
    assert "echarts.min.js" in capsys.readouterr().err
