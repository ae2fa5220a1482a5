"""A root that demands a signature: of every artifact, by every way in, until it is turned off by name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, List

import pytest

from deployable_zipfile import extract
from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.deploy import journal, releases, rollout
from deployable_zipfile.deploy.releases import Root
from deployable_zipfile.deploy.selection import folded
from tests.support import signatures
from tests.support.depth import sampled
from tests.support.sites import Host

pytestmark = pytest.mark.usefixtures("without_commands")

WHO = "release@example.org"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: signatures.ssh_key(folder / name) for name in ("good", "other")}


@pytest.fixture
def signed(host: Host, keys: Dict[str, Path], tmp_path: Path) -> Host:
    """A host whose artifacts "one" and "two" are signed, "three" by another key, and "httpd" not at all."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for path in host.artifacts.values():
        shutil.copy(str(path), str(folder / path.name))
    host.artifacts = {name: folder / path.name for name, path in host.artifacts.items()}
    for name, key in (("one", "good"), ("two", "good"), ("three", "other")):
        signatures.ssh_sign(keys[key], host.artifacts[name])
    signatures.allow(folder / "allowed", keys["good"], WHO)
    return host


def require(host: Host) -> List[str]:
    return ["--require-signature", "--allowed-signers", str(host.artifacts["one"].parent / "allowed")]


def everything(folder: Path) -> Dict[str, Any]:
    return {str(path): os.lstat(str(path)).st_mtime_ns for path in folder.rglob("*")} if folder.exists() else {}


def refused(host: Host, archive: str, *words: str) -> str:
    before = everything(host.root)
    assert host.deploy(archive, *words) == 3
    assert everything(host.root) == before
    return host.error()


def records(host: Host, event: str) -> List[journal.Record]:
    return [one for one in Root(host.root).journal.read() if one.event == event]


def test_a_signed_artifact_goes_live_and_its_signer_is_shown(signed: Host) -> None:
    one = signed.live("one", *require(signed))
    assert records(signed, journal.INSTALLED)[-1].details["signed_by"] == WHO
    assert signed.verb("one", "releases", "--json") == 0
    assert [row["signed_by"] for row in json.loads(signed.out)["releases"]] == [WHO]
    assert signed.verb("one", "releases") == 0
    assert f"signed by {WHO}" in signed.out
    assert one in signed.out


@pytest.mark.parametrize("archive", ["three", "httpd"])
def test_an_artifact_that_is_not_signed_right_makes_nothing_at_all(signed: Host, archive: str) -> None:
    refused(signed, archive, *require(signed))
    assert not signed.root.exists()


def test_later_deployments_still_demand_it(signed: Host) -> None:
    signed.live("one", *require(signed))
    assert "is missing, and a signature is required" in refused(signed, "httpd")
    assert "does not allow" in refused(signed, "three")
    assert "is missing" in refused(signed, "httpd", "--forget")
    assert "is missing" in refused(signed, "httpd", "--force", "--dry-run")
    two = signed.live("two")
    assert signed.current() == two


def test_a_live_release_is_checked_again_too(signed: Host) -> None:
    signed.live("one", *require(signed))
    Path(f"{signed.artifacts['one']}.sig").unlink()
    refused(signed, "one")


@pytest.mark.usefixtures("with_commands")
def test_the_demand_stays_when_the_deployment_that_brought_it_fails(signed: Host, keys: Dict[str, Path]) -> None:
    signatures.ssh_sign(keys["good"], signed.artifacts["broken"])
    assert signed.deploy("broken", *require(signed)) == 8
    assert "is missing" in refused(signed, "httpd")


def test_a_release_that_is_live_unsigned_can_begin_to_demand_it(signed: Host) -> None:
    one = signed.live("one")
    signed.live("one", "--json", *require(signed))
    assert json.loads(signed.out)["changed"] is True
    assert signed.current() == one
    refused(signed, "httpd")


@pytest.mark.parametrize("inner", sampled(["releases/by-hand", "elsewhere", "releases/a/b"], ["releases/by-hand"]))
def test_an_installation_by_hand_into_that_root_demands_it(signed: Host, inner: str, capsys: Any) -> None:
    signed.live("one", *require(signed))
    place = signed.root / inner
    for archive in ("three", "httpd"):
        before = everything(signed.root)
        assert extract.main(["-d", str(place), "--workers", "1"], str(signed.artifacts[archive])) == 3
        assert everything(signed.root) == before
    other = str(signed.artifacts["one"].parent / "others")
    Path(other).write_text(Path(f"{signed.artifacts['one'].parent}/allowed").read_text())
    words = ["-d", str(place), "--allowed-signers", other, "--workers", "1"]
    assert extract.main(words, str(signed.artifacts["three"])) == 3
    capsys.readouterr()
    assert extract.main(["-d", str(place), "--workers", "1"], str(signed.artifacts["two"])) == 0


def test_so_does_one_through_a_link_to_that_root(signed: Host, tmp_path: Path) -> None:
    signed.live("one", *require(signed))
    (tmp_path / "link").symlink_to(signed.root / "releases")
    assert extract.main(["-d", str(tmp_path / "link/x")], str(signed.artifacts["httpd"])) == 3
    assert not (signed.root / "releases/x").exists()


def test_an_installation_by_hand_elsewhere_does_not(signed: Host, tmp_path: Path) -> None:
    signed.live("one", *require(signed))
    assert extract.main(["-d", str(tmp_path / "dest"), "--workers", "1"], str(signed.artifacts["httpd"])) == 0


def test_a_journal_that_is_damaged_lets_nothing_in(signed: Host) -> None:
    signed.live("one", *require(signed))
    path = signed.root / ".deploy/journal.jsonl"
    path.write_bytes(b"junk\n" + path.read_bytes())
    assert extract.main(["-d", str(signed.root / "releases/x")], str(signed.artifacts["httpd"])) == 8
    assert signed.deploy("httpd") == 8


def test_it_is_turned_off_by_its_own_option_only_and_that_is_written_down(signed: Host) -> None:
    signed.live("one", *require(signed))
    signed.live("httpd", "--no-require-signature")
    assert "accepts artifacts without a signature" in signed.err
    assert [one.details["required"] for one in records(signed, journal.SIGNATURE)] == [True, False]
    assert records(signed, journal.SIGNATURE)[-1].by
    signed.live("three")


def test_a_dry_run_turns_nothing_off(signed: Host) -> None:
    signed.live("one", *require(signed))
    assert signed.deploy("httpd", "--no-require-signature", "--dry-run") == 0
    refused(signed, "httpd")


def test_other_allowed_signers_replace_the_remembered_ones(signed: Host, keys: Dict[str, Path]) -> None:
    signed.live("one", *require(signed))
    new = signatures.allow(signed.artifacts["one"].parent / "new", keys["other"], "new@example.org")
    signed.live("three", "--allowed-signers", str(new))
    assert folded(Root(signed.root)).signers[f"releases/{signed.current()}"] == "new@example.org"
    assert "does not allow" in refused(signed, "two")


def test_without_requiring_it_a_signature_is_checked_that_once(signed: Host) -> None:
    refused(signed, "three", *require(signed)[1:])
    signed.live("one", *require(signed)[1:])
    assert records(signed, journal.SIGNATURE) == []
    signed.live("httpd")


@pytest.mark.parametrize("words", [["--require-signature"], ["--signature", "x"], ["--revoked-keys", "x"]])
def test_nothing_says_who_may_sign(signed: Host, words: List[str]) -> None:
    assert signed.deploy("one", *words) == 2
    assert "--allowed-signers FILE" in signed.error()
    assert not signed.root.exists()


def test_a_signature_may_lie_elsewhere(signed: Host, tmp_path: Path) -> None:
    moved = shutil.move(f"{signed.artifacts['one']}.sig", str(tmp_path / "s"))
    refused(signed, "one", *require(signed))
    signed.live("one", *require(signed), "--signature", str(moved))


@pytest.mark.parametrize("way", sampled(["renamed over", "written in place", "link exchanged"], 1))
def test_what_takes_the_artifacts_place_after_the_check_is_not_installed(
    signed: Host, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path, other = signed.artifacts["one"], signed.artifacts["three"].read_bytes()
    content = path.read_bytes()
    if way == "link exchanged":
        path.rename(path.with_name("real"))
        path.symlink_to("real")
    elif way == "written in place":
        path.chmod(0o777)  # somebody else may
    original = rollout._whole

    def exchanged(artifact: Artifact, *rest: Any) -> Any:
        if way == "written in place":
            with path.open("r+b") as file:
                file.write(other)
                file.truncate()
        else:
            new = path.with_name("new")
            new.write_bytes(other) if way == "renamed over" else new.symlink_to(signed.artifacts["three"].name)
            os.replace(str(new), str(path))
        return original(artifact, *rest)

    monkeypatch.setattr(rollout, "_whole", exchanged)
    assert signed.deploy("one", *require(signed)) == 0, signed.err
    assert path.read_bytes() == other
    path.unlink()
    path.write_bytes(content)
    with Artifact.open(str(path)) as artifact:
        assert signed.current() == artifact.manifest.build_id


class TestRollback:
    def test_a_release_that_was_never_checked_is_refused_unless_it_is_allowed(self, signed: Host) -> None:
        three = signed.live("three")
        one = signed.live("one", *require(signed))
        before = without_lock(signed.root)
        for words in (["rollback"], ["rollback", three], ["rollback", "--dry-run"], ["rollback", three, "--force"]):
            assert signed.verb("one", *words) == 8
            line = signed.error()
            assert f"{three}: its signature was never checked" in line
            assert "Deploy its signed artifact, or add --allow-unsigned" in line
        assert without_lock(signed.root) == before
        assert signed.current() == one
        assert signed.verb("one", "rollback", "--allow-unsigned") == 0
        assert signed.current() == three
        refused(signed, "httpd")

    def test_a_signed_release_is_gone_back_to_and_named_where_another_is_refused(self, signed: Host) -> None:
        one = signed.live("one", *require(signed))
        httpd = signed.live("httpd", "--no-require-signature")
        two = signed.live("two", *require(signed))
        assert signed.verb("one", "rollback") == 8
        line = signed.error()
        assert f"{httpd}: its signature was never checked" in line
        assert f"Go back to a signed release ({one[:12]}), or add --allow-unsigned" in line
        assert two not in line
        assert signed.verb("one", "rollback", one) == 0
        assert signed.current() == one

    @pytest.mark.deep
    def test_a_live_release_that_is_checked_later_counts_as_signed(self, signed: Host) -> None:
        one = signed.live("one")
        assert signed.deploy("one", *require(signed)) == 0
        assert [record.details["signed_by"] for record in records(signed, journal.SIGNED)] == [WHO]
        assert signed.deploy("one") == 0
        assert len(records(signed, journal.SIGNED)) == 1
        signed.live("two")
        assert signed.verb("one", "rollback") == 0
        assert signed.current() == one

    @pytest.mark.deep
    def test_a_release_keeps_its_signer_until_other_files_take_its_place(self, signed: Host) -> None:
        one = signed.live("one", *require(signed))
        Path(f"{signed.artifacts['one']}.sig").unlink()
        signed.live("two", "--no-require-signature")
        signed.live("one")  # its files are those that were signed
        known = folded(Root(signed.root))
        assert known.signers[f"releases/{one}"] == WHO
        shutil.rmtree(str(signed.root / "releases" / one / "venv"))
        signed.live("one", "--force")
        assert f"releases/{one}" not in folded(Root(signed.root)).signers

    def test_a_pruned_release_has_no_signer_any_more(self, signed: Host) -> None:
        one = signed.live("one", *require(signed))
        Root(signed.root).journal.append(journal.PRUNED, f"releases/{one}")
        assert folded(Root(signed.root)).signers == {}

    @pytest.mark.deep
    @pytest.mark.usefixtures("with_commands")
    def test_a_deployment_that_fails_goes_back_to_what_was_live_whoever_signed_it(
        self, signed: Host, keys: Dict[str, Path]
    ) -> None:
        three = signed.live("three")
        signatures.ssh_sign(keys["good"], signed.artifacts["broken"])
        assert signed.deploy("broken", *require(signed)) == 8
        assert signed.current() == three


def without_lock(root: Path) -> Dict[str, Any]:
    """Return everything but the lock, which a refused command takes and leaves."""
    return {path: seen for path, seen in everything(root).items() if not path.endswith("/.deploy/lock")}


def test_what_another_command_demands_meanwhile_counts(signed: Host, monkeypatch: pytest.MonkeyPatch) -> None:

    signed.live("one")
    original = releases.check_release

    def check_release(root: Root, target: str) -> None:
        details = {"required": True, "allowed_signers": require(signed)[-1], "revoked_keys": ""}
        if not records(signed, journal.SIGNATURE):
            root.journal.append(journal.SIGNATURE, target, **details)
        original(root, target)

    monkeypatch.setattr(releases, "check_release", check_release)
    assert signed.deploy("httpd") == 8
    assert "in the meantime" in signed.error()


class TestVerbs:
    def run(self, host: Host, capsys: Any, *words: str, archive: str = "one") -> Any:
        code = extract.main(list(words), str(host.artifacts[archive]))
        return code, capsys.readouterr()

    def test_verify_and_info_name_the_signer(self, signed: Host, capsys: Any) -> None:
        allowed = require(signed)[1:]
        for verb in ("verify", "info"):
            code, said = self.run(signed, capsys, verb, *allowed)
            assert code == 0
            assert WHO in said.out
            code, said = self.run(signed, capsys, verb, "--json", *allowed)
            assert json.loads(said.out)["signed_by"] == WHO
            code, said = self.run(signed, capsys, verb, *allowed, archive="httpd")
            assert code == 3
            assert said.err.startswith("error: ")
            assert said.out == ""

    def test_verify_takes_another_file(self, signed: Host, capsys: Any) -> None:
        code, said = self.run(signed, capsys, "verify", str(signed.artifacts["three"]), *require(signed)[1:])
        assert code == 3
        assert "three.zip.sig" in said.err
        code, said = self.run(signed, capsys, "verify", str(signed.artifacts["two"]), *require(signed)[1:])
        assert code == 0

    def test_a_folder_has_no_signature(self, signed: Host, capsys: Any, tmp_path: Path) -> None:
        code, said = self.run(signed, capsys, "verify", str(tmp_path), *require(signed)[1:])
        assert code == 2
        assert "is a folder, which has no signature" in said.err

    def test_a_signature_without_allowed_signers_is_a_usage_error(self, signed: Host, capsys: Any) -> None:
        assert self.run(signed, capsys, "verify", "--signature", "x")[0] == 2

    def test_the_tool_beside_the_releases_deploys_one_too(self, signed: Host) -> None:
        one = signed.live("one", *require(signed))
        tool = str(signed.root / ".deploy/tool")
        words = ["--root", str(signed.root), "--workers", "1"]
        assert extract.main(["deploy", str(signed.artifacts["three"]), *words], tool) == 3
        assert signed.current() == one
        assert extract.main(["deploy", str(signed.artifacts["two"]), *words], tool) == 0
        assert signed.current() != one

    def test_the_tool_beside_the_releases_verifies_an_artifact_before_it_runs(self, signed: Host) -> None:
        signed.live("one", *require(signed))
        tool = str(signed.root / ".deploy/tool")
        words = ["verify", str(signed.artifacts["two"]), *require(signed)[1:]]
        assert extract.main(words, tool) == 0
        words = ["verify", str(signed.artifacts["three"]), *require(signed)[1:]]
        assert extract.main(words, tool) == 3
