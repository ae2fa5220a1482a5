"""The wheels of one installation in portions, each planned and written before the next, so that memory stays small.

What is known of a file takes about one kilobyte until it is written. The wheels of a usual site are one portion. More
of them are opened one after the other: each is checked, and what remains are hashes of its paths. These tell which
wheels write to the same paths and so must be planned together.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Optional, Sequence, Set

from ..artifact.window import Entry
from ..definitions import NamedTuple
from ..errors import ArtifactError
from .listed import Listed
from .plan import Contested, OpenedWheel, Place, Plan, Source, is_plain, own_paths, planned
from .writer import bytecode_path

if TYPE_CHECKING:
    from array import array

ALL = 30_000  # files that are planned at once: more than usual sites have
BY_INDEX = 100_000  # the same if all wheels are installed by their indexes, which take a third of the memory
_PORTION = 10_000  # files of a portion where there are more

Opened = Callable[[int], OpenedWheel]
ByIndex = Callable[[int], Optional[Listed]]


class _Trace(NamedTuple):
    """What is kept of a wheel between the two times that it is opened."""

    files: int
    paths: array[int]  # hashes of what it writes
    folders: array[int]  # hashes of the folders that it needs
    content: int  # hash of its directories and RECORD


class Portions:
    """The plans of all wheels, proven to have no refusals before the first one is used.

    Iterating yields plan after plan. Each is as large as its portion, so let go of it before the next one is made.

    Parameters:
        opened: opens a wheel, by its number in the order of the plan.
        count: how many there are.
        place: where they go.
        listed: returns a wheel that is installed by its index, None for one that has to be opened.

    Attributes:
        place: as given.
        files: how many files the wheels have, with their bytecode.

    Raises:
        WheelError: what is no wheel, or a path that no wheel may write.
        ArtifactError: bytecode that belongs to no source file.
    """

    def __init__(self, opened: Opened, count: int, place: Place, listed: Optional[ByIndex] = None) -> None:
        self.place = place
        self._opened = opened
        self._only: Optional[Plan] = None
        self._groups: List[List[int]] = []
        self._traces: List[_Trace] = []
        self.files = 0
        if listed is not None and self._is_planned_by_index(listed, count):
            return
        found: List[OpenedWheel] = []
        while len(found) < count and self.files <= ALL:
            found.append(opened(len(found)))
            self.files += _size(found[-1])
        if self.files <= ALL:
            self._only = planned(found, place)
            return
        ready = len(found)  # each is let go of before the next one is opened
        self._traces = [_trace(found.pop(0) if number < ready else opened(number), place) for number in range(count)]
        self.files = sum(trace.files for trace in self._traces)
        linked = _linked(self._traces)
        for group in linked:
            if len(group) > 1:
                self._planned(group)
        self._groups = _joined(linked, [trace.files for trace in self._traces])

    def _is_planned_by_index(self, listed: ByIndex, count: int) -> bool:
        """Plan all wheels at once, by their indexes where they have one; return whether that can be done."""
        ready: List[Optional[Listed]] = []
        files = 0
        for number in range(count):
            source = listed(number)
            ready.append(source if source is not None and is_plain(source, self.place) else None)
            files += 0 if source is None else source.total
            if files > BY_INDEX:
                return False
        if not any(ready):
            return False
        found: List[Source] = []
        read = 0
        for number, source in enumerate(ready):
            found.append(source or self._opened(number))
            read += 0 if source else _size(found[-1])
            if read > ALL:
                return False
        with contextlib.suppress(Contested):  # then all are opened
            self._only = planned(found, self.place)
            self.files = sum(map(_size, found))
        return self._only is not None

    def __len__(self) -> int:
        return len(self._groups) or 1

    def __iter__(self) -> Iterator[Plan]:
        if self._only is not None:
            yield self._only
        for group in self._groups:
            yield self._planned(group)

    def _planned(self, group: Sequence[int]) -> Plan:
        return planned([self._again(number) for number in group], self.place)

    def _again(self, number: int) -> OpenedWheel:
        """Open a wheel that was opened before.

        Raises:
            ArtifactError: it is not the same as then.
        """
        source = self._opened(number)
        if _content(source) != self._traces[number].content:
            raise ArtifactError(source.plan.file, "changed since it was verified", "Copy the artifact again")
        return source


def _entries(source: OpenedWheel) -> List[Entry]:
    compiled = source.bytecode.entries.values() if source.bytecode is not None else ()
    return [*source.wheel.files.values(), *compiled]


def _size(source: Source) -> int:
    if isinstance(source, Listed):
        return source.total
    return len(source.wheel.files) + (len(source.bytecode.entries) if source.bytecode is not None else 0)


def _content(source: OpenedWheel) -> int:
    return hash((*_entries(source), *source.wheel.record.items()))


def _trace(source: OpenedWheel, place: Place) -> _Trace:
    from array import array  # an extension that only the largest installations need

    plan, tag = planned([source], place), sys.implementation.cache_tag or ""
    compiled = [bytecode_path(path, tag) for path, job in plan.jobs.items() if job.compile_as]
    paths = {*plan.jobs, *plan.scripts, *plan.points, *compiled, *own_paths(source, place)}
    return _Trace(_size(source), array("q", map(hash, paths)), array("q", map(hash, plan.folders)), _content(source))


def _contested(traces: Sequence[_Trace]) -> Set[int]:
    """Return the hashes of what several wheels write, and of what one writes where others need a folder."""
    paths = sorted(itertools.chain.from_iterable(trace.paths for trace in traces))
    twice = {one for one, other in zip(paths, itertools.islice(paths, 1, None)) if one == other}
    return twice.union(set(itertools.chain.from_iterable(trace.folders for trace in traces)).intersection(paths))


def _linked(traces: Sequence[_Trace]) -> List[List[int]]:
    """Return the wheels in groups of which none writes to a path of another, in the order of their first ones."""
    contested = _contested(traces)
    above = list(range(len(traces)))  # another wheel of the same group, or the same one for the first of a group
    first: Dict[int, int] = {}

    def top(number: int) -> int:
        while above[number] != number:
            number = above[number]
        return number

    for number, trace in enumerate(traces):
        for one in contested.intersection(itertools.chain(trace.paths, trace.folders)):
            low, high = sorted((top(first.setdefault(one, number)), top(number)))
            above[high] = low
    groups: Dict[int, List[int]] = {}
    for number in range(len(traces)):
        groups.setdefault(top(number), []).append(number)
    return list(groups.values())


def _joined(groups: Sequence[List[int]], files: Sequence[int]) -> List[List[int]]:
    """Join small *groups* of wheels that have so many *files*; the order in a portion is that of the plan."""
    portions: List[List[int]] = []
    size = 0
    for group in groups:
        more = sum(files[number] for number in group)
        if portions and size + more <= _PORTION:
            portions[-1] += group
            size += more
        else:
            portions.append(list(group))
            size = more
    return [sorted(portion) for portion in portions]
