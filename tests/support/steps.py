"""The steps of a deployment, and the part of a script that makes one of them strike."""

from __future__ import annotations

STEPS = [
    *("check", "install", "environment", "shared", "labels", "django-check", "collectstatic", "wsgi", "migrate"),
    *("manage", "config-test", "switch", "restart", "health", "prune"),
]
LATE = ("switch", "restart", "health", "prune")  # steps at or after which `current` may be the new release

# Calls strike() of the script that this is put into before or after one step: its `when` and `step` say which.
STRIKE_AT_STEP = """
from deployable_zipfile.deploy import transaction
real = transaction.perform
def perform(name, action):
    if (when, step) == ("before", name):
        strike()
    said = real(name, action)
    if (when, step) == ("after", name):
        strike()
    return said
transaction.perform = perform
"""
