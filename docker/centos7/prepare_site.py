#!/usr/bin/env python3
"""Make a freshly extracted release ready to serve: static files, database, cache table, demo content.

    venv/bin/python prepare_site.py

One process does what five runs of django-admin would, since most of their time is Python starting. Settings come from
environment.json, as they do for the web server.
"""

import contextlib
import gc
import importlib
import sys
import time


def commands():
    """Return the management commands, each as a list of words: those that the site has."""
    from django.core.management import get_commands

    steps = [
        ["check", "--fail-level", "ERROR"],
        ["collectstatic", "--noinput", "--verbosity=0"],
        ["migrate", "--noinput", "--verbosity=0"],
        ["createcachetable"],
        ["demo_content"],
    ]
    known = get_commands()
    return [step for step in steps if step[0] in known]


def run(step):
    """Run one command and say how long it took; an exception ends the program with one last line of its kind."""
    from django.core.management import call_command

    began = time.monotonic()
    with _without_garbage_collection() if step[0] == "migrate" else contextlib.nullcontext():
        call_command(*step)
    print(f"tester: {step[0]} took {time.monotonic() - began:.1f} s", flush=True)


@contextlib.contextmanager
def _without_garbage_collection():
    """Collect no garbage meanwhile: migrations make many objects that stay, and are looked through again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def stop(what, error):
    """Print the traceback, then one line that says what to do."""
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)
    lines = str(error).strip().splitlines()
    why = "{}: {}".format(type(error).__name__, lines[0].rstrip(".") if lines else "no message")
    fix = "Correct the site or the variable it read; the traceback is above"
    sys.exit(f"error: {what}: failed with {why}. {fix}")


def main():
    """Load the application as the web server will, then run every step."""
    what = "cfgov.wsgi"
    try:
        importlib.import_module(what)
        for step in commands():
            what = step[0]
            run(step)
    except Exception as error:
        stop(what, error)


if __name__ == "__main__":
    main()
