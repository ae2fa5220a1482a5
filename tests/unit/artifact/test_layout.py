"""Names inside the artifact and on disk."""

from __future__ import annotations

from deployable_zipfile.artifact import layout


def test_the_path_file_of_a_project_is_relative_and_ascii() -> None:
    assert layout.project_pth_name("shop") == "shop.pth"
    assert layout.project_pth_text("shop") == "../../../../shop\n"


def test_a_folder_of_the_project_follows_its_own() -> None:
    assert layout.project_pth_text("shop", "src") == "../../../../shop\n../../../../shop/src\n"


def test_only_modules_of_the_tool_have_a_place_in_its_package() -> None:
    assert layout.runtime_path(".deploy/runtime/artifact/layout.py") == "artifact/layout.py"
    assert layout.runtime_path("install_wheels.py") == "install_wheels.py"
    assert layout.runtime_path("shop/.deploy/runtime/a.py") == ""


def test_a_wheel_of_the_artifact_is_told_from_one_of_the_project() -> None:
    assert layout.is_wheel("wheels/a-1.0-py3-none-any.whl")
    assert layout.is_wheel("bootstrap_wheels/a-1.0-py3-none-any.whl")
    assert not layout.is_wheel("shop/wheels/a-1.0-py3-none-any.whl")
