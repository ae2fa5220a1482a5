"""Which paths below a folder may be packed: patterns of include and exclude, and what is never packed."""

from __future__ import annotations

import os
import re
import stat
from typing import Dict, FrozenSet, Iterable, List, Sequence, Set

from ..errors import BuildInputError
from . import exclusions


class Rules:
    """What the configuration and the build itself say about paths relative to the packed folder."""

    def __init__(
        self, root: str, base: str, include: Sequence[str], exclude: Sequence[str], outputs: FrozenSet[str]
    ) -> None:
        self._root = root
        self._below = os.path.join(root, "")
        self._offset = os.path.relpath(root, os.path.realpath(base))
        self.places = (root, os.path.dirname(root), os.path.realpath(base))  # where an environment.json is kept
        self.include = [(pattern, _compiled(pattern)) for pattern in include]
        self._exclude = [_compiled(pattern) for pattern in exclude]
        self._outputs = outputs
        self._used: Set[str] = set()

    def includes(self, name: str) -> bool:
        """Say whether a pattern of ``include`` names *name*, and remember which patterns did."""
        found = [pattern for pattern, compiled in self.include if compiled.match(self._based(name))]
        self._used.update(found)
        return bool(found)

    def excludes(self, name: str) -> bool:
        """Say whether a pattern of ``exclude`` names *name*, or this build writes it."""
        if self._below + name in self._outputs:
            return True
        return bool(self._exclude) and any(pattern.match(self._based(name)) for pattern in self._exclude)

    def check_used(self) -> None:
        """Refuse a pattern of ``include`` that names nothing: the files that it should match were not built."""
        for pattern, _ in self.include:
            if pattern not in self._used:
                raise BuildInputError(
                    f"include {pattern!r}", "matches no file", "Build these files first, or correct it"
                )

    def _based(self, name: str) -> str:
        return name if self._offset == os.curdir else f"{self._offset}/{name}"


class Walk:
    """Finds files below a folder and remembers what it left out."""

    def __init__(self, root: str, rules: Rules) -> None:
        self._root = root
        self._below = os.path.join(root, "")
        self._rules = rules
        self.left_out: Set[str] = set()
        self.empty: List[str] = []

    def these(self, names: Iterable[str]) -> List[str]:
        """Return those of *names* that exist and may be packed."""
        names = list(names)
        environments = {os.path.dirname(name) for name in names if os.path.basename(name) == "pyvenv.cfg"}
        folders: Dict[str, bool] = {}
        return [name for name in names if self._may_pack(name, environments) and self._is_there(name, folders)]

    def everything(self, folder: str = "") -> List[str]:
        """Return all files below *folder*, sorted by path, without what is never packed."""
        found: List[str] = []
        try:
            with os.scandir(os.path.join(self._root, folder)) as scan:
                entries = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in scan)
        except OSError as error:
            raise BuildInputError(
                os.path.join(self._root, folder), f"cannot be read ({error.strerror})", "Make it readable"
            ) from None
        for entry in entries:
            name = f"{folder}/{entry}" if folder else entry
            if name.endswith("/"):
                if self._may_enter(name[:-1]):
                    found += self.everything(name[:-1])
            elif self._may_pack(name, set()):
                found.append(name)
        if not entries and folder:
            self.empty.append(folder)
        return found

    def _may_enter(self, name: str) -> bool:
        if exclusions.is_never_packed(name) or os.path.lexists(os.path.join(self._root, name, "pyvenv.cfg")):
            self.left_out.add(f"{name}/")
            return False
        return True

    def _may_pack(self, name: str, environments: Set[str]) -> bool:
        if any(name.startswith(f"{environment}/") for environment in environments if environment):
            self.left_out.add(name)
            return False
        if not exclusions.is_never_packed(name) or self._is_public(name):
            return True
        self.left_out.add(name)
        return False

    def _is_public(self, name: str) -> bool:
        """Say whether *name* is a certificate that ``include`` names, not a key."""
        if not exclusions.may_be_certificate(name) or not self._rules.includes(name):
            return False
        path = os.path.join(self._root, name)
        return stat.S_ISREG(os.lstat(path).st_mode) and not exclusions.holds_key(path)

    def _is_there(self, name: str, folders: Dict[str, bool]) -> bool:
        """Say whether a tracked file exists, not reached through a folder that became a link."""
        path = self._below + name
        folder = os.path.dirname(path)
        return self._is_folder(folder, folders) and os.path.lexists(path)

    def _is_folder(self, folder: str, known: Dict[str, bool]) -> bool:
        """Say whether *folder*, the walk's own or one below it, is a folder that no link leads to."""
        if folder not in known:
            above = folder == self._root or self._is_folder(os.path.dirname(folder), known)
            known[folder] = above and not os.path.islink(folder)
        return known[folder]


def _compiled(pattern: str) -> "re.Pattern[str]":
    """Translate one pattern of include or exclude; a match of a folder is a match of all below it."""
    text = ""
    position = 0
    pattern = pattern.strip("/")
    while position < len(pattern):
        if pattern.startswith("**/", position):
            text, position = text + "(?:.*/)?", position + 3
        elif pattern.startswith("**", position):
            text, position = text + ".*", position + 2
        else:
            character = pattern[position]
            text += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
            position += 1
    return re.compile(f"{text}(?:/.*)?\\Z", re.DOTALL)
