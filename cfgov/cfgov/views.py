"""Answers that no page type gives: the health page, uploaded files, and what robots and browsers look for."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.static import serve
from wagtail.models import Site

from cfgov.release import RELEASE

# Documents are left out on purpose: Wagtail serves them itself, after asking who may see them.
PUBLIC_MEDIA = ("images", "original_images")


@require_safe
@never_cache
def health(_request: HttpRequest) -> HttpResponse:
    """Say which build answers and whether its database does: 200, or 503 without any detail of the failure."""
    try:
        database = Site.objects.filter(is_default_site=True).exists()
    except Error:
        connection.close()
        database = False
    return JsonResponse(
        {
            "status": "ok" if database else "unavailable",
            "build_id": RELEASE.build_id,
            "commit": RELEASE.commit,
            "dirty": RELEASE.dirty,
            "database": "ok" if database else "unavailable",
        },
        status=200 if database else 503,
    )


@require_safe
def favicon(_request: HttpRequest) -> HttpResponse:
    """Lead browsers that ask for this fixed address to the file; Apache answers with the file itself."""
    return redirect(static("favicon.ico"))


@require_safe
def robots(request: HttpRequest) -> HttpResponse:
    """Say what crawlers may read and where the list of pages is (RFC 9309)."""
    closed = "".join(f"Disallow: {path}\n" for path in ("/admin/", "/documents/", "/search/"))
    text = f"User-agent: *\n{closed}Sitemap: {request.build_absolute_uri('/sitemap.xml')}\n"
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@require_safe
def media(request: HttpRequest, path: str) -> HttpResponse:
    """Send an uploaded image or one of its renditions, the same under gunicorn and mod_wsgi.

    A front server may take ``/media/`` over for speed; the site does not depend on it.
    """
    parts = path.split("/")
    if parts[0] not in PUBLIC_MEDIA or {"", ".", ".."} & set(parts):
        raise Http404("not a public file")
    response: HttpResponse = serve(request, path, document_root=settings.MEDIA_ROOT)
    response["Cache-Control"] = "public, max-age=86400"
    return response
