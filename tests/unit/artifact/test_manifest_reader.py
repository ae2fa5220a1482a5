"""The manifest: written canonically, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest

from deployable_zipfile.artifact import layout, manifest_reader, manifests, zipreader
from deployable_zipfile.errors import ArtifactError
from tests.support.artifacts import make_artifact, make_target

MEMBER = manifests.Member(3, 0o644, "0" * 64)
WHEEL = manifests.PlannedWheel("wheels/a-1.0-py3-none-any.whl", "a", "1.0", True, ".deploy/bytecode/a.zip")


def manifest(**changes: Any) -> manifests.Manifest:
    names = ["a/b.py", WHEEL.file, str(WHEEL.bytecode), ".deploy/payload/000.zip", ".deploy/payload/000.json"]
    return manifests.Manifest(
        tool_version="1.0",
        project="a",
        shebang=layout.DEFAULT_SHEBANG,
        source=manifests.Source("ab" * 20, True, 1),
        targets=(make_target([WHEEL]),),
        members=dict.fromkeys(names, MEMBER),
        directories=("a/empty",),
        payloads=(manifests.Payload(".deploy/payload/000.zip", ".deploy/payload/000.json"),),
    )._replace(**changes)


def changed(change: Callable[[Dict[str, Any]], None]) -> bytes:
    """Return the text of a manifest whose JSON was changed, with a build id that fits."""
    document = json.loads(manifest().to_json())
    change(document)
    return json.dumps(document).encode()


def refusal(text: bytes) -> str:
    with pytest.raises(ArtifactError) as caught:
        manifest_reader.read(text)
    return str(caught.value)


def test_what_is_written_is_read_again() -> None:
    assert manifest_reader.read(manifest().to_json()) == manifest()


def test_the_text_is_canonical() -> None:
    text = manifest().to_json()
    assert text.endswith(b"}\n")
    assert text.isascii()
    assert b" " not in text.replace(layout.DEFAULT_SHEBANG.encode(), b"")
    keys = list(json.loads(text))
    assert keys == sorted(keys)
    assert manifest_reader.read(text).to_json() == text


def test_the_build_id_is_of_the_content_alone() -> None:
    one = manifest()
    assert one.build_id == manifest().build_id
    assert len(one.build_id) == 32
    shuffled = one._replace(members=dict(reversed(list(one.members.items()))))
    assert shuffled.build_id == one.build_id
    assert one._replace(directories=()).build_id != one.build_id


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "is not strict JSON"),
        (b"{", "is not strict JSON"),
        (b"\xff{}", "is not strict JSON"),
        (b"\xef\xbb\xbf{}", "is not strict JSON"),
        ("{}".encode("utf-16"), "is not strict JSON"),
        (b"[]", "is not a JSON object"),
        (b"1", "is not a JSON object"),
        (b'{"schema": NaN}', "NaN is not JSON"),
        (b'{"schema": -Infinity}', "-Infinity is not JSON"),
        (b'{"schema": 1, "schema": 1}', "duplicate key"),
        (b"[" * 200_000, "is not strict JSON"),
        (b'{"a":' * 200_000, "is not strict JSON"),
        (b"{}", "has schema None, this extractor reads schema 1"),
        (b'{"schema": true}', "has schema True"),
        (b'{"schema": 1.0}', "has schema 1.0"),
        (b'{"schema": "1"}', "has schema '1'"),
        (b'{"schema": 1}', "'tool' is missing"),
    ],
)
def test_what_is_no_manifest_is_refused(text: bytes, why: str) -> None:
    line = refusal(text)
    assert line.startswith(".deploy/manifest.json: ")
    assert why in line


def test_a_newer_schema_names_the_tool_that_made_it() -> None:
    line = refusal(b'{"schema": 2, "tool": "9.0"}')
    assert "has schema 2, this extractor reads schema 1" in line
    assert line.endswith("Use the deployable-zipfile that made the artifact: 9.0.")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("tool", 1, "'tool' is not a string"),
        ("project", None, "'project' is not a string"),
        ("source", [], "an object is missing"),
        ("targets", {}, "'targets' is not a list"),
        ("targets", [1], "an object is missing"),
        ("members", [], "'members' is not an object of members"),
        ("members", {"a": 1}, "'members' is not an object of members"),
        ("directories", [1], "'directories' is not a list of strings"),
        ("payloads", [{"file": 1, "listing": ""}], "'file' is not a string"),
        ("build_id", "0" * 32, "its build id is not the hash of its content"),
        ("extra", 1, "unknown key 'extra'"),
    ],
)
def test_each_field_has_its_type(key: str, value: object, why: str) -> None:
    assert why in refusal(changed(lambda document: document.update({key: value})))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("python", "2.7", "'python' has a wrong form"),
        ("python", "3.8\n", "'python' has a wrong form"),
        ("magic", "xyz", "'magic' has a wrong form"),
        ("libraries", "libz.so", "'libraries' is not a list of strings"),
        ("project_bytecode", 1, "'project_bytecode' is not a string or null"),
        ("extra", 1, "unknown key 'extra'"),
    ],
)
def test_each_field_of_a_target_has_its_form(key: str, value: object, why: str) -> None:
    assert why in refusal(changed(lambda document: document["targets"][0].update({key: value})))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("size", -1, "out of range"),
        ("size", 2**32, "out of range"),
        ("size", 1.0, "wrong type"),
        ("size", True, "wrong type"),
        ("mode", 0o777, "out of range"),
        ("sha256", "0" * 63, "out of range"),
        ("sha256", "G" * 64, "out of range"),
        ("sha256", "0" * 64 + "\n", "out of range"),
        ("extra", 1, "not an object of members"),
    ],
)
def test_each_field_of_a_member_has_its_form(key: str, value: object, why: str) -> None:
    def change(document: Dict[str, Any]) -> None:
        member = dict(document["members"]["a/b.py"], **{key: value})
        document["members"]["a/b.py"] = dict(sorted(member.items()))

    assert why in refusal(changed(change))


def test_a_flag_is_true_or_false() -> None:
    assert "'dirty' is not true or false" in refusal(changed(lambda one: one["source"].update(dirty=1)))


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", 1e999])
def test_a_number_is_whole_and_not_negative(value: object) -> None:
    line = refusal(changed(lambda one: one["source"].update(epoch=value)))
    assert "'epoch' is not a whole number" in line or "is not JSON" in line


@pytest.mark.parametrize("change", [{"file": "wheels/b.whl"}, {"bytecode": ".deploy/b.zip"}])
def test_a_plan_names_only_members(change: Dict[str, Any]) -> None:
    planned = WHEEL._replace(**change)
    line = refusal(manifest(targets=(make_target([planned], python="3.9"),)).to_json())
    assert "is in the plan for Python 3.9 but missing" in line
    assert next(iter(change.values())) in line


def test_a_projects_bytecode_and_a_payload_are_members_too() -> None:
    line = refusal(manifest(targets=(make_target(project_bytecode=".deploy/x.zip"),)).to_json())
    assert line.startswith(".deploy/x.zip: is in the plan")
    line = refusal(manifest(payloads=(manifests.Payload(".deploy/payload/000.zip", "lost.json"),)).to_json())
    assert line.startswith("lost.json: is named as payload but missing")


def test_a_distribution_is_planned_once() -> None:
    target = make_target([WHEEL])._replace(bootstrap=(WHEEL,))
    assert "lists a distribution twice" in refusal(manifest(targets=(target,)).to_json())


def test_a_listing_is_read_as_strictly() -> None:
    members = {"a/b.py": MEMBER, "a/é.py": MEMBER}
    assert manifest_reader.read_listing("000.json", manifests.listing_to_json(members)) == members
    for text, why in [
        (b"[]", "000.json: is not a JSON object"),
        (b'{"schema": 2, "members": {}}', "has an unknown schema"),
        (b'{"schema": 1}', "'members' is missing"),
        (b'{"schema": 1, "members": {}, "more": 1}', "unknown key 'more'"),
    ]:
        with pytest.raises(ArtifactError, match=why):
            manifest_reader.read_listing("000.json", text)


def outcome(read: Callable[[bytes], object], text: bytes) -> object:
    try:
        return read(text)
    except ArtifactError as error:
        return str(error)


NESTED = b'"members":{"a":{"mode":420,"sha256":"' + b"0" * 64 + b'","size":0}}'


def hostile_texts(good: bytes) -> Iterator[bytes]:
    """Yield *good* with bytes changed, added, doubled and gone, and with members where none belong."""
    yield good
    for place in range(0, len(good), 13):
        for byte in (b'"', b"\\", b"{", b"}", b",", b"0", b"-", b"\xc3", b"\n", b" "):
            yield good[:place] + byte + good[place + 1 :]
            yield good[:place] + byte + good[place:]
        yield good[:place] + good[place + 1 :]
        yield good[:place] + good[place : place + 90] + good[place:]
    for key in (b'"schema":', b'"members":', b'"mode":420,'):
        yield good.replace(key, NESTED + b"," + key, 1)
        yield good.replace(key, b'"x\\' + NESTED + b"," + key, 1)
        yield good.replace(key, b'"x":{' + NESTED + b',"y":1},' + key, 1)
    yield good.replace(b'"size":3', b'"size":4294967296')
    yield good.replace(b'"size":3', b'"size":4294967295')
    yield good.replace(b'"mode":420', b'"mode":493')
    yield good.replace(b'"mode":420', b'"mode":438')
    yield good.replace(b'"a/b.py"', b'"a/' + b"b" * 1100 + b'.py"')


@pytest.mark.parametrize("kind", ["manifest", "listing"])
def test_members_read_at_once_are_those_that_the_parser_reads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a/b.py", "a/c d.py", "a/'{}[]:,.txt", *manifest().members]
    members = {name: MEMBER._replace(size=number + 3) for number, name in enumerate(names)}
    read: Callable[[bytes], object] = manifest_reader.read_with_build_id
    good = manifest(members=members).to_json()
    if kind == "listing":
        good = manifests.listing_to_json(members)
        read = lambda text: manifest_reader.read_listing("000.json", text)  # noqa: E731
    known = manifest_reader.known_members(good)
    assert known is not None
    assert known.members == members

    texts = list(hostile_texts(good))
    quick = [outcome(read, text) for text in texts]
    monkeypatch.setattr(manifest_reader, "known_members", lambda *_: None)
    parsed = [outcome(read, text) for text in texts]
    assert [isinstance(one, str) for one in quick] == [isinstance(one, str) for one in parsed]
    assert [one for one in quick if not isinstance(one, str)] == [one for one in parsed if not isinstance(one, str)]


def test_names_and_sizes_are_the_objects_of_the_container(tmp_path: Path) -> None:
    with zipreader.Artifact.open(str(make_artifact(tmp_path / "site.zip", {"big.txt": "x" * 1000}))) as artifact:
        entries = {entry.name: entry for entry in artifact.members.values()}
        for name, member in artifact.manifest.members.items():
            assert name is entries[name].name
            assert member.size is entries[name].size


@pytest.mark.parametrize("name", ["é.py", 'a".py', "a\\.py", "\x7f", "x" * 1025])
def test_a_name_that_needs_an_escape_is_left_to_the_parser(name: str) -> None:
    members = {name: MEMBER, "a/b.py": MEMBER}
    text = manifests.listing_to_json(members)

    assert manifest_reader.known_members(text) is None
    assert manifest_reader.read_listing("000.json", text) == members


def test_more_members_than_an_artifact_can_have_are_left_to_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    text = manifests.listing_to_json({f"a/{number}": MEMBER for number in range(5)})
    assert manifest_reader.known_members(text)
    monkeypatch.setattr(layout, "MAX_MEMBERS", 4)
    assert manifest_reader.known_members(text) is None


GOOD_MODULES = ["a", "_", "a1.b_2", "é", "größe.wsgi", "名前"]
BAD_MODULES = [
    "",
    "1a",
    "a.",
    ".a",
    "a..b",
    "a b",
    "a-b",
    "a\n",
    "a/b",
    "²",
    "a²",
    "٣a",
    "a\u200d",
    "\ud800",
    "a\u0301\u20dd",
    "½",
]


def test_a_modules_name_is_made_of_identifiers_as_python_has_them() -> None:
    """``\\w`` also takes digits of every kind, which no import statement can name."""
    assert [one for one in GOOD_MODULES if not manifests.is_module(one)] == []
    assert [one for one in BAD_MODULES if manifests.is_module(one)] == []
    assert [one for one in GOOD_MODULES if not manifests.is_callable(f"{one}:{one}")] == []
    assert [one for one in BAD_MODULES if manifests.is_callable(f"{one}:a") or manifests.is_callable(f"a:{one}")] == []
    assert not any(map(manifests.is_callable, ["a", "a:b:c", ":", "a:"]))


@pytest.mark.parametrize("key", ["settings_module", "wsgi", "asgi"])
@pytest.mark.parametrize("name", ["a²", "٣a", "1a", "a.", "a\n"])
def test_a_manifest_with_another_name_is_refused(key: str, name: str) -> None:
    site = manifests.Site("a.b", "a.b:c", "a.b:c", "", "", ())
    document = json.loads(manifest(site=site).to_json())
    document["site"][key] = name if key == "settings_module" else f"{name}:c"
    assert "has a wrong form" in refusal(json.dumps(document).encode())
