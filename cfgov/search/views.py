"""The search page."""

from __future__ import annotations

import re

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe
from wagtail.models import Page

RESULTS_PER_PAGE = 10


class SearchForm(forms.Form):
    """The words to look for; NUL and overlong input are refused before a database sees them."""

    query = forms.CharField(max_length=200)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Show public pages that match ``?query=``, best first; the list itself comes in pages of ten."""
    form = SearchForm(request.GET) if "query" in request.GET else SearchForm()
    words = _words(form.cleaned_data["query"]) if form.is_bound and form.is_valid() else ""
    results = Page.objects.live().public().specific().search(words) if words else Page.objects.none()
    return TemplateResponse(
        request,
        "search/search.html",
        {
            "form": form,
            "query": request.GET.get("query", "").replace("\x00", "")[:200],
            "results": Paginator(results, RESULTS_PER_PAGE).get_page(request.GET.get("page")),
        },
    )


def _words(query: str) -> str:
    """Reduce *query* to letters and digits: Wagtail's backend for SQLite passes quotes on to FTS5's query language."""
    return " ".join(re.findall(r"\w+", query))
