"""What a host adds to a release: environment.json, shared folders, links, SELinux labels."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Optional

import pytest

from deployable_zipfile import process
from deployable_zipfile.deploy import provision
from deployable_zipfile.deploy.commands import Log
from deployable_zipfile.deploy.provision import NOBODY, Link, Shared
from deployable_zipfile.deploy.redaction import Secrets
from deployable_zipfile.errors import DeploymentError, UsageError


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "releases" / "one"
    (folder / ".deploy").mkdir(parents=True)
    return folder


class TestEnvironment:
    def test_it_is_written_with_mode_0640_whatever_the_umask(self, release: Path) -> None:
        before = os.umask(0)
        try:
            provision.place_environment(release, {"KEY": 'a\n\u00e9"='}, NOBODY)
        finally:
            os.umask(before)
        path = release / "environment.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert provision.environment_of(release) == {"KEY": 'a\n\u00e9"='}
        assert os.listdir(str(release)) == [".deploy", "environment.json"] or len(os.listdir(str(release))) == 2

    def test_what_was_proven_comes_back(self, release: Path) -> None:
        provision.place_environment(release, {"KEY": "old"}, NOBODY)
        provision.forget_environment(release)
        provision.place_environment(release, {"KEY": "new"}, NOBODY)
        assert provision.environment_is_unproven(release)
        provision.restore_environment(release)
        assert provision.environment_of(release) == {"KEY": "old"}
        assert not provision.environment_is_unproven(release)

    def test_a_second_try_after_a_crash_keeps_what_was_proven_not_what_failed(self, release: Path) -> None:
        provision.place_environment(release, {"KEY": "old"}, NOBODY)
        provision.forget_environment(release)
        provision.place_environment(release, {"KEY": "crashed"}, NOBODY)
        provision.place_environment(release, {"KEY": "new"}, NOBODY)
        provision.restore_environment(release)
        assert provision.environment_of(release) == {"KEY": "old"}

    def test_a_release_without_a_file_has_none(self, release: Path) -> None:
        assert provision.environment_of(release) is None

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('{"KEY": "canary",}', "line 1 column"),
            ('{"KEY": 7}', "not a string"),
            ('{"KEY": "canary", "KEY": "canary"}', "twice"),
            ("[]", "must be a JSON object"),
            ("", "empty"),
        ],
    )
    def test_a_bad_file_is_refused_by_its_place_and_never_by_its_content(
        self, tmp_path: Path, text: str, why: str
    ) -> None:
        path = tmp_path / "environment.json"
        path.write_text(text)
        with pytest.raises(DeploymentError, match=why) as caught:
            provision.read_environment(path)
        assert "canary" not in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
        assert ".." not in str(caught.value)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DeploymentError, match="is missing"):
            provision.read_environment(tmp_path / "environment.json")

    def test_a_link_in_the_place_of_the_new_file_is_not_followed(self, release: Path, tmp_path: Path) -> None:
        os.symlink(str(tmp_path / "trap"), str(release / ".environment.json.new"))
        provision.place_environment(release, {"KEY": "canary"}, NOBODY)
        assert not (tmp_path / "trap").exists()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    @pytest.mark.parametrize(
        ("owner", "group", "gid"), [("nobody", "12", 12), ("nobody", None, 65534), (None, "12", 12), (None, None, 0)]
    )
    def test_the_sites_user_reads_it_by_its_group_and_cannot_write_it(
        self, release: Path, owner: Optional[str], group: Optional[str], gid: int
    ) -> None:
        for _ in range(2):  # also the one that is kept aside
            provision.place_environment(release, {}, provision.ownership(owner, group))
        for name in ("environment.json", ".deploy/environment.before.json"):
            status = (release / name).stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, gid, 0o640), name


class TestShared:
    def test_the_release_sees_the_common_folder_by_a_relative_link(self, release: Path, tmp_path: Path) -> None:
        provision.place_shared(tmp_path / "shared", release, Shared("media", "site/media"), NOBODY)
        assert os.readlink(str(release / "site" / "media")) == "../../../shared/media"
        (release / "site" / "media" / "a").write_text("kept")
        assert (tmp_path / "shared" / "media" / "a").read_text() == "kept"

    def test_doing_it_again_changes_nothing(self, release: Path, tmp_path: Path) -> None:
        for _ in range(2):
            provision.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert os.listdir(str(tmp_path / "shared")) == ["media"]

    def test_an_empty_folder_of_the_artifact_gives_way(self, release: Path, tmp_path: Path) -> None:
        (release / "media").mkdir()
        provision.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert (release / "media").is_symlink()

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_files_of_the_artifact_are_never_hidden(self, release: Path, tmp_path: Path, kind: str) -> None:
        if kind == "folder":
            (release / "media").mkdir()
            (release / "media" / "logo").write_text("")
        else:
            (release / "media").write_text("")
        with pytest.raises(DeploymentError, match="cannot be linked"):
            provision.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert not (release / "media").is_symlink()

    @pytest.mark.parametrize(
        "text", ["", "=a", "a/b=c", ".a=b", "a=/b", "a=../b", "a=b//c", "a=venv/x", "a=.deploy", "a=environment.json"]
    )
    def test_a_path_that_leaves_the_release_or_hides_its_parts_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            provision.parse_shared(text)

    def test_a_name_alone_is_its_path(self) -> None:
        assert provision.parse_shared("media") == Shared("media", "media")
        assert provision.parse_shared("media=site/media") == Shared("media", "site/media")


class TestLink:
    def test_it_is_made_and_changed(self, release: Path) -> None:
        for target in ("/usr/lib/one", "/usr/lib/two", "two"):
            provision.place_link(release, Link("site/apache/modules", target))
            assert os.readlink(str(release / "site" / "apache" / "modules")) == target

    @pytest.mark.parametrize("text", ["a", "a=", "=b", "a=../b", "../a=/b", "venv/bin/python=/x"])
    def test_one_that_leads_out_of_the_release_unseen_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            provision.parse_link(text)


def log(folder: Path) -> Log:
    return Log(folder / "log", Secrets({}))


class TestLabels:
    def test_nothing_is_done_where_selinux_is_off(self, release: Path, tmp_path: Path) -> None:
        assert provision.relabel(release, log(tmp_path), tmp_path / "absent") == "SELinux is off"

    @pytest.mark.parametrize(("code", "says"), [("0", "labels restored"), ("1", "exit status 1")])
    def test_restorecon_is_run_on_the_release_and_must_succeed(
        self, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
    ) -> None:
        (tmp_path / "bin").mkdir()
        script = tmp_path / "bin" / "restorecon"
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\nexit {code}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        if code == "0":
            assert says in provision.relabel(release, log(tmp_path), tmp_path)
        else:
            with pytest.raises(DeploymentError, match=says):
                provision.relabel(release, log(tmp_path), tmp_path)
        assert (tmp_path / "words").read_text() == f"-RF {release}\n"

    def test_selinux_without_restorecon_is_a_failure(
        self, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(process, "_FOLDERS", ())
        with pytest.raises(DeploymentError, match="restorecon"):
            provision.relabel(release, log(tmp_path), tmp_path)


def test_unknown_owners_are_refused() -> None:
    for words in (("no-such-user", None), (None, "no-such-group")):
        with pytest.raises(UsageError, match="there is no such"):
            provision.ownership(*words)


def test_loader_variables_are_named(release: Path) -> None:
    assert provision.loader_variables({"LD_PRELOAD": "x", "SECRET_KEY": "y"}) == ["LD_PRELOAD"]
    assert json.dumps(provision.loader_variables({})) == "[]"
