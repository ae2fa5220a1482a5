"""The result of a build, for people and for ``--json``."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional, Tuple

from ..artifact import manifests
from ..definitions import NamedTuple
from .output import Written


class Built(NamedTuple):
    """What a build made."""

    written: Written
    manifest: manifests.Manifest
    warnings: Tuple[str, ...]
    from_cache: Tuple[str, ...]  # labels of the targets whose wheels all came from the cache
    from_sdists: Tuple[str, ...]  # wheels that were built here
    delta: Optional[Written] = None


def report(built: Built) -> Tuple[Dict[str, Any], str]:
    """Return what a build came to, for ``--json`` and for people."""
    written, manifest = built.written, built.manifest
    build_id = manifest.build_id  # takes long
    labels = [f"{target.abi}-{target.machine}" for target in manifest.targets]
    document = {
        "path": written.path,
        "size": written.size,
        "sha256": written.sha256,
        "build_id": build_id,
        "commit": manifest.source.commit,
        "dirty": manifest.source.dirty,
        "targets": labels,
        "members": len(manifest.members) + 1,
        "warnings": list(built.warnings),
        "from_cache": list(built.from_cache),
        "from_sdists": list(built.from_sdists),
    }
    if built.delta:
        document["delta"] = built.delta._asdict()
    lines = [
        written.path,
        f"  {written.size} bytes ({written.size / 1e6:.1f} MB) for {', '.join(labels)}",
        f"  build id {build_id}",
        f"  sha256   {written.sha256}",
        *(_delta_lines(built.delta, written) if built.delta else ()),
        *_next_steps(written.path, manifest.shebang),
    ]
    return document, "\n".join(lines)


def _delta_lines(made: Written, whole: Written) -> List[str]:
    share = made.size / whole.size
    return [made.path, f"  {made.size} bytes, {share:.1%} of the whole", f"  sha256   {made.sha256}"]


def _next_steps(path: str, first_line: str) -> List[str]:
    """Return how to use the artifact."""
    here = os.path.relpath(path)
    shown = path if here.startswith(os.pardir) else os.path.join(os.curdir, here)
    hint = _start_hint(first_line, shown)
    start = f"python3 -I {shown}" if hint else shown
    return [*hint, f"Next: {start} -d DEST installs it into a new folder; {start} --help lists its other verbs"]


def _start_hint(first_line: str, file: str) -> List[str]:
    """Return how to start *file* here when its first line names a program that this machine does not have."""
    if program(first_line):
        return []
    return [f"  this machine has no {_named_program(first_line)}: start the file with python3 -I {file}"]


def _named_program(first_line: str) -> str:
    words = first_line[2:].split()
    return next((word for word in words[1:] if not word.startswith("-")), "") if words[0].endswith("/env") else words[0]


def program(first_line: str) -> str:
    """Return the path of the program that *first_line* names, "" when this machine does not have it."""
    name = _named_program(first_line)
    folders = [""] if os.path.dirname(name) else os.get_exec_path()
    paths = [os.path.join(folder, name) for folder in folders if name]
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")
