"""Names and modes of members (rules R8 to R10); each member is in the manifest too."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Dict, Tuple

import pytest

from deployable_zipfile.artifact import layout, manifests
from tests.support.depth import sampled
from tests.support.drafts import Raw
from tests.support.hostile import (
    AGAIN,
    PATH,
    SETTINGS,
    Case,
    Cases,
    added,
    assert_nothing_written,
    assert_refused,
    central,
    edited,
    setting,
    unlisted,
)

CASES = Cases()
add = CASES.add

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
    "static-numbered-otherwise": ("static.in/\u0663/a.css", "static.in/\u0663/a.css", FOREIGN),
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
            unlisted(raw),
            f"{shown}: its name is not UTF-8. {AGAIN}",
        )
add(
    "name/utf-8-not-marked",
    unlisted(Raw("shop/é", central={"flags": 0}, local={"flags": 0})),
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
        added(Raw(one), Raw(other)),
        f"{other}: differs from {one} only by case. {AGAIN}",
    )
for case, (file, inner) in {"file-then-folder": ("shop/x", "shop/x/y"), "deep": ("shop/x", "shop/x/y/z/w")}.items():
    for order in (0, 1):
        pair = [Raw(file), Raw(inner)][:: -1 if order else 1]
        add(
            f"name/a-file-is-a-folder-{case}-{order}",
            added(*pair),
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
        setting("edit", functools.partial(manifests.Manifest._replace, project=project)),
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
        added(Raw("shop/link", b"/etc/passwd", central={"external": mode << 16})),
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
    edited(SETTINGS, mode=0o755),
    f"{SETTINGS}: its size or mode is not what the manifest says. {AGAIN}",
    frozen=True,
)


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_a_name_or_mode_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_a_name_or_mode_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
