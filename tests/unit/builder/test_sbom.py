from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deployable_zipfile.builder import sbom
from deployable_zipfile.builder.elf import Elf
from deployable_zipfile.builder.embedded import Embedded
from tests.support.wheels import collected

FOO = sbom.Part("wheels/foo.whl", collected("foo", licence="MIT"), ("cp311-x",), ("wheels/bar.whl",))
OWN = collected("bar", "2.0", sha256="b" * 64, licence="Some Licence of our own", built_from="bar.tar.gz")
BAR = sbom.Part("wheels/bar.whl", OWN, ("cp38-x",), ())


def changed(**fields: object) -> sbom.Part:
    """Return the part FOO with another wheel."""
    return FOO._replace(wheel=FOO.wheel._replace(**fields))  # type: ignore[arg-type]


def test_the_same_parts_give_the_same_bytes_in_any_order() -> None:
    first = sbom.document("site", "c0ffee", 1700000000, [FOO, BAR])
    assert first == sbom.document("site", "c0ffee", 1700000000, [BAR, FOO])
    assert first != sbom.document("site", "c0ffee", 1700000000, [FOO])


def test_it_says_what_the_artifact_is_made_of() -> None:
    bill = json.loads(sbom.document("site", "c0ffee", 1700000000, [FOO, BAR]).decode("ascii"))
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill["serialNumber"].startswith("urn:uuid:")
    assert bill["metadata"]["component"]["name"] == "site"
    assert bill["metadata"]["component"]["version"] == "c0ffee"
    assert bill["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    parts = {part["name"]: part for part in bill["components"]}
    assert parts["foo"]["licenses"][0]["license"]["id"] == "MIT"
    assert parts["bar"]["licenses"][0]["license"]["name"] == "Some Licence of our own"
    assert {"name": "deployable-zipfile:target", "value": "cp38-x"} in parts["bar"]["properties"]
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in bill["dependencies"]}
    assert edges == {"site": ["wheels/foo.whl"], "wheels/foo.whl": ["wheels/bar.whl"], "wheels/bar.whl": []}


def test_a_site_without_commit_and_licences_is_fine() -> None:
    bill = json.loads(sbom.document("site", "", 1700000000, [changed(licence="")]).decode("ascii"))
    assert "version" not in bill["metadata"]["component"]
    assert "licenses" not in bill["components"][0]


def test_it_is_valid_and_names_what_a_wheel_embeds_and_the_interpreters() -> None:
    libraries = (
        Embedded("foo.libs/libz-0a1b2c3d.so.1", "libz.so.1", "", "c" * 64, "", ""),
        Embedded("x.cdx.json", "zlib", "1.2", "", "pkg:rpm/almalinux/zlib@1.2", "Zlib"),
        Embedded("x.cdx.json", "odd", "", "", "no package URL", "Not a licence that is known"),
    )
    part = changed(embedded=libraries, elves=(Elf("x86_64", (2, 17), "foo.so", (), ()),), licence="MIT OR Apache-2.0")
    text = sbom.document("site", "c0ffee", 1700000000, [part, BAR], ["3.8", "3.11"]).decode("ascii")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    parts = {one["name"]: one for one in bill["components"] if one["name"] != "cpython"}
    assert parts["foo"]["licenses"] == [{"acknowledgement": "declared", "expression": "MIT OR Apache-2.0"}] or parts[
        "foo"
    ]["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert parts["foo"]["purl"] == "pkg:pypi/foo@1.0"
    assert parts["foo"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert {"name": "deployable-zipfile:glibc", "value": "x86_64 2.17 foo.so"} in parts["foo"]["properties"]
    embedded = {one["name"]: one for one in parts["foo"]["components"]}
    assert embedded["libz.so.1"]["hashes"] == [{"alg": "SHA-256", "content": "c" * 64}]
    assert (embedded["zlib"]["purl"], embedded["zlib"]["version"]) == ("pkg:rpm/almalinux/zlib@1.2", "1.2")
    assert "purl" not in embedded["odd"]
    pythons = [one for one in bill["components"] if one["name"] == "cpython"]
    assert sorted(one["version"] for one in pythons) == ["3.11", "3.8"]
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in bill["dependencies"]}
    assert edges["site"] == ["cpython-3.11", "cpython-3.8", "wheels/foo.whl"]
    assert edges["wheels/foo.whl"] == ["wheels/bar.whl"]


@pytest.mark.parametrize(
    "licence", ["MIT", "MIT OR (GPL-2.0-only WITH Classpath-exception-2.0)", "see <b>", "x" * 1000, "é\u202e"]
)
def test_any_licence_makes_a_valid_document(licence: str) -> None:
    text = sbom.document("site", "", 0, [changed(licence=licence)]).decode("ascii")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
