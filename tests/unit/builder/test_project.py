"""How a project is run, by layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Mapping

import pytest

from deployable_zipfile.artifact.manifests import Site
from deployable_zipfile.builder import project
from deployable_zipfile.errors import UsageError
from tests.support.helpers import File, write_tree

MANAGE = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\nimport django\n'
SERVER = 'import os\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "{}")\napplication = get_wsgi_application()\n'


def describe(folder: Path, files: Mapping[str, File], **wanted: Any) -> Site:
    write_tree(folder, files)
    packed = {
        os.path.relpath(os.path.join(top, name), str(folder)): os.path.join(top, name)
        for top, _, names in os.walk(str(folder))
        for name in names
    }
    return project.describe(packed, project.check(project.Wanted(**wanted)))


def django(package: str, settings: str = "settings", **more: File) -> Dict[str, File]:
    """Return what startproject makes."""
    module = f"{package}.{settings}"
    return {
        "manage.py": MANAGE.format(module),
        f"{package}/__init__.py": "",
        f"{package}/settings.py": f"WSGI_APPLICATION = '{package}.wsgi.application'\n",
        f"{package}/wsgi.py": SERVER.format(module),
        f"{package}/asgi.py": SERVER.format(module).replace("wsgi", "asgi"),
        **more,
    }


LAYOUTS: Dict[str, Any] = {
    "startproject": (
        django("shop"),
        Site("shop.settings", "shop.wsgi:application", "shop.asgi:application", "manage.py", "", ()),
    ),
    "startproject config .": (
        django("config"),
        Site("config.settings", "config.wsgi:application", "config.asgi:application", "manage.py", "", ()),
    ),
    "below src": (
        {f"src/{name}": file for name, file in django("config").items()},
        Site("config.settings", "config.wsgi:application", "config.asgi:application", "src/manage.py", "src", ()),
    ),
    "two folders down": (
        {f"backend/app/{name}": file for name, file in django("x").items()},
        Site("x.settings", "x.wsgi:application", "x.asgi:application", "backend/app/manage.py", "backend/app", ()),
    ),
    "settings in several files, production's in wsgi.py": (
        {
            "manage.py": MANAGE.format("config.settings.local"),
            "config/settings/base.py": "WSGI_APPLICATION: str = 'config.wsgi.application'\n",
            "config/settings/local.py": "from .base import *\n",
            "config/settings/production.py": "from .base import *\n",
            "config/wsgi.py": SERVER.format("config.settings.production"),
        },
        Site("config.settings.production", "config.wsgi:application", "", "manage.py", "", ()),
    ),
    "wsgi elsewhere": (
        {
            "manage.py": MANAGE.format("conf"),
            "conf.py": "from base.settings import *\nASGI_APPLICATION = 'servers.live.app'\n",
            "base/settings/__init__.py": "from .common import *\n",
            "base/settings/common.py": "WSGI_APPLICATION = 'servers.plain.application'\n",
        },
        Site("conf", "servers.plain:application", "servers.live:app", "manage.py", "", ()),
    ),
    "no WSGI_APPLICATION": (
        {
            "manage.py": MANAGE.format("hc.settings"),
            "hc/settings.py": "DEBUG = False\n",
            "hc/wsgi.py": SERVER.format("hc.settings"),
        },
        Site("hc.settings", "hc.wsgi:application", "", "manage.py", "", ()),
    ),
    "the variable in brackets": (
        {"manage.py": "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'a.b'\n"},
        Site("a.b", "", "", "manage.py", "", ()),
    ),
    "the variable by a library": (
        {"manage.py": "x = config('DJANGO_SETTINGS_MODULE', default='a.b')\n"},
        Site("a.b", "", "", "manage.py", "", ()),
    ),
    "settings in classes": (
        {
            "manage.py": MANAGE.format("a.settings"),
            "a/settings.py": "class Live(Configuration):\n    WSGI_APPLICATION = 'a.wsgi.application'\n",
        },
        Site("a.settings", "a.wsgi:application", "", "manage.py", "", ()),
    ),
    "settings that import each other": (
        {
            "manage.py": MANAGE.format("a.one"),
            "a/one.py": "from a.two import *\n",
            "a/two.py": "from a.one import *\n",
        },
        Site("a.one", "", "", "manage.py", "", ()),
    ),
    "another program called manage.py": (
        {"manage.py": "print('manage')\n", "tools/manage.py": MANAGE.format("a.b")},
        Site("a.b", "", "", "tools/manage.py", "tools", ()),
    ),
    "Flask": (
        {"app.py": "from flask import Flask\napp = Flask(__name__)\n", "templates/a.html": ""},
        Site("", "app:app", "", "", "", ()),
    ),
    "Flask in a package": (
        {"wsgi.py": "from shop import create_app\napplication = create_app()\n", "shop/__init__.py": "x = 1\n"},
        Site("", "wsgi:application", "", "", "", ()),
    ),
    "a plain function": (
        {"main.py": "def application(environ, start_response):\n    return []\n"},
        Site("", "main:application", "", "", "", ()),
    ),
    "Starlette": (
        {"main.py": "from starlette.applications import Starlette\napp = Starlette(routes=[])\n"},
        Site("", "", "main:app", "", "", ()),
    ),
    "FastAPI in a package": (
        {"api/__init__.py": "", "api/main.py": "import fastapi\napp: object = fastapi.FastAPI()\n"},
        Site("", "", "api.main:app", "", "", ()),
    ),
    "a plain coroutine": (
        {"asgi.py": "async def app(scope, receive, send):\n    pass\n"},
        Site("", "", "asgi:app", "", "", ()),
    ),
    "manage.py elsewhere than the package": (
        {
            "tools/manage.py": MANAGE.format("config.settings"),
            **{f"src/{name}": file for name, file in django("config").items() if name != "manage.py"},
        },
        Site("config.settings", "config.wsgi:application", "config.asgi:application", "tools/manage.py", "src", ()),
    ),
    "manage.py above a package two folders down": (
        {
            "manage.py": MANAGE.format("config.settings"),
            **{f"apps/web/{name}": file for name, file in django("config").items() if name != "manage.py"},
        },
        Site("config.settings", "config.wsgi:application", "config.asgi:application", "manage.py", "apps/web", ()),
    ),
    "settings of an installed package": (
        {"manage.py": MANAGE.format("tickets.settings"), "more/other.py": ""},
        Site("tickets.settings", "", "", "manage.py", "", ()),
    ),
    "Flask below src": (
        {"src/shop/__init__.py": "", "src/shop/app.py": "from flask import Flask\napp = Flask(__name__)\n"},
        Site("", "shop.app:app", "", "", "src", ()),
    ),
    "a module above src for a package in it": (
        {
            "wsgi.py": "from shop import create_app\napplication = create_app()\n",
            "src/shop/__init__.py": "from flask import Flask\ndef create_app():\n    return Flask(__name__)\n",
        },
        Site("", "wsgi:application", "", "", "src", ()),
    ),
    "a module above src that needs nothing of it": (
        {"main.py": "import sys\nfrom fastapi import FastAPI\napp = FastAPI()\n", "src/tool.py": ""},
        Site("", "", "main:app", "", "", ()),
    ),
    "settings above src that need a package in it": (
        {**django("site"), "site/settings.py": "import shop.defaults\n", "src/shop/__init__.py": ""},
        Site("site.settings", "site.wsgi:application", "site.asgi:application", "manage.py", "src", ()),
    ),
    "a package called src": (
        {"src/__init__.py": "", "src/app.py": "from flask import Flask\napp = Flask(__name__)\n"},
        Site("", "src.app:app", "", "", "", ()),
    ),
    "a WSGI module that was removed": (
        {name: file for name, file in django("chat").items() if name != "chat/wsgi.py"},
        Site("chat.settings", "", "chat.asgi:application", "manage.py", "", ()),
    ),
    "nothing to serve": ({"tool.py": "x = 1\n"}, Site("", "", "", "", "", ())),
    "Python of another version": (
        {"manage.py": "print 'django'\n", "app.py": "app = ("},
        Site("", "", "", "manage.py", "", ()),
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("folder", ["portal", "online-judge"])
def test_it_is_read_from_the_projects_own_words(tmp_path: Path, case: str, folder: str) -> None:
    files, site = LAYOUTS[case]
    assert describe(tmp_path / folder, files) == site


def test_what_was_asked_for_comes_first(tmp_path: Path) -> None:
    found = describe(
        tmp_path, {**django("shop"), "other/manage.py": MANAGE.format("x.y")}, settings_module="shop.live",
        wsgi="a.b.app", asgi="c:d.e", manage="./other/manage.py", path="shop/", skip_steps=("migrate", "check"),
    )  # fmt: skip
    assert found == Site("shop.live", "a.b:app", "c:d.e", "other/manage.py", "shop", ("check", "migrate"))


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"settings_module": "shop/settings.py"}, "settings-module: 'shop/settings.py' is not a module name"),
        ({"wsgi": "shop"}, "wsgi: 'shop' is not MODULE:CALLABLE"),
        ({"asgi": "shop:app()"}, "asgi: 'shop:app()' is not MODULE:CALLABLE"),
        ({"manage": "/srv/manage.py"}, "manage: '/srv/manage.py' must be an ASCII path inside"),
        ({"manage": "bin/manage.py"}, "manage: bin/manage.py is not packed"),
        ({"path": "a/../../b"}, "python-path: 'a/../../b' must be an ASCII path inside"),
        ({"path": "src"}, "python-path: no packed file is in src"),
        ({"path": "ü"}, "python-path: 'ü' must be an ASCII path inside"),
        ({"skip_steps": ("switch",)}, "skip-steps: 'switch' must be one of check, collectstatic, migrate"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(tmp_path: Path, wanted: Any, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        describe(tmp_path, django("shop"), **wanted)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("said", ["name() + '.settings'", "'other.settings'", "'portal.settings'"])
def test_the_callable_beside_the_settings_that_were_named_is_found(said: str, tmp_path: Path) -> None:
    files = django("portal")
    files["manage.py"] = f"import os, django\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', {said})\n"
    files["portal/settings.py"] = ""
    files["portal/production.py"] = "from portal.settings import *\n"
    found = describe(tmp_path, files, settings_module="portal.production")
    assert (found.settings_module, found.wsgi) == ("portal.production", "portal.wsgi:application")
    assert found.asgi == "portal.asgi:application"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"shop/__init__.py": "def create_app():\n    return 1\n"}, "shop:create_app"),
        ({"src/shop/web.py": "from .making import make_app\n", "src/shop/__init__.py": ""}, "shop.web:make_app"),
        ({"shop/__init__.py": "def create_apple(): ...\n", "broken.py": "app = ("}, ""),
    ],
)
def test_a_function_that_makes_the_callable_is_found(tmp_path: Path, files: Dict[str, str], found: str) -> None:
    write_tree(tmp_path, files)
    assert project.factory({name: str(tmp_path / name) for name in files}) == found


@pytest.mark.parametrize(
    ("kind", "place", "is_one"),
    [
        ("wsgi", "shop:create_app", True),
        ("wsgi", "shop:nothing", True),
        ("wsgi", "shop:named", True),
        ("wsgi", "shop:plain", False),
        ("wsgi", "shop:more", False),
        ("wsgi", "shop:any", False),
        ("wsgi", "shop:decorated", False),
        ("wsgi", "shop:made", False),
        ("wsgi", "shop:bound", False),
        ("wsgi", "shop:again", True),
        ("wsgi", "elsewhere:create_app", False),
        ("asgi", "shop:nothing", True),
        ("asgi", "shop:plain", True),
        ("asgi", "shop:three", False),
        ("asgi", "shop:later", False),
    ],
)
def test_a_function_that_is_no_callable_of_a_server_is_refused(
    kind: str, place: str, is_one: bool, tmp_path: Path
) -> None:
    functions = {"create_app": "config=None", "nothing": "", "named": "name, *, debug=True", "plain": "environ, start"}
    functions.update({"more": "environ, start, log=None", "any": "*words", "three": "scope, receive, send"})
    lines = [f"def {name}({words}): ...\n" for name, words in functions.items()]
    lines += ["@wrapped\ndef decorated(request): ...\n", "async def later(): ...\n", "made = create_app()\n"]
    lines += ["def bound(): ...\nif made:\n    bound = made(bound)\n", "again = None\ndef again(): ...\n"]
    files = {"shop/__init__.py": "".join(lines)}
    if not is_one:
        assert getattr(describe(tmp_path, files, **{kind: place}), kind) == place
        return
    with pytest.raises(UsageError) as caught:
        describe(tmp_path, files, **{kind: place})
    function = place.partition(":")[2]
    assert str(caught.value) == (
        f"{kind}: {place} is a function that makes the callable. "
        f"Add a {kind}.py with: from shop import {function}; application = {function}()."
    )


def test_a_call_in_place_of_a_callable_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        project.check(project.Wanted(wsgi="shop:create_app()"))
    assert caught.value.fix == "Add a wsgi.py with: from shop import create_app; application = create_app()"


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("loadenv.py", "", "loadenv.py"),
        ("src/loadenv/__init__.py", "src", "src/loadenv/__init__.py"),
        ("shop/loadenv.py", "", ""),
        ("loadenvs.py", "src", ""),
    ],
)
def test_a_module_that_the_loader_hides_is_found(tmp_path: Path, name: str, path: str, found: str) -> None:
    assert project.hidden({name: str(tmp_path / name)}, path) == found
