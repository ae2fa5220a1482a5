"""Compressed streams, sizes, checksums and bombs (rules R7 and R11)."""

from __future__ import annotations

import functools
import resource
import zlib
from pathlib import Path
from typing import Union

import pytest

from deployable_zipfile.artifact import layout, manifests
from deployable_zipfile.install import installation
from tests.support.depth import sampled
from tests.support.drafts import Draft, Raw, draft, local_header
from tests.support.helpers import error_line, run_python
from tests.support.hostile import (
    AGAIN,
    SETTINGS,
    WHEEL,
    ZEROS,
    Case,
    Cases,
    Change,
    added,
    assert_nothing_written,
    assert_refused,
    both,
    central,
    edited,
    offset_of,
    setting,
    together,
)

CASES = Cases()
add = CASES.add

for method in (1, 6, 9, 12, 14, 93, 95, 98, 99, 0xFFFF):
    add(
        f"compression/method-{method}",
        both(method=method),
        f"{SETTINGS}: uses flags 0x0000 or method {method}. {AGAIN}",
    )
for name, flags in {"encrypted": 1, "strongly-encrypted": 0x41, "masked": 0x2000, "patched": 0x20}.items():
    add(f"compression/{name}", both(flags=flags), f"{SETTINGS}: uses flags {flags:#06x} or method 8. {AGAIN}")

STREAM_END = f"{SETTINGS}: its compressed stream does not end where its data ends. {AGAIN}"
GOOD = draft().member(SETTINGS)


def _stream(data: bytes, **fields: Union[int, bytes]) -> Change:
    def change(made: Draft) -> None:
        made.freeze()
        made.member(SETTINGS).data = data
        both(**fields)(made)

    return change


SIZE = len(GOOD.content)
AT = offset_of(draft(), SETTINGS)
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


def _size_of(name: str, size: int) -> Change:
    """Let headers and manifest say *size*."""

    def change(made: Draft) -> None:
        both(size=size)(made)

        def resized(manifest: manifests.Manifest) -> manifests.Manifest:
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
    together(edited(SETTINGS, method=0), central(size=SIZE + 1)),
    f"{SETTINGS}: is stored but its two sizes differ. {AGAIN}",
)
add(
    "compression/wheel-compressed-a-second-time",
    edited(WHEEL, method=8),
    f"{WHEEL}: is compressed a second time. Build the artifact again.",
)

# Bombs (R11)


@functools.lru_cache(maxsize=None)
def bomb() -> bytes:
    """Return 70 MiB of zeros, deflated."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"".join(deflater.compress(b"\0" * (1 << 20)) for _ in range(70)) + deflater.flush()


def _bomb_case(declared: int) -> Change:
    def change(made: Draft) -> None:
        raw = Raw("shop/bomb", b"", data=bomb(), central={"size": declared}, local={"size": declared})
        made.members.append(raw)

        def resized(manifest: manifests.Manifest) -> manifests.Manifest:
            member = manifests.Member(declared, 0o644, "0" * 64)
            return manifest._replace(members={**manifest.members, "shop/bomb": member})

        made.edit = resized

    return change


add("bomb/honest", _bomb_case(ZEROS), f"shop/bomb: would inflate {len(bomb())} bytes to {ZEROS}. {AGAIN}")
add(
    "bomb/declared-small", _bomb_case(10), f"shop/bomb: its compressed stream does not end where its data ends. {AGAIN}"
)
add(
    "bomb/declared-below-the-limit",
    _bomb_case(60 * 1024 * 1024),
    f"shop/bomb: holds more than its {60 * 1024 * 1024} bytes. {AGAIN}",
)
add("bomb/declared-large", _bomb_case(layout.MAX_SIZE - 1), f"shop/bomb: would inflate {len(bomb())} bytes to")
add(
    "bomb/overlapping-members",
    added(*[Raw(f"shop/{number}", present=False, central={"offset": AT, "size": ZEROS}) for number in range(50)]),
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

BOMBS = [case for case in CASES.all if case.name.startswith("bomb/")]


@pytest.mark.parametrize("case", sampled(BOMBS, 2), ids=[case.name for case in BOMBS])
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


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_a_wrong_stream_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_a_wrong_stream_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
