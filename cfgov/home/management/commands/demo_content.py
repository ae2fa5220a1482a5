"""Fill a site with the demonstration's pages and images."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Tuple

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from wagtail.images import get_image_model
from wagtail.models import Page

from home.illustrations import draw
from home.models import GuideIndexPage, GuidePage, HomePage, InformationPage

CONTENT = Path(__file__).resolve().parents[2] / "demo.json"
PASSWORD_VARIABLE = "DEMO_ADMIN_PASSWORD"

# What home/templates asks for: made here, so that no visitor waits for it and reading pages never writes.
GUIDE_RENDITIONS = ("fill-640x360", "fill-1280x600")
HOME_RENDITION = "fill-960x720"
FIGURE_RENDITION = "width-960"


class Command(BaseCommand):
    """``django-admin demo_content``: what is there already stays as it is, so that it can run at every start."""

    help = (
        "Make the demonstration's pages and images where they are missing. With the environment variable "
        + PASSWORD_VARIABLE
        + " also an administrator with that password, unless the user exists."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add ``--admin-username``."""
        parser.add_argument("--admin-username", default="admin", help="name of that administrator (default: admin)")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make what is missing, all or nothing.

        Raises:
            CommandError: there is no home page, which means that the migrations did not run.
        """
        content = json.loads(CONTENT.read_text(encoding="utf-8"))
        with transaction.atomic():
            home = HomePage.objects.first()
            if home is None:
                raise CommandError("there is no home page: run `django-admin migrate` first")
            made = _fill(home, content)
            self.stdout.write(f"{made} pages made, the others were there")
            self._make_administrator(options["admin_username"])

    def _make_administrator(self, name: str) -> None:
        password = os.environ.get(PASSWORD_VARIABLE)
        if not password:
            return
        users = get_user_model().objects
        if users.filter(username=name).exists():
            self.stdout.write(f"user {name} was there, the password is unchanged")
        else:
            users.create_superuser(username=name, email="", password=password)
            self.stdout.write(f"user {name} made")


def _fill(home: HomePage, content: Dict[str, Any]) -> int:
    pages = [GuideIndexPage(**content["guide_index"], show_in_menus=True)]
    pages += [
        InformationPage(**dict(page, body=_body(page["body"])), show_in_menus=True) for page in content["information"]
    ]
    made = sum(_add(home, page) for page in pages)
    index = home.get_children().get(slug=content["guide_index"]["slug"])
    made += sum(_add(index, _guide(guide)) for guide in content["guides"])
    return made + _fill_home(home, content["home"], index)


def _fill_home(home: HomePage, content: Dict[str, Any], action_page: Page) -> bool:
    lead_image = _image(content["scene"], HOME_RENDITION)
    if home.introduction:
        return False
    home.headline = content["headline"]
    home.introduction = content["introduction"]
    home.lead_image = lead_image
    home.action_page = action_page
    home.action_label = content["action_label"]
    home.body = _body(content["body"])
    home.save_revision().publish()
    return True


def _add(parent: Page, page: Page) -> bool:
    """Publish *page* below *parent* unless a page with its slug is there."""
    if parent.get_children().filter(slug=page.slug).exists():
        return False
    parent.add_child(instance=page)
    page.save_revision().publish()
    return True


def _guide(guide: Dict[str, Any]) -> GuidePage:
    return GuidePage(
        title=guide["title"],
        slug=guide["slug"],
        summary=guide["summary"],
        reviewed_on=datetime.date.fromisoformat(guide["reviewed_on"]),
        lead_image=_image(guide["scene"], *GUIDE_RENDITIONS),
        body=_body(guide["body"]),
    )


def _body(blocks: List[Dict[str, Any]]) -> List[Tuple[str, Any]]:
    return [
        (block["type"], _figure(block["value"]) if block["type"] == "figure" else block["value"]) for block in blocks
    ]


def _figure(value: Dict[str, str]) -> Dict[str, Any]:
    """Put the image of the scene in the place of its name."""
    return {
        "image": _image(value["scene"], FIGURE_RENDITION),
        "alternative": value["alternative"],
        "caption": value["caption"],
    }


def _image(scene: str, *renditions: str) -> Any:
    """Return the image of *scene* with its *renditions*, drawn anew if it or its file is missing."""
    title = f"Illustration: {scene}"
    image = get_image_model().objects.filter(title=title).first()
    if image is None or not image.file.storage.exists(image.file.name):
        image = image or get_image_model()(title=title)
        image.file = ContentFile(draw(scene), name=f"{scene}.png")
        image.save()
        image.renditions.all().delete()
    for rendition in renditions:
        image.get_rendition(rendition)
    return image
