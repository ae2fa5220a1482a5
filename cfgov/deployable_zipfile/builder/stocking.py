"""From the lock to all that the artifact takes from it: wheels, plans, their bytecode, what the manifest says of them.

A chapter, loaded only when ``stock.py`` has nothing to take over.
"""

from __future__ import annotations

import os
import zlib
from typing import Callable, Dict, FrozenSet, Iterator, List, Mapping, Sequence, Tuple
from urllib.parse import unquote, urlsplit

from ..artifact import index, layout, manifests
from ..artifact.container import Container
from ..artifact.wheel import Wheel
from ..definitions import NamedTuple
from ..workers import run
from . import (
    cache,
    collect,
    collected,
    components,
    contents,
    inputs,
    needs,
    overlays,
    planning,
    requirements,
    runtime,
    source,
    stock,
    targets,
    zipwriter,
)
from .collected import CollectedWheel
from .files import Files
from .options import Context


class _Bytecode(NamedTuple):
    """Bytecode archives of the wheels."""

    members: Dict[Tuple[str, str], str]  # name in the artifact, by wheel file and cache tag
    kept: Dict[str, cache.Kept]  # by that name


def lock(context: Context) -> requirements.Requirements:
    """Read the requirements or the lock.

    Raises:
        BuildInputError: it cannot be read, or has no hashes and must.
    """
    asked = context.options
    selection = inputs.Selection(asked.group, asked.extra, asked.project)
    return inputs.gathered(asked.requirements, asked.extra_requirements, selection, asked.require_hashes, context.warn)


def local_projects(locked: requirements.Requirements) -> List[str]:
    """Return the folders that wheels are built from, absolute."""
    urls = [line.requirement.url or "" for line in locked.lines if line.kind == "folder"]
    return [os.path.realpath(unquote(urlsplit(url).path)) for url in urls]


def stocked(context: Context, locked: requirements.Requirements, files: Files, kept: cache.Cache) -> stock.Stock:
    """Collect the wheels, plan for each target, checked, what it installs, and compile.

    Parameters:
        files: of the project and its static folders, which a wheel must not replace.
    """
    said: List[str] = []

    def warn(text: str) -> None:
        said.append(text)
        context.warn(text)

    house = collect.Wheelhouse(_settings(context), locked, kept, context.console)
    modules = stock.modules(files.names)
    plans = _plans(context, house, modules, warn)
    source.check_sizes(files, sum(wheel.size for wheel in planning.every_wheel(plans)))
    pythons = _goals(plans)
    goals = pythons if context.options.bytecode else []
    made = _compiled(context, house, plans, goals)
    own, members = _runtime(context, kept)
    archives = [*sorted(_wheels(plans).items()), *sorted(made.kept.items())]
    stored = [*archives, *_runtime_bytecode(context, kept, pythons), *_indexes(context, kept, archives)]
    return stock.Stock(
        targets=tuple(_target(plan, made.members) for plan in plans),
        goals=tuple(goals),
        own=own,
        members=members,
        stored=tuple(stored),
        wheels=len(_wheels(plans)),
        interpreters=tuple(plan.target.interpreter for plan in plans if _is_at_hand(plan.target)),
        from_cache=tuple(plan.target.label for plan in plans if plan.from_cache),
        built=tuple(sorted(set(house.built))),
        steps=tuple(house.steps),
        warnings=tuple(said),
        modules=stock.digest(modules),
        files=tuple(locked.files),
        tools=tuple(dict.fromkeys(path for plan in plans for path in house.tools(plan))),
        is_pinned=all(plan.from_cache for plan in plans) and _is_pinned(context, locked),
        bill=components.digest(plans),
        parts=lambda: list(components.parts(plans)),
    )


def _settings(context: Context) -> needs.CollectSettings:
    asked = context.options
    return needs.CollectSettings(
        asked.only_binary, asked.cache, asked.timeout, asked.wheelhouse, asked.build_constraint, asked.allow
    )


def _plans(
    context: Context, house: collect.Wheelhouse, modules: FrozenSet[str], warn: Callable[[str], None]
) -> List[planning.TargetPlan]:
    """Return what each target installs, checked."""
    asked = context.options
    goals = targets.wanted(asked.python, asked.extra_python, asked.target, warn)
    plans = planning.distinct([house.plan(target) for target in goals])
    plans = [house.checked(plan, asked.strict, warn) for plan in plans]
    for plan in plans:
        planning.rehearse(plan, house.rehearsed, asked.name, modules, warn)
    return plans


def _goals(plans: Sequence[planning.TargetPlan]) -> List[stock.Goal]:
    """Return one Python per kind of bytecode: the first that is at hand."""
    found: Dict[str, stock.Goal] = {}
    for target in [plan.target for plan in plans if plan.target.interpreter]:
        goal = stock.Goal(target.python, target.cache_tag, target.magic, target.interpreter, target.identity)
        found.setdefault(target.cache_tag, goal)
    return list(found.values())


def _compiled(
    context: Context, house: collect.Wheelhouse, plans: Sequence[planning.TargetPlan], goals: Sequence[stock.Goal]
) -> _Bytecode:
    """Compile the wheels for each of *goals*."""
    made = overlays.Overlays(house.kept, context.console, context.options.workers)
    found = _Bytecode({}, {})
    for goal in goals:
        fitting = [plan for plan in plans if plan.target.cache_tag == goal.cache_tag]
        for file, overlay in made.of_wheels(goal, planning.every_wheel(fitting)).items():
            found.members[file, goal.cache_tag] = overlay.member
            found.kept[overlay.member] = overlay.kept
    return found


def _runtime(context: Context, kept: cache.Cache) -> Tuple[cache.Kept, Tuple[zipwriter.Written, ...]]:
    """Return an archive of what runs on the target, to copy from, and its members."""
    items = runtime.members()
    about = [[item.name, item.mode, item.stored, item.sha256] for item in items]
    name = cache.key("runtime", contents.LEVEL, zlib.ZLIB_RUNTIME_VERSION, about)
    document = kept.document("runtime", name)
    found = kept.file(*document["file"]) if document else None
    if document and found:
        return found, tuple(zipwriter.Written(*fields) for fields in document["members"])
    path = os.path.join(kept.work, "runtime.zip")
    with zipwriter.Archive(path, workers=context.options.workers) as archive:
        archive.add(items)
    found = kept.keep_file(path)
    members = tuple(archive.written)
    kept.keep_document("runtime", name, {"file": [found.sha256, "runtime.zip"], "members": members})
    return found, members


def _runtime_bytecode(
    context: Context, kept: cache.Cache, goals: Sequence[stock.Goal]
) -> Iterator[Tuple[str, cache.Kept]]:
    """Yield the bytecode of what runs on the target, by its name in the artifact.

    An artifact without bytecode has it too: compiling these modules takes longer than most commands, at each start.
    """
    made = overlays.Overlays(kept, context.console, context.options.workers)
    files = runtime.files()
    digests = runtime.digests(files)
    for goal in goals:
        overlay = made.of_runtime(goal, files, digests)
        if overlay is not None:
            yield overlay.member, overlay.kept


def _indexes(
    context: Context, kept: cache.Cache, archives: Sequence[Tuple[str, cache.Kept]]
) -> Iterator[Tuple[str, cache.Kept]]:
    """Yield the index of each archive that is of the usual form, by its name in the artifact."""
    keys = {
        member: cache.key(f"index {index.FORMAT}", zlib.ZLIB_RUNTIME_VERSION, os.path.basename(member), one.sha256)
        for member, one in archives
    }
    known = {member: kept.document("index", key) for member, key in keys.items()}
    found = {member: kept.file(*document) for member, document in known.items() if document}
    missing = [(member, one) for member, one in archives if known[member] is None or found.get(member, one) is None]
    work = run(lambda number: (number, _index(*missing[number])), len(missing), context.options.workers)
    for number, data in work:
        member, document = missing[number][0], []
        if data:
            path = os.path.join(kept.work, "index")
            with open(path, "wb") as file:
                file.write(data)
            made = found[member] = kept.keep_file(path)
            document = [made.sha256, "index"]
        kept.keep_document("index", keys[member], document)
    for member, _ in archives:
        here = found.get(member)
        if here is not None:
            yield layout.index_of(member), here


def _index(member: str, archive: cache.Kept) -> bytes:
    """Return the index of *archive*, which was proven; b"" when it is not of the usual form."""
    if layout.is_wheel(member):
        with Wheel.open(archive.path, os.path.basename(member)) as wheel:
            found = index.of_wheel(wheel, archive.sha256)
    else:
        with open(archive.path, "rb") as file:
            found = index.of_bytecode(Container(file.fileno(), 0, archive.size, member), archive.sha256)
    return found.to_bytes() if found else b""


def _wheels(plans: Sequence[planning.TargetPlan]) -> Dict[str, cache.Kept]:
    """Return the wheels by their names in the artifact."""
    return {
        f"{folder}/{wheel.file}": cache.Kept(wheel.path, wheel.sha256, wheel.size, wheel.crc)
        for plan in plans
        for folder, group in plan.folders
        for wheel in group
    }


def _target(plan: planning.TargetPlan, bytecode: Mapping[Tuple[str, str], str]) -> manifests.Target:
    """Return what the manifest says of the target of *plan*, but for the project's bytecode."""
    target, everything = plan.target, plan.wheels + plan.bootstrap

    def planned(folder: str, wheel: CollectedWheel) -> manifests.PlannedWheel:
        return manifests.PlannedWheel(
            file=f"{folder}/{wheel.file}",
            name=wheel.name,
            version=wheel.version,
            requested=folder == layout.WHEELS and wheel.name in plan.requested,
            bytecode=bytecode.get((wheel.file, target.cache_tag)),
            patch_releases=dict(plan.limited).get(wheel.file, ()),
        )

    return manifests.Target(
        python=target.python,
        abi=target.abi,
        machine=target.machine,
        libc="glibc",
        libc_floor=collected.glibc_floor(everything, target.machine),
        libraries=collected.system_libraries(everything, target.machine),
        cache_tag=target.cache_tag,
        magic=target.magic,
        wheels=tuple(planned(layout.WHEELS, wheel) for wheel in plan.wheels),
        bootstrap=tuple(planned(layout.BOOTSTRAP_WHEELS, wheel) for wheel in plan.bootstrap),
        project_bytecode=None,
        patch_releases=plan.holds,
        markers=plan.markers,
    )


def _is_at_hand(target: targets.BuildTarget) -> bool:
    return bool(target.interpreter) and not target.cross


def _is_pinned(context: Context, locked: requirements.Requirements) -> bool:
    """Say whether the requirements follow from files here, and are pinned by hashes."""
    return (
        bool(locked.fixed and locked.lines)
        and len(locked.files) > len(context.options.extra_requirements)  # not what another tool exported
        and not any("://" in path for path in (*locked.files, *locked.constraints))
        and all(line.kind == "index" or str(line.requirement.url).startswith("https://") for line in locked.lines)
    )
