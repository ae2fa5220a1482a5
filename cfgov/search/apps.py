"""Django's view of this package."""

from __future__ import annotations

from django.apps import AppConfig


class SearchConfig(AppConfig):
    """Configuration of the app ``search``."""

    name = "search"
    label = "site_search"
