"""Hostile artifacts: each is refused by its rule, in its words; each good variant is taken.

The families are those that broke other readers of zips and wheels: a cut file, flipped bits, framing, two headers
that differ, names, modes, compression, bombs, missing members, changed content, and wheels.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import stat
import subprocess
import zipfile
import zipimport
import zlib
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import pytest
from hypothesis import settings

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.errors import DeployableZipfileError
from deployable_zipfile.install import installation
from deployable_zipfile.install_wheels import open_wheels
from tests.support.drafts import DEFLATED, FIRST_LINE, Draft, Raw, demo_wheel, draft, local_header, zip_of
from tests.support.helpers import error_line, read_tree, record_text, run_python, zip_bytes

DEEP = settings.default.max_examples >= 10_000  # --hypothesis-profile=deep
AGAIN = "Copy the artifact again."
SETTINGS = "shop/settings.py"
WHEEL = "wheels/demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"


class Case(NamedTuple):
    """One artifact, and the whole message of the error that it must meet ("" for a good one)."""

    name: str
    content: Callable[[], bytes]
    message: str


CASES: List[Case] = []


def prove(path: Path) -> None:
    """Do everything that an installation does before it writes."""
    with Artifact.open(str(path)) as artifact:
        artifact.verify(workers=1)
        for source in open_wheels(artifact, artifact.manifest.targets[0], bytecode=False):
            source.wheel.check_contents()


def add(name: str, change: Callable[[Draft], None], message: str, frozen: bool = False) -> None:
    """Add the case of a draft after *change*; *frozen*: the manifest stays that of the good one."""

    def content() -> bytes:
        made = draft()
        if frozen:
            made.freeze()
        change(made)
        return made.bytes()

    CASES.append(Case(name, content, message))


def added(raw: Raw) -> Callable[[Draft], None]:
    return lambda made: made.members.append(raw)


def without(name: str) -> Callable[[Draft], None]:
    return lambda made: made.members.remove(made.member(name))


def setting(attribute: str, value: object) -> Callable[[Draft], None]:
    return lambda made: setattr(made, attribute, value)


def central(**fields: Union[int, bytes]) -> Callable[[Draft], None]:
    return lambda made: made.member(SETTINGS).central.update(fields)


def local(**fields: Union[int, bytes]) -> Callable[[Draft], None]:
    return lambda made: made.member(SETTINGS).local.update(fields)


def both(**fields: Union[int, bytes]) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        local(**fields)(made)
        central(**fields)(made)

    return change


# Framing (R1-R3)

PATH = "{path}"  # stands for the artifact's own path in a message
NO_FIRST_LINE = f"{PATH}: does not begin with one line '#!...python...' (at offset 0). {AGAIN}"
NO_END = f"{PATH}: does not end with a zip's end record: it was cut, or bytes were added. {AGAIN}"

for name, prefix in {
    "none": b"",
    "no-newline": b"#!/usr/bin/env python",
    "crlf": b"#!/usr/bin/env python\r\n",
    "byte-order-mark": b"\xef\xbb\xbf" + FIRST_LINE,
    "not-python": b"#!/bin/sh\n",
    "too-long": b"#!/usr/bin/" + b"x" * 120 + b"/python\n",
    "only-two": b"#!\n",
    "control-character": b"#!/usr/bin/python\x07\n",
    "not-ascii": "#!/opt/é/python\n".encode(),
    "blank-before": b" " + FIRST_LINE,
    "newline-before": b"\n" + FIRST_LINE,
    "nul": b"#!/usr/bin/python\0\n",
}.items():
    add(f"framing/first-line-{name}", setting("prefix", prefix), NO_FIRST_LINE)

for name, prefix, at in [
    ("twice", FIRST_LINE * 2, 2 * len(FIRST_LINE)),
    ("bytes-after", FIRST_LINE + b"exit 1\n", len(FIRST_LINE) + 7),
    ("empty-line-after", FIRST_LINE + b"\n", len(FIRST_LINE) + 1),
]:
    where = f"starts at offset {at}, the member before it ends at {len(FIRST_LINE)}"
    add(f"framing/first-line-{name}", setting("prefix", prefix), f"__main__.py: {where}. {AGAIN}")

add(
    "framing/first-line-other-than-the-manifest-says",
    setting("prefix", b"#!/usr/bin/python3\n"),
    f"{PATH}: begins with '#!/usr/bin/python3', the manifest says otherwise. {AGAIN}",
)

for name, trailer in {
    "newline": b"\n",
    "nul": b"\0",
    "kilobyte": b"x" * 1024,
    "signature": b"-----BEGIN",
    "end-record-without-zeros": b"PK\x05\x06" + b"\xff" * 18,
}.items():
    add(f"framing/trailing-{name}", setting("trailer", trailer), NO_END)

for name, end in {
    "signature": {"signature": b"PK\x05\x07"},
    "comment": {"comment": b"hello"},
    "comment-length-without-comment": {"comment_length": 1},
    "comment-without-length": {"comment": b"x", "comment_length": 0},
}.items():
    add(f"framing/end-{name}", setting("end", end), NO_END)

add(
    "framing/end-comment-that-is-a-zip",
    setting("end", {"comment": zip_of([Raw("__main__.py", b"print('other')")])}),
    f"{PATH}: its directory of 57 bytes at offset 57 does not end at the end record. {AGAIN}",
)

for name, end in {
    "disk": {"disk": 1},
    "first-disk": {"first_disk": 1},
    "both-disks": {"disk": 0xFFFF, "first_disk": 0xFFFF},
    "here": {"here": 1},
    "total": {"total": 1},
    "zip64-sentinels": {"here": 0xFFFF},
}.items():
    add(f"framing/end-{name}", setting("end", end), f"{PATH}: multi-disk archives are not supported. {AGAIN}")

for count in (0, 65_535):
    add(
        f"framing/end-counts-{count}",
        setting("end", {"here": count, "total": count}),
        f"{PATH}: its end record counts {count} members, allowed are 1 to 65534. {AGAIN}",
    )


def _end_of(made: Draft) -> Tuple[int, int, int]:
    data = made.bytes()
    count = len(made.members) + 1
    offset = int.from_bytes(data[-6:-2], "little")
    return count, len(data) - 22 - offset, offset


COUNT, LENGTH, OFFSET = _end_of(draft())

for name, end, found in [
    ("offset-one-less", {"offset": OFFSET - 1}, (LENGTH, OFFSET - 1)),
    ("offset-one-more", {"offset": OFFSET + 1}, (LENGTH, OFFSET + 1)),
    ("offset-without-first-line", {"offset": OFFSET - len(FIRST_LINE)}, (LENGTH, OFFSET - len(FIRST_LINE))),
    ("offset-zero", {"offset": 0}, (LENGTH, 0)),
    ("offset-zip64", {"offset": 0xFFFFFFFF}, (LENGTH, 0xFFFFFFFF)),
    ("length-one-less", {"length": LENGTH - 1}, (LENGTH - 1, OFFSET)),
    ("length-one-more", {"length": LENGTH + 1}, (LENGTH + 1, OFFSET)),
    ("length-zero", {"length": 0}, (0, OFFSET)),
    ("length-zip64", {"length": 0xFFFFFFFF}, (0xFFFFFFFF, OFFSET)),
    ("gap-before-it", {"gap": b"\0"}, (LENGTH, OFFSET)),
    ("zip64-records-before-it", {"gap": b"PK\x06\x06" + b"\0" * 52 + b"PK\x06\x07" + b"\0" * 16}, (LENGTH, OFFSET)),
]:
    add(
        f"framing/end-{name}",
        setting("end", end),
        f"{PATH}: its directory of {found[0]} bytes at offset {found[1]} does not end at the end record. {AGAIN}",
    )

add(
    "framing/end-counts-one-less",
    setting("end", {"here": COUNT - 1, "total": COUNT - 1}),
    f"{PATH}: its directory holds {46 + len(layout.MANIFEST)} bytes more than its {COUNT - 1} members. {AGAIN}",
)
add(
    "framing/end-counts-one-more",
    setting("end", {"here": COUNT + 1, "total": COUNT + 1}),
    f"{PATH}: its directory ends after {COUNT} of {COUNT + 1} members. {AGAIN}",
)
add(
    "framing/end-directory-holds-more",
    setting("end", {"gap": b"\0" * 46, "length": LENGTH + 46}),
    f"{PATH}: its directory holds 46 bytes more than its {COUNT} members. {AGAIN}",
)


def _raw(name: str, change: Callable[[bytes], bytes], message: str) -> None:
    CASES.append(Case(name, lambda: change(draft().bytes()), message))


_raw("framing/two-artifacts-in-one", lambda data: data + data, f"{PATH}: its directory of {LENGTH} bytes")
_raw("framing/the-artifact-behind-another-zip", lambda data: zip_of([Raw("a", b"")]) + data, NO_FIRST_LINE)
_raw("framing/text-mode-transfer", lambda data: data.replace(b"\n", b"\r\n"), NO_FIRST_LINE)
_raw("framing/text-mode-back", lambda data: data.replace(b"\x05", b""), NO_END)
_raw("framing/seven-bits", lambda data: bytes(byte & 0x7F for byte in data), f"{PATH}: ")
_raw("framing/empty", lambda _: b"", NO_FIRST_LINE)
_raw("framing/first-line-alone", lambda _: FIRST_LINE, NO_END)
_raw("framing/short-first-line-alone", lambda _: b"#!python\n", f"{PATH}: is cut: 9 bytes are no zip. {AGAIN}")
_raw("framing/an-empty-zip", lambda _: FIRST_LINE + zip_of([]), f"{PATH}: its end record counts 0 members")
_raw("framing/gzip", lambda data: zlib.compress(data), NO_FIRST_LINE)

# Differential: two readers must not see two things (R4-R7)

DIFFERS = f"{SETTINGS}: its local header differs from the directory. {AGAIN}"

for field, value in {
    "signature": b"PK\x03\x05",
    "needed": 10,
    "flags": 0x0002,
    "method": 0,
    "time": 1,
    "date": 0x22,
    "crc": 0,
    "compressed": 1,
    "size": 1,
    "name": b"shop/settings.pz",
    "name_length": 15,
    "extra_length": 1,
}.items():
    add(f"differential/local-{field}", local(**{field: value}), DIFFERS)

for field, value in {"crc": 1, "time": 1, "date": 0x22, "needed": 10, "flags": 0x0002}.items():
    add(f"differential/central-{field}", central(**{field: value}), DIFFERS)

add(
    "differential/central-name",
    central(name=b"shop/sett1ngs.py"),
    f"{SETTINGS}: is listed but missing. {AGAIN}",
)
add("differential/central-signature", central(signature=b"PK\x01\x03"), f"{PATH}: its directory is broken at offset")
add("differential/central-name-length", central(name_length=0xFFFF), f"{PATH}: its directory is broken at offset")
add("differential/central-extra-length", central(extra_length=0xFFFF), f"{PATH}: its directory is broken at offset")

ATTRIBUTES = f"{SETTINGS}: carries an extra field, a comment, a disk number or internal attributes. {AGAIN}"
UNICODE_PATH = b"\x75\x70\x0e\x00\x01" + zlib.crc32(SETTINGS.encode()).to_bytes(4, "little") + b"evil.py12"[:9]
ZIP64 = b"\x01\x00\x10\x00" + b"\0" * 16

for name, fields in {
    "extra": {"extra": b"\xfe\xca\x00\x00"},
    "extra-cut": {"extra": b"\x01"},
    "extra-unicode-path": {"extra": UNICODE_PATH},
    "extra-zip64": {"extra": ZIP64},
    "comment": {"comment": b"hello"},
    "disk": {"disk": 1},
    "internal": {"internal": 1},
}.items():
    add(f"differential/central-{name}", central(**fields), ATTRIBUTES)

for name, extra in {"plain": b"\xfe\xca\x00\x00", "unicode-path": UNICODE_PATH, "zip64": ZIP64}.items():
    add(f"differential/local-extra-{name}", local(extra=extra), "shop/run.sh: starts at offset")
    add(f"differential/both-extra-{name}", both(extra=extra), ATTRIBUTES)

for name, fields in {
    "version": {"version": 45},
    "system-fat": {"system": 0},
    "system-ntfs": {"system": 10},
    "system-mac": {"system": 19},
}.items():
    message = f"{SETTINGS}: was not written by this tool (version fields). {AGAIN}"
    add(f"differential/made-by-{name}", central(**fields), message)
for needed in (21, 45, 51, 63, 0xFFFF):
    add(
        f"differential/needs-{needed}",
        both(needed=needed),
        f"{SETTINGS}: was not written by this tool (version fields). {AGAIN}",
    )

for bit in (0, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15):
    add(
        f"differential/flag-bit-{bit}",
        both(flags=1 << bit),
        f"{SETTINGS}: uses flags {1 << bit:#06x} or method 8. {AGAIN}",
    )
add(
    "differential/flag-utf-8-on-an-ascii-name",
    both(flags=0x800),
    f"{SETTINGS}: its name and its UTF-8 flag do not fit together. {AGAIN}",
)


def _descriptor(signed: bool) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        raw = made.member(SETTINGS)
        fields = raw.fields()
        sizes = b"".join(int(fields[key]).to_bytes(4, "little") for key in ("crc", "compressed", "size"))
        raw.after = (b"PK\x07\x08" if signed else b"") + sizes
        raw.local.update(flags=8, crc=0, compressed=0, size=0)
        raw.central.update(flags=8)

    return change


for signed in (True, False):
    add(
        f"differential/data-descriptor-{'with' if signed else 'without'}-signature",
        _descriptor(signed),
        f"{SETTINGS}: uses flags 0x0008 or method 8. {AGAIN}",
    )

for name, fields in {
    "size": {"size": 0xFFFFFFFF},
    "compressed": {"compressed": 0xFFFFFFFF},
    "offset": {"offset": 0xFFFFFFFF},
}.items():
    add(f"differential/zip64-{name}", central(**fields), f"{SETTINGS}: needs ZIP64, which is not supported. {AGAIN}")


def _offset_of(made: Draft, name: str) -> int:
    position = len(made.prefix)
    for raw in made.members:
        if raw.text == name:
            return position
        position += 30 + len(raw.name) + len(raw.packed)
    raise AssertionError(name)


AT = _offset_of(draft(), SETTINGS)

for name, at in {
    "offset-one-less": AT - 1,
    "offset-one-more": AT + 1,
    "offset-zero": 0,
    "offset-of-the-first-member": len(FIRST_LINE),
    "offset-behind-the-file": 0x7FFFFFFF,
}.items():
    message = f"{SETTINGS}: starts at offset {at}, the member before it ends at {AT}. {AGAIN}"
    add(f"differential/{name}", central(offset=at), message)


def _edited(name: str, **attributes: object) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        for attribute, value in attributes.items():
            setattr(made.member(name), attribute, value)

    return change


AFTER = "shop/run.sh"
NEXT = _offset_of(draft(), AFTER)

for name, between in {"one-byte": b"\0", "many": b"x" * 500, "a-member": b"PK\x03\x04" + b"\0" * 26}.items():
    add(
        f"differential/gap-before-a-member-{name}",
        _edited(AFTER, before=between),
        f"{AFTER}: starts at offset {NEXT + len(between)}, the member before it ends at {NEXT}. {AGAIN}",
    )

add(
    "differential/gap-before-the-directory",
    lambda made: setattr(made, "manifest_member", lambda raw: [Raw(raw.name, raw.content, after=b"123")]),
    f"{PATH}: 3 bytes before its directory belong to no member. {AGAIN}",
)
orphan = Raw("shop/orphan.py", b"import os\n", listed=False)


def _with_orphan(made: Draft) -> None:
    made.freeze()
    made.members.insert(8, orphan)


add(
    "differential/orphan-in-the-body",
    lambda made: made.members.insert(8, orphan) or (made.freeze() and None),
    f"{SETTINGS}: starts at offset",
)
add(
    "differential/orphan-at-the-end",
    lambda made: made.last.append(orphan),
    f"{PATH}: {30 + len(orphan.name) + len(orphan.packed)} bytes before its directory belong to no member. {AGAIN}",
)
phantom = Raw("shop/phantom.py", b"import os\n", present=False)
add(
    "differential/phantom-in-the-directory",
    lambda made: made.members.insert(8, phantom),
    f"{SETTINGS}: starts at offset",
)
add(
    "differential/phantom-at-the-end",
    lambda made: made.last.append(phantom),
    f"{PATH}: its members exceed their room. {AGAIN}",
)
add(
    "differential/duplicate",
    lambda made: made.last.append(Raw(SETTINGS, b"DEBUG = True\n")),
    f"{SETTINGS}: is a member twice. {AGAIN}",
)
add(
    "differential/duplicate-main",
    lambda made: made.members.insert(1, Raw("__main__.py", b"print('other')\n")),
    f"__main__.py: is a member twice. {AGAIN}",
)
add(
    "differential/duplicate-with-the-same-content",
    lambda made: made.last.append(Raw(SETTINGS, made.member(SETTINGS).content)),
    f"{SETTINGS}: is a member twice. {AGAIN}",
)
add(
    "differential/two-entries-share-one-body",
    lambda made: made.members.append(Raw("shop/shared.py", present=False, central={"offset": AT})),
    f"shop/shared.py: starts at offset {AT}, the member before it ends at",
)
add(
    "differential/members-out-of-order",
    lambda made: [_edited(SETTINGS, central={"offset": NEXT})(made), _edited(AFTER, central={"offset": AT})(made)],
    f"{SETTINGS}: starts at offset {NEXT}, the member before it ends at {AT}. {AGAIN}",
)

# Names (R8, R9), each listed in the manifest too

LEAVES = "its name leaves its folder or has an empty part"
CONTROL = "its name holds control or format characters"
SEPARATOR = "its name holds a backslash or a colon"
LONG = "its name is longer than 1024 bytes, 64 parts or 255 bytes a part"
FOREIGN = "unexpected member"

NAMES: Dict[str, Tuple[str, str, str]] = {
    # case: (name, how the message shows it, why)
    "up": ("../evil.py", "../evil.py", LEAVES),
    "up-inside": ("shop/../../evil.py", "shop/../../evil.py", LEAVES),
    "up-and-back": ("shop/../shop/evil.py", "shop/../shop/evil.py", LEAVES),
    "up-at-the-end": ("shop/..", "shop/..", LEAVES),
    "dot": ("shop/./evil.py", "shop/./evil.py", LEAVES),
    "dot-first": ("./shop/evil.py", "./shop/evil.py", LEAVES),
    "dot-alone": (".", ".", LEAVES),
    "dots-alone": ("..", "..", LEAVES),
    "absolute": ("/etc/cron.d/evil", "/etc/cron.d/evil", LEAVES),
    "two-slashes": ("shop//evil.py", "shop//evil.py", LEAVES),
    "unc": ("//host/share", "//host/share", LEAVES),
    "folder": ("shop/folder/", "shop/folder/", LEAVES),
    "empty": ("", "", LEAVES),
    "backslash": ("shop\\evil.py", "shop\\evil.py", SEPARATOR),
    "backslash-up": ("..\\evil.py", "..\\evil.py", SEPARATOR),
    "drive": ("C:/evil.py", "C:/evil.py", SEPARATOR),
    "stream": ("shop/evil.py:x", "shop/evil.py:x", SEPARATOR),
    "nul": ("shop/evil\0.py", "shop/evil\\x00.py", CONTROL),
    "newline": ("shop/ok\nerror: fake", "shop/ok\\nerror: fake", CONTROL),
    "carriage-return": ("shop/ok\rfake", "shop/ok\\rfake", CONTROL),
    "tab": ("shop/a\tb", "shop/a\\tb", CONTROL),
    "escape": ("shop/\x1b[2Jevil", "shop/\\x1b[2Jevil", CONTROL),
    "delete": ("shop/a\x7f", "shop/a\\x7f", CONTROL),
    "next-line": ("shop/a\x85b", "shop/a\\x85b", CONTROL),
    "bidi": ("shop/\u202egnp.py", "shop/\\u202egnp.py", CONTROL),
    "isolate": ("shop/\u2066a", "shop/\\u2066a", CONTROL),
    "zero-width": ("shop/a\u200bb", "shop/a\\u200bb", CONTROL),
    "byte-order-mark": ("\ufeffshop/a", "\\ufeffshop/a", CONTROL),
    "override": ("shop/a\u202eb", "shop/a\\u202eb", CONTROL),
    "line-separator": ("shop/a\u2028b", "shop/a\\u2028b", CONTROL),
    "paragraph-separator": ("shop/a\u2029b", "shop/a\\u2029b", CONTROL),
    "nfd": ("shop/e\u0301", "shop/e\u0301", "its name is not in Unicode's normal form NFC"),
    "ohm-sign": ("shop/\u2126", "shop/\u2126", "its name is not in Unicode's normal form NFC"),
    "deep": ("shop" + "/d" * 64, "shop" + "/d" * 64, LONG),
    "long-part": ("shop/" + "x" * 256, "shop/" + "x" * 256, LONG),
    "long-part-in-bytes": ("shop/" + "é" * 128, "shop/" + "é" * 128, LONG),
    "environment": ("environment.json", "environment.json", FOREIGN),
    "venv": ("venv/bin/python", "venv/bin/python", FOREIGN),
    "venv-pth": ("venv/lib/python3.11/site-packages/evil.pth", "venv/lib/python3.11/site-packages/evil.pth", FOREIGN),
    "pth": ("evil.pth", "evil.pth", FOREIGN),
    "stdlib": ("json.py", "json.py", FOREIGN),
    "stdlib-package": ("json/__init__.py", "json/__init__.py", FOREIGN),
    "site": ("sitecustomize.py", "sitecustomize.py", FOREIGN),
    "dotfile": (".bashrc", ".bashrc", FOREIGN),
    "other-project": ("shop2/a.py", "shop2/a.py", FOREIGN),
    "project-without-folder": ("shop", "shop", "is a file and a folder"),
    "static-not-numbered": ("static.in/x/a.css", "static.in/x/a.css", FOREIGN),
    "static-without-number": ("static.in/a.css", "static.in/a.css", FOREIGN),
    "wheel-in-a-folder": ("wheels/x/a.whl", "wheels/x/a.whl", FOREIGN),
    "no-wheel": ("wheels/evil.py", "wheels/evil.py", FOREIGN),
    "no-bootstrap-wheel": ("bootstrap_wheels/evil.py", "bootstrap_wheels/evil.py", FOREIGN),
    "git": (".git/config", ".git/config", FOREIGN),
}

for case, (name, shown, why) in NAMES.items():
    raw = Raw(name, b"import os\n")
    what = shown if shown else PATH
    add(f"name/{case}", added(raw), f"{what}: {why}. {AGAIN}")

for case, encoded in {
    "latin-1": b"shop/caf\xe9",
    "cut": b"shop/\xe2\x82",
    "surrogate": b"shop/\xed\xa0\x80",
    "overlong": b"shop/\xc0\xaf",
}.items():
    shown = encoded.decode("utf-8", "backslashreplace")
    for flag in (0, 0x800):
        raw = Raw(encoded, b"", central={"flags": flag}, local={"flags": flag})
        add(
            f"name/not-utf-8-{case}-{'marked' if flag else 'unmarked'}",
            lambda made, raw=raw: made.last.append(raw),
            f"{shown}: its name is not UTF-8. {AGAIN}",
        )
add(
    "name/utf-8-not-marked",
    lambda made: made.last.append(Raw("shop/é", central={"flags": 0}, local={"flags": 0})),
    f"shop/é: its name and its UTF-8 flag do not fit together. {AGAIN}",
)
for case, (one, other) in {
    "case": ("shop/A.py", "shop/a.py"),
    "case-of-a-letter-with-an-accent": ("shop/É", "shop/é"),
    "sharp-s": ("shop/strasse", "shop/straße"),
    "folder-case": ("shop/B/x", "shop/b/x"),
}.items():
    add(
        f"name/differs-by-{case}",
        lambda made, one=one, other=other: made.members.extend([Raw(one), Raw(other)]),
        f"{other}: differs from {one} only by case. {AGAIN}",
    )
for case, (file, inner) in {"file-then-folder": ("shop/x", "shop/x/y"), "deep": ("shop/x", "shop/x/y/z/w")}.items():
    for order in (0, 1):
        pair = [Raw(file), Raw(inner)][:: -1 if order else 1]
        add(
            f"name/a-file-is-a-folder-{case}-{order}",
            lambda made, pair=pair: made.members.extend(pair),
            f"{file}: is a file and a folder. {AGAIN}",
        )
for case, (name, what, why) in {
    "up": ("../evil", "../evil", "directory not allowed"),
    "absolute": ("/tmp/evil", "/tmp/evil", "directory not allowed"),
    "venv": ("venv/evil", "venv/evil", "directory not allowed"),
    "empty": ("", PATH, "directory not allowed"),
    "a-file": (SETTINGS, SETTINGS, "is a file and a folder"),
    "below-a-file": (SETTINGS + "/x", SETTINGS, "is a file and a folder"),
}.items():
    add(f"name/empty-folder-{case}", setting("directories", (name,)), f"{what}: {why}. {AGAIN}")
for case, project in {
    "up": "..",
    "slash": "a/b",
    "venv": "venv",
    "wheels": "wheels",
    "blank": "my shop",
    "é": "shopé",
}.items():
    add(
        f"name/project-{case}",
        lambda made, project=project: setattr(made, "edit", lambda manifest: manifest._replace(project=project)),
        f"{layout.MANIFEST}: its project name {project!r} is",
    )

# Modes (R10)

KINDS = {
    "symlink": 0o120777,
    "symlink-644": 0o120644,
    "folder": 0o040755,
    "fifo": 0o010644,
    "socket": 0o140755,
    "character-device": 0o020666,
    "block-device": 0o060660,
    "setuid": 0o104755,
    "setgid": 0o102755,
    "sticky": 0o101755,
    "all-bits": 0o107777,
    "666": 0o100666,
    "777": 0o100777,
    "600": 0o100600,
    "000": 0o100000,
    "no-kind": 0o000644,
    "nothing": 0o000000,
}
for case, mode in KINDS.items():
    add(
        f"mode/{case}",
        central(external=mode << 16),
        f"{SETTINGS}: has mode {mode:o}, allowed are regular files of 644 and 755. {AGAIN}",
    )
    add(
        f"mode/resigned-{case}",
        lambda made, mode=mode: made.members.append(Raw("shop/link", b"/etc/passwd", central={"external": mode << 16})),
        f"shop/link: has mode {mode:o}, allowed are regular files of 644 and 755. {AGAIN}",
    )
for bit in (1, 2, 4, 0x10, 0x20, 0x8000):
    add(
        f"mode/low-attribute-{bit:#x}",
        central(external=0o100644 << 16 | bit),
        f"{SETTINGS}: has mode 100644, allowed are regular files of 644 and 755. {AGAIN}",
    )
add(
    "mode/other-than-the-manifest-says",
    lambda made: setattr(made.member(SETTINGS), "mode", 0o755),
    f"{SETTINGS}: its size or mode is not what the manifest says. {AGAIN}",
    frozen=True,
)

# Compression (R7, R11)

for method in (1, 6, 9, 12, 14, 93, 95, 98, 99, 0xFFFF):
    add(
        f"compression/method-{method}",
        both(method=method),
        f"{SETTINGS}: uses flags 0x0000 or method {method}. {AGAIN}",
    )
for name, flags in {"encrypted": 1, "strongly-encrypted": 0x41, "masked": 0x2000, "patched": 0x20}.items():
    add(f"compression/{name}", both(flags=flags), f"{SETTINGS}: uses flags {flags:#06x} or method 8. {AGAIN}")

STREAM_END = f"{SETTINGS}: its compressed stream does not end where its data end. {AGAIN}"
GOOD = draft().member(SETTINGS)


def _stream(data: bytes, **fields: Union[int, bytes]) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        made.freeze()
        made.member(SETTINGS).data = data
        both(**fields)(made)

    return change


SIZE = len(GOOD.content)
for name, data, message in [
    ("cut", GOOD.packed[:-1], STREAM_END),
    ("cut-in-half", GOOD.packed[: len(GOOD.packed) // 2], STREAM_END),
    ("empty", b"", STREAM_END),
    ("byte-after", GOOD.packed + b"\0", STREAM_END),
    ("second-stream", GOOD.packed * 2, STREAM_END),
    ("stored-under-deflate", GOOD.content, f"{SETTINGS}: cannot be inflated"),
    ("zlib-header", zlib.compress(GOOD.content), f"{SETTINGS}: cannot be inflated"),
    ("reserved-block", b"\x07", f"{SETTINGS}: cannot be inflated"),
]:
    add(f"compression/stream-{name}", _stream(data), message)


def _size_of(name: str, size: int) -> Callable[[Draft], None]:
    """Let headers and manifest say *size*."""

    def change(made: Draft) -> None:
        both(size=size)(made)

        def resized(manifest: layout.Manifest) -> layout.Manifest:
            member = manifest.members[name]
            return manifest._replace(members={**manifest.members, name: member._replace(size=size)})

        made.edit = resized

    return change


add(
    "compression/size-one-less",
    _size_of(SETTINGS, SIZE - 1),
    f"{SETTINGS}: holds more than its {SIZE - 1} bytes. {AGAIN}",
)
add("compression/size-zero", _size_of(SETTINGS, 0), STREAM_END)
add(
    "compression/size-one-more",
    _size_of(SETTINGS, SIZE + 1),
    f"{SETTINGS}: holds {SIZE} of its {SIZE + 1} bytes. {AGAIN}",
)
add(
    "compression/size-of-three-gigabytes",
    _size_of(SETTINGS, 3 << 30),
    f"{SETTINGS}: would inflate {len(GOOD.packed)} bytes to {3 << 30}. {AGAIN}",
)
add(
    "compression/size-only-in-the-headers",
    both(size=SIZE + 1),
    f"{SETTINGS}: its size or mode is not what the manifest",
)
wrong = zlib.crc32(GOOD.content) ^ 1
add(
    "compression/crc",
    both(crc=wrong),
    f"{SETTINGS}: its CRC-32 is {wrong ^ 1:08x}, the directory says {wrong:08x}. {AGAIN}",
)
add(
    "compression/stored-with-two-sizes",
    lambda made: [_edited(SETTINGS, method=0)(made), central(size=SIZE + 1)(made)],
    f"{SETTINGS}: is stored but its two sizes differ. {AGAIN}",
)
add(
    "compression/wheel-compressed-a-second-time",
    lambda made: setattr(made.member(WHEEL), "method", 8),
    f"{WHEEL}: is compressed a second time. Build the artifact again.",
)

# Bombs (R11)

ZEROS = 70 * 1024 * 1024
_bomb: List[bytes] = []


def bomb() -> bytes:
    """Return 70 MiB of zeros, deflated."""
    if not _bomb:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        _bomb.append(b"".join(deflater.compress(b"\0" * (1 << 20)) for _ in range(70)) + deflater.flush())
    return _bomb[0]


def _bomb_case(declared: int) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        raw = Raw("shop/bomb", b"", data=bomb(), central={"size": declared}, local={"size": declared})
        made.members.append(raw)

        def resized(manifest: layout.Manifest) -> layout.Manifest:
            member = layout.Member(declared, 0o644, "0" * 64)
            return manifest._replace(members={**manifest.members, "shop/bomb": member})

        made.edit = resized

    return change


add("bomb/honest", _bomb_case(ZEROS), f"shop/bomb: would inflate {{bomb}} bytes to {ZEROS}. {AGAIN}")
add("bomb/lying-small", _bomb_case(10), f"shop/bomb: its compressed stream does not end where its data end. {AGAIN}")
add(
    "bomb/lying-below-the-limit",
    _bomb_case(60 * 1024 * 1024),
    f"shop/bomb: holds more than its {60 * 1024 * 1024} bytes. {AGAIN}",
)
add("bomb/lying-large", _bomb_case(layout.MAX_SIZE - 1), "shop/bomb: would inflate {bomb} bytes to")
_overlapping = Raw("shop/kernel", b"", data=b"\0" * 64, method=0)
add(
    "bomb/overlapping-members",
    lambda made: made.members.extend(
        Raw(f"shop/{number}", present=False, central={"offset": AT, "size": ZEROS}) for number in range(50)
    ),
    f"shop/0: starts at offset {AT}, the member before it ends at",
)


def _quoted(made: Draft) -> None:
    """Each member's data are a stored block that quotes the next local header: the non-recursive zip bomb."""
    last = Raw("shop/2", b"\0" * 1000)
    inner = local_bytes(last)
    first = Raw(
        "shop/1", b"", data=b"\x00" + len(inner).to_bytes(2, "little") + (len(inner) ^ 0xFFFF).to_bytes(2, "little")
    )
    first.central["compressed"] = first.local["compressed"] = len(first.packed) + len(inner)
    made.members.extend([first, last])


def local_bytes(raw: Raw) -> bytes:
    """Return local header and data of *raw*."""

    return local_header(raw) + raw.packed


add("bomb/quoted-overlap", _quoted, "shop/2: starts at offset")
add(
    "bomb/manifest",
    setting("document", lambda _: b" " * (layout.MAX_MANIFEST + 1)),
    f"{layout.MANIFEST}: has {layout.MAX_MANIFEST + 1} bytes, more than {layout.MAX_MANIFEST}. {AGAIN}",
)

# Missing members and the manifest itself (R12)

for name in (
    "install_wheels.py",
    "loadenv.py",
    "loadenv-init.pth",
    layout.LOADENV_START,
    "shop.pth",
    SETTINGS,
    "shop/__init__.py",
    layout.SBOM,
    "static.in/0/site.css",
):
    add(f"missing/{name}", without(name), f"{name}: is listed but missing. {AGAIN}", frozen=True)
for name in ("__main__.py", "install_wheels.py", "loadenv.py", "loadenv-init.pth", layout.LOADENV_START):
    add(f"missing/resigned-{name}", without(name), f"{name}: is missing. {AGAIN}")
for name in (WHEEL, "bootstrap_wheels/pip-26.3-py3-none-any.whl"):
    python = draft().targets[0].python
    add(f"missing/{name}", without(name), f"{name}: is listed but missing. {AGAIN}", frozen=True)
    add(f"missing/resigned-{name}", without(name), f"{name}: is in the plan for Python {python} but missing.")
add(
    "missing/the-whole-project",
    lambda made: setattr(made, "members", [raw for raw in made.members if not raw.text.startswith("shop/")]),
    f"shop/__init__.py: is listed but missing (and 3 more). {AGAIN}",
    frozen=True,
)
add("missing/manifest", setting("manifest_member", lambda _: []), f"{layout.MANIFEST}: is missing. {AGAIN}")
add(
    "missing/manifest-elsewhere",
    setting("manifest_member", lambda raw: [Raw("manifest.json", raw.content)]),
    f"{layout.MANIFEST}: is missing. {AGAIN}",
)
add(
    "missing/manifest-twice",
    setting("manifest_member", lambda raw: [raw, Raw(raw.name, raw.content)]),
    f"{layout.MANIFEST}: is a member twice. {AGAIN}",
)

NO_JSON = f"{layout.MANIFEST}: is not strict JSON"
NO_OBJECT = f"{layout.MANIFEST}: is not a JSON object. {AGAIN}"
for case, text, message in [
    ("empty", b"", NO_JSON),
    ("nul", b"\0", NO_JSON),
    ("list", b"[]", NO_OBJECT),
    ("string", b'"x"', NO_OBJECT),
    ("number", b"1", NO_OBJECT),
    ("null", b"null", NO_OBJECT),
    ("empty-object", b"{}", f"{layout.MANIFEST}: has schema None, this extractor reads schema 1."),
    (
        "newer-schema",
        b'{"schema": 2, "tool": "2.0"}',
        f"{layout.MANIFEST}: has schema 2, this extractor reads schema 1.",
    ),
    ("older-schema", b'{"schema": 0}', f"{layout.MANIFEST}: has schema 0, this extractor reads schema 1."),
    ("schema-true", b'{"schema": true}', f"{layout.MANIFEST}: has schema True, this extractor reads schema 1."),
    ("schema-a-string", b'{"schema": "1"}', f"{layout.MANIFEST}: has schema '1', this extractor reads schema 1."),
    ("deep", b"[" * 50_000, NO_JSON),
    ("deep-objects", b'{"a":' * 50_000, NO_JSON),
    ("infinite", b'{"schema": Infinity}', f"{layout.MANIFEST}: is not strict JSON (Infinity is not JSON). {AGAIN}"),
    ("nan", b'{"schema": NaN}', f"{layout.MANIFEST}: is not strict JSON (NaN is not JSON). {AGAIN}"),
    ("long-number", b'{"schema": ' + b"1" * 10_000 + b"}", f"{layout.MANIFEST}: "),
    ("latin-1", '{"é": 1}'.encode("latin-1"), NO_JSON),
    ("utf-16", '{"a": 1}'.encode("utf-16"), NO_JSON),
    ("byte-order-mark", b"\xef\xbb\xbf{}", NO_JSON),
    ("duplicate-key", b'{"schema": 1, "schema": 1}', f"{layout.MANIFEST}: is not strict JSON (duplicate key). {AGAIN}"),
]:
    add(f"missing/manifest-{case}", setting("document", lambda _, text=text: text), message)

for cut in (2, 10, 100, 1000):
    add(
        f"missing/manifest-cut-by-{cut}", setting("document", lambda text, cut=cut: text[:-cut]), f"{layout.MANIFEST}: "
    )


def _document(change: Callable[[Dict[str, object]], None], hashed: bool = True) -> Callable[[Draft], None]:
    """Change the manifest as JSON; *hashed*: give it the build id that belongs to it."""

    def rewritten(text: bytes) -> bytes:
        document = json.loads(text)
        change(document)
        if hashed:
            document.pop("build_id", None)
            canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
            document["build_id"] = hashlib.sha256(canonical).hexdigest()[:32]
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"

    return setting("document", rewritten)


KEYS = ("build_id", "tool", "project", "shebang", "source", "targets", "members", "directories", "payloads")
for key in KEYS:
    add(
        f"missing/manifest-without-{key}",
        _document(lambda d, key=key: d.pop(key), hashed=False),
        f"{layout.MANIFEST}: {key!r} is missing. {AGAIN}",
    )
    add(
        f"missing/manifest-{key}-a-number",
        _document(lambda d, key=key: d.update({key: 7}), hashed=False),
        f"{layout.MANIFEST}: ",
    )
    add(
        f"missing/manifest-{key}-null",
        _document(lambda d, key=key: d.update({key: None}), hashed=False),
        f"{layout.MANIFEST}: ",
    )
add(
    "missing/manifest-unknown-key",
    _document(lambda d: d.update({"hook": "x"})),
    f"{layout.MANIFEST}: unknown key 'hook'. {AGAIN}",
)
add(
    "missing/manifest-wrong-build-id",
    _document(lambda d: d.update({"build_id": "0" * 32}), hashed=False),
    f"{layout.MANIFEST}: its build id is not the hash of its content. {AGAIN}",
)
add(
    "missing/manifest-changed-without-its-build-id",
    _document(lambda d: d.update({"tool": "9.9.9"}), hashed=False),
    f"{layout.MANIFEST}: its build id is not the hash of its content. {AGAIN}",
)


def _member_field(**fields: object) -> Callable[[Draft], None]:
    return _document(lambda d: d["members"][SETTINGS].update(fields))


for case, fields, why in [
    ("size-a-string", {"size": "1"}, "has a wrong type"),
    ("size-true", {"size": True}, "has a wrong type"),
    ("size-a-float", {"size": 1.5}, "has a wrong type"),
    ("mode-a-string", {"mode": "420"}, "has a wrong type"),
    ("sha256-null", {"sha256": None}, "has a wrong type"),
    ("size-negative", {"size": -1}, "is out of range"),
    ("size-huge", {"size": 1 << 40}, "is out of range"),
    ("mode-setuid", {"mode": 0o4755}, "is out of range"),
    ("mode-666", {"mode": 0o666}, "is out of range"),
    ("sha256-short", {"sha256": "ab"}, "is out of range"),
    ("sha256-upper-case", {"sha256": "A" * 64}, "is out of range"),
]:
    message = f"{layout.MANIFEST}: is not strict JSON (a member's size, mode or sha256 {why}). {AGAIN}"
    add(f"missing/manifest-member-{case}", _member_field(**fields), message)
add(
    "missing/manifest-lists-itself",
    _document(lambda d: d["members"].update({layout.MANIFEST: {"size": 1, "mode": 420, "sha256": "0" * 64}})),
    f"{layout.MANIFEST}: lists itself. {AGAIN}",
)
add(
    "missing/member-that-the-manifest-does-not-list",
    lambda made: made.last.append(Raw("shop/smuggled.py", b"import os\n")),
    f"shop/smuggled.py: is not listed. {AGAIN}",
)
add(
    "missing/second-main-behind-the-first",
    lambda made: made.last.append(Raw("__main__.pyc", b"\0")),
    f"__main__.pyc: is not listed. {AGAIN}",
)


def _target(change: Callable[[Dict[str, object]], None]) -> Callable[[Draft], None]:
    return _document(lambda d: change(d["targets"][0]))


for case, change, message in [
    ("unknown-key", lambda t: t.update({"run": "x"}), f"{layout.MANIFEST}: unknown key 'run'. {AGAIN}"),
    ("python-2", lambda t: t.update({"python": "2.7"}), f"{layout.MANIFEST}: 'python' has a wrong form. {AGAIN}"),
    ("python-path", lambda t: t.update({"python": "../.."}), f"{layout.MANIFEST}: 'python' has a wrong form. {AGAIN}"),
    ("magic", lambda t: t.update({"magic": "xyz"}), f"{layout.MANIFEST}: 'magic' has a wrong form. {AGAIN}"),
    (
        "libraries",
        lambda t: t.update({"libraries": "libc"}),
        f"{layout.MANIFEST}: 'libraries' is not a list of strings.",
    ),
    ("wheel-outside", lambda t: t["wheels"][0].update({"file": "../a.whl"}), "../a.whl: is in the plan for Python"),
    (
        "wheel-not-a-wheel",
        lambda t: t["wheels"][0].update({"file": SETTINGS}),
        f"{SETTINGS}: is compressed a second time.",
    ),
    ("wheel-flag", lambda t: t["wheels"][0].update({"requested": 1}), f"{layout.MANIFEST}: 'requested' is not true or"),
    ("wheel-name", lambda t: t["wheels"][0].update({"name": "other"}), f"{WHEEL}: is planned as other."),
    ("wheel-twice", lambda t: t["wheels"].append(t["wheels"][0]), f"{layout.MANIFEST}: plans a distribution twice for"),
    ("bytecode-missing", lambda t: t["wheels"][0].update({"bytecode": "x.zip"}), "x.zip: is in the plan for Python"),
    ("project-bytecode", lambda t: t.update({"project_bytecode": "x.zip"}), "x.zip: is in the plan for Python"),
]:
    add(f"missing/target-{case}", _target(change), message)

add(
    "missing/payload-not-there",
    setting("payloads", (layout.Payload(".deploy/payload/000.zip", ".deploy/payload/000.json"),)),
    ".deploy/payload/000.zip: is named as payload but missing.",
)

# Content: valid CRC, other bytes (R12)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


for name in (
    "__main__.py",
    "install_wheels.py",
    "loadenv.py",
    "loadenv-init.pth",
    layout.LOADENV_START,
    "shop.pth",
    SETTINGS,
    "static.in/0/site.css",
    layout.SBOM,
):
    good = draft().member(name).content
    evil = bytes([good[0] ^ 1]) + good[1:]
    add(
        f"content/changed-{name}",
        lambda made, name=name, evil=evil: setattr(made.member(name), "content", evil),
        f"{name}: its SHA-256 is {_digest(evil)}..., the manifest says {_digest(good)}.... {AGAIN}",
        frozen=True,
    )
    add(
        f"content/emptied-{name}",
        lambda made, name=name: setattr(made.member(name), "content", b""),
        f"{name}: its size or mode is not what the manifest says. {AGAIN}",
        frozen=True,
    )


def _swap(made: Draft) -> None:
    one, other = made.member("loadenv.py"), made.member("install_wheels.py")
    one.content, other.content = b"a" * 30, b"b" * 30
    made.freeze()
    one.content, other.content = other.content, one.content


add("content/swapped", _swap, f"install_wheels.py: its SHA-256 is {_digest(b'a' * 30)}..., the manifest says")

# Wheels inside (each correctly listed in the manifest)


def wheel(case: str, message: str, content: Optional[bytes] = None, file: str = "", **changes: object) -> None:
    """Add the case of an artifact whose only wheel is broken; *message* follows the wheel's name."""

    def made() -> bytes:
        broken = demo_wheel(**changes)
        if content is not None:
            broken = broken._replace(content=content)
        if file:
            broken = broken._replace(file=file)
        return draft(wheels=[broken]).bytes()

    CASES.append(Case(f"wheel/{case}", made, f"wheels/{file}{message}" if file else f"{WHEEL}{message}"))


GOOD_WHEEL = demo_wheel().content
wheel("cut", ": does not end with a zip's end record", GOOD_WHEEL[:-1])
wheel("empty", ": is cut: 0 bytes are no zip", b"")
wheel("not-a-zip", ": does not end with a zip's end record", b"x" * 100)
wheel("bytes-before", ": its directory of", b"x" + GOOD_WHEEL)
wheel("bytes-after", ": does not end with a zip's end record", GOOD_WHEEL + b"x")
wheel("no-record", f"/{INFO}/RECORD: is missing", record=False)
wheel("record-empty", "/demo/__init__.py: is not listed in RECORD", record="")
wheel("record-not-utf-8", f"/{INFO}/RECORD: is not UTF-8", record=False, extra={"RECORD": b"\xff"})
wheel("record-of-two-fields", f"/{INFO}/RECORD: has a line of 2 fields", record="demo/__init__.py,\n")
wheel("record-of-four-fields", f"/{INFO}/RECORD: has a line of 4 fields", record="demo/__init__.py,,,\n")
wheel(
    "record-wrong-digest",
    "/demo/__init__.py: its sha256 is not the one in RECORD",
    record=lambda rows: [(n, d if n != "demo/__init__.py" else "sha256=" + "A" * 43, s) for n, d, s in rows],
)
wheel(
    "record-wrong-size",
    "/demo/data.bin: has 256 bytes, RECORD says 255",
    record=lambda rows: [(n, d, s if n != "demo/data.bin" else "255") for n, d, s in rows],
)
wheel(
    "record-size-no-number",
    f"/{INFO}/RECORD: has a size of demo/data.bin that is not a number",
    record=lambda rows: [(n, d, s if n != "demo/data.bin" else "-1") for n, d, s in rows],
)
wheel(
    "record-no-digest",
    "/demo/data.bin: has no digest in RECORD",
    record=lambda rows: [(n, d if n != "demo/data.bin" else "", s) for n, d, s in rows],
)
for algorithm, value in {
    "md5": "A" * 22,
    "sha1": "A" * 27,
    "sha256": "A" * 10,
    "none": "x",
    "sha512": "A" * 43,
}.items():
    wheel(
        f"record-digest-{algorithm}",
        f"/{INFO}/RECORD: has a digest of demo/data.bin that is not sha256 or sha384 or sha512",
        record=lambda rows, digest=f"{algorithm}={value}": [
            (n, d if n != "demo/data.bin" else digest, s) for n, d, s in rows
        ],
    )
wheel(
    "record-lists-more",
    "/demo/absent.py: is listed in RECORD but missing",
    record=lambda rows: [*rows, ("demo/absent.py", rows[0][1], "1")],
)
wheel(
    "record-lists-twice",
    f"/{INFO}/RECORD: lists demo/data.bin twice, with different digests",
    record=lambda rows: [*rows, ("demo/data.bin", rows[0][1], "256")],
)
wheel(
    "record-lists-less",
    "/demo/data.bin: is not listed in RECORD",
    record=lambda rows: [row for row in rows if row[0] != "demo/data.bin"],
)
wheel(
    "record-climbs", "/../../evil: is listed in RECORD but missing", record=lambda rows: [*rows, ("../../evil", "", "")]
)
wheel("unlisted-file", "/evil.pth: is not listed in RECORD", unrecorded={"evil.pth": "import os\n"})

W_LEAVES = "its name leaves its folder or has an empty part"
W_CONTROL = "its name holds control characters"
for case, name, shown, why in [
    ("up", "../evil.py", "../evil.py", W_LEAVES),
    ("up-inside", "demo/../../evil.py", "demo/../../evil.py", W_LEAVES),
    ("absolute", "/etc/evil", "/etc/evil", W_LEAVES),
    ("dot", "./demo/x", "./demo/x", W_LEAVES),
    ("two-slashes", "demo//x", "demo//x", W_LEAVES),
    ("backslash", "demo\\x", "demo\\x", "its name holds a backslash"),
    ("newline", "demo/a\nb", "demo/a\\nb", W_CONTROL),
    ("escape", "demo/\x1b[2J", "demo/\\x1b[2J", W_CONTROL),
    ("bidi", "demo/\u202ea", "demo/\\u202ea", W_CONTROL),
    ("long", "demo/" + "x" * 256, "demo/" + "x" * 256, "its name is too long"),
]:
    wheel(f"name-{case}", f"/{shown}: {why}. {AGAIN}", files={"demo/__init__.py": "def main(): pass\n", name: "x"})
wheel(
    "a-file-is-a-folder",
    "/demo/x: is a file and a folder",
    files={"demo/__init__.py": "", "demo/x": "", "demo/x/y": ""},
)

for case, mode, why in [
    ("symlink", stat.S_IFLNK | 0o777, "is a link or a device"),
    ("fifo", stat.S_IFIFO | 0o644, "is a link or a device"),
    ("device", stat.S_IFCHR | 0o644, "is a link or a device"),
]:
    CASES.append(
        Case(
            f"wheel/mode-{case}",
            lambda mode=mode: _raw_wheel(central={"external": mode << 16}),
            f"{WHEEL}/demo/data.bin: {why}. {AGAIN}",
        )
    )


def _raw_members() -> List[Raw]:
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


def _raw_wheel(more: Tuple[Raw, ...] = (), **attributes: object) -> bytes:
    """Return an artifact whose wheel has a ``demo/data.bin`` with *attributes*, and *more* members."""
    members = _raw_members()
    for attribute, value in attributes.items():
        setattr(members[1], attribute, value)
    return draft(wheels=[demo_wheel()._replace(content=zip_of([*members, *more]))]).bytes()


def raw_wheel(case: str, message: str, more: Tuple[Raw, ...] = (), **attributes: object) -> None:
    CASES.append(Case(f"wheel/{case}", lambda: _raw_wheel(more, **attributes), f"{WHEEL}{message}"))


W_DIFFERS = f"/demo/data.bin: its local header differs from the directory. {AGAIN}"
raw_wheel(
    "local-name", f"/demo/data.bin: its local header names another member. {AGAIN}", local={"name": b"demo/evil.bin"}
)
raw_wheel(
    "local-signature",
    f"/demo/data.bin: its local header names another member. {AGAIN}",
    local={"signature": b"PK\x03\x05"},
)
raw_wheel("local-crc", W_DIFFERS, local={"crc": 1})
raw_wheel("local-size", W_DIFFERS, local={"size": 1})
raw_wheel("local-compressed", W_DIFFERS, local={"compressed": 1})
raw_wheel("local-method", W_DIFFERS, local={"method": 0})
raw_wheel("local-encrypted", W_DIFFERS, local={"flags": 1})
raw_wheel("gap-after-a-member", "/demo/data.bin: 5 bytes that belong to no member follow it", after=b"12345")
raw_wheel("member-twice", f"/demo/data.bin: is a member twice. {AGAIN}", more=(Raw("demo/data.bin", b"other"),))
raw_wheel("orphan", f"/{INFO}/RECORD: ", more=(Raw("demo/orphan.py", b"x", listed=False),))
raw_wheel(
    "overlap",
    "/demo/__init__.py: overlaps the member after it",
    more=(Raw("demo/evil.bin", b"", present=False, central={"offset": 0}),),
)
raw_wheel(
    "encrypted", "/demo/data.bin: is encrypted or compressed by method 8", central={"flags": 1}, local={"flags": 1}
)
for method in (9, 12, 14, 93):
    raw_wheel(
        f"method-{method}",
        f"/demo/data.bin: is encrypted or compressed by method {method}. {AGAIN}",
        central={"method": method},
        local={"method": method},
    )
raw_wheel(
    "stream-cut", "/demo/data.bin: its compressed stream does not end", data=Raw("", b"0123456789" * 20).packed[:-1]
)
raw_wheel(
    "stream-tail", "/demo/data.bin: its compressed stream does not end", data=Raw("", b"0123456789" * 20).packed + b"x"
)
raw_wheel("size-lie", "/demo/data.bin: has 100 bytes, RECORD says 200", central={"size": 100}, local={"size": 100})
raw_wheel("crc", "/demo/data.bin: its CRC-32 is", central={"crc": 1}, local={"crc": 1})
raw_wheel(
    "name-not-marked-utf-8",
    "/demo/\u00e9: its name is neither ASCII nor marked as UTF-8",
    more=(Raw("demo/é", central={"flags": 0}),),
)
raw_wheel(
    "bomb",
    f"/demo/data.bin: would inflate 24 bytes to {ZEROS}",
    data=b"\0" * 24,
    central={"size": ZEROS},
    local={"size": ZEROS},
)
raw_wheel("folder-with-content", "/demo/sub/: is a folder with content", more=(Raw("demo/sub/", b"content"),))

wheel(
    "two-dist-infos",
    ": has 2 .dist-info folders, a wheel has one",
    files={"demo/__init__.py": "", "other-2.0.dist-info/METADATA": "Name: other\n"},
)
wheel("no-dist-info", ": has 0 .dist-info folders, a wheel has one", zip_bytes({"demo/__init__.py": ""}))
wheel(
    "dist-info-of-another", "/other-1.0.dist-info: does not have the name and version", dist_info="other-1.0.dist-info"
)
wheel(
    "dist-info-of-another-version",
    "/demo-2.0.dist-info: does not have the name and version",
    dist_info="demo-2.0.dist-info",
)
wheel(
    "metadata-of-another",
    f"/{INFO}/METADATA: is of evil 1.0, the file name says otherwise",
    metadata="Name: evil\nVersion: 1.0\n",
)
wheel(
    "metadata-of-another-version", f"/{INFO}/METADATA: is of demo 9, the file name", metadata="Name: demo\nVersion: 9\n"
)
wheel("metadata-without-name", f"/{INFO}/METADATA: is of  , the file name", metadata="Metadata-Version: 2.1\n")
wheel(
    "wheel-version-2",
    f"/{INFO}/WHEEL: has Wheel-Version '2.0', this installer knows 1.x",
    wheel_metadata="Wheel-Version: 2.0\n",
)
wheel("wheel-version-absent", f"/{INFO}/WHEEL: has Wheel-Version None", wheel_metadata="Root-Is-Purelib: true\n")
wheel("file-name", ": does not have the name of a wheel", file="demo.whl")
wheel("file-name-tags", ": does not have the name of a wheel", file="demo-1.0-py3.whl")

for case, text, why in [
    ("path", "[console_scripts]\n../evil = demo:main\n", "has the script name '../evil', which is not allowed"),
    ("absolute", "[console_scripts]\n/bin/evil = demo:main\n", "has the script name '/bin/evil', which is not allowed"),
    ("hidden", "[console_scripts]\n.evil = demo:main\n", "has the script name '.evil', which is not allowed"),
    ("empty", "[console_scripts]\n = demo:main\n", "has the script name '', which is not allowed"),
    ("option", "[console_scripts]\n-rf = demo:main\n", "has the script name '-rf', which is not allowed"),
    ("no-reference", "[console_scripts]\nevil\n", "has the line 'evil', which is not NAME = module:attribute"),
    (
        "no-attribute",
        "[console_scripts]\nevil = demo\n",
        "has the line 'evil = demo', which is not NAME = module:attribute",
    ),
    (
        "code",
        "[console_scripts]\nevil = os:system('id')\n",
        "has the line \"evil = os:system('id')\", which is not NAME",
    ),
    ("code-in-module", "[gui_scripts]\nevil = os;x:main\n", "has the line 'evil = os;x:main', which is not NAME"),
    (
        "newline",
        "[console_scripts]\nevil = demo:main;import os\n",
        "has the line 'evil = demo:main;import os', which is not NAME",
    ),
]:
    wheel(f"entry-point-{case}", f"/{INFO}/entry_points.txt: {why}", entry_points=text)

for case, name in {
    "unknown-scheme": "evil/x",
    "no-scheme": "x",
}.items():
    wheel(f"data-{case}", f"/demo-1.0.data/{name}: is in an unknown .data folder", data={name: "x"})

# Good variants: what an honest builder may write

GOOD_CASES: List[Tuple[str, Callable[[], bytes]]] = []


def good(name: str, change: Callable[[Draft], None] = lambda _: None, **options: object) -> None:
    def content() -> bytes:
        made = draft(**options)
        change(made)
        return made.bytes()

    GOOD_CASES.append((name, content))


def _first_line(line: bytes) -> Callable[[Draft], None]:
    def change(made: Draft) -> None:
        made.prefix, made.shebang = line + b"\n", line.decode()

    return change


good("plain")
good("first-line-python3", _first_line(b"#!/usr/bin/env python3"))
good("first-line-with-option", _first_line(b"#!/opt/rh/rh-python38/root/usr/bin/python3 -I"))
good("first-line-of-127-bytes", _first_line(b"#!/" + b"x" * 117 + b"/python"))
good("everything-stored", lambda made: [setattr(raw, "method", 0) for raw in made.members])
good("no-wheels", wheels=[])
good("empty-folders", setting("directories", ("shop/empty", "shop/a/b")))
good("deflate-level-flags", both(flags=0x0006))
good("older-needed-version", both(needed=10))
good("other-times", both(time=0x6000, date=0x5555))
good("empty-file-deflated", lambda made: made.members.append(Raw("shop/empty", b"")))
good("empty-file-stored", lambda made: made.members.append(Raw("shop/empty", b"", method=0)))
good("the-deepest-name", lambda made: made.members.append(Raw("shop" + "/d" * 63)))
good("the-longest-part", lambda made: made.members.append(Raw("shop/" + "x" * 255)))
good(
    "odd-names",
    lambda made: made.members.extend(
        Raw(f"shop/{name}") for name in ("a b", "a=b", "'\"`$&;", "日本語", "é", "-rf", "~", "...", "a..b", "%20")
    ),
)
good("large-stored-member", lambda made: made.members.append(Raw("shop/large", bytes(range(256)) * 8192, method=0)))
good(
    "large-deflated-member",
    lambda made: made.members.append(
        Raw("shop/large", b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(80_000)))
    ),
)
good("large-member-of-zeros", lambda made: made.members.append(Raw("shop/zeros", b"\0" * 5_000_000)))
good(
    "wheel-with-folders",
    wheels=[
        demo_wheel()._replace(
            content=zip_of([Raw("demo/", b"", 0o755, central={"external": 0o040755 << 16}), *_raw_members()])
        )
    ],
)
good(
    "wheel-without-modes",
    wheels=[
        demo_wheel()._replace(
            content=zip_of([Raw(raw.name, raw.content, central={"external": 0, "system": 0}) for raw in _raw_members()])
        )
    ],
)
good("wheel-with-sha512", wheels=[demo_wheel(record=lambda rows: rows)])
good("wheel-with-signature", wheels=[demo_wheel(unrecorded={f"{INFO}/RECORD.jws": "{}"})])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_artifact_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(case.content())
    with pytest.raises(DeployableZipfileError) as caught:
        prove(path)
    line = str(caught.value)
    message = case.message.replace(PATH, str(path)).replace(
        "{bomb}", str(len(bomb()) if "{bomb}" in case.message else 0)
    )
    assert line.isprintable()
    assert len(line) <= 500
    assert caught.value.exit_code in (3, 6)
    if len(message) <= 480:
        assert line.startswith(message)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_artifact_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(case.content())
    with pytest.raises(DeployableZipfileError), Artifact.open(str(path)) as artifact:
        installation.install(artifact, str(tmp_path / "site"), workers=1, sync=False)
    assert [left.name for left in tmp_path.iterdir()] == ["artifact.zip"]


@pytest.mark.parametrize("content", [content for _, content in GOOD_CASES], ids=[name for name, _ in GOOD_CASES])
def test_what_an_honest_builder_may_write_is_taken(content: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(content())
    prove(path)


BOMBS = [case for case in CASES if case.name.startswith("bomb/")]


@pytest.mark.parametrize("case", BOMBS, ids=[case.name for case in BOMBS])
def test_a_bomb_is_refused_in_little_memory(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(case.content())
    limits = (256 * 1024 * 1024, 256 * 1024 * 1024)
    done = run_python(
        Path(installation.__file__).parents[1] / "extract.py",
        path,
        "-d",
        tmp_path / "site",
        "--quiet",
        code=3,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limits),
    )
    assert error_line(done)
    assert [left.name for left in tmp_path.iterdir()] == ["artifact.zip"]


def _ours(path: Path) -> Dict[str, bytes]:
    with Artifact.open(str(path)) as artifact:
        return {name: artifact.container.read(entry) for name, entry in artifact.members.items()}


@pytest.mark.parametrize("content", [content for _, content in GOOD_CASES], ids=[name for name, _ in GOOD_CASES])
def test_the_standard_library_reads_what_we_read(content: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "artifact.zip"
    path.write_bytes(content())
    ours = _ours(path)
    with zipfile.ZipFile(str(path)) as archive:
        assert archive.namelist() == list(ours)
        assert {name: archive.read(name) for name in ours} == ours
    importer = zipimport.zipimporter(str(path))
    assert {name: importer.get_data(name) for name in ours} == ours


# Without -V, unzip takes a semicolon at the end of a name for a version number of VMS.
UNZIP = ["unzip", "-V", "-q", "-d", "{to}", "{file}"]
BSDTAR = ["bsdtar", "-C", "{to}", "-xf", "{file}"]


@pytest.mark.parametrize("command", [words for words in (UNZIP, BSDTAR) if shutil.which(words[0])], ids=" ".join)
def test_other_programs_extract_what_we_read(command: List[str], tmp_path: Path) -> None:
    for number, (name, content) in enumerate(GOOD_CASES):
        path, to = tmp_path / f"{number}.zip", tmp_path / str(number)
        path.write_bytes(content())
        to.mkdir()
        words = [word.replace("{to}", str(to)).replace("{file}", str(path)) for word in command]
        subprocess.run(words, check=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
        found = {file: data for file, (_, data) in read_tree(to).items() if data != b"/"}
        assert found == _ours(path), name


def test_the_corpus_is_large_and_no_case_stands_twice() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 300
    families = {name.partition("/")[0] for name in names}
    assert families == {"framing", "differential", "name", "mode", "compression", "bomb", "missing", "content", "wheel"}


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = draft().bytes()
    path = tmp_path / "artifact.zip"
    for size in range(0, len(data), 1 if DEEP else 5):
        path.write_bytes(data[:size])
        with pytest.raises(DeployableZipfileError):
            prove(path)


def test_a_file_with_a_hole_or_a_tail_of_zeros_is_refused(tmp_path: Path) -> None:
    data = draft().bytes()
    path = tmp_path / "artifact.zip"
    for first in range(0, len(data), 61):
        hole = data[:first] + b"\0" * min(64, len(data) - first) + data[first + 64 :]
        for content in (data[:first] + b"\0" * (len(data) - first), hole):
            path.write_bytes(content)
            with pytest.raises(DeployableZipfileError):
                prove(path)


def test_any_flipped_bit_is_refused_but_the_padding_behind_a_compressed_stream(tmp_path: Path) -> None:
    """A deflate stream ends inside a byte; what its last bits are changes nothing that is read (RFC 1951, 3.2.3).

    The checksum beside the artifact covers them.
    """
    made = draft()
    data = made.bytes()
    path = tmp_path / "artifact.zip"
    padding = set()
    position = len(made.prefix)
    for raw in [*made.members, Raw(layout.MANIFEST, made.manifest.to_json())]:
        position += 30 + len(raw.name) + len(raw.packed)
        if raw.method == DEFLATED:
            padding.add(position - 1)
    for number in range(0, 8 * len(data), 1 if DEEP else 37):
        changed = bytearray(data)
        changed[number // 8] ^= 1 << number % 8
        path.write_bytes(bytes(changed))
        try:
            prove(path)
        except DeployableZipfileError:
            continue
        assert number // 8 in padding
