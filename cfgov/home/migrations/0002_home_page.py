"""Put the site's own home page in the place of Wagtail's welcome page, so that a fresh site answers at once."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import migrations

TITLE = "Plain Terms Office"


def create_home_page(apps: Any, schema_editor: Any) -> None:
    """Make the home page and the default site; a tree that somebody has already filled is not changed."""
    Page = apps.get_model("wagtailcore", "Page")
    Site = apps.get_model("wagtailcore", "Site")
    HomePage = apps.get_model("home", "HomePage")
    ContentType = apps.get_model("contenttypes", "ContentType")
    Locale = apps.get_model("wagtailcore", "Locale")

    if HomePage.objects.exists():
        return
    plain_page = ContentType.objects.filter(app_label="wagtailcore", model="page").first()
    welcome = Page.objects.filter(content_type=plain_page, depth=2, numchild=0)
    if Page.objects.filter(depth__gte=2).exclude(content_type=plain_page, depth=2, numchild=0).exists():
        return
    Site.objects.filter(root_page__in=welcome).delete()
    welcome.delete()
    kind, _ = ContentType.objects.get_or_create(app_label="home", model="homepage")
    home = HomePage.objects.create(
        title=TITLE,
        draft_title=TITLE,
        slug="home",
        content_type=kind,
        locale=Locale.objects.order_by("pk").first(),
        translation_key=uuid.uuid4(),
        path="00010001",
        depth=2,
        numchild=0,
        url_path="/home/",
        live=True,
        headline=TITLE,
    )
    Page.objects.filter(depth=1).update(numchild=1)
    Site.objects.create(hostname="localhost", port=80, site_name=TITLE, root_page=home, is_default_site=True)


class Migration(migrations.Migration):
    """Data only; going back leaves the page where it is."""

    dependencies = [
        ("home", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(create_home_page, migrations.RunPython.noop)]
