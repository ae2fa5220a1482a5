"""Menu, breadcrumbs and icons."""

from __future__ import annotations

import functools
from typing import Any, Dict

from django import template
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.html import format_html
from django.utils.safestring import SafeString
from wagtail.models import Site

register = template.Library()

SPRITE = "cfgov-fonts/icons.svg"


@register.inclusion_tag("home/menu.html", takes_context=True)
def main_menu(context: Dict[str, Any]) -> Dict[str, Any]:
    """Show the home page's children that an editor marked "show in menus"."""
    request = context["request"]
    if not hasattr(request, "main_menu"):  # a page shows it twice
        site = Site.find_for_request(request)
        request.main_menu = list(site.root_page.get_children().live().public().in_menu()) if site else []
    return {"request": request, "entries": request.main_menu, "page": context.get("page")}


@register.inclusion_tag("home/breadcrumbs.html", takes_context=True)
def breadcrumbs(context: Dict[str, Any]) -> Dict[str, Any]:
    """Show the way from the home page to the current page."""
    page = context["page"]
    return {"request": context["request"], "page": page, "ancestors": page.get_ancestors().live().filter(depth__gt=1)}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Show icon *name* of the sprite, hidden from screen readers: icons only repeat what words say."""
    sprite = _sprite_url()
    if not sprite:
        return SafeString("")
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false" width="24" height="24"><use href="{}#{}"></use></svg>',
        sprite,
        name,
    )


@functools.lru_cache(maxsize=None)
def _sprite_url() -> str:
    """Address of the icons, or "" in an artifact that was built without ``--extra-static static.in/cfgov-fonts``."""
    try:
        return str(staticfiles_storage.url(SPRITE))
    except ValueError:
        return ""
