"""Fill a site with the demonstration's pages and images."""

from __future__ import annotations

import os
from typing import Any, List

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from wagtail.images import get_image_model
from wagtail.models import Page

from home import demo
from home.illustrations import draw
from home.models import GuideIndexPage, GuidePage, HomePage, InformationPage

PASSWORD_VARIABLE = "DEMO_ADMIN_PASSWORD"
# What home/templates asks for: made here, so that no visitor waits for it and reading pages never writes.
LEAD_RENDITIONS = ("fill-640x360", "fill-1280x600")
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

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing, all or nothing.

        Raises:
            CommandError: there is no home page, which means that the migrations did not run.
        """
        with transaction.atomic():
            home = HomePage.objects.first()
            if home is None:
                raise CommandError("there is no home page: run `django-admin migrate` first")
            made = _fill(home)
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


def _fill(home: HomePage) -> int:
    index = GuideIndexPage(
        title="Guides", slug="guides", introduction=demo.INDEX_INTRODUCTION, show_in_menus=True
    )
    about = InformationPage(
        title="About us", slug="about", introduction=demo.ABOUT_INTRODUCTION, show_in_menus=True,
        body=_body(demo.ABOUT_BODY),
    )
    contact = InformationPage(
        title="Contact", slug="contact", introduction=demo.CONTACT_INTRODUCTION, show_in_menus=True,
        body=_body(demo.CONTACT_BODY),
    )
    made = sum(_add(home, page) for page in (index, about, contact))
    parent = home.get_children().get(slug=index.slug)
    made += sum(_add(parent, _guide(guide)) for guide in demo.GUIDES)
    lead_image = _image("desk", HOME_RENDITION)
    if not home.introduction:
        home.headline = demo.HEADLINE
        home.introduction = demo.INTRODUCTION
        home.lead_image = lead_image
        home.action_page = parent
        home.action_label = "See all guides"
        home.body = _body(demo.HOME_BODY)
        home.save_revision().publish()
        made += 1
    return made


def _add(parent: Page, page: Page) -> bool:
    """Publish *page* below *parent* unless a page with its slug is there."""
    if parent.get_children().filter(slug=page.slug).exists():
        return False
    parent.add_child(instance=page)
    page.save_revision().publish()
    return True


def _guide(guide: demo.Guide) -> GuidePage:
    return GuidePage(
        title=guide.title,
        slug=guide.slug,
        summary=guide.summary,
        reviewed_on=guide.reviewed_on,
        lead_image=_image(guide.scene, *LEAD_RENDITIONS),
        body=_body(guide.body),
    )


def _body(body: demo.Body) -> List[Any]:
    return [(kind, _figure(value) if kind == "figure" else value) for kind, value in body]


def _figure(value: Any) -> Any:
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
