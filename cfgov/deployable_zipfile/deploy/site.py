"""How a release is run: what its artifact recorded, what the environment file says, what the command line says."""

from __future__ import annotations

import json
import pkgutil
from pathlib import Path
from typing import Any, List, Mapping, Optional

from ..artifact import manifests
from ..definitions import NamedTuple, expression
from ..errors import DeploymentError, UsageError

NO_COLLECTSTATIC = "Unknown command: 'collectstatic'"  # Django's words when staticfiles is not installed
SETTINGS = "DJANGO_SETTINGS_MODULE"
_NAMED = expression(rf"""{SETTINGS}["'], *["']([\w.]+)["']""")


class Site(NamedTuple):
    """How one release is run."""

    settings_module: str  # DJANGO_SETTINGS_MODULE, "": not known or not Django
    wsgi: str  # MODULE:CALLABLE, "": none, or WSGI_APPLICATION of the settings
    asgi: str  # MODULE:CALLABLE, "": none
    manage: str  # manage.py, relative to the release, "": none
    skip_steps: List[str]

    @property
    def is_django(self) -> bool:
        """Whether it has Django's management commands."""
        return bool(self.settings_module or self.manage)

    def callable_arguments(self, **request: str) -> List[str]:
        """Return the arguments of the release's Python that load the callable; with *request*, also send it one."""
        wanted = {"wsgi": self.wsgi, "asgi": self.asgi, "settings": self.settings_module, **request}
        return ["-c", program("probe"), json.dumps(wanted)]

    @property
    def script(self) -> str:
        """Return the file that defines the WSGI callable, relative to the project's folder, "" when there is none."""
        return self.wsgi.partition(":")[0].replace(".", "/") + ".py" if self.wsgi else ""

    def without(self, step: str) -> str:
        """Return why *step* of ``manifests.STEPS`` is not run, "" when it is."""
        if not self.is_django:
            return "skipped: not a Django project"
        return "skipped: named in skip-steps of the project" if step in self.skip_steps else ""

    def variables(self) -> Mapping[str, str]:
        """Return what the processes of the site need in their environment; environment.json wins over it."""
        return {SETTINGS: self.settings_module} if self.settings_module else {}


def site_of(
    manifest: manifests.Manifest,
    release: Path,
    environment: Optional[Mapping[str, str]] = None,
    wsgi: str = "",
    asgi: str = "",
) -> Site:
    """Return how the *release* of *manifest* is run.

    Parameters:
        environment: its environment.json; DJANGO_SETTINGS_MODULE there is the settings module.
        wsgi, asgi: MODULE or MODULE:CALLABLE from the command line.

    Raises:
        DeploymentError: nothing says how it is run.
    """
    recorded = manifest.site or _found(manifest.project, release)
    settings = (environment or {}).get(SETTINGS) or recorded.settings_module
    manage = f"{manifest.project}/{recorded.manage}" if recorded.manage else ""
    if asgi and not wsgi:
        own = Site(settings, "", parse_callable("--asgi-module", asgi), manage, list(recorded.skip_steps))
    else:
        named = parse_callable("--wsgi-module", wsgi) if wsgi else recorded.wsgi
        own = Site(settings, named, "" if named else recorded.asgi, manage, list(recorded.skip_steps))
    if not (own.wsgi or own.asgi or own.is_django):
        why = "neither the artifact nor a manage.py says which WSGI or ASGI callable it has"
        raise DeploymentError(manifest.project, why, "Give --wsgi-module MODULE:CALLABLE or --asgi-module")
    return own


def parse_callable(option: str, text: str) -> str:
    """Return *text* as MODULE:CALLABLE; a module has its ``application``.

    Raises:
        UsageError: it is neither.
    """
    whole = text if ":" in text else f"{text}:application"
    if not manifests.is_callable(whole):
        raise UsageError(f"{option} {text}", "must be MODULE or MODULE:CALLABLE", "Example: config.wsgi:application")
    return whole


def program(name: str) -> str:
    """Return the text of the module *name* of this package, to be run by the release's Python."""
    text = pkgutil.get_data(__package__, f"{name}.py")
    if text is None:
        raise DeploymentError(name, "the tool's own module cannot be read", "Copy the artifact again")
    return text.decode("utf-8")


def _found(project: str, release: Path) -> Any:
    """Look at an installed project whose artifact records nothing: made by version 1.0."""
    folder = release / project
    manage = "manage.py" if (folder / "manage.py").is_file() else ""
    settings = ""
    if manage:
        found = _NAMED.search((folder / manage).read_text("utf-8", "replace"))
        settings = found.group(1) if found else ""
    packages = [
        name for name in (project, settings.partition(".")[0]) if name and (folder / name / "wsgi.py").is_file()
    ]
    wsgi = f"{packages[0]}.wsgi:application" if packages else ""
    return manifests.Site(settings, wsgi, "", manage, "", ())
