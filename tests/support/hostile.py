"""Artifacts that must be refused, each with its message: what the tests of the reader share, family by family."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Union

import pytest

from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DeployableZipfileError
from deployable_zipfile.install import installation
from tests.support.drafts import Draft, Raw, draft
from tests.support.helpers import record_text
from tests.support.wheels import open_wheels

AGAIN = "Copy the artifact again."
SETTINGS = "shop/settings.py"
WHEEL = "wheels/demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"
PATH = "{path}"  # the artifact's own path in a message
ZEROS = 70 * 1024 * 1024  # bytes of a bomb

Change = Callable[[Draft], object]
Json = Dict[str, Any]


class Case(NamedTuple):
    """One artifact, and how the message of its error begins."""

    name: str
    content: Callable[[], bytes]
    message: str


class Cases:
    """The cases of one test module."""

    def __init__(self) -> None:
        self._cases: List[Case] = []

    @property
    def all(self) -> List[Case]:
        """Return every case, in order."""
        return list(self._cases)

    @property
    def names(self) -> List[str]:
        """Return the name of each case, in order."""
        return [case.name for case in self._cases]

    def add(self, name: str, change: Change, message: str, frozen: bool = False) -> None:
        """Add the case of a draft after *change*; *frozen*: the manifest stays that of the good one."""

        def content() -> bytes:
            made = draft()
            if frozen:
                made.freeze()
            change(made)
            return made.bytes()

        self.add_content(name, content, message)

    def add_bytes(self, name: str, change: Callable[[bytes], bytes], message: str) -> None:
        """Add the case of a good artifact whose bytes are changed."""
        self.add_content(name, lambda: change(draft().bytes()), message)

    def add_content(self, name: str, content: Callable[[], bytes], message: str) -> None:
        """Add a case by the function that returns its bytes."""
        assert name not in self.names
        self._cases.append(Case(name, content, message))


def prove(path: Path) -> None:
    """Do everything that an installation does before it writes."""
    with Artifact.open(str(path)) as artifact:
        artifact.verify(workers=1)
        for source in open_wheels(artifact, artifact.manifest.targets[0], bytecode=False):
            source.wheel.check_contents()


def assert_refused(case: Case, folder: Path) -> None:
    """Write the case into *folder*, and prove that it is refused with its message and one of the exit codes 3 and 6."""
    path = folder / "artifact.zip"
    path.write_bytes(case.content())
    with pytest.raises(DeployableZipfileError) as caught:
        prove(path)
    line = str(caught.value)
    message = case.message.replace(PATH, str(path))
    assert line.isprintable()
    assert len(line) <= 500
    assert caught.value.exit_code in (3, 6)
    if len(message) <= 480:
        assert line.startswith(message)


def assert_nothing_written(case: Case, folder: Path) -> None:
    """Prove that an installation of the case in *folder* leaves no file behind."""
    path = folder / "artifact.zip"
    path.write_bytes(case.content())
    with pytest.raises(DeployableZipfileError), Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(folder / "site"), workers=1, sync=False)
    assert [left.name for left in folder.iterdir()] == ["artifact.zip"]


def added(*raws: Raw) -> Change:
    """Add members that the manifest lists."""
    return lambda made: made.members.extend(raws)


def inserted(at: int, raw: Raw) -> Change:
    """Add a member that the manifest lists, as number *at*."""
    return lambda made: made.members.insert(at, raw)


def unlisted(raw: Raw) -> Change:
    """Add a member behind the manifest, which does not list it."""
    return lambda made: made.last.append(raw)


def without(name: str) -> Change:
    """Leave the member *name* out."""
    return lambda made: made.members.remove(made.member(name))


def setting(attribute: str, value: object) -> Change:
    """Set an attribute of the draft."""
    return lambda made: setattr(made, attribute, value)


def edited(name: str, **attributes: object) -> Change:
    """Set attributes of the member *name*."""

    def change(made: Draft) -> None:
        for attribute, value in attributes.items():
            setattr(made.member(name), attribute, value)

    return change


def central(**fields: Union[int, bytes]) -> Change:
    """Set fields of the directory's header of :data:`SETTINGS`."""
    return lambda made: made.member(SETTINGS).central.update(fields)


def local(**fields: Union[int, bytes]) -> Change:
    """Set fields of the local header of :data:`SETTINGS`."""
    return lambda made: made.member(SETTINGS).local.update(fields)


def both(**fields: Union[int, bytes]) -> Change:
    """Set fields of both headers of :data:`SETTINGS`."""
    return together(local(**fields), central(**fields))


def together(*changes: Change) -> Change:
    """Make several changes, one after the other."""
    return lambda made: [change(made) for change in changes]


def document(change: Callable[[Json], object], hashed: bool = True) -> Change:
    """Change the manifest as JSON; *hashed*: give it the build id that belongs to it."""

    def rewritten(text: bytes) -> bytes:
        made = json.loads(text)
        change(made)
        if hashed:
            made.pop("build_id", None)
            canonical = json.dumps(made, sort_keys=True, separators=(",", ":")).encode() + b"\n"
            made["build_id"] = hashlib.sha256(canonical).hexdigest()[:32]
        return json.dumps(made, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    return setting("document", rewritten)


def offset_of(made: Draft, name: str) -> int:
    """Return the offset of the local header of the member *name*."""
    position = len(made.prefix)
    for raw in made.members:
        if raw.text == name:
            return position
        position += 30 + len(raw.name) + len(raw.packed)
    raise AssertionError(name)


def raw_members() -> List[Raw]:
    """Return the members of a good wheel."""
    files: Dict[str, Union[str, bytes]] = {
        "demo/__init__.py": "def main(): pass\n",
        "demo/data.bin": b"0123456789" * 20,
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    text = record_text(files, f"{INFO}/RECORD")
    assert text is not None
    return [
        Raw(name, content.encode() if isinstance(content, str) else content)
        for name, content in {**files, f"{INFO}/RECORD": text}.items()
    ]
