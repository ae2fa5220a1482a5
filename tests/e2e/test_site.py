"""The site that a visitor and an editor meet, over HTTP, as the web server of the tester image serves it."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
import requests

from tests.e2e.conftest import AWKWARD
from tests.support import containers

CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
HASHED = re.compile(r'(?:href|src)="(/static/[^"]+\.[0-9a-f]{12}\.(?:css|js|svg))"')


class Editor:
    """A signed-in administrator of the demonstration."""

    def __init__(self, site: containers.Tester) -> None:
        self._root = f"http://{site.address}"
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> "Editor":
        password = containers.variables_of(containers.test_environment())["DEMO_ADMIN_PASSWORD"]
        self.landed = self.submit("/admin/login/", {"username": "admin", "password": password, "next": "/admin/"})
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def get(self, path: str) -> requests.Response:
        return self._session.get(self._root + path, timeout=30)

    def submit(self, path: str, fields: Dict[str, Any], **options: Any) -> requests.Response:
        token = CSRF.search(self.get(path).text)
        assert token, f"{path} holds no form"
        fields = dict(fields, csrfmiddlewaretoken=token.group(1))
        return self._session.post(self._root + path, data=fields, timeout=30, **options)


@pytest.fixture
def editor(site: containers.Tester) -> Iterator[Editor]:
    with Editor(site) as editor:
        yield editor


def picture(width: int, height: int) -> bytes:
    """Return a PNG file with a slope of colours (PNG specification, section 5)."""
    rows = b"".join(b"\0" + bytes((x + y) % 256 for x in range(width * 3)) for y in range(height))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_the_home_page_answers_and_names_its_hashed_assets(site: containers.Tester) -> None:
    page = site.get("/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert HASHED.search(page.text)


def test_every_link_of_the_home_page_leads_somewhere(site: containers.Tester) -> None:
    links = sorted(set(re.findall(r'href="(/[^"#]*)"', site.get("/").text)))
    assert len(links) > 8
    assert {link: site.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_an_inner_page_shows_its_text_and_pictures(site: containers.Tester) -> None:
    guides = re.findall(r'href="(/guides/[^"]+/)"', site.get("/guides/").text)
    assert guides
    page = site.get(guides[0])
    assert page.status_code == 200
    pictures = re.findall(r'<img[^>]+src="(/media/[^"]+)"', page.text)
    assert pictures
    answer = site.get(pictures[0])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("image/")


def test_search_finds_a_page_by_a_word_of_its_title(site: containers.Tester) -> None:
    link, title = re.findall(r'<a[^>]*href="(/guides/[^"]+/)"[^>]*>\s*([^<]{8,})<', site.get("/guides/").text)[0]
    word = max(re.findall(r"\w+", title), key=len)
    found = site.get("/search/", params={"query": word})
    assert found.status_code == 200
    assert f'href="{link}"' in found.text
    assert "0 pages found" in site.get("/search/", params={"query": "xyzzyplugh"}).text


def test_the_health_page_names_the_build_of_the_artifact(site: containers.Tester, artifact: Path) -> None:
    with zipfile.ZipFile(artifact) as archive:
        manifest = json.loads(archive.read(".deploy/manifest.json"))
    answer = site.get("/health/")
    assert answer.json() == {
        "status": "ok",
        "build_id": manifest["build_id"],
        "commit": manifest["source"]["commit"],
        "dirty": manifest["source"]["dirty"],
        "database": "ok",
    }
    assert site.get("/").headers["X-Build-Id"] == manifest["build_id"]


def test_static_files_with_a_hash_may_be_kept_for_good(site: containers.Tester) -> None:
    for path in HASHED.findall(site.get("/").text):
        answer = site.get(path)
        assert answer.status_code == 200
        assert "max-age=86400000" in answer.headers["Cache-Control"]


def test_the_sites_own_page_tells_that_an_address_is_unknown(site: containers.Tester) -> None:
    answer = site.get("/no/such/page/")
    assert answer.status_code == 404
    assert "This page is not on file" in answer.text


def test_the_sites_own_page_tells_of_a_failure_and_no_detail_of_it(site: containers.Tester) -> None:
    answer = site.get("/__test__/error")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text
    assert "RuntimeError" not in answer.text
    site.wait_for_log("provoked by /__test__/error")


def test_an_editor_signs_in_with_the_form_and_not_without_its_token(site: containers.Tester, editor: Editor) -> None:
    assert editor.landed.status_code == 200
    assert editor.landed.url.endswith("/admin/")
    assert site.request("POST", "/admin/login/", data={"username": "admin", "password": "testing"}).status_code == 403
    assert site.get("/admin/").status_code == 302


def test_an_uploaded_picture_gets_a_rendition_that_visitors_can_load(site: containers.Tester, editor: Editor) -> None:
    title = f"Slope {time.time_ns()}"
    upload = {"file": ("slope.png", io.BytesIO(picture(300, 200)), "image/png")}
    done = editor.submit("/admin/images/add/", {"title": title}, files=upload)
    assert done.status_code == 200
    listing = editor.get("/admin/images/").text
    assert title in listing
    thumbnail = re.search(r'<img[^>]+src="(/media/images/slope[^"]+)"', listing)
    assert thumbnail
    answer = site.get(thumbnail.group(1))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] in ("image/png", "image/jpeg", "image/webp")
    assert answer.content[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0", b"RIFF")


def test_server_status_answers_the_own_host_alone(site: containers.Tester) -> None:
    assert site.get("/__server-status").status_code == 403
    assert "Server uptime" in site.run("curl", "-fs", "http://localhost/__server-status").output


def test_trace_is_refused_and_uploads_are_redirected(site: containers.Tester) -> None:
    assert site.request("TRACE", "/").status_code == 405
    assert site.get("/f/x").headers["Location"] == "https://files.consumerfinance.gov/f/x"


def test_the_maintenance_file_closes_and_opens_the_site_without_restart(site: containers.Tester) -> None:
    static = HASHED.findall(site.get("/").text)[0]
    site.run("touch", "/srv/cfgov/current/WEBSITE_DOWN_FOR_MAINTENANCE")
    try:
        closed = [site.get(path).status_code for path in ("/", "/admin/", static)]
    finally:
        site.run("rm", "/srv/cfgov/current/WEBSITE_DOWN_FOR_MAINTENANCE")
    assert closed == [503, 503, 503]
    assert site.get("/").status_code == 200


@pytest.mark.parametrize("name", sorted(AWKWARD))
def test_values_with_signs_of_every_kind_reach_the_site_unchanged(site: containers.Tester, name: str) -> None:
    code = f"import base64, os; print(base64.b64encode(os.environb[b'{name}']).decode())"
    seen = site.run("env", "-i", "/srv/cfgov/current/venv/bin/python", "-c", code)
    assert base64.b64decode(seen.output).decode("utf-8") == AWKWARD[name]


def test_environment_json_holds_what_was_given_and_only_that(site: containers.Tester) -> None:
    written = json.loads(site.run("cat", "/srv/cfgov/current/environment.json").output)
    given = containers.variables_of(containers.test_environment(**AWKWARD))
    assert given["ALLOWED_HOSTS"] == '[\\"*\\"]'
    given["ALLOWED_HOSTS"] = '["*"]'
    assert written == given
    assert site.run("stat", "-c", "%a %U %G", "/srv/cfgov/current/environment.json").output.strip() == "640 root apache"


def test_the_sites_user_cannot_change_the_code_it_runs(site: containers.Tester) -> None:
    writable = ["find", "/srv/cfgov/current/cfgov", "/srv/cfgov/current/venv", "-writable", "-not", "-type", "l"]
    assert site.run(*writable, user="apache").output == ""
    assert {site.run("stat", "-c", "%U", f"/proc/{pid}").output.strip() for pid in _daemons(site)} == {"apache"}


def _daemons(site: containers.Tester) -> List[str]:
    script = "for p in /proc/[0-9]*; do [[ $(tr -d '\\0' <$p/cmdline) == '(wsgi:django)'* ]] && echo ${p#/proc/}; done"
    daemons = site.run("bash", "-c", f"{script} 2>/dev/null; true").output.split()
    assert len(daemons) == 4
    return daemons


def test_nothing_that_was_secret_is_in_the_log(site: containers.Tester) -> None:
    log = site.logs()
    for name in ("AWKWARD_EQUALS", "AWKWARD_QUOTES", "AWKWARD_UNICODE"):
        assert AWKWARD[name] not in log
