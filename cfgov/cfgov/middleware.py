"""Headers that every answer, or every public page, carries."""

from __future__ import annotations

from typing import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from cfgov.release import RELEASE

Answer = Callable[[HttpRequest], HttpResponse]

# The pages use no inline script or style and nothing from other hosts. Images may be data: for the editor's bar.
PUBLIC_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'"

# Wagtail's editor has inline scripts and styles, and shows pictures that were just chosen as blob: addresses.
EDITOR_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class BuildIdMiddleware:
    """Says in ``X-Build-Id`` which build answered, so that a deployment can tell old processes from new ones."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer *request*."""
        response = self._get_response(request)
        response["X-Build-Id"] = RELEASE.build_id
        return response


class ContentSecurityPolicyMiddleware:
    """Forbids content from other hosts everywhere, and inline scripts and styles on public pages."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response
        self._admin = reverse("wagtailadmin_home")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer *request*."""
        response = self._get_response(request)
        editor = request.path.startswith(self._admin)
        response.setdefault("Content-Security-Policy", EDITOR_POLICY if editor else PUBLIC_POLICY)
        return response
