"""Missing, unlisted and changed members, and manifests that are wrong (rule R12)."""

from __future__ import annotations

import functools
import hashlib
import operator
from pathlib import Path
from typing import Callable, List, Tuple

import pytest

from deployable_zipfile.artifact import layout, manifests
from tests.support.depth import sampled
from tests.support.drafts import Draft, Raw, draft
from tests.support.hostile import (
    AGAIN,
    SETTINGS,
    WHEEL,
    Case,
    Cases,
    Change,
    Json,
    assert_nothing_written,
    assert_refused,
    document,
    edited,
    setting,
    unlisted,
    without,
)

CASES = Cases()
add = CASES.add

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


def _instead(text: bytes, _: bytes) -> bytes:
    return text


def _cut(count: int, text: bytes) -> bytes:
    return text[:-count]


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
    add(f"missing/manifest-{case}", setting("document", functools.partial(_instead, text)), message)

for cut in (2, 10, 100, 1000):
    add(f"missing/manifest-cut-by-{cut}", setting("document", functools.partial(_cut, cut)), f"{layout.MANIFEST}: ")


KEYS = ("build_id", "tool", "project", "shebang", "source", "targets", "members", "directories", "payloads")
for key in KEYS:
    add(
        f"missing/manifest-without-{key}",
        document(operator.methodcaller("pop", key), hashed=False),
        f"{layout.MANIFEST}: {key!r} is missing. {AGAIN}",
    )
    add(
        f"missing/manifest-{key}-a-number",
        document(operator.methodcaller("update", {key: 7}), hashed=False),
        f"{layout.MANIFEST}: ",
    )
    add(
        f"missing/manifest-{key}-null",
        document(operator.methodcaller("update", {key: None}), hashed=False),
        f"{layout.MANIFEST}: ",
    )
add(
    "missing/manifest-unknown-key",
    document(lambda d: d.update({"hook": "x"})),
    f"{layout.MANIFEST}: unknown key 'hook'. {AGAIN}",
)
add(
    "missing/manifest-wrong-build-id",
    document(lambda d: d.update({"build_id": "0" * 32}), hashed=False),
    f"{layout.MANIFEST}: its build id is not the hash of its content. {AGAIN}",
)
add(
    "missing/manifest-changed-without-its-build-id",
    document(lambda d: d.update({"tool": "9.9.9"}), hashed=False),
    f"{layout.MANIFEST}: its build id is not the hash of its content. {AGAIN}",
)


def _member_field(**fields: object) -> Change:
    return document(lambda d: d["members"][SETTINGS].update(fields))


MEMBERS: List[Tuple[str, Json, str]] = [
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
]
for case, fields, why in MEMBERS:
    message = f"{layout.MANIFEST}: is not strict JSON (a member's size, mode or sha256 {why}). {AGAIN}"
    add(f"missing/manifest-member-{case}", _member_field(**fields), message)
add(
    "missing/manifest-lists-itself",
    document(lambda d: d["members"].update({layout.MANIFEST: {"size": 1, "mode": 420, "sha256": "0" * 64}})),
    f"{layout.MANIFEST}: lists itself. {AGAIN}",
)
add(
    "missing/member-that-the-manifest-does-not-list",
    unlisted(Raw("shop/smuggled.py", b"import os\n")),
    f"shop/smuggled.py: is not listed. {AGAIN}",
)
add(
    "missing/second-main-behind-the-first",
    unlisted(Raw("__main__.pyc", b"\0")),
    f"__main__.pyc: is not listed. {AGAIN}",
)


def _target(change: Callable[[Json], object]) -> Change:
    return document(lambda d: change(d["targets"][0]))


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
    ("wheel-twice", lambda t: t["wheels"].append(t["wheels"][0]), f"{layout.MANIFEST}: lists a distribution twice for"),
    ("bytecode-missing", lambda t: t["wheels"][0].update({"bytecode": "x.zip"}), "x.zip: is in the plan for Python"),
    ("project-bytecode", lambda t: t.update({"project_bytecode": "x.zip"}), "x.zip: is in the plan for Python"),
]:
    add(f"missing/target-{case}", _target(change), message)

add(
    "missing/payload-not-there",
    setting("payloads", (manifests.Payload(".deploy/payload/000.zip", ".deploy/payload/000.json"),)),
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
        edited(name, content=evil),
        f"{name}: its SHA-256 is {_digest(evil)}..., the manifest says {_digest(good)}.... {AGAIN}",
        frozen=True,
    )
    add(
        f"content/emptied-{name}",
        edited(name, content=b""),
        f"{name}: its size or mode is not what the manifest says. {AGAIN}",
        frozen=True,
    )


def _swap(made: Draft) -> None:
    one, other = made.member("loadenv.py"), made.member("install_wheels.py")
    one.content, other.content = b"a" * 30, b"b" * 30
    made.freeze()
    one.content, other.content = other.content, one.content


add("content/swapped", _swap, f"install_wheels.py: its SHA-256 is {_digest(b'a' * 30)}..., the manifest says")


@pytest.mark.parametrize("case", CASES.all, ids=CASES.names)
def test_a_wrong_manifest_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    assert_refused(case, tmp_path)


@pytest.mark.parametrize("case", sampled(CASES.all, CASES.all[::5]), ids=CASES.names)
def test_a_wrong_manifest_leaves_nothing_behind(case: Case, tmp_path: Path) -> None:
    assert_nothing_written(case, tmp_path)
