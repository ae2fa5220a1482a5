#!/usr/bin/env python
"""Command line of the site, for work in a checkout; an installed release has ``venv/bin/django-admin`` for the same."""

import os
import sys


def main() -> None:
    """Run one management command with the production settings, unless DJANGO_SETTINGS_MODULE names others."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cfgov.settings.production")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
