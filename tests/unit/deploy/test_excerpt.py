"""The line of a command's output that names the error."""

from __future__ import annotations

import pytest

from deployable_zipfile.deploy.excerpt import excerpt, kind

CHECK = """\
SystemCheckError: System check identified some issues:

ERRORS:
home.Page.owner: (fields.E300) Field defines a relation with model 'Owner', which is not installed.
\tHINT: Add it to INSTALLED_APPS.
home.Page.two: (fields.E301) Another one.

WARNINGS:
?: (security.W004) You have not set a value for the SECURE_HSTS_SECONDS setting.

System check identified 2 issues (0 silenced).
"""
CONNECTION = """\
Traceback (most recent call last):
  File "base.py", line 1, in connect
    raise Wrapped
psycopg2.OperationalError: connection to server at "10.0.0.1", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "manage.py", line 22, in <module>
    main()
django.db.utils.OperationalError: connection to server at "10.0.0.1", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?

"""
REFUSED = 'django.db.utils.OperationalError: connection to server at "10.0.0.1", port 5432 failed: Connection refused'
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "x.py", line 1, in <module>
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "x.py", line 2, in two
    | ValueError: the first
    +------------------------------------
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (CHECK, "home.Page.owner: (fields.E300) Field defines a relation with model 'Owner', which is not installed."),
        (CONNECTION, REFUSED),
        (GROUP, "ValueError: the first"),
        ("CommandError: No fixture named 'demo' found.\nTry another\n", "CommandError: No fixture named 'demo' found."),
        ("loading\nERROR: no space\nsee the manual\n", "ERROR: no space"),
        ("Unknown command: 'demo'\nType 'manage.py help' for usage.\n", "Unknown command: 'demo'"),
        ("one\ntwo\n\n", "two"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_the_line_that_names_the_error_is_shown_and_not_its_advice(output: str, line: str) -> None:
    assert excerpt(output) == line


def test_a_long_line_is_cut() -> None:
    assert len(excerpt("x" * 1000)) == 240


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (CHECK, "home.Page.owner: (fields.E300) Field defines a relation with model 'Owner', which is not installed."),
        (CONNECTION, "django.db.utils.OperationalError"),
        ("CommandError: canary\n", "CommandError"),
        ("ERRORS:\ncanary\n", ""),
        ("could not reach canary\n", ""),
    ],
)
def test_what_may_be_shown_quotes_nothing(output: str, shown: str) -> None:
    assert kind(output) == shown
