"""An artifact's bytes as a tree that a chart can show: parts, packages, folders, and small ones in groups."""

from __future__ import annotations

from typing import Dict, List, Tuple, Union

from ..artifact import layout
from ..artifact.window import Entry
from ..artifact.zipreader import Artifact
from ..definitions import NamedTuple
from .sides import open_wheel

MAX_LEAVES = {"packages": 1500}  # of a part, about, that are drawn before a group is opened
_LEAVES = 400  # of the other parts
MAX_CHILDREN = 150  # of one folder or group
MAX_DEPTH = 12

Folder = Dict[str, Union[int, "Folder"]]


class Node(NamedTuple):
    """A part of the artifact."""

    name: str
    size: int  # bytes in the file
    children: Tuple["Node", ...] = ()
    group: bool = False  # parts that are too small to be seen, together; no folder of the artifact


def tree(artifact: Artifact) -> Node:
    """Return all of *artifact*: every byte of its file is in one node.

    Raises:
        DeployableZipfileError: a wheel or a payload breaks a rule of its form.
    """
    parts: Dict[str, Folder] = {name: {} for name in ("packages", "project", "static files", "bytecode", "tool")}
    counted = 0
    for name, entry in artifact.members.items():
        counted += entry.room
        if layout.is_wheel(name):
            wheel = open_wheel(artifact, name)
            label = f"{wheel.name} {wheel.version}"
            label = label if label not in parts["packages"] else f"{label} ({wheel.filename})"
            parts["packages"][label] = _folder(list(wheel.files.values()), entry.room)
        elif name.startswith(f"{layout.PAYLOAD}/") and name.endswith(".zip"):
            inside = artifact.nested(name).entries.values()
            for inner in inside:
                _put(parts[_part(artifact, inner.name)], _below(inner.name), inner.room)
            _put(parts["tool"], name, entry.room - sum(inner.room for inner in inside))
        else:
            _put(parts[_part(artifact, name)], _below(name), entry.room)
    parts["tool"]["directory of the zip"] = artifact.size - counted
    packages = Node("packages", 0, tuple(_node(name, inner) for name, inner in parts.pop("packages").items()))
    nodes = [_node("", folder)._replace(name=name) for name, folder in parts.items() if folder]
    if packages.children:  # of a single one its name is kept, too
        size = sum(child.size for child in packages.children)
        nodes.append(Node(packages.name, size, _largest_first(list(packages.children))))
    return Node(artifact.manifest.project, artifact.size, _largest_first(nodes))


def _part(artifact: Artifact, name: str) -> str:
    if name.startswith(f"{artifact.manifest.project}/"):
        return "project"
    if name.startswith(f"{layout.STATIC}/"):
        return "static files"
    return "bytecode" if name.startswith(f"{layout.BYTECODE}/") else "tool"


def _below(name: str) -> str:
    """Return *name* without the folder that its part is named for."""
    for top in (layout.BYTECODE, layout.STATIC):
        if name.startswith(f"{top}/"):
            return name[len(top) + 1 :]
    return name


def _folder(entries: List[Entry], size: int) -> Folder:
    """Return the files of a wheel as a tree; what is left of its *size* is its zip's own."""
    made: Folder = {}
    for entry in entries:
        _put(made, entry.name, entry.compressed)
    rest = size - sum(entry.compressed for entry in entries)
    if rest > 0:
        made["zip structure"] = rest
    return made


def _put(folder: Folder, name: str, size: int) -> None:
    *folders, last = name.split("/")
    for part in folders[:MAX_DEPTH]:
        inner = folder.setdefault(part, {})
        if not isinstance(inner, dict):
            break  # a file of that name: they are counted together
        folder = inner
    before = folder.get(last, 0)
    if isinstance(before, int):
        folder[last] = before + size
    else:
        before[last] = size


def _node(name: str, content: Union[int, Folder]) -> Node:
    if isinstance(content, int):
        return Node(name, content)
    children = [_node(inner, below) for inner, below in content.items()]
    if len(children) == 1 and children[0].children:
        return Node(f"{name}/{children[0].name}", children[0].size, children[0].children)
    return Node(name, sum(child.size for child in children), _largest_first(children))


def _largest_first(nodes: List[Node]) -> Tuple[Node, ...]:
    return tuple(sorted(nodes, key=lambda node: (-node.size, node.name)))


def grouped(whole: Node, least: int = 0) -> Node:
    """Return *whole* with the small parts of each folder in a group that can be opened.

    Parameters:
        least: bytes; what is smaller is counted and not named, so that a page can hold the rest.
    """
    parts = [_grouped(part, max(1, part.size // MAX_LEAVES.get(part.name, _LEAVES)), least) for part in whole.children]
    return whole._replace(children=tuple(parts))


def _grouped(node: Node, drawn: int, least: int) -> Node:
    """Return *node* with its children of *drawn* bytes and more, and a group of the others."""
    kept: List[Node] = []
    for number, child in enumerate(node.children):
        if number >= MAX_CHILDREN or child.size < max(drawn, least):
            break
        kept.append(_grouped(child, drawn, least))
    small = node.children[len(kept) :]
    if not small:
        return node._replace(children=tuple(kept))
    size = sum(child.size for child in small)
    if len(small) > 1 and small[0].size < least:
        rest = Node(f"{len(small)} smaller parts", size, group=True)
    elif len(small) > 1 and kept:
        rest = _grouped(Node(f"{len(small)} smaller parts", size, small, group=True), 0, least)
    else:  # a group of one, or of all, would say nothing
        if drawn:
            return _grouped(node, 0, least)
        rest = _grouped(small[0], 0, least)
    return node._replace(children=(*kept, rest))
