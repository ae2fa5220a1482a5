"""How a project is run: settings module, WSGI and ASGI callable, ``manage.py``, as the project's own files say.

Nothing is imported or guessed from the folder's name: ``manage.py``, ``wsgi.py`` and the settings are parsed.
What they compute at run time is not known here; a setting of the build can say it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Collection, Mapping, Sequence, Tuple

from ..artifact import layout, manifests
from ..definitions import NamedTuple
from ..errors import UsageError

if TYPE_CHECKING:  # imported where it is needed: what a project says is mostly known from the build before
    from .project_sources import Sources


class Wanted(NamedTuple):
    """What the settings of the build say; "" leaves it to the project's words."""

    settings_module: str = ""
    wsgi: str = ""
    asgi: str = ""
    manage: str = ""
    path: str = ""
    skip_steps: Tuple[str, ...] = ()


def check(wanted: Wanted) -> Wanted:
    """Return *wanted* with callables as ``MODULE:CALLABLE``; ``MODULE.CALLABLE``, Django's form, is taken too.

    Raises:
        UsageError: a value of a wrong form.
    """
    if wanted.settings_module and not manifests.is_module(wanted.settings_module):
        raise UsageError("settings-module", f"{wanted.settings_module!r} is not a module name", "Correct it")
    for name in ("wsgi", "asgi"):
        value = getattr(wanted, name)
        if value and ":" not in value:
            value = ":".join(part for part in value.rpartition(".")[::2] if part)
        if value and not manifests.is_callable(value):
            fix = "Write it like config.wsgi:application"
            if value.endswith(")"):
                fix = _wrapper(name, value.partition("(")[0])
            raise UsageError(name, f"{value!r} is not MODULE:CALLABLE", fix)
        wanted = wanted._replace(wsgi=value) if name == "wsgi" else wanted._replace(asgi=value)
    for name in ("manage", "path"):
        value = getattr(wanted, name)
        plain = os.path.normpath(value) if value else ""
        outside = os.path.isabs(plain) or plain.split("/")[0] == os.pardir or not plain.isascii()
        if outside:
            option = "python-path" if name == "path" else name
            raise UsageError(option, f"{value!r} must be an ASCII path inside the project's folder", "Correct it")
        plain = "" if plain == os.curdir else plain
        wanted = wanted._replace(manage=plain) if name == "manage" else wanted._replace(path=plain)
    for step in wanted.skip_steps:
        if step not in manifests.STEPS:
            raise UsageError("skip-steps", f"{step!r} must be one of {', '.join(manifests.STEPS)}", "Correct it")
    return wanted._replace(skip_steps=tuple(step for step in manifests.STEPS if step in wanted.skip_steps))


def _wrapper(kind: str, factory: str) -> str:
    """Return the advice to write the module whose callable the *factory*, as MODULE:FUNCTION, makes."""
    module, _, function = factory.partition(":")
    return f"Add a {kind}.py with: from {module} import {function}; application = {function}()"


def describe(files: Mapping[str, str], wanted: Wanted) -> manifests.Site:
    """Return how the project is run.

    Parameters:
        files: path on disk of each packed file, by its path relative to the project's folder.
        wanted: as :func:`check` returns it; comes first.

    Raises:
        UsageError: *wanted* names a file or folder that is not packed.
    """
    manage = wanted.manage or _manage(files)
    if wanted.manage and wanted.manage not in files:
        raise UsageError("manage", f"{wanted.manage} is not packed", "Correct it")
    path = wanted.path or _path(files, manage, wanted)
    if wanted.path and not any(name.startswith(f"{wanted.path}/") for name in files):
        raise UsageError("python-path", f"no packed file is in {wanted.path}", "Correct it")
    sources = _sources(files, [path, ""] if path else [""])
    for kind, place in (("wsgi", wanted.wsgi), ("asgi", wanted.asgi)):
        if place and sources.is_factory(place, kind):
            raise UsageError(kind, f"{place} is a function that makes the callable", _wrapper(kind, place))
    said = _named_settings(sources, manage) if manage else ""
    wsgi = wanted.wsgi or sources.word(wanted.settings_module or said, "WSGI_APPLICATION")
    asgi = wanted.asgi or sources.word(wanted.settings_module or said, "ASGI_APPLICATION")
    # manage.py may compute the name of the settings, or name others: then those that were asked for tell the place.
    wsgi = wsgi or sources.beside(said, asgi, "wsgi") or sources.beside(wanted.settings_module, asgi, "wsgi")
    asgi = asgi or sources.beside(said, wsgi, "asgi") or sources.beside(wanted.settings_module, wsgi, "asgi")
    # wsgi.py and asgi.py are what a server imports: their word is production's, manage.py's is often a developer's.
    settings = wanted.settings_module or sources.settings_in(wsgi) or sources.settings_in(asgi) or said
    if not settings and not wsgi and not asgi:
        wsgi, asgi = sources.topmost()
    return manifests.Site(settings, wsgi, asgi, manage, path, wanted.skip_steps)


def hidden(files: Collection[str], path: str) -> str:
    """Return the project's own module that has the name of the loader in site-packages, "" when there is none.

    Parameters:
        files: paths of the packed files, relative to the project's folder.
        path: as :func:`describe` found it.
    """
    stem = layout.LOADENV[: -len(".py")]
    names = [os.path.join(root, name) for root in {"", path} for name in (layout.LOADENV, f"{stem}/__init__.py")]
    return min((name for name in names if name in files), default="")


def factory(files: Mapping[str, str]) -> str:
    """Return the function that makes the callable, ``MODULE:FUNCTION``, in a project that has none.

    Parameters:
        files: as for :func:`describe`.

    Returns "" when there is no function of the usual names.
    """
    return _sources(files, ["src", ""]).factory()


def _path(files: Mapping[str, str], manage: str, wanted: Wanted) -> str:
    """Return the folder that modules are imported from beside the project's own, "" when there is no other.

    It is where ``manage.py`` is, which Python puts on ``sys.path``; unless what is to be imported is elsewhere, as with
    ``tools/manage.py`` and ``src/``, or below a ``src/`` without ``manage.py``, or what is served needs it.
    """
    folder = os.path.dirname(manage)
    sources = _sources(files, [folder, ""] if folder else [""])
    module = wanted.settings_module or (_named_settings(sources, manage) if manage else "")
    module = module or (wanted.wsgi or wanted.asgi).partition(":")[0]
    if not module:
        if folder or not _is_src(files):
            return folder
        above = sources.topmost_above("src")
        return "src" if not above or sources.needs(above, "src") else ""
    if sources.find(module):
        return folder or ("src" if _is_src(files) and sources.needs(sources.find(module), "src") else "")
    base = module.replace(".", "/")
    tails = tuple(f"/{base}{tail}" for tail in (".py", "/__init__.py"))
    found = sorted((name for name in files if name.endswith(tails)), key=lambda name: (name.count("/"), name))
    return found[0][: found[0].rindex(f"/{base}")] if found else folder


def _is_src(files: Mapping[str, str]) -> bool:
    """Tell whether there is a folder ``src`` that is no package itself."""
    return any(name.startswith("src/") for name in files) and "src/__init__.py" not in files


def _manage(files: Mapping[str, str]) -> str:
    """Return the topmost ``manage.py`` that is Django's."""
    found = sorted((name for name in files if os.path.basename(name) == "manage.py"), key=lambda n: (n.count("/"), n))
    for name in found:
        from .project_sources import is_of_django

        if is_of_django(files[name]):
            return name
    return ""


def _named_settings(sources: Sources, manage: str) -> str:
    return sources.settings_of(sources.files[manage])


def _sources(files: Mapping[str, str], roots: Sequence[str]) -> Sources:
    from .project_sources import Sources

    return Sources(files, roots)
