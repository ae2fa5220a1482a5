"""``info`` of an installation: its build, what it occupies, and who signed it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deployable_zipfile.__main__ import main
from tests.support import signatures
from tests.support.depth import sampled
from tests.support.sites import Host


def said(capsys: Any, *words: str) -> Any:
    capsys.readouterr()
    code = main(["info", *words, "--json"])
    found = capsys.readouterr()
    return json.loads(found.out) if code == 0 else (code, found.err)


def test_a_release_is_named_with_its_signer_and_what_it_shares(host: Host, tmp_path: Path, capsys: Any) -> None:
    one = tmp_path / "one.zip"
    shutil.copy(str(host.artifacts["one"]), str(one))
    host.artifacts = {**host.artifacts, "one": one}
    key = signatures.ssh_key(tmp_path / "key")
    signatures.ssh_sign(key, one)
    allowed = signatures.allow(tmp_path / "allowed", key, "release@example.org")
    build = host.live("one", "--require-signature", "--allowed-signers", str(allowed))
    for place in ("current", f"releases/{build}"):
        found = said(capsys, str(host.root / place))
        assert (found["build_id"], found["signed_by"]) == (build, "release@example.org")
    assert found["own_bytes"] > 0
    assert main(["info", str(host.root / "current")]) == 0
    text = capsys.readouterr().out
    assert "signed by  release@example.org" in text
    assert f"build id   {build}" in text
    assert "bytes of its own" in text


def test_a_copy_of_a_signed_release_elsewhere_is_not_called_signed(host: Host, tmp_path: Path, capsys: Any) -> None:
    key = signatures.ssh_key(tmp_path / "key")
    one = tmp_path / "one.zip"
    shutil.copy(str(host.artifacts["one"]), str(one))
    host.artifacts = {**host.artifacts, "one": one}
    signatures.ssh_sign(key, one)
    build = host.live(
        "one", "--require-signature", "--allowed-signers", str(signatures.allow(tmp_path / "allowed", key))
    )
    shutil.copytree(str(host.root / "releases" / build), str(host.root / "releases" / "copy"), symlinks=True)
    assert "signed_by" not in said(capsys, str(host.root / "releases/copy"))


@pytest.mark.parametrize(
    "words", sampled([["--signature", "x"], ["--allowed-signers", "x"], ["--environment-example", "env"]], 1)
)
def test_what_is_about_an_artifact_is_refused(host: Host, capsys: Any, words: Any) -> None:
    host.live("one")
    assert said(capsys, str(host.root / "current"), *words)[0] == 2


@pytest.mark.parametrize("kind", sampled(["missing", "empty", "cut"], ["empty", "cut"]))
def test_what_is_no_installation_is_refused_in_one_line(host: Host, tmp_path: Path, capsys: Any, kind: str) -> None:
    place = tmp_path / kind
    if kind == "empty":
        place.mkdir()
    elif kind == "cut":
        host.live("one")
        place = host.root / "current"
        (place / ".deploy/installed.json").write_text("{")
    capsys.readouterr()
    assert main(["info", str(host.artifacts["one"]), str(place)]) == 5
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("error: ")
