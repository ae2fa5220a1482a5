"""The name that a project has in an artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployable_zipfile.builder import naming, source
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import write_tree
from tests.unit.builder.conftest import SITE


def unnamed(*arguments: str) -> str:
    with pytest.raises(BuildInputError) as caught:
        naming.project_name(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "shop"),
        ("my-site", "my_site"),
        ("online-judge", "online_judge"),
        ("djangoproject.com", "djangoproject_com"),
        ("site", "site_project"),
        ("json", "json_project"),
        ("wheels", "wheels_project"),
        ("venv", "venv_project"),
        ("static.in", "static_in"),
        ("sité", "site_project"),
        ("2024-relaunch", "project_2024_relaunch"),
    ],
)
def test_any_folder_gives_a_name_that_python_and_the_artifact_can_use(tmp_path: Path, folder: str, name: str) -> None:
    project = write_tree(tmp_path / folder, SITE)
    assert naming.project_name(str(project)) == name
    assert source.project_files(str(project), name).files[0].name == f"{name}/manage.py"


def test_a_link_to_a_project_has_the_name_of_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(write_tree(tmp_path / "shop", SITE))
    assert naming.project_name(str(tmp_path / "current")) == "shop"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my-site", "'my-site' is not an ASCII identifier"),
        ("json", "is the name of a module of Python's standard library"),
        ("wheels", "is a name that the artifact uses itself"),
        ("a/b", "is not an ASCII identifier"),
    ],
)
def test_a_name_that_was_asked_for_and_clashes_is_refused(tmp_path: Path, name: str, why: str) -> None:
    message = unnamed(str(tmp_path), name)
    assert message.startswith(f"the name {name!r}: ")
    assert why in message
    assert message.endswith("Give another name.")


def test_a_folder_that_gives_no_name_needs_one(tmp_path: Path) -> None:
    assert unnamed(str(write_tree(tmp_path / "日本", SITE))).endswith(
        "its name cannot be used as a project name. Give --name NAME."
    )
