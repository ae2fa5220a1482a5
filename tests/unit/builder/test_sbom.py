from __future__ import annotations

import json

from deployable_zipfile.builder import sbom

FOO = sbom.Part("wheels/foo.whl", "foo", "1.0", "a" * 64, "MIT", "", ("cp311-x",), ("wheels/bar.whl",))
BAR = sbom.Part("wheels/bar.whl", "bar", "2.0", "b" * 64, "Some Licence of our own", "bar.tar.gz", ("cp38-x",), ())


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
    bill = json.loads(sbom.document("site", "", 1700000000, [FOO._replace(licence="")]).decode("ascii"))
    assert "version" not in bill["metadata"]["component"]
    assert "licenses" not in bill["components"][0]
