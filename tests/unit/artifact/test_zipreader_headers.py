"""Two readers must not see two things: local headers, directory and bodies agree (rules R4 to R7)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Dict, Union

import pytest

from tests.support.depth import sampled
from tests.support.drafts import FIRST_LINE, Draft, Raw, draft
from tests.support.hostile import (
    AGAIN,
    PATH,
    SETTINGS,
    Case,
    Cases,
    Change,
    added,
    assert_nothing_written,
    assert_refused,
    both,
    central,
    edited,
    inserted,
    local,
    offset_of,
    together,
    unlisted,
)

CASES = Cases()
add = CASES.add

DIFFERS = f"{SETTINGS}: its local header differs from the directory. {AGAIN}"

LOCAL: Dict[str, Union[int, bytes]] = {
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
}
for field, value in LOCAL.items():
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

CENTRAL: Dict[str, Dict[str, Union[int, bytes]]] = {
    "extra": {"extra": b"\xfe\xca\x00\x00"},
    "extra-cut": {"extra": b"\x01"},
    "extra-unicode-path": {"extra": UNICODE_PATH},
    "extra-zip64": {"extra": ZIP64},
    "comment": {"comment": b"hello"},
    "disk": {"disk": 1},
    "internal": {"internal": 1},
}
for name, fields in CENTRAL.items():
    add(f"differential/central-{name}", central(**fields), ATTRIBUTES)

for name, extra in {"plain": b"\xfe\xca\x00\x00", "unicode-path": UNICODE_PATH, "zip64": ZIP64}.items():
    add(f"differential/local-extra-{name}", local(extra=extra), "shop/run.sh: starts at offset")
    add(f"differential/both-extra-{name}", both(extra=extra), ATTRIBUTES)

for name, numbers in {
    "version": {"version": 45},
    "system-fat": {"system": 0},
    "system-ntfs": {"system": 10},
    "system-mac": {"system": 19},
}.items():
    message = f"{SETTINGS}: was not written by this tool (version fields). {AGAIN}"
    add(f"differential/made-by-{name}", central(**numbers), message)
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


def _descriptor(signed: bool) -> Change:
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

for name, numbers in {
    "size": {"size": 0xFFFFFFFF},
    "compressed": {"compressed": 0xFFFFFFFF},
    "offset": {"offset": 0xFFFFFFFF},
}.items():
    add(f"differential/zip64-{name}", central(**numbers), f"{SETTINGS}: needs ZIP64, which is not supported. {AGAIN}")


AT = offset_of(draft(), SETTINGS)

for name, at in {
    "offset-one-less": AT - 1,
    "offset-one-more": AT + 1,
    "offset-zero": 0,
    "offset-of-the-first-member": len(FIRST_LINE),
    "offset-behind-the-file": 0x7FFFFFFF,
}.items():
    message = f"{SETTINGS}: starts at offset {at}, the member before it ends at {AT}. {AGAIN}"
    add(f"differential/{name}", central(offset=at), message)


AFTER = "shop/run.sh"
NEXT = offset_of(draft(), AFTER)

for name, between in {"one-byte": b"\0", "many": b"x" * 500, "a-member": b"PK\x03\x04" + b"\0" * 26}.items():
    add(
        f"differential/gap-before-a-member-{name}",
        edited(AFTER, before=between),
        f"{AFTER}: starts at offset {NEXT + len(between)}, the member before it ends at {NEXT}. {AGAIN}",
    )

add(
    "differential/gap-before-the-directory",
    lambda made: setattr(made, "manifest_member", lambda raw: [Raw(raw.name, raw.content, after=b"123")]),
    f"{PATH}: 3 bytes before its directory belong to no member. {AGAIN}",
)
orphan = Raw("shop/orphan.py", b"import os\n", listed=False)


add(
    "differential/orphan-in-the-body",
    together(inserted(8, orphan), Draft.freeze),
    f"{SETTINGS}: starts at offset",
)
add(
    "differential/orphan-at-the-end",
    unlisted(orphan),
    f"{PATH}: {30 + len(orphan.name) + len(orphan.packed)} bytes before its directory belong to no member. {AGAIN}",
)
phantom = Raw("shop/phantom.py", b"import os\n", present=False)
add(
    "differential/phantom-in-the-directory",
    inserted(8, phantom),
    f"{SETTINGS}: starts at offset",
)
add(
    "differential/phantom-at-the-end",
    unlisted(phantom),
    f"{PATH}: its members overlap its directory. {AGAIN}",
)
add(
    "differential/duplicate",
    unlisted(Raw(SETTINGS, b"DEBUG = True\n")),
    f"{SETTINGS}: is a member twice. {AGAIN}",
)
add(
    "differential/duplicate-main",
    inserted(1, Raw("__main__.py", b"print('other')\n")),
    f"__main__.py: is a member twice. {AGAIN}",
)
add(
    "differential/duplicate-with-the-same-content",
    lambda made: made.last.append(Raw(SETTINGS, made.member(SETTINGS).content)),
    f"{SETTINGS}: is a member twice. {AGAIN}",
)
add(
    "differential/two-entries-share-one-body",
    added(Raw("shop/shared.py", present=False, central={"offset": AT})),
    f"shop/shared.py: starts at offset {AT}, the member before it ends at",
)
add(
    "differential/members-out-of-order",
    together(edited(SETTINGS, central={"offset": NEXT}), edited(AFTER, central={"offset": AT})),
    f"{SETTINGS}: starts at offset {NEXT}, the member before it ends at {AT}. {AGAIN}",
)


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_an_artifact_that_reads_in_two_ways_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_an_artifact_that_reads_in_two_ways_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
