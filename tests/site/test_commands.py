"""Management commands as a deployment runs them: each may be run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from home.illustrations import HEIGHT, SCENES, WIDTH, draw
from home.models import GuidePage, HomePage
from PIL import Image
from wagtail.images import get_image_model
from wagtail.models import Page, Site

from tests.site.conftest import PROJECT, Manage, copy_release


def test_every_command_of_a_deployment_can_run_twice(manage: Manage, migrated: None) -> None:
    for _ in range(2):
        for command in (["migrate"], ["createcachetable"], ["collectstatic", "--noinput"], ["demo_content"]):
            ran = manage(*command)
            assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("0 pages made")
    assert manage("migrate", "--check").returncode == 0


def test_a_site_that_was_only_migrated_has_a_home_page_and_a_cache_table(manage: Manage, migrated: None) -> None:
    made = manage("createcachetable")
    assert "already exists" in made.stdout
    code = (
        "from wagtail.models import Site; from django.core.cache import cache; cache.set('a', 1); "
        "print(cache.get('a'), Site.objects.get().root_page.specific.headline)"
    )
    assert manage("shell", "-c", code).stdout.splitlines()[-1] == "1 Plain Terms Office"


def test_no_model_waits_for_a_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_the_deployment_check_has_no_complaint_behind_https(manage: Manage) -> None:
    ran = manage("check", "--deploy", "--fail-level", "WARNING", APACHE_HTTPS_FORWARDED_HOST="www.example.gov")
    assert ran.returncode == 0, ran.stderr
    assert "no issues" in ran.stdout


def test_without_https_the_deployment_check_warns_and_does_not_fail(manage: Manage) -> None:
    ran = manage("check", "--deploy")
    assert ran.returncode == 0
    assert "security.W012" in ran.stderr


def hashed_name(static_root: Path, build_id: str, name: str) -> str:
    manifest = json.loads((static_root / f"staticfiles-{build_id}.json").read_text(encoding="utf-8"))
    return str(manifest["paths"][name])


def test_static_files_get_names_with_a_hash_and_a_manifest_of_their_release(manage: Manage, tmp_path: Path) -> None:
    for build_id in ("aaaa", "bbbb"):
        project = copy_release(tmp_path / build_id, build_id)
        (project / "cfgov" / "static" / "cfgov" / "css" / "site.css").write_text(f"/* {build_id} */", encoding="utf-8")
        ran = manage("collectstatic", "--noinput", project=project)
        assert ran.returncode == 0, ran.stderr
    names = [hashed_name(tmp_path / "static", build_id, "cfgov/css/site.css") for build_id in ("aaaa", "bbbb")]
    assert names[0] != names[1]
    for name, build_id in zip(names, ("aaaa", "bbbb")):
        assert (tmp_path / "static" / name).read_text(encoding="utf-8") == f"/* {build_id} */"
        assert len(Path(name).name.split(".")[1]) == 12


@pytest.mark.parametrize(("extra", "expected"), [(True, True), (False, False)])
def test_pages_show_icons_only_in_an_artifact_that_was_built_with_them(
    manage: Manage, migrated: None, tmp_path: Path, extra: bool, expected: bool
) -> None:
    project = copy_release(tmp_path / "release", "cccc")
    if extra:
        icons = project.parent / "static.in" / "0" / "cfgov-fonts" / "icons.svg"
        icons.parent.mkdir(parents=True)
        icons.write_bytes((PROJECT.parent / "static.in" / "cfgov-fonts" / "cfgov-fonts" / "icons.svg").read_bytes())
    assert manage("collectstatic", "--noinput", "-v0", project=project).returncode == 0
    code = "from django.test import Client; a = Client().get('/'); print(a.status_code, 'icons.' in a.content.decode())"
    assert manage("shell", "-c", code, project=project).stdout.splitlines()[-1] == f"200 {expected}"


def test_demo_content_changes_nothing_that_is_there() -> None:
    guide = GuidePage.objects.get(slug="parcel-lost")
    guide.title = "Edited by somebody"
    guide.save_revision().publish()
    counts = [model.objects.count() for model in (Page, get_image_model(), Site)]
    call_command("demo_content", verbosity=0)
    assert GuidePage.objects.get(slug="parcel-lost").title == "Edited by somebody"
    assert [model.objects.count() for model in (Page, get_image_model(), Site)] == counts


def test_demo_content_makes_a_page_again_that_somebody_deleted() -> None:
    GuidePage.objects.get(slug="parcel-lost").delete()
    call_command("demo_content", verbosity=0)
    assert GuidePage.objects.get(slug="parcel-lost").live


def test_demo_content_draws_an_image_again_whose_file_is_gone() -> None:
    image = get_image_model().objects.get(title="Illustration: parcel")
    image.file.storage.delete(image.file.name)
    call_command("demo_content", verbosity=0)
    again = get_image_model().objects.get(title="Illustration: parcel")
    assert again.pk == image.pk
    assert again.file.storage.exists(again.file.name)
    assert all(rendition.file.storage.exists(rendition.file.name) for rendition in again.renditions.all())


def test_demo_content_without_a_home_page_says_what_to_run() -> None:
    HomePage.objects.all().delete()
    with pytest.raises(CommandError, match="run `django-admin migrate` first"):
        call_command("demo_content", verbosity=0)


def test_an_administrator_is_made_only_with_a_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    users = get_user_model().objects
    monkeypatch.delenv("DEMO_ADMIN_PASSWORD", raising=False)
    call_command("demo_content", verbosity=0)
    assert not users.exists()
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "first")
    call_command("demo_content", "--admin-username", "chief", verbosity=0)
    assert users.get(username="chief", is_superuser=True).check_password("first")
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "second")
    call_command("demo_content", "--admin-username", "chief", verbosity=0)
    assert users.get(username="chief").check_password("first")


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_each_illustration_is_a_small_png_that_is_drawn_the_same_each_time(scene: str, tmp_path: Path) -> None:
    drawn = draw(scene)
    assert drawn == draw(scene)
    assert len(drawn) < 40_000
    (tmp_path / "drawn.png").write_bytes(drawn)
    with Image.open(tmp_path / "drawn.png") as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
