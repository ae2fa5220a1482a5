"""Addresses below ``/__test__/``."""

from __future__ import annotations

from django.urls import path

from cfgov.provocation import views

urlpatterns = [
    path("error", views.error),
    path("slow", views.slow),
]
