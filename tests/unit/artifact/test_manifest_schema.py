"""docs/manifest.schema.json and docs/artifact.md say what the code does."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict

import jsonschema
import pytest

from deployable_zipfile.artifact import layout, manifest_reader, manifests, patches
from deployable_zipfile.errors import ArtifactError
from tests.support.drafts import draft

RUNNING = "{}.{}".format(*sys.version_info)
DOCS = Path(__file__).parents[3] / "docs"
SCHEMA: Dict[str, Any] = json.loads((DOCS / "manifest.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def full_manifest() -> manifests.Manifest:
    """Return a manifest that uses every part of the format."""
    made = draft()
    made.directories = ("shop/empty",)
    manifest = made.manifest
    payload = manifests.Payload(".deploy/payload/000.zip", ".deploy/payload/000.json")
    bytecode = ".deploy/bytecode/cpython-311/project.zip"
    more = {name: manifests.Member(1, 0o644, "0" * 64) for name in (*payload, bytecode)}
    target = manifest.targets[0]._replace(
        libraries=("libpq.so.5",),
        libc_floor="2.17",
        cache_tag="cpython-311",
        magic="a70d0d0a",
        project_bytecode=bytecode,
        patch_releases=(patches.Range(f"{RUNNING}.0rc1", f"{RUNNING}.2"), patches.Range(f"{RUNNING}.4", "")),
        markers=(("platform_machine", "x86_64"), ("sys_platform", "linux")),
    )
    first = target.wheels[0]._replace(patch_releases=(patches.Range(f"{RUNNING}.4", f"{RUNNING}.4"),))
    target = target._replace(wheels=(first, *target.wheels[1:]))
    return manifest._replace(
        payloads=(payload,),
        members={**manifest.members, **more},
        targets=(target,),
        source=manifests.Source("0123456789" * 4, True, 1_700_000_000),
        site=manifests.Site(
            "shop.settings", "shop.wsgi:application", "shop.asgi:app", "a/manage.py", "a", ("migrate",)
        ),
    )


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_what_the_code_writes_is_valid() -> None:
    VALIDATOR.validate(json.loads(draft().manifest.to_json()))
    VALIDATOR.validate(json.loads(full_manifest().to_json()))


def test_what_the_code_writes_is_read_back() -> None:
    manifest = full_manifest()
    assert manifest_reader.read(manifest.to_json()) == manifest


def test_an_artifact_that_does_not_say_how_it_is_run_is_read_too() -> None:
    manifest = full_manifest()._replace(site=None)
    assert "site" not in json.loads(manifest.to_json())
    VALIDATOR.validate(json.loads(manifest.to_json()))
    assert manifest_reader.read(manifest.to_json()) == manifest


def test_how_a_project_is_run_is_part_of_the_build_id() -> None:
    manifest = full_manifest()
    assert manifest.site is not None
    assert manifest._replace(site=manifest.site._replace(manage="")).build_id != manifest.build_id
    assert manifest._replace(site=None).build_id != manifest.build_id


def test_the_schema_names_every_field_of_the_code() -> None:
    definitions = SCHEMA["$defs"]
    member = definitions["members"]["additionalProperties"]
    assert set(SCHEMA["properties"]) == set(json.loads(full_manifest().to_json()))
    assert set(definitions["target"]["properties"]) == set(manifests.Target._fields)
    assert set(definitions["wheel"]["properties"]) == set(manifests.PlannedWheel._fields)
    assert set(member["properties"]) == set(manifests.Member._fields)
    assert set(SCHEMA["properties"]["source"]["properties"]) == set(manifests.Source._fields)
    assert set(SCHEMA["properties"]["payloads"]["items"]["properties"]) == set(manifests.Payload._fields)
    site = SCHEMA["properties"]["site"]
    assert set(site["properties"]) == set(manifests.Site._fields)
    assert site["properties"]["skip_steps"]["items"]["enum"] == list(manifests.STEPS)
    for part in (definitions["target"], definitions["wheel"], member, SCHEMA["properties"]["source"], site):
        assert set(part["required"]) == set(part["properties"]) - {"patch_releases", "markers"}
    assert set(definitions["target"]["properties"]["markers"]["properties"]) == set(manifests.MARKERS)
    assert set(definitions["patch_releases"]["items"]["properties"]) == set(patches.Range._fields)
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) - {"site"}


def test_the_schema_repeats_the_limits_of_the_code() -> None:
    member = SCHEMA["$defs"]["members"]["additionalProperties"]["properties"]
    assert SCHEMA["properties"]["schema"]["const"] == manifests.SCHEMA_VERSION
    assert member["size"]["maximum"] == layout.MAX_SIZE
    assert tuple(member["mode"]["enum"]) == layout.FILE_MODES
    assert set(SCHEMA["properties"]["project"]["not"]["enum"]) == layout.RESERVED_PROJECT_NAMES


Change = Callable[[Dict[str, Any]], object]
BROKEN: Dict[str, Change] = {
    "unknown-key": lambda d: d.update(hook="x"),
    "newer-schema": lambda d: d.update(schema=2),
    "schema-a-string": lambda d: d.update(schema="1"),
    "build-id-short": lambda d: d.update(build_id="abc"),
    "tool-a-number": lambda d: d.update(tool=1),
    "commit-null": lambda d: d["source"].update(commit=None),
    "dirty-a-number": lambda d: d["source"].update(dirty=0),
    "epoch-negative": lambda d: d["source"].update(epoch=-1),
    "source-unknown-key": lambda d: d["source"].update(branch="main"),
    "target-python-2": lambda d: d["targets"][0].update(python="2.7"),
    "target-without-abi": lambda d: d["targets"][0].pop("abi"),
    "target-magic": lambda d: d["targets"][0].update(magic="xyz"),
    "target-libraries": lambda d: d["targets"][0].update(libraries="libpq"),
    "wheel-requested": lambda d: d["targets"][0]["wheels"][0].update(requested=1),
    "wheel-unknown-key": lambda d: d["targets"][0]["wheels"][0].update(url="x"),
    "member-mode": lambda d: d["members"]["loadenv.py"].update(mode=0o777),
    "member-size": lambda d: d["members"]["loadenv.py"].update(size=-1),
    "member-digest": lambda d: d["members"]["loadenv.py"].update(sha256="00"),
    "member-unknown-key": lambda d: d["members"]["loadenv.py"].update(link="x"),
    "payload-unknown-key": lambda d: d["payloads"][0].update(x="y"),
    "directories": lambda d: d.update(directories="shop/empty"),
    "patch-releases-empty": lambda d: d["targets"][0].update(patch_releases=[]),
    "patch-releases-a-text": lambda d: d["targets"][0].update(patch_releases="3.11.3"),
    "patch-releases-no-release": lambda d: d["targets"][0]["patch_releases"][0].update(first="3.11"),
    "patch-releases-unknown-key": lambda d: d["targets"][0]["patch_releases"][0].update(x="3.11.1"),
    "wheel-patch-releases-no-last": lambda d: d["targets"][0]["wheels"][0]["patch_releases"][0].pop("last"),
    "markers-unknown": lambda d: d["targets"][0]["markers"].update(platform_release="5"),
    "markers-a-number": lambda d: d["targets"][0]["markers"].update(sys_platform=1),
    "site-null": lambda d: d.update(site=None),
    "site-unknown-key": lambda d: d["site"].update(port=8000),
    "site-without-wsgi": lambda d: d["site"].pop("wsgi"),
    "site-settings-no-module": lambda d: d["site"].update(settings_module="shop/settings.py"),
    "site-wsgi-no-callable": lambda d: d["site"].update(wsgi="shop.wsgi"),
    "site-asgi-a-command": lambda d: d["site"].update(asgi="shop:app; rm"),
    "site-manage-outside": lambda d: d["site"].update(manage="../manage.py"),
    "site-path-absolute": lambda d: d["site"].update(path="/srv"),
    "site-path-with-a-line": lambda d: d["site"].update(path="src\n/tmp"),
    "site-unknown-step": lambda d: d["site"].update(skip_steps=["switch"]),
    "site-step-twice": lambda d: d["site"].update(skip_steps=["check", "check"]),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_what_the_schema_refuses_the_code_refuses_too(case: str) -> None:
    document = copy.deepcopy(json.loads(full_manifest().to_json()))
    BROKEN[case](document)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ArtifactError):
        manifest_reader.read(json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n")


def test_the_documented_check_with_other_tools_works(tmp_path: Path) -> None:
    draft().write(tmp_path / "artifact.zip")
    text = (DOCS / "artifact.md").read_text()
    [block] = re.findall(r"without our code:\n\n((?:    .*\n|\n)+)", text)
    program = "\n".join(line[4:] for line in block.splitlines())
    subprocess.run([sys.executable, "-c", program], cwd=str(tmp_path), check=True)


def test_the_documented_check_notices_a_changed_member(tmp_path: Path) -> None:
    made = draft()
    made.freeze()
    made.member("shop/settings.py").content = b"DEBUG = True\n" * 20
    made.write(tmp_path / "artifact.zip")
    text = (DOCS / "artifact.md").read_text()
    [block] = re.findall(r"without our code:\n\n((?:    .*\n|\n)+)", text)
    program = "\n".join(line[4:] for line in block.splitlines())
    done = subprocess.run([sys.executable, "-c", program], cwd=str(tmp_path), stderr=subprocess.PIPE)
    assert b"AssertionError: shop/settings.py" in done.stderr


def test_every_member_name_in_the_code_is_in_the_documentation() -> None:
    text = (DOCS / "artifact.md").read_text()
    for name in (
        layout.MAIN,
        layout.INSTALL_WHEELS,
        layout.LOADENV,
        layout.LOADENV_PTH,
        layout.WHEELS,
        layout.BOOTSTRAP_WHEELS,
        layout.STATIC,
        layout.MANIFEST,
        layout.SBOM,
        layout.RUNTIME,
        layout.BYTECODE,
        layout.PAYLOAD,
        layout.LOADENV_START,
        layout.INSTALLED,
        layout.ENVIRONMENT,
    ):
        assert name in text


def test_zipfile_reads_what_the_manifest_says(tmp_path: Path) -> None:
    made = draft()
    with zipfile.ZipFile(str(made.write(tmp_path / "artifact.zip"))) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {*made.manifest.members, layout.MANIFEST}
