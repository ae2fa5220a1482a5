"""What leads from a release to its host: shared folders, links, labels."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployable_zipfile import process
from deployable_zipfile.deploy import links
from deployable_zipfile.deploy.commands import Log
from deployable_zipfile.deploy.links import Link, Shared
from deployable_zipfile.deploy.provision import NOBODY
from deployable_zipfile.deploy.redaction import Secrets
from deployable_zipfile.errors import DeploymentError, UsageError


class TestShared:
    def test_the_release_sees_the_common_folder_by_a_relative_link(self, release: Path, tmp_path: Path) -> None:
        links.place_shared(tmp_path / "shared", release, Shared("media", "site/media"), NOBODY)
        assert os.readlink(str(release / "site" / "media")) == "../../../shared/media"
        (release / "site" / "media" / "a").write_text("kept")
        assert (tmp_path / "shared" / "media" / "a").read_text() == "kept"

    def test_doing_it_again_changes_nothing(self, release: Path, tmp_path: Path) -> None:
        for _ in range(2):
            links.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert os.listdir(str(tmp_path / "shared")) == ["media"]

    def test_an_empty_folder_of_the_artifact_gives_way(self, release: Path, tmp_path: Path) -> None:
        (release / "media").mkdir()
        links.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert (release / "media").is_symlink()

    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_files_of_the_artifact_are_never_hidden(self, release: Path, tmp_path: Path, kind: str) -> None:
        if kind == "folder":
            (release / "media").mkdir()
            (release / "media" / "logo").write_text("")
        else:
            (release / "media").write_text("")
        with pytest.raises(DeploymentError, match="cannot be linked"):
            links.place_shared(tmp_path / "shared", release, Shared("media", "media"), NOBODY)
        assert not (release / "media").is_symlink()

    @pytest.mark.parametrize(
        "text", ["", "=a", "a/b=c", ".a=b", "a=/b", "a=../b", "a=b//c", "a=venv/x", "a=.deploy", "a=environment.json"]
    )
    def test_a_path_that_leaves_the_release_or_hides_its_parts_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            links.parse_shared(text)

    def test_a_name_alone_is_its_path(self) -> None:
        assert links.parse_shared("media") == Shared("media", "media")
        assert links.parse_shared("media=site/media") == Shared("media", "site/media")


class TestLink:
    def test_it_is_made_and_changed(self, release: Path) -> None:
        for target in ("/usr/lib/one", "/usr/lib/two", "two"):
            links.place_link(release, Link("site/apache/modules", target))
            assert os.readlink(str(release / "site" / "apache" / "modules")) == target

    @pytest.mark.parametrize("text", ["a", "a=", "=b", "a=../b", "../a=/b", "venv/bin/python=/x"])
    def test_one_that_leads_out_of_the_release_unseen_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            links.parse_link(text)


def log(folder: Path) -> Log:
    return Log(folder / "log", Secrets({}))


class TestLabels:
    def test_nothing_is_done_where_selinux_is_off(self, release: Path, tmp_path: Path) -> None:
        assert links.relabel(release, log(tmp_path), tmp_path / "absent") == "SELinux is off"

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
            assert says in links.relabel(release, log(tmp_path), tmp_path)
        else:
            with pytest.raises(DeploymentError, match=says):
                links.relabel(release, log(tmp_path), tmp_path)
        assert (tmp_path / "words").read_text() == f"-RF {release}\n"

    def test_selinux_without_restorecon_is_a_failure(
        self, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(process, "_FOLDERS", ())
        with pytest.raises(DeploymentError, match="restorecon"):
            links.relabel(release, log(tmp_path), tmp_path)
