"""Uploads that the next release would not have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

from deployable_zipfile.deploy import collect, losses
from tests.support.roots import add, make_root


def warned(tmp_path: Path, media_root: str, before: bool = True) -> List[str]:
    """Return the warnings about a new release at ``srv/releases/...2`` with *media_root* in its settings."""
    root = make_root(tmp_path / "srv")
    if before:
        add(root, 1, switch=True)
    release = root.path / add(root, 2)
    (release / "shop/media").mkdir(parents=True)
    (root.path / "shared/media").mkdir(parents=True)
    (release / "shop/linked").symlink_to("../../../shared/media")
    said: List[str] = []
    context: Any = SimpleNamespace(root=root, release=release, console=SimpleNamespace(warn=said.append))
    losses.warn_of_uploads(context, media_root.format(root=root.path, release=release, other=tmp_path))
    return said


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("media_root", "inner"),
    [
        ("{release}/shop/media", "shop/media"),
        ("{release}/shop/not there/yet", "shop/not there/yet"),
        ("{root}/current/shop/media", "shop/media"),
        ("{release}/shop/../media/", "media"),
    ],
)
def test_uploads_into_the_release_are_warned_of(media_root: str, inner: str, before: bool, tmp_path: Path) -> None:
    (said,) = warned(tmp_path, media_root, before)
    assert said.startswith(f"MEDIA_ROOT is inside the release ({inner}): the next release starts without what was")
    assert f"Give --shared media={inner}," in said


@pytest.mark.parametrize(
    "media_root",
    ["", "media", "{other}/media", "{root}/shared/media", "{release}/shop/linked", "{root}/current/shop/linked"],
)
def test_uploads_elsewhere_are_not(media_root: str, tmp_path: Path) -> None:
    assert warned(tmp_path, media_root) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"MEDIA_ROOT": Path("/m")}, "/m"),
        ({"MEDIA_ROOT": ""}, ""),
        ({}, ""),
        ({"MEDIA_ROOT": "/m", "STORAGES": {"default": {"BACKEND": "storages.backends.s3.S3Storage"}}}, ""),
        ({"MEDIA_ROOT": "/m", "DEFAULT_FILE_STORAGE": "storages.backends.gcloud.GoogleCloudStorage"}, ""),
        ({"MEDIA_ROOT": "/m", "STORAGES": {"staticfiles": {"BACKEND": "x.Y"}}}, "/m"),
        (
            {"MEDIA_ROOT": "/m", "STORAGES": {"default": {"BACKEND": "django.core.files.storage.FileSystemStorage"}}},
            "/m",
        ),
    ],
)
def test_only_storages_in_folders_have_uploads_there(values: Dict[str, Any], found: str) -> None:
    assert collect._media_root(values) == found
