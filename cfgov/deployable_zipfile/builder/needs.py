"""What is to be collected: the lock, the settings, and what decides how an sdist is built."""

from __future__ import annotations

from typing import Dict, List, Mapping, Tuple

from ..definitions import NamedTuple
from . import cache, inputs, markers, requirements, surroundings, targets


class CollectSettings(NamedTuple):
    """How wheels are collected."""

    only_binary: bool = False
    use_cache: bool = True
    timeout: float = 1800.0  # seconds for one run of pip
    wheelhouse: str = ""  # a folder that is taken instead of any index
    build_constraints: Tuple[str, ...] = ()  # paths of files that constrain what build backends get
    allow: Tuple[str, ...] = ()  # broken wheels to mend, by file or project name


class Needs:
    """What is to be collected, and what of it holds for one target.

    Attributes:
        locked: the requirements, with the names of projects that were unknown before they were built.
    """

    def __init__(self, settings: CollectSettings, locked: requirements.Requirements) -> None:
        self.settings = settings
        self.locked = locked
        self._unnamed = {line.place: line.requirement.name for line in locked.lines if not line.named}
        self._surroundings: Dict[str, str] = {}
        self._releases: Dict[targets.BuildTarget, markers.Releases] = {}

    def lines(self, target: targets.BuildTarget) -> List[requirements.Line]:
        """Return the lines that any patch release of *target* needs."""
        if target not in self._releases:
            self._releases[target] = markers.Releases(target.markers)  # remembers the markers that it evaluated
        at = self._releases[target]
        return [line for line in self.locked.lines if at.where(line.requirement.marker)]

    def name(self, place: str, project: str) -> None:
        """Give the line at *place*, a bare URL or path, the name of the *project* that was found there."""
        self.locked = inputs.named(self.locked, [(place, project)])

    def names(self) -> Dict[str, str]:
        """Return the names that were found for bare URLs and paths, by what stands for them in a lock."""
        return {
            self._unnamed[line.place]: line.requirement.name
            for line in self.locked.lines
            if line.named and line.place in self._unnamed
        }

    def recall(self, names: Mapping[str, str]) -> None:
        """Name bare URLs and paths as an earlier build did, see :meth:`names`."""
        found = [(place, names[stand_in]) for place, stand_in in self._unnamed.items() if stand_in in names]
        self.locked = inputs.named(self.locked, found)

    def options(self) -> Tuple[str, ...]:
        """Return the options that decide where pip looks, in the words of a requirements file."""
        if not self.settings.wheelhouse:
            return self.locked.options
        kept: List[str] = []
        words = iter(self.locked.options)
        for word in words:
            value = [next(words)] if word in requirements.ONE_VALUE else []
            if word not in requirements.INDEXES:
                kept += [word, *value]
        return (*kept, "--no-index", "--find-links", self.settings.wheelhouse)

    def inputs(self, target: targets.BuildTarget) -> str:
        """Return what of this machine decides how an sdist is built for *target*, as a digest."""
        if target.python not in self._surroundings:
            found = surroundings.compiling(target.interpreter, self.options())
            found += [surroundings.state(path) for path in self.settings.build_constraints]
            self._surroundings[target.python] = cache.key(found, surroundings.pip_settings(target.interpreter))
        return self._surroundings[target.python]
