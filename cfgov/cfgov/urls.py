"""Addresses of the site. Pages come last: their tree takes every address that is left."""

from __future__ import annotations

from django.conf import settings
from django.urls import include, path
from search.views import search
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtailadmin_urls
from wagtail.contrib.sitemaps.views import sitemap
from wagtail.documents import urls as wagtaildocs_urls

from cfgov.views import favicon, health, media, robots

urlpatterns = [
    path("health/", health, name="health"),
    path("favicon.ico", favicon),
    path("robots.txt", robots),
    path("sitemap.xml", sitemap),
    path("search/", search, name="search"),
    path("media/<path:path>", media, name="media"),
    path("admin/", include(wagtailadmin_urls)),
    path("documents/", include(wagtaildocs_urls)),
]

if settings.TEST_VIEWS:
    urlpatterns.append(path("__test__/", include("cfgov.provocation.urls")))

urlpatterns.append(path("", include(wagtail_urls)))
