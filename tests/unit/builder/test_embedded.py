"""Libraries that were copied into a wheel."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from deployable_zipfile.builder import collected
from tests.support.helpers import make_wheel
from tests.support.wheels import proven

CYCLONEDX = {
    "bomFormat": "CycloneDX",
    "components": [
        {
            "name": "zlib",
            "version": "1.2",
            "purl": "pkg:rpm/almalinux/zlib@1.2",
            "licenses": [{"license": {"id": "Zlib"}}],
        },
        {"name": "outer", "components": [{"name": "inner"}], "licenses": [{"expression": "MIT"}]},
        {"name": "x", "version": "1"},
    ],
}
SPDX = {
    "spdxVersion": "SPDX-2.3",
    "packages": [
        {
            "name": "openssl",
            "versionInfo": "3.0",
            "licenseConcluded": "NOASSERTION",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:generic/openssl@3.0"}],
        }
    ],
}


def test_embedded_libraries_are_found_as_files_and_in_bills_of_materials(tmp_path: Path) -> None:
    files = {"x.libs/libz-0a1b2c3d.so.1.2": "z", "x.libs/note.txt": "", "x/.dylibs/liby.dylib": "y", "x/own.so": ""}
    bills = {"sboms/auditwheel.cdx.json": json.dumps(CYCLONEDX), "sboms/a.spdx.json": json.dumps(SPDX)}
    wheel = proven(make_wheel(tmp_path, "x", "1", files, extra=bills))
    assert [tuple(one)[1:] for one in wheel.embedded] == [
        ("openssl", "3.0", "", "pkg:generic/openssl@3.0", ""),
        ("inner", "", "", "", ""),
        ("outer", "", "", "", "MIT"),
        ("zlib", "1.2", "", "pkg:rpm/almalinux/zlib@1.2", "Zlib"),
        ("libz.so.1.2", "", hashlib.sha256(b"z").hexdigest(), "", ""),
        ("liby.dylib", "", hashlib.sha256(b"y").hexdigest(), "", ""),
    ]
    assert wheel.doubts == ()
    assert collected.from_document(json.loads(json.dumps(collected.to_document(wheel))), wheel.path) == wheel


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"components": 1}',
        '{"components": [{}]}',
        '{"packages": [{"name": 1}]}',
        pytest.param("[" * 99_999, id="deep"),
    ],
)
def test_a_bill_of_materials_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    wheel = proven(make_wheel(tmp_path, "x", "1", {}, extra={"sboms/bad.json": text}))
    assert wheel.embedded == ()
    (doubt,) = wheel.doubts
    assert doubt.startswith("x-1.dist-info/sboms/bad.json cannot be read (")
