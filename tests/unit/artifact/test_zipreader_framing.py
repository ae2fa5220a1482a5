"""The bytes around the members of an artifact: first line, end record, directory (rules R1 to R3)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Tuple

import pytest

from deployable_zipfile.artifact import layout
from tests.support.depth import sampled
from tests.support.drafts import FIRST_LINE, Draft, Raw, draft, zip_of
from tests.support.hostile import (
    AGAIN,
    PATH,
    Case,
    Cases,
    assert_nothing_written,
    assert_refused,
    setting,
)

CASES = Cases()
add = CASES.add

GIVE = "Give the path of an artifact, or copy it again."
NO_LINE = "it does not begin with one line '#!...python...' (at offset 0)"
NO_FIRST_LINE = f"{PATH}: is not an artifact: {NO_LINE}. {GIVE}"
OTHER_ZIP = f"{PATH}: is a zip file, not an artifact: {NO_LINE}. {GIVE}"
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
    text = NO_FIRST_LINE if prefix else OTHER_ZIP
    add(f"framing/first-line-{name}", setting("prefix", prefix), text)

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


CASES.add_bytes("framing/two-artifacts-in-one", lambda data: data + data, f"{PATH}: its directory of {LENGTH} bytes")
CASES.add_bytes("framing/the-artifact-behind-another-zip", lambda data: zip_of([Raw("a", b"")]) + data, OTHER_ZIP)
CASES.add_bytes("framing/text-mode-transfer", lambda data: data.replace(b"\n", b"\r\n"), NO_FIRST_LINE)
CASES.add_bytes("framing/text-mode-back", lambda data: data.replace(b"\x05", b""), NO_END)
CASES.add_bytes("framing/seven-bits", lambda data: bytes(byte & 0x7F for byte in data), f"{PATH}: ")
CASES.add_bytes("framing/empty", lambda _: b"", f"{PATH}: is empty. {AGAIN}")
CASES.add_bytes("framing/only-the-first-line", lambda _: FIRST_LINE, NO_END)
CASES.add_bytes(
    "framing/only-a-short-first-line", lambda _: b"#!python\n", f"{PATH}: is cut: 9 bytes are not a zip. {AGAIN}"
)
CASES.add_bytes("framing/an-empty-zip", lambda _: FIRST_LINE + zip_of([]), f"{PATH}: its end record counts 0 members")
CASES.add_bytes("framing/gzip", lambda data: zlib.compress(data), NO_FIRST_LINE)


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_an_artifact_with_a_wrong_frame_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_an_artifact_with_a_wrong_frame_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
