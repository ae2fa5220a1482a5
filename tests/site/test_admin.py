"""The editor's desk, and the files that editors upload."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from cfgov.settings import time_zones
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from home.models import GuidePage
from PIL import Image
from wagtail.documents import get_document_model
from wagtail.images import get_image_model

from tests.site.conftest import text_of


def png() -> SimpleUploadedFile:
    stream = io.BytesIO()
    Image.new("RGB", (1200, 900), "#4f9d7c").save(stream, "PNG")
    return SimpleUploadedFile("green.png", stream.getvalue(), content_type="image/png")


def test_the_desk_asks_strangers_to_log_in(client: Client) -> None:
    answer = client.get("/admin/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/admin/")
    assert 'name="csrfmiddlewaretoken"' in text_of(client.get("/admin/login/"))


def test_an_editor_may_choose_every_time_zone_that_browsers_know(
    editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"Europe/Berlin", "UTC", "GMT0", "Factory", "localtime", "posixrules"}
    monkeypatch.setattr(time_zones, "available_timezones", lambda: names)
    page = text_of(editor.get("/admin/account/"))
    choice = page.split('name="locale-current_time_zone"')[1].split("</select>")[0]
    offered = re.findall(r'<option value="([^"]*)"', choice)
    assert offered == ["", "Europe/Berlin", "GMT0", "UTC"]


def test_a_wrong_password_does_not_log_in(client: Client) -> None:
    answer = client.post("/admin/login/", {"username": "admin", "password": "wrong", "next": "/admin/"})
    assert answer.status_code == 200
    assert client.get("/admin/").status_code == 302


def test_a_login_without_the_token_is_refused() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/admin/login/", {"username": "admin", "password": "x"}).status_code == 403


@pytest.mark.parametrize("address", ["", "pages/", "images/", "documents/", "reports/site-history/", "sites/"])
def test_the_desk_and_its_lists_answer(editor: Client, address: str) -> None:
    assert editor.get(f"/admin/{address}", follow=True).status_code == 200


def test_an_uploaded_image_and_its_rendition_are_served(editor: Client) -> None:
    answer = editor.post("/admin/images/add/", {"title": "Green", "file": png(), "collection": "1"})
    assert answer.status_code == 302
    image = get_image_model().objects.get(title="Green")
    rendition = image.get_rendition("fill-640x360")
    for file in (image.file, rendition.file):
        served = Client().get(file.url)
        assert served.status_code == 200
        assert served["Content-Type"] == "image/png"
        assert served["Cache-Control"] == "public, max-age=86400"
        assert Image.open(io.BytesIO(b"".join(served.streaming_content))).size == (
            file.instance.width,
            file.instance.height,
        )


def test_an_unchanged_image_is_not_sent_twice(client: Client) -> None:
    address = get_image_model().objects.first().file.url
    modified = client.get(address)["Last-Modified"]
    assert client.get(address, HTTP_IF_MODIFIED_SINCE=modified).status_code == 304


def test_what_is_no_image_is_refused(editor: Client) -> None:
    fake = SimpleUploadedFile("fake.png", b"<script>alert(1)</script>", content_type="image/png")
    assert editor.post("/admin/images/add/", {"title": "Fake", "file": fake, "collection": "1"}).status_code == 200
    assert not get_image_model().objects.filter(title="Fake").exists()


def test_documents_are_served_by_wagtail_alone(client: Client) -> None:
    document = get_document_model().objects.create(title="Note", file=SimpleUploadedFile("note.txt", b"plain"))
    assert client.get(document.file.url).status_code == 404
    assert b"".join(client.get(document.url).streaming_content) == b"plain"


@pytest.mark.parametrize(
    "path",
    [
        "secret.txt", "documents/secret.txt", "images/../secret.txt", "images/%2e%2e/secret.txt",
        "images/..%2fsecret.txt",
        "images/x/../../secret.txt", "./secret.txt", "/secret.txt", "images//etc/passwd", "images/../../etc/passwd",
        "images/", "images", "images/.", "images/\\..\\secret.txt",
    ],
)  # fmt: skip
def test_nothing_outside_the_folders_of_images_is_served(client: Client, path: str) -> None:
    for folder in ("", "documents"):
        (Path(settings.MEDIA_ROOT) / folder).mkdir(exist_ok=True)
        (Path(settings.MEDIA_ROOT) / folder / "secret.txt").write_text("secret", encoding="utf-8")
    answer = client.get(f"/media/{path}", follow=True)
    assert answer.status_code == 404
    assert "This page is not on file" in text_of(answer)


def test_an_editor_can_open_and_publish_a_page(editor: Client) -> None:
    guide = GuidePage.objects.get(slug="parcel-lost")
    assert editor.get(f"/admin/pages/{guide.pk}/edit/").status_code == 200
    guide.title = "Your parcel came after all"
    guide.save_revision().publish()
    assert "Your parcel came after all" in text_of(editor.get("/guides/"))


def test_the_desk_names_no_foreign_host_in_what_the_browser_loads(editor: Client) -> None:
    page = text_of(editor.get("/admin/"))
    loaded = [part for part in page.split("<") if part.startswith(("script", "link", "img", "iframe"))]
    assert loaded
    assert not [part for part in loaded if "//" in part.split(">")[0].replace("http://www.w3.org", "")]
