"""Errors are one printable line each, with an exit code per kind."""

from __future__ import annotations

import pytest

from deployable_zipfile import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.DeployableZipfileError, 1),
        (errors.UsageError, 2),
        (errors.ArtifactError, 3),
        (errors.TargetError, 4),
        (errors.DestinationError, 5),
        (errors.WheelError, 6),
        (errors.BuildInputError, 7),
        (errors.DeploymentError, 8),
        (errors.Interrupted, 130),
    ],
)
def test_each_kind_of_error_has_its_exit_code(kind: "type[errors.DeployableZipfileError]", code: int) -> None:
    assert kind.exit_code == code
    assert isinstance(kind("a", "b"), errors.DeployableZipfileError)


def test_every_class_of_the_module_is_in_the_table_above() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(kinds) == 9


def test_a_line_says_what_why_and_fix() -> None:
    assert str(errors.ArtifactError("x.zip", "is cut", "Copy it again")) == "x.zip: is cut. Copy it again."
    assert str(errors.ArtifactError("x.zip", "is cut")) == "x.zip: is cut."


@pytest.mark.parametrize(
    "hostile", ["\n", "\r", "\x1b[31m", "\u202e", "\u2028", "\u2029", "\ud800", "\x85", "\x00", "\ue000"]
)
def test_no_name_can_forge_a_line_or_act_on_a_terminal(hostile: str) -> None:
    line = str(errors.ArtifactError(f"a{hostile}b", f"is{hostile}cut", f"Copy{hostile}"))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line.encode("utf-8")
    assert line.count("\\") == 3


def test_what_can_be_read_stays_as_it_is() -> None:
    assert errors.printable("Grüße 日本 a/b.py '=%$") == "Grüße 日本 a/b.py '=%$"


def test_a_long_line_loses_its_middle_and_keeps_both_ends() -> None:
    line = str(errors.ArtifactError("x" * 2000, "is cut", "Copy it again"))
    assert len(line) == errors.MAX_LINE
    assert line.startswith("xxx")
    assert line.endswith("is cut. Copy it again.")
    assert " ... " in line


def test_an_error_of_a_worker_can_be_made_again_from_its_parts() -> None:
    error = errors.WheelError("a\nb", "is cut", None)
    again = errors.WheelError(error.what, error.why, error.fix)
    assert str(again) == str(error)
