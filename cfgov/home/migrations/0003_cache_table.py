"""Make the cache table with the rest of the schema: a site that was only migrated must answer too."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db import migrations


def create_cache_table(apps: Any, schema_editor: Any) -> None:
    """Do what ``createcachetable`` does, which says nothing and changes nothing when the table is there."""
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


class Migration(migrations.Migration):
    """The table is not a model of Django's, so no operation makes it."""

    dependencies = [("home", "0002_home_page")]

    operations = [migrations.RunPython(create_cache_table, migrations.RunPython.noop)]
