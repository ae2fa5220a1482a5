"""Markers (PEP 508) evaluated for every patch release of a Python at once.

A build knows one patch release, or none at all, and neither the kernel nor, for wheels without compiled files, the
machine of the target. A set of releases is an integer with one bit for each.
"""

from __future__ import annotations

import functools
import re
from typing import Dict, FrozenSet, List, Mapping, Optional, Tuple

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from ..artifact import patches

KERNEL = frozenset(["platform_release", "platform_version"])  # differ from host to host, and with every update
_LAST = 99  # patch releases are counted up to here; a range that ends with it has no end
_VERSIONS = ("python_full_version", "implementation_version")
_NEVER, _ALWAYS = 'python_version < "0"', 'python_version >= "0"'
_QUOTED = r"(?:\"[^\"]*\"|'[^']*')"
_OPERATOR = r"(?:===|==|~=|!=|<=|>=|<|>|not in|in)"


class Releases:
    """Evaluates markers for every release of one Python.

    Parameters:
        markers: environment of the target (PEP 508); the versions in it are replaced by each release's.
        unknown: variables whose value the build does not know.

    Attributes:
        names: every release, in order: pre-releases, then 3.N.0 to 3.N.99.
        all, final: sets of releases.
    """

    def __init__(self, markers: Mapping[str, str], unknown: FrozenSet[str] = KERNEL) -> None:
        self._environment = tuple(sorted(markers.items()))
        self._unknown = unknown
        self._known: Dict[Tuple[str, str, bool], int] = {}
        self.names = releases(markers["python_version"])
        self.all = (1 << len(self.names)) - 1
        self.final = sum(1 << number for number, name in enumerate(self.names) if re.search(r"\.[0-9]+\Z", name))

    def of(self, version: str) -> int:
        """Return the set that holds only the release *version*; one outside counts as the newest."""
        return 1 << (self.names.index(version) if version in self.names else len(self.names) - 1)

    def where(self, marker: Optional[Marker], extra: str = "", sure: bool = False) -> int:
        """Return the releases for which *marker* may hold, or with *sure* those for which it does in any case."""
        if marker is None:
            return self.all
        text = str(marker)
        key = (text, extra, sure)
        if key not in self._known:
            for name in sorted(self._unknown):
                if name in text:
                    text = _assumed(text, name, _NEVER if sure else _ALWAYS)
            self._known[key] = _holds(text, extra, self._environment, self.names)
        return self._known[key]

    def admitting(self, requires_python: str) -> int:
        """Return the releases that Requires-Python admits; pre-releases count as the final release, as with pip."""
        return _admitting(requires_python, self.names)

    def newest(self, chosen: int) -> str:
        """Return the newest release of the set *chosen*."""
        return self.names[chosen.bit_length() - 1]

    def ranges(self, chosen: int) -> Tuple[patches.Range, ...]:
        """Return the set *chosen* as ranges; none at all when it holds every release."""
        found: List[patches.Range] = []
        if chosen & self.all == self.all:
            return ()
        first = -1
        for number in range(len(self.names) + 1):
            inside = bool(chosen >> number & 1)
            if inside and first < 0:
                first = number
            elif not inside and first >= 0:
                last = "" if number == len(self.names) else self.names[number - 1]
                found.append(patches.Range(self.names[first], last))
                first = -1
        return tuple(found)


def releases(python: str) -> Tuple[str, ...]:
    """Return every release of *python* ("3.11") that is told apart, in order."""
    early = [f"{python}.0{level}{serial}" for level in ("a", "b", "rc") for serial in range(1, 10)]
    return (*early, *(f"{python}.{micro}" for micro in range(_LAST + 1)))


def _assumed(text: str, name: str, outcome: str) -> str:
    """Return the marker *text* with every comparison of the variable *name* replaced."""
    atom = (
        rf"(?:\b{name} {_OPERATOR} {_QUOTED}|(?:{_QUOTED}|\b[a-z_]+) {_OPERATOR} {name}\b|\b{name} {_OPERATOR} [a-z_]+)"
    )
    return re.sub(atom, outcome, text)


@functools.lru_cache(maxsize=None)
def _admitting(requires_python: str, names: Tuple[str, ...]) -> int:
    admitted = SpecifierSet(requires_python)
    found = 0
    for number, name in enumerate(names):
        if not requires_python or admitted.contains(re.sub(r"(a|b|rc)[0-9]+\Z", "", name), prereleases=True):
            found |= 1 << number
    return found


@functools.lru_cache(maxsize=None)
def _holds(text: str, extra: str, environment: Tuple[Tuple[str, str], ...], names: Tuple[str, ...]) -> int:
    """Return the releases of *names* for which the marker *text* holds; locks repeat a few markers all over."""
    marker = Marker(text)
    variables = dict(environment, extra=extra)
    if not any(name in text for name in _VERSIONS):
        return (1 << len(names)) - 1 if marker.evaluate(variables) else 0
    found = 0
    for number, name in enumerate(names):
        if marker.evaluate(dict(variables, **dict.fromkeys(_VERSIONS, name))):
            found |= 1 << number
    return found
