"""The members that run on the target: this package without the build side. A chapter."""

from __future__ import annotations

import hashlib
import os
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from ..artifact import layout
from .contents import Item, of_bytes

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NOT_SHIPPED = ("create.py", "__main__.py")
_TRAVELS = ("artifact", "deploy", "install", "verbs")
_AT_ROOT = {"bootstrap.py": layout.MAIN, "install_wheels.py": layout.INSTALL_WHEELS, "loadenv.py": layout.LOADENV}
_FIRST = (layout.MAIN, layout.INSTALL_WHEELS, layout.LOADENV)


def members() -> List[Item]:
    """Return the members that run on the target and are the same for every project, in their order."""
    items = {_AT_ROOT.get(name, f"{layout.RUNTIME}/{name}"): _own(name) for name in _modules()}
    items[layout.LOADENV_PTH] = _own(layout.LOADENV_PTH)
    items[layout.LOADENV_START] = _own(os.path.basename(layout.LOADENV_START))
    # A Python without zlib can read the entry point, which tells it so, only if that is stored.
    return [of_bytes(name, items[name])._replace(stored=name == layout.MAIN) for name in sorted(items, key=_place)]


def with_path(found: Sequence[Item], project: str, below: str) -> List[Item]:
    """Return the members *found* with the one that puts the project on ``sys.path``, the entry point first.

    Parameters:
        below: folder in the project's that is on ``sys.path`` too, "" for none.
    """
    path = of_bytes(layout.project_pth_name(project), layout.project_pth_text(project, below).encode("ascii"))
    return sorted([*found, path], key=lambda item: _place(item.name))


def files() -> Dict[str, str]:
    """Return the path of each module that the target imports compiled, by its path below the package."""
    names = [name for name in _modules() if name not in _AT_ROOT or name == layout.INSTALL_WHEELS]
    return {name: os.path.join(_PACKAGE, name) for name in names}


def digests(names: Iterable[str]) -> Dict[str, str]:
    """Return the SHA-256 of modules as they are packed, by their paths below the package."""
    return {name: hashlib.sha256(_own(name)).hexdigest() for name in names}


def _place(name: str) -> Tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST)), name


def _modules() -> Iterator[str]:
    """Yield the modules that travel, as paths below the package's folder."""
    for folder in ("", *_TRAVELS):
        for name in sorted(os.listdir(os.path.join(_PACKAGE, folder))):
            path = f"{folder}/{name}" if folder else name
            if name.endswith(".py") and path not in _NOT_SHIPPED:
                yield path


def _own(name: str) -> bytes:
    with open(os.path.join(_PACKAGE, name), "rb") as file:
        return file.read()
