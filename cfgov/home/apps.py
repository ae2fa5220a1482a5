"""Django's view of this package."""

from __future__ import annotations

from django.apps import AppConfig


class HomeConfig(AppConfig):
    """Configuration of the app ``home``."""

    name = "home"
    default_auto_field = "django.db.models.BigAutoField"
