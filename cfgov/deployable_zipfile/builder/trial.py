"""Check that the packed site can be imported, before the new artifact replaces the old one.

The artifact is installed into a scratch folder and its virtualenv imports the settings module and the WSGI and ASGI
callables once, in an environment that names nothing real. No request is made and no database is opened.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from typing import Dict, List, NoReturn

from .. import process
from ..artifact import layout, manifests
from ..definitions import NamedTuple
from ..errors import BuildInputError, WheelError

_TIMEOUT = 300.0  # seconds for the installation, and for the imports

# Runs in the release's Python: imports what its arguments name and prints one JSON line about it.
_PROBE = """
import importlib, json, os, sys, traceback
release = os.path.dirname(sys.prefix) + os.sep
def lost(error):
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name
        error = error.__cause__ or error.__context__
    return ""
for place in sys.argv[1:]:
    module, _, path = place.partition(":")
    try:
        found = importlib.import_module(module)
        for name in path.split(".") if path else []:
            found = getattr(found, name)
        if path and not callable(found):
            raise TypeError(place + " is not callable")
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename.startswith(release)]
        own = [frame for frame in ours if not frame.filename.startswith(sys.prefix + os.sep)]
        files = [f"{frame.filename}:{frame.lineno}" for frame in own or ours]
        text = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
        found = {"place": place, "missing": lost(error), "at": files[-1] if files else "", "error": text}
        print("\\n" + json.dumps(found))
        sys.exit(1)
print("\\n" + json.dumps({}))
"""

# Import names whose distribution is called otherwise, where replacing "_" by "-" does not give it.
_DISTRIBUTIONS = {
    "allauth": "django-allauth",
    "attr": "attrs",
    "axes": "django-axes",
    "bs4": "beautifulsoup4",
    "compressor": "django-compressor",
    "corsheaders": "django-cors-headers",
    "crispy_forms": "django-crispy-forms",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "debug_toolbar": "django-debug-toolbar",
    "decouple": "python-decouple",
    "django_filters": "django-filter",
    "dotenv": "python-dotenv",
    "environ": "django-environ",
    "git": "GitPython",
    "guardian": "django-guardian",
    "haystack": "django-haystack",
    "import_export": "django-import-export",
    "jwt": "PyJWT",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "memcache": "python-memcached",
    "modelcluster": "django-modelcluster",
    "modeltranslation": "django-modeltranslation",
    "mptt": "django-mptt",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "pipeline": "django-pipeline",
    "pkg_resources": "setuptools",
    "rest_framework": "djangorestframework",
    "reversion": "django-reversion",
    "simple_history": "django-simple-history",
    "sklearn": "scikit-learn",
    "social_django": "social-auth-app-django",
    "storages": "django-storages",
    "taggit": "django-taggit",
    "webpack_loader": "django-webpack-loader",
    "yaml": "PyYAML",
}


class Outcome(NamedTuple):
    """What a trial came to."""

    tried: List[str]  # modules and callables
    doubt: str  # why it failed in a way that the real environment may not, "" if it did not


def run(artifact: str, interpreter: str, manifest: manifests.Manifest, project: str, work: str) -> Outcome:
    """Install *artifact* below *work* with *interpreter* and import what serves the site.

    Parameters:
        project: absolute path of the project's folder, to say of a missing module whether it is there and not packed.

    Raises:
        WheelError: the artifact does not install.
        BuildInputError: a module is missing; names the requirement that would provide it.
    """
    site = manifest.site
    places = [place for place in (site.settings_module, site.wsgi, site.asgi) if place] if site else []
    if not places or site is None:
        return Outcome([], "")
    release = os.path.join(work, "release")
    environment = _environment(site, work)
    words = [interpreter, "-I", artifact, "-d", release, "--no-sync", "--quiet"]
    installed = process.run(words, _TIMEOUT, work, environment)
    if installed.status or installed.timed_out:
        raise WheelError("the artifact", f"does not install: {_last(installed.output) or installed.why()}", "See above")
    python = os.path.join(release, layout.VENV, "bin", "python")
    ended = process.run([python, "-I", "-c", _PROBE, *places], _TIMEOUT, release, environment)
    if ended.timed_out:
        return Outcome(places, f"importing {', '.join(places)} {ended.why()}")
    try:
        found = json.loads(_last(ended.output))
    except ValueError:
        return Outcome(places, f"importing {', '.join(places)}: {ended.why()} ({_last(ended.output)[:200]})")
    if found.get("missing"):
        _refuse(found, release, project, manifest.project)
    if found:
        where = _inside(found["at"], release) or "the start"
        return Outcome(places, f"{found['place']} does not import without its environment: {found['error']} ({where})")
    return Outcome(places, "")


def _environment(site: manifests.Site, work: str) -> Dict[str, str]:
    """Return an environment in which a site finds what it commonly asks for, and nothing real."""
    own = {
        "HOME": work,
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": '["*"]',
        "DATABASE_URL": f"sqlite:///{work}/trial.sqlite3",
        "STATIC_ROOT": os.path.join(work, "static"),
        "MEDIA_ROOT": os.path.join(work, "media"),
    }
    if site.settings_module:
        own["DJANGO_SETTINGS_MODULE"] = site.settings_module
    return {**process.environment(), **own}


def _refuse(found: Dict[str, str], release: str, project: str, name: str) -> NoReturn:
    missing, where = found["missing"], _inside(found["at"], release) or "the start"
    top = missing.partition(".")[0]
    base = os.path.join(project, *missing.split("."))
    for path in (f"{base}.py", base):
        if os.path.exists(path):
            raise BuildInputError(
                f"module {missing}",
                f"imported at {where}, is in {path} and was not packed",
                "Add it to git or to include, or take it out of exclude",
            )
    folder = _packed_in(os.path.join(release, name), top)
    if folder:
        what = f"imported at {where} for {found['place']}, is packed in the folder {folder}, which is not on sys.path"
        raise BuildInputError(f"module {missing}", what, f"Set python-path to {folder}")
    what = f"imported at {where} for {found['place']}, and no packed file or wheel holds it"
    if top != missing and _is_there(release, top):
        raise BuildInputError(f"module {missing}", what, f"Correct the import, or require a {top} that has it")
    raise BuildInputError(
        f"module {missing}", what, f"Add {distribution(missing)} to the requirements, or give --no-check"
    )


def _packed_in(project: str, top: str) -> str:
    """Return the topmost folder of the installed *project*, relative to it, that holds the module *top*, else ""."""
    for folder, folders, names in sorted(os.walk(project), key=lambda found: (found[0].count(os.sep), found[0])):
        if f"{top}.py" in names or (top in folders and os.path.exists(os.path.join(folder, top, "__init__.py"))):
            return "" if folder == project else os.path.relpath(folder, project)
    return ""


def distribution(module: str) -> str:
    """Return the requirement that most probably provides *module*."""
    top = module.partition(".")[0]
    return _DISTRIBUTIONS.get(top, top.replace("_", "-"))


def _is_there(release: str, top: str) -> bool:
    library = os.path.join(release, layout.VENV, "lib")
    return any(
        os.path.exists(os.path.join(library, version, "site-packages", name))
        for version in os.listdir(library)
        for name in (top, f"{top}.py")
    )


def _inside(place: str, release: str) -> str:
    """Return *place* without the scratch folder, and from its package on when it is in site-packages."""
    place = place.replace(release + os.sep, "")
    return re.sub(r"^venv/lib/[^/]+/site-packages/", "", place)


def _last(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else ""
