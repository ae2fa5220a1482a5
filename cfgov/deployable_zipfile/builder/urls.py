"""Fetches what pip does not fetch: a requirements file, or a file whose name is not that of its URL.

Proxy and certificates are those of pip.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Dict, List
from urllib.parse import unquote, urlsplit

from ..errors import BuildInputError, conceal, masked

# Imported where something is fetched: a build from the cache fetches nothing.
if TYPE_CHECKING:
    import urllib.request

_TIMEOUT = 60.0  # seconds for one answer of the network
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def content(url: str, limit: int = 16 * 1024 * 1024) -> bytes:
    """Return what *url* (``https``, ``http`` or ``file``) holds.

    Parameters:
        limit: bytes that it may have.

    Raises:
        BuildInputError: it cannot be fetched, or is larger.
    """
    import urllib.error
    import urllib.request

    conceal(url)
    shown = masked(url)
    parts = urlsplit(url)
    headers: Dict[str, str] = {}
    user, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = "Basic " + base64.b64encode(unquote(user).encode("utf-8")).decode("ascii")
    request = urllib.request.Request(parts._replace(netloc=host, fragment="").geturl(), headers=headers)
    try:
        with _opener().open(request, timeout=_TIMEOUT) as answer:
            found: bytes = answer.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is an answer, too, and has a socket
        raise BuildInputError(
            shown, f"cannot be fetched ({reason})", "Look at the URL, the network and the proxy"
        ) from None
    if len(found) > limit:
        raise BuildInputError(shown, f"has more than {limit} bytes", "Correct the URL")
    return found


def _opener() -> urllib.request.OpenerDirector:
    import ssl
    import urllib.request

    bundle = next((os.environ[name] for name in _CERTIFICATES if os.environ.get(name)), None)
    is_folder = bool(bundle) and os.path.isdir(str(bundle))
    context = ssl.create_default_context(cafile=None if is_folder else bundle, capath=bundle if is_folder else None)
    handlers: List[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    proxy = os.environ.get("PIP_PROXY")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    return urllib.request.build_opener(*handlers)
