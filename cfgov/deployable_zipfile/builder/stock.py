"""What a build takes from its lock: the wheels, their bytecode and the targets, kept for the next build.

A chapter. None of that depends on the project's files, so the next build with the same lock, settings, tool and machine
takes it over as a whole, and does not even load the modules that make it: see ``stocking.py``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, Iterable, List, Optional, Sequence, Tuple

from ..artifact import manifests, patches
from ..definitions import NamedTuple
from ..errors import masked
from . import cache, surroundings, unchanged, zipwriter
from .options import Context

if TYPE_CHECKING:
    from . import sbom

_FORMAT = 4  # of the document in the cache
_OLDEST = 30 * 24 * 3600  # seconds; then everything is looked at again, which keeps it from being pruned
# Settings that decide what is taken from the lock.
_DECIDING = (
    "name", "project", "requirements", "extra_requirements", "group", "extra", "wheelhouse", "require_hashes",
    "only_binary", "allow", "strict", "bytecode",
)  # fmt: skip


class Goal(NamedTuple):
    """A Python whose bytecode is shipped."""

    python: str  # "3.11"
    cache_tag: str
    magic: str  # 8 hexadecimal digits
    interpreter: str  # path
    identity: str  # text that differs whenever what is compiled could differ


class Stock(NamedTuple):
    """Everything in the artifact that does not depend on the project's files."""

    targets: Tuple[manifests.Target, ...]  # without the project's bytecode
    goals: Tuple[Goal, ...]  # one per kind of bytecode
    own: cache.Kept  # an archive of the members that run on the target
    members: Tuple[zipwriter.Written, ...]  # of that archive
    stored: Tuple[
        Tuple[str, cache.Kept], ...
    ]  # wheels, then bytecode of them and of what runs on the target, and indexes
    wheels: int  # how many of the former
    interpreters: Tuple[str, ...]  # paths of the Pythons at hand that the artifact is for
    from_cache: Tuple[str, ...]  # labels of the targets whose wheels all came from the cache
    built: Tuple[str, ...]  # wheels that were built here
    steps: Tuple[str, ...]  # what was said of the wheels from the cache
    warnings: Tuple[str, ...]
    modules: str  # digest of the project's modules that wheels must not replace
    files: Tuple[str, ...]  # that the requirements were read from
    tools: Tuple[str, ...]  # paths that decide whether a wheel would be built here from its sdist as it was
    is_pinned: bool  # it follows from its key
    bill: str  # digest of what the bill of materials says of the wheels
    parts: Callable[[], Sequence[sbom.Part]]  # which is this


def modules(names: Iterable[str]) -> FrozenSet[str]:
    """Return the modules at the top of the project and of its static folders, from the names of packed files."""
    return frozenset(name.split("/")[1].partition(".py")[0] for name in names if name.endswith(".py"))


def digest(found: FrozenSet[str]) -> str:
    """Return the digest of :func:`modules` that a stock holds for."""
    return cache.key(sorted(found))


def key(context: Context) -> str:
    """Return the name of what a build of these settings takes from its lock; "" when nothing may be taken over."""
    asked = context.options
    if not asked.cache or asked.python or asked.extra_python or asked.target or asked.build_constraint:
        return ""
    try:
        locks = [_content(path) for path in (asked.requirements, *asked.extra_requirements)]
    except OSError:
        return ""  # the reader of the lock says why
    about = (
        _FORMAT, zlib.ZLIB_RUNTIME_VERSION, unchanged.environment(), [getattr(asked, one) for one in _DECIDING], locks,
        unchanged.states(unchanged.own_files()), unchanged.states(surroundings.configuration_paths(sys.executable)),
    )  # fmt: skip
    return hashlib.sha256(repr(about).encode("utf-8", "backslashreplace")).hexdigest()


def recall(kept: cache.Cache, name: str) -> Optional[Stock]:
    """Return the stock *name* that an earlier build kept, its files proven; None when there is none."""
    document = kept.document("stock", name) if name else None
    if document is None or not 0 <= time.time() - document["time"] < _OLDEST:
        return None
    if _contents(document["digests"]) != document["digests"]:
        return None
    tools = [(path, real, tuple(own)) for path, real, own in document["tools"]]
    if unchanged.traced(path for path, _, _ in tools) != tools:
        return None  # sdists may be built to other wheels now: see needs.Needs.inputs
    stored = [(member, kept.file(sha256, file)) for member, sha256, file in document["stored"]]
    found = tuple((member, one) for member, one in stored if one is not None)
    own = kept.file(*document["own"])
    if len(found) != len(stored) or own is None:
        return None

    return Stock(
        targets=tuple(_target(fields) for fields in document["targets"]),
        goals=tuple(Goal(*fields) for fields in document["goals"]),
        own=own,
        members=tuple(zipwriter.Written(*fields) for fields in document["members"]),
        stored=found,
        wheels=document["wheels"],
        interpreters=tuple(document["interpreters"]),
        from_cache=tuple(document["from_cache"]),
        built=(),
        steps=tuple(document["steps"]),
        warnings=tuple(document["warnings"]),
        modules=document["modules"],
        files=tuple(document["files"]),
        tools=tuple(path for path, _, _ in tools),
        is_pinned=True,
        bill=document["bill"],
        parts=functools.partial(_parts, document["parts"]),
    )


def keep(kept: cache.Cache, name: str, stock: Stock, began: int) -> None:
    """Keep *stock* for :func:`recall`, unless a file that it follows from may have changed since it was read.

    Parameters:
        began: a moment before any was read, in nanoseconds since 1970.
    """
    before, tools = unchanged.states(stock.files), unchanged.traced(stock.tools)
    found = [own for _, own in before] + [own for _, _, own in tools if own]
    digests = _contents(stock.files)
    if digests is None or any(not own or unchanged.settles(own) >= began for own in found):
        return
    if unchanged.states(stock.files) != before:
        return
    document: Dict[str, Any] = stock._asdict()
    document.update(
        digests=digests,
        tools=tools,
        time=int(time.time()),
        own=[stock.own.sha256, os.path.basename(stock.own.path)],
        stored=[(member, one.sha256, os.path.basename(one.path)) for member, one in stock.stored],
        warnings=[masked(text) for text in stock.warnings],
        parts=_parts_text(stock.parts()),
    )
    kept.keep_document("stock", name, document)


def _contents(paths: Iterable[str]) -> Optional[Dict[str, str]]:
    """Return the digest of each file, None when one cannot be read: the reader of the lock says why."""
    try:
        return {path: _content(path) for path in paths}
    except OSError:
        return None


def _content(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _target(fields: List[Any]) -> manifests.Target:
    found = manifests.Target(*fields)
    return found._replace(
        libraries=tuple(found.libraries),
        wheels=tuple(map(_planned, found.wheels)),
        bootstrap=tuple(map(_planned, found.bootstrap)),
        patch_releases=_ranges(found.patch_releases),
        markers=tuple((variable, value) for variable, value in found.markers),
    )


def _planned(fields: Sequence[Any]) -> manifests.PlannedWheel:
    found = manifests.PlannedWheel(*fields)
    return found._replace(patch_releases=_ranges(found.patch_releases))


def _ranges(found: Iterable[Sequence[str]]) -> Tuple[patches.Range, ...]:
    return tuple(patches.Range(first, last) for first, last in found)


def _parts_text(parts: Sequence[sbom.Part]) -> str:
    """Return *parts* as text, which costs nothing to read while nobody needs it."""
    from . import collected

    found = []
    for part in parts:
        wheel = dict(collected.to_document(part.wheel), python_files=[])  # long, and in no bill of materials
        found.append([part.member, wheel, part.targets, part.needs])
    return json.dumps(found)


def _parts(text: str) -> List[sbom.Part]:
    from . import collected, sbom

    return [
        sbom.Part(member, collected.from_document(wheel, ""), tuple(labels), tuple(needs))
        for member, wheel, labels, needs in json.loads(text)
    ]
