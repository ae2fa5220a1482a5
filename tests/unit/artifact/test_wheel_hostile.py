"""Artifacts whose manifest is right, and whose only wheel is broken."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, Optional, Tuple

import pytest

from tests.support.depth import sampled
from tests.support.drafts import Raw, demo_wheel, draft, zip_of
from tests.support.helpers import zip_bytes
from tests.support.hostile import (
    AGAIN,
    INFO,
    WHEEL,
    ZEROS,
    Case,
    Cases,
    assert_nothing_written,
    assert_refused,
    raw_members,
)

CASES = Cases()


def wheel(case: str, message: str, content: Optional[bytes] = None, file: str = "", **changes: Any) -> None:
    """Add the case of an artifact whose only wheel is broken; *message* follows the wheel's name."""

    def made() -> bytes:
        broken = demo_wheel(**changes)
        if content is not None:
            broken = broken._replace(content=content)
        if file:
            broken = broken._replace(file=file)
        return draft(wheels=[broken]).bytes()

    CASES.add_content(f"wheel/{case}", made, f"wheels/{file}{message}" if file else f"{WHEEL}{message}")


def _raw_wheel(more: Tuple[Raw, ...] = (), **attributes: object) -> bytes:
    """Return an artifact whose wheel has a ``demo/data.bin`` with *attributes*, and *more* members."""
    members = raw_members()
    for attribute, value in attributes.items():
        setattr(members[1], attribute, value)
    return draft(wheels=[demo_wheel()._replace(content=zip_of([*members, *more]))]).bytes()


def raw_wheel(case: str, message: str, more: Tuple[Raw, ...] = (), **attributes: object) -> None:
    CASES.add_content(f"wheel/{case}", lambda: _raw_wheel(more, **attributes), f"{WHEEL}{message}")


GOOD_WHEEL = demo_wheel().content
wheel("cut", ": does not end with a zip's end record", GOOD_WHEEL[:-1])
wheel("empty", ": is cut: 0 bytes are not a zip", b"")
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
    raw_wheel(f"mode-{case}", f"/demo/data.bin: {why}. {AGAIN}", central={"external": mode << 16})


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
raw_wheel("size-less", "/demo/data.bin: has 100 bytes, RECORD says 200", central={"size": 100}, local={"size": 100})
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


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_a_broken_wheel_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_a_broken_wheel_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
