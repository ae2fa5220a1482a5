"""How a release is run: from its artifact's record, its environment file and the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict, Optional

import pytest

from deployable_zipfile.artifact import manifests
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.deploy import site
from deployable_zipfile.errors import DeploymentError, UsageError
from tests.support.artifacts import make_artifact
from tests.support.depth import sampled
from tests.support.helpers import run_cli


def manifest(tmp_path: Path, recorded: Optional[manifests.Site]) -> manifests.Manifest:
    path = make_artifact(tmp_path / "a.zip", name="portal")
    with Artifact.open(str(path)) as artifact:
        return artifact.manifest._replace(site=recorded)


def test_the_record_decides_and_the_environment_file_names_the_settings(tmp_path: Path) -> None:
    recorded = manifests.Site(
        "config.settings", "config.wsgi:application", "config.asgi:application", "manage.py", "", ()
    )
    made = manifest(tmp_path, recorded)
    found = site.site_of(made, tmp_path)
    assert found == site.Site("config.settings", "config.wsgi:application", "", "portal/manage.py", [])
    assert site.site_of(made, tmp_path, {site.SETTINGS: "config.live"}).settings_module == "config.live"


def test_the_command_line_names_another_callable(tmp_path: Path) -> None:
    made = manifest(tmp_path, manifests.Site("", "app:application", "", "", "", ()))
    assert site.site_of(made, tmp_path, None, wsgi="other").wsgi == "other:application"
    found = site.site_of(made, tmp_path, None, asgi="live.main:app")
    assert (found.wsgi, found.asgi) == ("", "live.main:app")
    with pytest.raises(UsageError, match="must be MODULE or MODULE:CALLABLE"):
        site.site_of(made, tmp_path, None, wsgi="../x")


@pytest.mark.parametrize(
    ("files", "settings", "wsgi"),
    [
        (
            {"manage.py": "'DJANGO_SETTINGS_MODULE', 'config.settings'", "config/wsgi.py": ""},
            "config.settings",
            "config",
        ),
        (
            {"manage.py": '"DJANGO_SETTINGS_MODULE", "portal.settings"', "portal/wsgi.py": ""},
            "portal.settings",
            "portal",
        ),
        ({"portal/wsgi.py": ""}, "", "portal"),
    ],
)
def test_an_artifact_without_a_record_is_looked_at(
    tmp_path: Path, files: Dict[str, str], settings: str, wsgi: str
) -> None:
    for name, text in files.items():
        (tmp_path / "portal" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "portal" / name).write_text(text)
    found = site.site_of(manifest(tmp_path, None), tmp_path)
    assert (found.settings_module, found.wsgi) == (settings, f"{wsgi}.wsgi:application")


def test_a_project_that_says_nothing_is_refused_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="--wsgi-module"):
        site.site_of(manifest(tmp_path, None), tmp_path)


def test_steps_of_django_are_skipped_for_others_and_where_the_project_says_so(tmp_path: Path) -> None:
    other = site.site_of(manifest(tmp_path, manifests.Site("", "app:app", "", "", "", ())), tmp_path)
    assert other.without("migrate") == "skipped: not a Django project"
    named = manifests.Site("a.settings", "", "", "manage.py", "", ("migrate",))
    assert "skip-steps" in site.site_of(manifest(tmp_path, named), tmp_path).without("migrate")
    assert site.site_of(manifest(tmp_path, named), tmp_path).without("check") == ""


WSGI = "def application(environ, start):\n    start('201 OK', [('X-Build-Id', 'one')])\n    return [b'1234']\n"
ASGI = """
started = []
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        started.append(1)
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200 + len(started), "headers": [(b"x-build-id", b"one")]})
    await send({"type": "http.response.body", "body": b"12", "more_body": True})
    await send({"type": "http.response.body", "body": b"34"})
"""
NO_LIFESPAN = ASGI.replace(
    'if scope["type"] == "lifespan":', 'assert scope["type"] == "http"; started.append(1)\n    if 0:'
)


@pytest.mark.parametrize(
    ("text", "wsgi", "asgi"),
    sampled([(WSGI, "m:application", ""), (ASGI, "", "m:app"), (NO_LIFESPAN, "", "m:app")], 2),
)
def test_one_request_is_sent_into_the_callable(tmp_path: Path, text: str, wsgi: str, asgi: str) -> None:
    (tmp_path / "m.py").write_text(text)
    made = site.Site("", wsgi, asgi, "", [])
    arguments = made.callable_arguments(path="/", host="localhost")
    done = run_cli([sys.executable, *arguments], cwd=tmp_path, extra_env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout.split() == ["201", "4", "one"]
    loaded = run_cli([sys.executable, *made.callable_arguments()], extra_env={"PYTHONPATH": str(tmp_path)})
    assert loaded.stdout.strip() == wsgi or asgi


def test_a_failed_start_of_an_asgi_application_fails(tmp_path: Path) -> None:
    failing = 'await send({"type": "lifespan.startup.failed", "message": "no disk"})'
    (tmp_path / "m.py").write_text(ASGI.replace('await send({"type": "lifespan.startup.complete"})', failing))
    made = site.Site("", "", "m:app", "", []).callable_arguments(path="/", host="localhost")
    assert "no disk" in run_cli([sys.executable, *made], code=1, extra_env={"PYTHONPATH": str(tmp_path)}).stderr


def test_the_arguments_hold_no_more_than_the_names(tmp_path: Path) -> None:
    wanted = json.loads(site.Site("s", "w:a", "", "", []).callable_arguments()[-1])
    assert wanted == {"wsgi": "w:a", "asgi": "", "settings": "s"}
