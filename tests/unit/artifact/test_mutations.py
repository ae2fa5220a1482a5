"""Mutated artifacts: no traceback, no hang, nothing outside the destination, and none that differs from the good one.

``pytest --hypothesis-profile=deep`` tries ten thousand mutations instead of a few hundred, and runs a thousand of
them as programs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import ArtifactError, DeployableZipfileError, TargetError, WheelError
from deployable_zipfile.install import host
from tests.support.artifacts import PACKAGE, runtime
from tests.support.depth import EVERY_MUTATION, EXAMPLES
from tests.support.drafts import WheelFile, demo_wheel, draft
from tests.support.helpers import read_tree, run_cli
from tests.support.wheels import open_wheels

SECONDS = 5  # a mutation that takes longer counts as hanging

SMALL = draft().bytes()
INTERESTING = (0, 1, 2, 8, 9, 20, 45, 0x7F, 0x80, 0xFF, 0x800, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
SIGNATURES = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")

Mutation = Tuple[str, float, float, bytes, int]


def mutations() -> "st.SearchStrategy[List[Mutation]]":
    """Return lists of one to four changes; positions are fractions of the file, so that they shrink well."""
    kinds = st.sampled_from(
        ["flip", "set", "cut", "insert", "repeat", "move", "truncate", "header", "number", "append"]
    )
    where = st.floats(0, 1, exclude_max=True)
    change = st.tuples(kinds, where, where, st.binary(max_size=64), st.integers(0, 1 << 16))
    return st.lists(change, min_size=1, max_size=4)


def mutated(data: bytes, changes: List[Mutation]) -> bytes:
    """Return *data* after *changes*."""
    for kind, first, second, extra, number in changes:
        if not data:
            break
        at = int(first * len(data))
        other = int(second * len(data))
        data = _CHANGES[kind](data, at, other, extra, number)
    return data


def _flip(data: bytes, at: int, _: int, __: bytes, number: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << number % 8]) + data[at + 1 :]


def _set(data: bytes, at: int, _: int, extra: bytes, __: int) -> bytes:
    return data[:at] + extra + data[at + len(extra) :]


def _cut(data: bytes, at: int, _: int, __: bytes, number: int) -> bytes:
    return data[:at] + data[at + 1 + number % 200 :]


def _insert(data: bytes, at: int, _: int, extra: bytes, __: int) -> bytes:
    return data[:at] + extra + data[at:]


def _repeat(data: bytes, at: int, other: int, _: bytes, number: int) -> bytes:
    return data[:at] + data[other : other + number % 300] + data[at:]


def _move(data: bytes, at: int, other: int, _: bytes, number: int) -> bytes:
    size = 1 + number % 64
    return data[:at] + data[other : other + size] + data[at + size :]


def _truncate(data: bytes, at: int, _: int, __: bytes, ___: int) -> bytes:
    return data[:at]


def _append(data: bytes, at: int, _: int, extra: bytes, number: int) -> bytes:
    return data + (extra if number % 2 else data[at:])


def _header(data: bytes, at: int, _: int, extra: bytes, number: int) -> bytes:
    """Overwrite a field of the header that follows *at*: this is where readers of zips go wrong."""
    found = [position for position in (data.find(signature, at) for signature in SIGNATURES) if position >= 0]
    if not found:
        return data
    field = min(found) + 4 + number % 42
    value = struct.pack("<L", INTERESTING[number % len(INTERESTING)])[: 2 + number % 3]
    return data[:field] + value + data[field + len(value) :]


def _number(data: bytes, at: int, _: int, __: bytes, number: int) -> bytes:
    """Add a little to a 32-bit number."""
    if at + 4 > len(data):
        return data
    value = (struct.unpack_from("<L", data, at)[0] + number % 7 - 3) & 0xFFFFFFFF
    return data[:at] + struct.pack("<L", value) + data[at + 4 :]


_CHANGES: Dict[str, Callable[[bytes, int, int, bytes, int], bytes]] = {
    "flip": _flip,
    "set": _set,
    "cut": _cut,
    "insert": _insert,
    "repeat": _repeat,
    "move": _move,
    "truncate": _truncate,
    "header": _header,
    "number": _number,
    "append": _append,
}


def contents(path: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return what an installation would be made of: members with modes, files of wheels included; all proven."""
    with Artifact.open(str(path)) as artifact:
        artifact.verify(workers=1)
        found = {name: (entry.mode, artifact.container.read(entry)) for name, entry in artifact.members.items()}
        for source in open_wheels(artifact, host.select_target(artifact.manifest), bytecode=False):
            source.wheel.check_contents()
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations") / "artifact.zip"


@pytest.fixture(scope="module")
def good(small: Path) -> Dict[str, Tuple[int, bytes]]:
    small.write_bytes(SMALL)
    return contents(small)


@settings(max_examples=max(400, EXAMPLES if EVERY_MUTATION else 0), deadline=SECONDS * 1000)
@given(changes=mutations())
def test_a_mutated_artifact_is_refused_in_one_line_or_is_the_good_one(
    small: Path, good: Dict[str, Tuple[int, bytes]], changes: List[Mutation]
) -> None:
    small.write_bytes(mutated(SMALL, changes))
    failure, found = None, good
    try:
        found = contents(small)
    except DeployableZipfileError as error:
        failure = error
    assert found == good
    if failure is not None:
        assert isinstance(failure, (ArtifactError, WheelError, TargetError))
        assert str(failure).isprintable()
        assert len(str(failure)) <= 500


WHEELS = [demo_wheel(compression=compression) for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)]


def wheel_files(path: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return the files that an installation would take from a wheel, all proven."""
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        wheel.check_contents()
        return {name: (entry.mode, wheel.read(entry)) for name, entry in wheel.files.items()}


@pytest.fixture(scope="module")
def good_wheels(small: Path) -> List[Dict[str, Tuple[int, bytes]]]:
    found = []
    for wheel in WHEELS:
        small.with_name(wheel.file).write_bytes(wheel.content)
        found.append(wheel_files(small.with_name(wheel.file)))
    return found


@settings(max_examples=max(400, EXAMPLES if EVERY_MUTATION else 0), deadline=SECONDS * 1000)
@given(wheel=st.sampled_from(WHEELS), changes=mutations())
def test_a_mutated_wheel_is_refused_in_one_line_or_holds_the_good_files(
    small: Path, good_wheels: List[Dict[str, Tuple[int, bytes]]], wheel: WheelFile, changes: List[Mutation]
) -> None:
    path = small.with_name(wheel.file)
    expected = found = good_wheels[WHEELS.index(wheel)]
    path.write_bytes(mutated(wheel.content, changes))
    failure = None
    try:
        found = wheel_files(path)
    except DeployableZipfileError as error:
        failure = error
    # A bit for "executable" is in no digest: an artifact's manifest covers it, RECORD does not.
    assert {name: data for name, (_, data) in found.items()} == {name: data for name, (_, data) in expected.items()}
    assert {mode for mode, _ in found.values()} <= {0o644, 0o755}
    if failure is not None:
        assert isinstance(failure, WheelError)
        assert str(failure).isprintable()
        assert len(str(failure)) <= 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.deep
@settings(max_examples=max(200, EXAMPLES if EVERY_MUTATION else 0), deadline=SECONDS * 1000)
@given(path=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6), value=JSON, remove=st.booleans())
def test_a_manifest_with_any_value_changed_and_signed_again_is_refused_or_harmless(
    small: Path, good: Dict[str, Tuple[int, bytes]], path: List[float], value: object, remove: bool
) -> None:
    document = json.loads(draft().manifest.to_json())
    del document["build_id"]
    _replace(document, path, value, remove)
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    document["build_id"] = hashlib.sha256(canonical).hexdigest()[:32]
    made = draft()
    made.document = lambda _: json.dumps(document).encode()
    made.write(small)
    failure, found = None, good
    try:
        found = contents(small)
    except DeployableZipfileError as error:
        failure = error
    harmless = {name for name in good if name != layout.MANIFEST}
    assert {name: found[name] for name in harmless} == {name: good[name] for name in harmless}
    if failure is not None:
        assert str(failure).isprintable()
        assert len(str(failure)) <= 500


def _replace(document: Any, path: List[float], value: object, remove: bool) -> None:
    """Replace, or remove, the value that *path* leads to: each number picks one child."""
    for depth, step in enumerate(path):
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = keys[int(step * len(keys))]
        if depth == len(path) - 1 or not isinstance(document[key], (dict, list)):
            if remove:
                del document[key]
            else:
                document[key] = value
            return
        document = document[key]


class Runnable:
    """A good artifact that can be executed, and what it installs."""

    def __init__(self, folder: Path, data: bytes, tree: Dict[str, Tuple[int, bytes]]) -> None:
        self.folder = folder
        self.data = data
        self.tree = tree


@pytest.fixture(scope="module")
def runnable(tmp_path_factory: pytest.TempPathFactory) -> Runnable:
    folder = tmp_path_factory.mktemp("runnable")
    data = draft(runtime=runtime()).bytes()
    (folder / "artifact.zip").write_bytes(data)
    run_cli([sys.executable, "-I", folder / "artifact.zip", "-d", folder / "destination", "--no-sync"])
    tree = _comparable(folder / "destination")
    shutil.rmtree(str(folder / "destination"))
    return Runnable(folder, data, tree)


def _comparable(destination: Path) -> Dict[str, Tuple[int, bytes]]:
    """Return the tree, but for the record of the installation itself, which holds its time."""
    return {name: entry for name, entry in read_tree(destination).items() if name != ".deploy/installed.json"}


@pytest.mark.deep
@pytest.mark.parametrize(
    "with_tool",
    [pytest.param(False, id="as-a-program"), pytest.param(True, id="with-extract.py")],
)
@settings(
    max_examples=1_000 if EVERY_MUTATION else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(changes=mutations())
def test_a_mutated_artifact_run_as_a_program_installs_the_good_tree_or_nothing(
    runnable: Runnable, with_tool: bool, changes: List[Mutation]
) -> None:
    artifact, destination = runnable.folder / "artifact.zip", runnable.folder / "destination"
    artifact.write_bytes(mutated(runnable.data, changes))
    program = [PACKAGE / "extract.py", artifact] if with_tool else [artifact]
    done = run_cli([sys.executable, "-I", *program, "-d", destination, "--quiet", "--no-sync"], code=None, timeout=60)
    there = destination.is_dir()
    tree = _comparable(destination) if there else {}
    if there:
        shutil.rmtree(str(destination))
    assert sorted(path.name for path in runnable.folder.iterdir()) == ["artifact.zip"]
    assert tree in ({}, runnable.tree)
    assert f"{layout.RUNTIME}/" not in done.stderr or "Traceback" not in done.stderr
    if with_tool:
        assert there == (done.returncode == 0)
        assert done.returncode in (0, 3, 4, 6)
        assert len(done.stderr.splitlines()) == (0 if there else 1)
    elif not there:
        # Before our code runs, zipimport prints its own error; for a file cut to its first line Python says nothing.
        assert done.returncode != 0 or not done.stdout
