"""One view that fails and one that is slow."""

from __future__ import annotations

import importlib
import time

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.views.decorators.cache import never_cache

from cfgov.release import RELEASE

LONGEST = 60.0  # seconds


@never_cache
def error(_request: HttpRequest) -> HttpResponse:
    """Fail, to see the site's page for error 500.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("provoked by /__test__/error")


@never_cache
def slow(request: HttpRequest) -> HttpResponse:
    """Wait ``seconds`` (0 to 60), import a module that nothing imported before, and name the build of both.

    The two differ when a release was switched while the request ran and the import crossed into the new one.
    """
    try:
        seconds = float(request.GET.get("seconds", "1"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST:
        return HttpResponseBadRequest("seconds must be a number from 0 to 60", content_type="text/plain")
    time.sleep(seconds)
    late = importlib.import_module("cfgov.provocation.late")
    return JsonResponse({"build_id": RELEASE.build_id, "late_build_id": late.BUILD_ID, "seconds": seconds})
