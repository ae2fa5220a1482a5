"""Prove a whole artifact: every member against the manifest, and every file of every wheel against its RECORD."""

from __future__ import annotations

import functools
from typing import Callable, List, Optional, Tuple

from ..workers import run
from . import index, layout
from .wheel import Wheel
from .window import Entry
from .zipreader import Artifact


def prove(artifact: Artifact, workers: int = 0) -> str:
    """Compare everything in *artifact* with what it should be; return the SHA-256 of the file, in hexadecimal.

    The work is spread over all cores, the largest pieces first.

    Parameters:
        workers: processes, as in :func:`workers.run`.

    Raises:
        ArtifactError: a member that is not what the manifest says.
        WheelError: a wheel that breaks a rule.
    """
    wheels = [entry for name, entry in artifact.members.items() if layout.is_wheel(name)]
    others = [entry for name, entry in artifact.members.items() if not layout.is_wheel(name)]
    pieces: List[Tuple[int, Callable[[], str]]] = [(artifact.size // 4, lambda: artifact.sha256)]  # it is only read
    pieces += [(entry.size, _wheel_proof(artifact, entry)) for entry in wheels]
    pieces += [(sum(entry.size for entry in batch), _members_proof(artifact, batch)) for batch in _batches(others)]
    pieces.sort(key=lambda piece: -piece[0])
    sha256 = "".join(run(lambda number: pieces[number][1](), len(pieces), workers))
    for payload in artifact.manifest.payloads:
        artifact.verify_payload(payload, workers)
    return sha256


def _wheel_proof(artifact: Artifact, entry: Entry) -> Callable[[], str]:
    def proof() -> str:
        artifact.verify_members([entry])  # first: what is damaged is told before what it breaks
        wheel = Wheel(artifact.descriptor, artifact.container.data_start(entry), entry.size, entry.name)
        wheel.check_structure()
        starts = wheel.check_contents()
        _check_index(artifact, entry.name, lambda sha256: index.of_wheel(wheel, sha256, starts))
        return ""

    return proof


def _check_index(artifact: Artifact, member: str, made: Callable[[str], Optional[index.Index]]) -> None:
    """Compare the index of *member*, if it has one, with the one that is *made* of it, given its SHA-256.

    Digests of bytecode are left out: they are compared when it is installed.
    """
    found = index.of_member(artifact, member)
    if found is not None:
        found.check(made(found.sha256), member)


def _members_proof(artifact: Artifact, batch: List[Entry]) -> Callable[[], str]:
    def proof() -> str:
        artifact.verify_members(batch)
        for name in [entry.name for entry in batch if entry.name.startswith(f"{layout.BYTECODE}/")]:
            make = functools.partial(index.of_bytecode, artifact.nested(name), digests=False)
            _check_index(artifact, name, make)
        return ""

    return proof


def _batches(entries: List[Entry]) -> List[List[Entry]]:
    return [entries[first : first + 64] for first in range(0, len(entries), 64)]
