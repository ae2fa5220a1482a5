from __future__ import annotations

import os
from pathlib import Path
from typing import List

import pytest

from deployable_zipfile import durable
from deployable_zipfile.builder import cache
from deployable_zipfile.errors import BuildInputError


def files(folder: Path) -> List[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def kept_file(kept: cache.Cache, content: bytes) -> cache.Kept:
    path = os.path.join(kept.work, "x.whl")
    with open(path, "wb") as file:
        file.write(content)
    return kept.keep_file(path)


def test_documents_and_files_are_found_by_a_later_build(tmp_path: Path) -> None:
    with cache.Cache(str(tmp_path / "cache")) as kept:
        kept.keep_document("plans", cache.key("a"), {"x": [1, None]})
        made = kept_file(kept, b"wheel")
    with cache.Cache(str(tmp_path / "cache")) as kept:
        assert kept.document("plans", cache.key("a")) == {"x": [1, None]}
        assert kept.file(made.sha256, "x.whl") == made
        assert kept.document("plans", cache.key("b")) is None
        assert kept.file("0" * 64, "x.whl") is None


def test_a_damaged_file_or_document_counts_as_missing_and_is_removed(tmp_path: Path) -> None:
    with cache.Cache(str(tmp_path / "cache")) as kept:
        kept.keep_document("plans", cache.key("a"), [1])
        made = kept_file(kept, b"wheel")
        for path in files(tmp_path / "cache"):
            if path.suffix in (".json", ".whl"):
                path.write_bytes(path.read_bytes()[:-1] + b"?")
        assert kept.document("plans", cache.key("a")) is None
        assert kept.file(made.sha256, "x.whl") is None
        assert not [path for path in files(tmp_path / "cache") if path.suffix in (".json", ".whl")]


def test_the_scratch_folder_of_a_killed_build_is_removed_and_that_of_a_running_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    leftover = folder / "work-killed"
    leftover.mkdir(parents=True)
    (leftover / ".lock").write_bytes(b"")
    with cache.Cache(str(folder)) as first, cache.Cache(str(folder)) as second:
        assert not leftover.exists()
        assert os.path.isdir(first.work)
        assert os.path.isdir(second.work)
    assert not [path for path in folder.iterdir() if path.name.startswith("work-")]


def test_a_build_that_begins_at_the_same_time_does_not_remove_a_new_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the folder before that is locked."""
    take = durable.take_fresh
    removed = []

    def overtaken(descriptor: int) -> bool:
        monkeypatch.setattr(durable, "take_fresh", take)
        with cache.Cache(str(tmp_path / "cache")):
            removed.append(os.fstat(descriptor).st_nlink == 0)
        return take(descriptor)

    monkeypatch.setattr(durable, "take_fresh", overtaken)
    with cache.Cache(str(tmp_path / "cache")) as kept:
        assert removed == [True]
        made = kept_file(kept, b"wheel")
    assert os.path.isfile(made.path)


def test_without_a_folder_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with cache.Cache(None) as kept:
        kept_file(kept, b"wheel")
    assert list(tmp_path.iterdir()) == []


def test_entries_that_nobody_used_for_two_months_are_removed(tmp_path: Path) -> None:
    with cache.Cache(str(tmp_path / "cache")) as kept:
        old, new = kept_file(kept, b"old"), kept_file(kept, b"new")
        os.utime(old.path, (0, 0))
    with cache.Cache(str(tmp_path / "cache")) as kept:
        assert kept.file(old.sha256, "x.whl") is None
        assert kept.file(new.sha256, "x.whl") == new


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        BuildInputError, match=r"file/cache: cannot hold the cache \(Not a directory\). Give --cache-dir"
    ):
        cache.Cache(str(tmp_path / "file" / "cache"))


def test_the_default_folder_follows_xdg_and_needs_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == f"{tmp_path}/deployable-zipfile"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default_folder() == f"{tmp_path}/.cache/deployable-zipfile"
    monkeypatch.setenv("HOME", "/nowhere")
    assert cache.default_folder() is None


def test_only_the_owner_can_read_the_cache(tmp_path: Path) -> None:
    with cache.Cache(str(tmp_path / "cache")):
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
