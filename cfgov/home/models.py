"""Page types: the home page, an index of guides, a guide, and a plain information page."""

from __future__ import annotations

from typing import Any, Dict

from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from wagtail.admin.panels import FieldPanel, PageChooserPanel
from wagtail.fields import StreamField
from wagtail.models import Page
from wagtail.search import index

from home.blocks import BodyBlock

GUIDES_PER_PAGE = 9
GUIDES_ON_HOME_PAGE = 6
WORDS_PER_MINUTE = 220


def _image_field() -> models.ForeignKey:
    return models.ForeignKey(
        "wagtailimages.Image",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Decoration beside the title and on cards: it has no text alternative.",
    )


class HomePage(Page):
    """The front door: what the office does, a search box and the newest guides."""

    headline = models.CharField(max_length=120, blank=True)
    introduction = models.TextField(max_length=400, blank=True)
    lead_image = _image_field()
    action_page = models.ForeignKey(Page, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    action_label = models.CharField(max_length=60, blank=True)
    body = StreamField(BodyBlock(), blank=True, use_json_field=True)

    content_panels = [
        *Page.content_panels,
        FieldPanel("headline"),
        FieldPanel("introduction"),
        FieldPanel("lead_image"),
        PageChooserPanel("action_page"),
        FieldPanel("action_label"),
        FieldPanel("body"),
    ]
    search_fields = [*Page.search_fields, index.SearchField("introduction"), index.SearchField("body")]
    max_count = 1

    def get_context(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Add ``guides``, the newest ones below any index."""
        context: Dict[str, Any] = super().get_context(request, *args, **kwargs)
        context["guides"] = _newest_guides(self)[:GUIDES_ON_HOME_PAGE]
        return context


class GuideIndexPage(Page):
    """A list of all guides below it, newest first."""

    introduction = models.TextField(max_length=400, blank=True)

    content_panels = [*Page.content_panels, FieldPanel("introduction")]
    search_fields = [*Page.search_fields, index.SearchField("introduction")]
    parent_page_types = ["home.HomePage"]
    subpage_types = ["home.GuidePage"]

    def get_context(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Add ``guides``, one page of the list; a page number out of range gives the nearest page."""
        context: Dict[str, Any] = super().get_context(request, *args, **kwargs)
        context["guides"] = Paginator(_newest_guides(self), GUIDES_PER_PAGE).get_page(request.GET.get("page"))
        return context


class GuidePage(Page):
    """One guide: what to know and what to do in one situation."""

    summary = models.TextField(max_length=300)
    reviewed_on = models.DateField(help_text="When somebody last checked that all of it is still right.")
    lead_image = _image_field()
    body = StreamField(BodyBlock(), use_json_field=True)

    content_panels = [
        *Page.content_panels,
        FieldPanel("summary"),
        FieldPanel("reviewed_on"),
        FieldPanel("lead_image"),
        FieldPanel("body"),
    ]
    search_fields = [
        *Page.search_fields,
        index.SearchField("summary", boost=2),
        index.SearchField("body"),
        index.FilterField("reviewed_on"),
    ]
    parent_page_types = ["home.GuideIndexPage"]
    subpage_types: list = []

    @property
    def reading_minutes(self) -> int:
        """Minutes that a practised reader needs for the body, at least one."""
        words = sum(len(text.split()) for text in self.body.stream_block.get_searchable_content(self.body))
        return max(1, round(words / WORDS_PER_MINUTE))

    def get_context(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Add ``related``, up to three other guides."""
        context: Dict[str, Any] = super().get_context(request, *args, **kwargs)
        context["related"] = _newest_guides(self.get_parent()).exclude(pk=self.pk)[:3]
        return context


class InformationPage(Page):
    """A page about the office itself: who we are, how to reach us."""

    introduction = models.TextField(max_length=400, blank=True)
    body = StreamField(BodyBlock(), use_json_field=True)

    content_panels = [*Page.content_panels, FieldPanel("introduction"), FieldPanel("body")]
    search_fields = [*Page.search_fields, index.SearchField("introduction"), index.SearchField("body")]
    parent_page_types = ["home.HomePage", "home.InformationPage"]
    subpage_types = ["home.InformationPage"]


def _newest_guides(parent: Page) -> models.QuerySet:
    guides = GuidePage.objects.live().public().descendant_of(parent).order_by("-reviewed_on", "title")
    return guides.select_related("lead_image").prefetch_related("lead_image__renditions")
