"""The files to pack: what is known of one, and many of them in little memory. A part of ``source.py``."""

from __future__ import annotations

import bisect
import itertools
import marshal
from typing import Any, Collection, Iterable, Iterator, List, Mapping, Sequence, Tuple, Union, overload

from ..definitions import NamedTuple

_BLOCK = 256  # files that are objects at a time
_BETWEEN = "\0"  # names, none of which can hold it


class Place(NamedTuple):
    """A folder that is packed."""

    root: str  # its absolute path
    prefix: str  # its name in the artifact: PROJECT or static.in/N


class File(NamedTuple):
    """One file to pack."""

    name: str  # in the artifact and in the destination: PROJECT/... or static.in/N/...
    mode: int  # 0o644 or 0o755
    place: Place  # that it is in
    identity: Tuple[int, ...]  # what it was when it was chosen, as ``cache.identity`` says it
    target: str = ""  # absolute path of what a symbolic link leads to

    @property
    def path(self) -> str:
        """Where its bytes are now."""
        return self.target or f"{self.place.root}/{self.name[len(self.place.prefix) + 1 :]}"

    @property
    def size(self) -> int:
        """Bytes."""
        return self.identity[2]

    @property
    def inode(self) -> int:
        """Its number."""
        return self.identity[1]


class _Block(NamedTuple):
    """Some files of one place."""

    place: Place
    size: int  # how many
    names: str  # in the place
    rest: bytes  # mode, identity and target of each, by marshal

    @classmethod
    def of(cls, files: List[File]) -> "_Block":
        place = files[0].place
        names = _BETWEEN.join([file.name[len(place.prefix) + 1 :] for file in files])
        return cls(place, len(files), names, marshal.dumps([(file.mode, file.identity, file.target) for file in files]))

    def split(self) -> List[str]:
        return self.names.split(_BETWEEN)

    def files(self) -> Iterator[File]:
        place, begin = self.place, f"{self.place.prefix}/"
        for name, (mode, identity, target) in zip(self.split(), marshal.loads(self.rest)):
            yield File(begin + name, mode, place, identity, target)


class Files(Sequence[File]):
    """Files in an order, made anew by each iteration.

    There may be 100 000, which take several times as much memory as objects. A slice has no steps.

    Parameters:
        files: of one place, or those of each place together.
    """

    def __init__(self, files: Iterable[File] = ()) -> None:
        groups = itertools.groupby(files, lambda file: file.place)
        self._blocks = [_Block.of(some) for _, group in groups for some in _portions(group)]
        self._count = sum(block.size for block in self._blocks)

    @classmethod
    def joined(cls, parts: Iterable["Files"]) -> "Files":
        """Return the files of all *parts*, which are not copied."""
        return cls._of(block for part in parts for block in part._blocks)

    @classmethod
    def _of(cls, blocks: Iterable[_Block]) -> "Files":
        found = cls()
        found._blocks = list(blocks)
        found._count = sum(block.size for block in found._blocks)
        return found

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[File]:
        for block in self._blocks:
            yield from block.files()

    @overload
    def __getitem__(self, at: int) -> File: ...

    @overload
    def __getitem__(self, at: slice) -> "Files": ...

    def __getitem__(self, at: Union[int, slice]) -> Union[File, "Files"]:
        numbers = range(self._count)[at]
        if isinstance(numbers, int):
            return next(iter(self[numbers : numbers + 1]))
        return self._of(self._between(numbers.start, numbers.stop))

    def _between(self, first: int, last: int) -> Iterator[_Block]:
        """Yield the files from number *first* up to, and without, number *last*."""
        before = 0
        for block in self._blocks:
            begin, end = max(first - before, 0), min(last - before, block.size)
            if end - begin == block.size:
                yield block
            elif begin < end:
                yield _Block.of(list(block.files())[begin:end])
            before += block.size

    @property
    def names(self) -> Collection[str]:
        """Their names, also made anew by each iteration."""
        return _Names(self._blocks, self._count)


def _portions(files: Iterator[File]) -> Iterator[List[File]]:
    """Yield *files* as lists that are short enough."""
    return iter(lambda: list(itertools.islice(files, _BLOCK)), [])


class _Names(Collection[str]):
    def __init__(self, blocks: List[_Block], count: int) -> None:
        self._blocks = blocks
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from map(f"{block.place.prefix}/".__add__, block.split())

    def __contains__(self, name: object) -> bool:
        return any(name == one for one in self)


class ByPath(Mapping[str, File]):
    """Files of one place, by their path in it.

    Parameters:
        files: in the order of their names.
    """

    def __init__(self, files: Files) -> None:
        self._blocks = files._blocks
        self._count = len(files)
        self._firsts = [block.names.partition(_BETWEEN)[0] for block in self._blocks]

    def __getitem__(self, path: str) -> File:
        at, number = self._found(path)
        return next(itertools.islice(self._blocks[at].files(), number, None))

    def __contains__(self, path: object) -> bool:
        try:
            self._found(path)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from block.split()

    def __len__(self) -> int:
        return self._count

    def _found(self, path: Any) -> Tuple[int, int]:
        """Return the numbers of the block that holds *path* and of the file in it."""
        at = bisect.bisect_right(self._firsts, path) - 1
        names = self._blocks[at].split() if at >= 0 else []
        if path not in names:
            raise KeyError(path)
        return at, names.index(path)
