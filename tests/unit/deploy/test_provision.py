"""The environment file of a release, and who owns it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Optional

import pytest

from deployable_zipfile.deploy import provision
from deployable_zipfile.deploy.provision import NOBODY
from deployable_zipfile.errors import DeploymentError, UsageError


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


def test_unknown_owners_are_refused() -> None:
    for words in (("no-such-user", None), (None, "no-such-group"), ("\u00b2", None), (None, "99999999999")):
        with pytest.raises(UsageError, match="there is no such"):
            provision.ownership(*words)


def test_loader_variables_are_named(release: Path) -> None:
    assert provision.loader_variables({"LD_PRELOAD": "x", "SECRET_KEY": "y"}) == ["LD_PRELOAD"]
    assert json.dumps(provision.loader_variables({})) == "[]"
