"""What a checkout says, and every way in which what is packed is not the commit's."""

from __future__ import annotations

import hashlib
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from deployable_zipfile.builder import checkout
from deployable_zipfile.builder.commit import Blob, Committed, Packed
from deployable_zipfile.builder.git import run as run_git
from deployable_zipfile.errors import BuildInputError
from tests.support.depth import sampled
from tests.support.helpers import write_tree
from tests.unit.builder.conftest import commit_all, git

OLD_GIT = Path(__file__).parents[2] / "lookalike" / "bin" / "git-1.8.3.1"


@pytest.fixture(params=sampled(["git of this machine", "git 1.8.3.1"], 1))
def _each_git(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "git 1.8.3.1":
        use_old_git(tmp_path, monkeypatch)


def use_old_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a git first on PATH that refuses every command and option that CentOS 7's does not have."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "git").symlink_to(OLD_GIT)
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:{os.environ['PATH']}")


def compare(site: Path, *further: Path, left_out: Callable[[str], bool] = lambda path: False) -> checkout.Differences:
    """Compare the site's tracked files that are there, and *further*, with the commit."""
    state = checkout.find(str(site))
    tracked = checkout.tracked(state, str(site))
    places = [str(site / name) for name in tracked if os.path.lexists(str(site / name))]
    packed = [Packed(place, os.access(place, os.X_OK)) for place in [*places, *map(str, further)]]
    return checkout.differences(state, packed, [str(site)], left_out)


def refused(folder: Path) -> str:
    with pytest.raises(BuildInputError) as caught:
        checkout.tracked(checkout.find(str(folder)), str(folder))
    return str(caught.value)


@pytest.mark.usefixtures("_each_git")
def test_a_checkout_names_its_commit_its_time_and_what_it_tracks(site: Path) -> None:
    state = checkout.find(str(site / "site_one"))
    assert state == checkout.Checkout(str(site.parent), git(site, "rev-parse", "HEAD"), 1714979289)
    assert checkout.tracked(state, str(site)) == dict.fromkeys(
        ["manage.py", "site_one/__init__.py", "site_one/wsgi.py"]
    )
    assert set(checkout.tracked(state, str(site.parent))) >= {"requirements.txt", "site_one/manage.py"}
    assert compare(site) == checkout.Differences()
    assert not compare(site)


def test_outside_git_there_is_nothing_to_compare(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "plain", {"a.py": ""})
    state = checkout.find(str(project))
    assert state == checkout.Checkout()
    assert not checkout.differences(state, [Packed(str(project / "a.py"), False)], [], bool)
    assert checkout.untracked(state._replace(root="/nowhere"), [str(project)]) == []


Change = Callable[[Path], object]
CHANGES: Dict[str, Tuple[Change, List[str]]] = {
    "edited": (lambda site: (site / "manage.py").write_text("x"), ["site_one/manage.py"]),
    "edited to the same size": (
        lambda site: (site / "manage.py").write_bytes(b"#" * (site / "manage.py").stat().st_size),
        ["site_one/manage.py"],
    ),
    "staged": (
        lambda site: ((site / "manage.py").write_text("x"), git(site, "add", "manage.py")),
        ["site_one/manage.py"],
    ),
    "executable": (lambda site: (site / "site_one/wsgi.py").chmod(0o755), ["site_one/site_one/wsgi.py"]),
    "no longer executable": (lambda site: (site / "manage.py").chmod(0o644), ["site_one/manage.py"]),
    "deleted": (lambda site: (site / "manage.py").unlink(), ["site_one/manage.py"]),
    "removed from the index": (lambda site: git(site, "rm", "-q", "--cached", "manage.py"), ["site_one/manage.py"]),
    "renamed": (lambda site: git(site, "mv", "manage.py", "run.py"), ["site_one/manage.py"]),
    "assume-unchanged": (
        lambda site: (
            git(site, "update-index", "--assume-unchanged", "manage.py"),
            (site / "manage.py").write_text("x"),
        ),
        ["site_one/manage.py"],
    ),
    "skip-worktree": (
        lambda site: (git(site, "update-index", "--skip-worktree", "manage.py"), (site / "manage.py").write_text("x")),
        ["site_one/manage.py"],
    ),
    "skip-worktree and deleted": (
        lambda site: (git(site, "update-index", "--skip-worktree", "manage.py"), (site / "manage.py").unlink()),
        ["site_one/manage.py"],
    ),
    "became a link": (
        lambda site: ((site / "manage.py").unlink(), (site / "manage.py").symlink_to("site_one/wsgi.py")),
        ["site_one/manage.py"],
    ),
    "line ends by core.autocrlf": (
        lambda site: (
            git(site, "config", "core.autocrlf", "true"),
            (site / "manage.py").write_bytes((site / "manage.py").read_bytes().replace(b"\n", b"\r\n")),
            git(site, "update-index", "-q", "--refresh"),
        ),
        ["site_one/manage.py"],
    ),
    "a filter": (
        lambda site: (
            git(site, "config", "filter.upper.clean", "tr A-Z a-z"),
            (site.parent / ".git" / "info").mkdir(exist_ok=True),
            (site.parent / ".git" / "info" / "attributes").write_text("*.py filter=upper\n"),
            (site / "site_one/wsgi.py").write_text("APPLICATION = None\n"),
        ),
        ["site_one/site_one/wsgi.py"],
    ),
    "ignored changes of a submodule": (
        lambda site: (with_submodule(site), (site / "vendor/code.py").write_text("evil = 1\n")),
        ["site_one/vendor/code.py"],
    ),
    "another commit of a submodule": (
        lambda site: (
            with_submodule(site),
            (site / "vendor/code.py").write_text("evil = 1\n"),
            commit_all(site / "vendor"),
        ),
        ["site_one/vendor/code.py"],
    ),
}


def with_submodule(site: Path) -> None:
    library = write_tree(site.parent.parent / "library", {"code.py": "x = 1\n"})
    commit_all(library)
    git(site.parent, "submodule", "--quiet", "add", str(library), "site_one/vendor")
    git(site.parent, "config", "-f", ".gitmodules", "submodule.site_one/vendor.ignore", "all")
    commit_all(site.parent)
    assert not compare(site)


@pytest.mark.parametrize(
    "case",
    sampled(
        CHANGES, ["edited", "staged", "executable", "assume-unchanged", "skip-worktree and deleted", "became a link"]
    ),
)
def test_a_packed_byte_that_is_not_the_commits_is_seen(site: Path, case: str) -> None:
    change, paths = CHANGES[case]
    change(site)
    assert list(compare(site).changed) == paths


def test_a_file_that_the_commit_does_not_hold_is_seen_wherever_it_is(site: Path, tmp_path: Path) -> None:
    write_tree(site, {"new.py": "x", "staged.py": "x", "ignored.js": "x"})
    (site.parent / ".git" / "info").mkdir(exist_ok=True)
    (site.parent / ".git" / "info" / "exclude").write_text("*.js\n")
    git(site, "add", "staged.py")
    outside = write_tree(tmp_path / "assets", {"a.css": "x"}) / "a.css"
    found = compare(site, site / "new.py", site / "ignored.js", outside)
    assert found.added == (str(outside), "site_one/ignored.js", "site_one/new.py", "site_one/staged.py")
    assert found.changed == ()


def test_in_another_checkout_a_file_is_not_the_commits(site: Path, tmp_path: Path) -> None:
    other = write_tree(tmp_path / "other", {"manage.py": (site / "manage.py").read_text()})
    commit_all(other)
    assert compare(site, other / "manage.py").added == (str(other / "manage.py"),)


def test_before_the_first_commit_nothing_is_the_commits(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "new", {"a.py": "x"})
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    assert checkout.find(str(project)) == checkout.Checkout(str(project), "", 0)
    assert compare(project).added == ("a.py",)


def test_a_file_that_the_rules_leave_out_may_differ_and_be_missing(site: Path) -> None:
    (site / "manage.py").unlink()
    assert not compare(site, left_out=lambda path: path.endswith("/manage.py"))


def test_a_replaced_commit_is_not_the_commit(site: Path) -> None:
    commit = git(site, "rev-parse", "HEAD")
    (site / "manage.py").write_text("x")
    git(site, "commit", "--quiet", "--all", "--message=other")
    other = git(site, "rev-parse", "HEAD")
    git(site, "reset", "--quiet", "--soft", commit)
    git(site, "replace", commit, other)
    assert git(site, "diff", "HEAD") == ""
    assert compare(site).changed == ("site_one/manage.py",)


def test_a_sparse_checkout_is_not_the_commit(site: Path) -> None:
    git(site.parent, "config", "core.sparseCheckout", "true")
    (site.parent / ".git" / "info").mkdir(exist_ok=True)
    (site.parent / ".git" / "info" / "sparse-checkout").write_text("/site_one/manage.py\n")
    git(site.parent, "read-tree", "-mu", "HEAD")
    assert not (site / "site_one").exists()
    assert compare(site).changed == ("site_one/site_one/__init__.py", "site_one/site_one/wsgi.py")


@pytest.mark.parametrize(("content", "clean"), [(b"a large image", True), (b"another image", False)])
def test_content_of_git_lfs_is_the_commits_when_its_pointer_names_it(site: Path, content: bytes, clean: bool) -> None:
    digest = hashlib.sha256(b"a large image").hexdigest()
    write_tree(site, {"a.png": f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 13\n"})
    commit_all(site.parent)
    (site / "a.png").write_bytes(content)
    assert compare(site).changed == (() if clean else ("site_one/a.png",))


@pytest.mark.usefixtures("_each_git")
def test_links_and_submodules_that_are_the_commits_are_clean(site: Path) -> None:
    (site / "run.py").symlink_to("manage.py")
    with_submodule(site)
    write_tree(site, {"ü—日本 \t.txt": "x"})
    commit_all(site.parent)
    assert "vendor/code.py" in checkout.tracked(checkout.find(str(site)), str(site))
    assert not compare(site)


@pytest.mark.usefixtures("_each_git")
def test_untracked_files_are_those_below_the_given_paths(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(site, {"new.txt": "x", "more/a.txt": "x"})
    (site.parent / "outside.txt").write_text("x")
    git(site, "mv", "manage.py", "run.py")
    state = checkout.find(str(site))
    assert checkout.untracked(state, [str(site)]) == ["site_one/more/", "site_one/new.txt"]
    monkeypatch.chdir(site)
    assert checkout.untracked(state, ["."]) == ["site_one/more/", "site_one/new.txt"]
    assert checkout.untracked(state, [str(site.parent)])[0] == "outside.txt"


@pytest.mark.usefixtures("_each_git")
def test_untracked_files_of_submodules_are_named_too(site: Path) -> None:
    with_submodule(site)
    state = checkout.find(str(site))
    assert checkout.untracked(state, [str(site)]) == []
    write_tree(site / "vendor", {"new.py": "x", "more/a.txt": "x", ".gitignore": "*.log\n.gitignore\n", "a.log": ""})
    names = ["site_one/vendor/more/", "site_one/vendor/new.py"]
    for paths in ([site], [site.parent], [site / "vendor"], [site, site / "manage.py"]):
        assert checkout.untracked(state, [str(path) for path in paths]) == names
    assert checkout.untracked(state, [str(site / "vendor" / "more")]) == names[:1]
    assert checkout.untracked(state, [str(site / "site_one")]) == []


def test_a_missing_submodule_is_refused(site: Path, tmp_path: Path) -> None:
    with_submodule(site)
    git(tmp_path, "clone", "--quiet", str(site.parent), str(tmp_path / "clone"))
    assert refused(tmp_path / "clone" / "site_one").endswith(
        "vendor: is a submodule that is not checked out. Run git submodule update --init --recursive."
    )


def test_a_checkout_without_git_is_refused_with_the_way_out(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "git cannot be run (No such file or directory). Install git, or use --all-files." in refused(site)


def test_a_checkout_of_another_user_is_refused_with_the_command_that_helps(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "fatal: detected dubious ownership in repository"
    fake = write_tree(tmp_path / "bin", {"git": (f"#!/bin/sh\necho '{text}' >&2\nexit 128\n", 0o755)})
    monkeypatch.setenv("PATH", f"{fake}:/usr/bin:/bin")
    assert f"safe.directory {site.parent}, or use --all-files." in refused(site)


def test_a_hooks_environment_does_not_lead_git_to_another_checkout(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    assert checkout.find(str(site)).commit


def test_an_old_git_is_told_of_a_linked_worktree(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(site.parent, "worktree", "add", "-q", str(tmp_path / "linked"))
    assert checkout.find(str(tmp_path / "linked" / "site_one")).commit
    use_old_git(tmp_path, monkeypatch)
    assert refused(tmp_path / "linked" / "site_one") == (
        f"{tmp_path}/linked: is a linked worktree, which git reads since 2.5; this is 1.8.3.1. "
        "Use a clone, or install a newer git (CentOS 7: rh-git227-git), or use --all-files."
    )


def test_an_old_git_is_told_of_a_newer_repository_format(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(site.parent, "config", "core.repositoryFormatVersion", "1")
    use_old_git(tmp_path, monkeypatch)
    assert "has repository format 1, which git reads since 2.7; this is 1.8.3.1. Use a clone" in refused(site)


def test_an_old_git_is_told_of_a_split_index(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(site.parent, "update-index", "--split-index")
    assert checkout.tracked(checkout.find(str(site)), str(site))
    use_old_git(tmp_path, monkeypatch)
    assert "has a split index, which git reads since 2.3; this is 1.8.3.1. Run git update-index --no-split" in refused(
        site
    )


def test_a_damaged_checkout_is_refused_with_gits_own_words(site: Path) -> None:
    (site.parent / ".git" / "index").write_bytes(b"damaged")
    message = refused(site)
    assert "git ls-files failed (" in message
    assert message.endswith("Repair the checkout, or use --all-files.")


@pytest.mark.parametrize(
    "words",
    sampled(
        [
            ["-C", ".", "status"],
            ["status", "--porcelain=v2"],
            ["worktree", "list"],
            ["rev-parse", "--git-common-dir"],
            ["ls-files", "--recurse-submodules"],
            ["log", "--no-show-signature"],
            ["switch", "main"],
        ],
        2,
    ),
)
def test_the_stand_in_for_git_1_8_3_1_refuses_what_that_did_not_have(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: List[str]
) -> None:
    use_old_git(tmp_path, monkeypatch)
    real = shutil.which("git", path="/usr/bin:/bin:/usr/local/bin")
    assert real
    with pytest.raises(BuildInputError):
        run_git(str(site), *words)


def listing(names: List[str]) -> bytes:
    """Return what git says of a commit with files of these names, of as many bytes as their name has characters."""
    rows = [(os.fsencode(name), f"100644 blob {'a' * 40} {len(name):7}\t".encode()) for name in names]
    return b"".join(about + name + b"\0" for name, about in sorted(rows))


def test_every_file_of_a_large_commit_is_found_in_any_order() -> None:
    names = [f"{folder}/file_{n}" for folder in ("a", "a.b", "a-b/é", "\udcff", "\ue000") for n in range(400)]
    committed = Committed("/srv", "c" * 40, lambda *_: listing(names))
    for name in [*names[::-3], *names[::3]]:
        assert committed.take(name) == Blob("100644", "a" * 40, len(name), "/srv")
        assert committed.take(name + "0" * 9) is None
    for name in ("", "a", "\uffff", "a/file_"):
        assert committed.take(name) is None
    assert sorted(committed.left()) == sorted({*names} - {*names[::3], *names[::-3]})


def test_an_empty_commit_has_no_files() -> None:
    committed = Committed("/srv", "c" * 40, lambda *_: b"")
    assert committed.take("a") is None
    assert not list(committed.left())


def test_a_large_commit_takes_little_memory() -> None:
    names = [f"part_{n // 100:03}/file_{n:05}" for n in range(20_000)]
    text = listing(names)
    tracemalloc.start()
    try:
        committed = Committed("/srv", "c" * 40, lambda *_: text)
        assert all(map(committed.take, names))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(text) / 2
