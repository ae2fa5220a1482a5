"""Change a project's Django settings after they are loaded, whichever module they come from. Runs in the release.

A settings module of our own that imports the project's would be passed by whenever ``manage.py`` or ``wsgi.py`` sets
DJANGO_SETTINGS_MODULE itself. So the class that Django loads settings with is changed instead, as soon as it is
imported; ``settings.configure()`` is covered too.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any, Callable, Dict, Optional, Sequence

Change = Callable[[Dict[str, Any]], Dict[str, Any]]  # from all settings by name to those that get another value

_MODULE = "django.conf"


def install(change: Change) -> None:
    """Have *change* called with the settings whenever Django loads some; Django is not imported for it."""
    sys.meta_path.insert(0, _Finder(change))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, change: Change) -> None:
        self._change = change

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, _: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        """Return the module's own spec with a loader that changes the module once it has run."""
        if name != _MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _wrap(module, self._change)

        setattr(spec.loader, "exec_module", exec_module)  # noqa: B010  (mypy: a method cannot be assigned to)
        return spec


def _wrap(conf: Any, change: Change) -> None:
    load, configure = conf.Settings.__init__, conf.LazySettings.configure

    def loaded(settings: Any, module: str) -> None:
        load(settings, module)
        _apply(settings, change, sys.modules.get(module))

    def configured(lazy: Any, *words: Any, **options: Any) -> None:
        configure(lazy, *words, **options)
        _apply(lazy._wrapped, change, None)

    conf.Settings.__init__ = loaded
    conf.LazySettings.configure = configured


def _apply(settings: Any, change: Change, module: Optional[ModuleType]) -> None:
    """Set the new values; on the module too, for code that reads it directly."""
    values = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    for name, value in change(values).items():
        setattr(settings, name, value)
        if module is not None:
            setattr(module, name, value)
