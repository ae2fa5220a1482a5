from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, List, Sequence

import pytest

from deployable_zipfile.builder import checkout, naming, source
from deployable_zipfile.builder.files import File, Place
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import write_tree
from tests.unit.builder.conftest import SITE, commit_all, git


def names(selection: source.Selection) -> List[str]:
    return [file.name for file in selection.files]


def project_files(
    project: str, include: Sequence[str] = (), exclude: Sequence[str] = (), all_files: bool = False, **options: Any
) -> source.Selection:
    """Choose as create.py does: what git tracks in a checkout."""
    found = checkout.Checkout() if all_files else checkout.find(project)
    tracked = checkout.tracked(found, project) if found.root else None
    name = naming.project_name(project)
    return source.project_files(project, name, include, exclude, tracked=tracked, **options)


def refused(action: str, *arguments: Any, **options: Any) -> str:
    with pytest.raises(BuildInputError) as caught:
        project_files(*arguments, **options) if action == "project_files" else getattr(source, action)(
            *arguments, **options
        )
    return str(caught.value)


def test_exactly_the_tracked_files_are_packed(site: Path) -> None:
    write_tree(site, {"notes.txt": "not tracked"})
    selection = project_files(str(site))
    assert names(selection) == ["site_one/manage.py", "site_one/site_one/__init__.py", "site_one/site_one/wsgi.py"]
    assert [oct(file.mode) for file in selection.files] == ["0o755", "0o644", "0o644"]


def test_outside_git_and_with_all_files_everything_is_packed(site: Path, tmp_path: Path) -> None:
    write_tree(site, {"notes.txt": "not tracked"})
    assert "site_one/notes.txt" in names(project_files(str(site), all_files=True))
    plain = write_tree(tmp_path / "plain" / "site_two", SITE)
    assert names(project_files(str(plain)))[0] == "site_two/manage.py"


def test_untracked_files_are_packed_when_include_names_them(site: Path) -> None:
    write_tree(site, {"static/js/app.js": "1", "static/js/app.js.map": "2", "static/readme": "3"})
    assert names(project_files(str(site), include=["site_one/static/**/*.js"]))[-1] == "site_one/static/js/app.js"
    assert "site_one/static/readme" in names(project_files(str(site), include=["site_one/static"]))


@pytest.mark.parametrize("pattern", ["site_two/*.py", "site_two/**/*.py", "site_two", "*/manage.py"])
def test_outside_git_an_include_names_files_too(tmp_path: Path, pattern: str) -> None:
    project = write_tree(tmp_path / "plain" / "site_two", SITE)
    assert len(project_files(str(project), include=[pattern]).files) == len(SITE)
    assert "matches no file" in refused("project_files", str(project), include=["site_two/dist/*"])


def test_with_all_files_an_include_names_files_too(site: Path) -> None:
    write_tree(site, {"dist/app.js": "1"})
    assert "site_one/dist/app.js" in names(project_files(str(site), include=["*/dist/*.js"], all_files=True))


def test_an_include_that_names_nothing_is_refused(site: Path) -> None:
    assert refused("project_files", str(site), include=["site_one/dist/*"]) == (
        "include 'site_one/dist/*': matches no file. Build these files first, or correct it."
    )


def test_excluded_files_are_not_packed(site: Path) -> None:
    chosen = names(project_files(str(site), exclude=["**/wsgi.py", "*/manage.py"]))
    assert chosen == ["site_one/site_one/__init__.py"]


@pytest.mark.parametrize("pattern", ["site_one/site_one", "site_one/site_one/", "site_one/site_one/**", "*/site_one"])
def test_a_pattern_that_matches_a_folder_means_all_below_it(site: Path, pattern: str) -> None:
    assert names(project_files(str(site), exclude=[pattern])) == ["site_one/manage.py"]


def test_what_may_never_be_packed_is_left_out_even_when_tracked(tmp_path: Path) -> None:
    forbidden = {
        "environment.json": "{}",
        ".env": "A=1",
        ".env.production": "A=1",
        "site_one/environment.json": "{}",
        "keys/server.pem": "-----BEGIN PRIVATE KEY-----",
        "keys/id_rsa": "x",
        "keys/tls.key": "x",
        "__pycache__/x.cpython-311.pyc": "x",
        ".pytest_cache/x": "x",
        "env/pyvenv.cfg": "home = /usr",
        "env/bin/python": "x",
    }
    project = write_tree(tmp_path / "repo" / "site_one", {**SITE, **forbidden, ".env.example": "A="})
    commit_all(tmp_path / "repo")
    for all_files in (False, True):
        selection = project_files(str(project), all_files=all_files)
        assert names(selection)[0] == "site_one/.env.example"
        assert len(selection.files) == len(SITE) + 1
        left = " ".join(selection.left_out)
        for name in (".env", "environment.json", "keys/server.pem", "keys/id_rsa", "env/", "__pycache__/"):
            assert name in left


def test_a_certificate_without_a_key_is_packed_when_include_names_it(site: Path) -> None:
    write_tree(site, {"ca.pem": "-----BEGIN CERTIFICATE-----", "own.pem": "-----BEGIN RSA PRIVATE KEY-----"})
    commit_all(site.parent)
    assert "site_one/ca.pem" in project_files(str(site), include=["site_one/*.pem"]).files[0].name
    assert "own.pem" in project_files(str(site), include=["site_one/*.pem"]).left_out


def test_what_this_build_writes_is_never_packed(site: Path) -> None:
    write_tree(site, {"out.zip": "old artifact"})
    commit_all(site.parent)
    assert "site_one/out.zip" not in names(project_files(str(site), outputs=frozenset([str(site / "out.zip")])))


def test_empty_folders_are_kept_outside_git(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "site_one", {**SITE, "media/uploads": None})
    assert project_files(str(project)).directories == ("site_one/media/uploads",)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert source.static_files(str(empty), 3).directories == ("static.in/3",)


def test_static_folders_are_packed_whole_and_numbered(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "assets", {"css/site.css": "a", ".env": "SECRET=1"})
    selection = source.static_files(str(folder), 1)
    assert (names(selection), selection.left_out) == (["static.in/1/css/site.css"], (".env",))
    assert refused("static_files", str(tmp_path / "nowhere"), 0).endswith(
        "directory not found. Correct --extra-static."
    )


def test_packages_named_like_standard_modules_inside_the_project_are_fine(tmp_path: Path) -> None:
    files = {f"{name}/__init__.py": "" for name in ("json", "email", "platform")}
    assert len(project_files(str(write_tree(tmp_path / "site_one", {**SITE, **files}))).files) == 6


def test_a_missing_or_empty_project_is_refused(tmp_path: Path) -> None:
    assert refused("project_files", str(tmp_path / "none")).endswith(
        "none: directory not found. Give the folder of a Django, WSGI or ASGI project."
    )
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "dangling"):
        assert f"{name}: is not a directory. Give the folder" in refused("project_files", str(tmp_path / name))
    (tmp_path / "site_one").mkdir()
    assert "contains no file to pack. Give" in refused("project_files", str(tmp_path / "site_one"))


def test_a_project_that_git_does_not_track_is_refused(site: Path) -> None:
    write_tree(site.parent / "site_two", SITE)
    assert "contains no file that git tracks. Run git add, or use --all-files." in refused(
        "project_files", str(site.parent / "site_two")
    )


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/etc/hostname", "leads to the absolute path /etc/hostname"),
        ("../../outside.txt", "leads out of the folder (../../outside.txt)"),
        ("gone.txt", "leads to a missing file (gone.txt)"),
        ("link.txt", "leads in a circle (link.txt)"),
        ("site_one", "leads to a folder (site_one)"),
        (".env", "leads to .env, which is not packed"),
    ],
)
def test_a_link_that_a_copy_could_not_replace_is_refused(tmp_path: Path, target: str, why: str) -> None:
    project = write_tree(tmp_path / "a" / "site_one", {**SITE, ".env": "x"})
    (tmp_path / "outside.txt").write_text("x")
    (project / "link.txt").symlink_to(target)
    assert refused("project_files", str(project)) == (
        f"{project}/link.txt: is a symbolic link that {why}. Replace it by a copy, or exclude it."
    )


def test_a_link_inside_the_project_is_packed_as_a_copy_and_noted(site: Path) -> None:
    (site / "run.py").symlink_to("manage.py")
    commit_all(site.parent)
    selection = project_files(str(site))
    run = next(file for file in selection.files if file.name == "site_one/run.py")
    assert (run.path, run.mode, selection.links) == (str(site / "manage.py"), 0o755, ("run.py",))


def test_a_fifo_and_a_socket_are_refused_without_being_opened(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "site_one", SITE)
    os.mkfifo(str(project / "pipe"))
    assert refused("project_files", str(project)).endswith(
        "pipe: is a FIFO. Remove it, or exclude it: see docs/build.md."
    )
    (project / "pipe").unlink()
    here = os.getcwd()
    os.chdir(str(project))  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
            assert "is a socket" in refused("project_files", str(project))
    finally:
        os.chdir(here)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_tree(tmp_path / "site_one", {**SITE, "secret.txt": "x"})
    monkeypatch.setattr(os, "access", lambda path, mode: not path.endswith("secret.txt"))  # root may read everything
    assert "secret.txt: cannot be read (no permission)" in refused("project_files", str(project))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"caf\xe9.txt", "its name is not UTF-8"),
        ("cafe\u0301.txt".encode(), "its name is not in Unicode's normal form NFC"),
        (b"two\nlines", "two\\nlines: its name holds control or format characters"),
        (b"esc\x1b[31m", "esc\\x1b[31m: its name holds control or format characters"),
        (b"back\\slash", "its name holds a backslash or a colon"),
        (b"co:lon", "its name holds a backslash or a colon"),
        (b"blank ", "its name ends with a blank"),
        (b"/".join([b"deep"] * 70), "its name is longer than 1024 bytes, 64 parts or 255 bytes a part"),
    ],
)
def test_a_name_that_cannot_travel_is_refused_escaped(tmp_path: Path, name: bytes, why: str) -> None:
    project = write_tree(tmp_path / "site_one", SITE)
    path = os.path.join(os.fsencode(str(project)), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass
    message = refused("project_files", str(project))
    assert why in message
    assert message.endswith("Rename it, or exclude it: see docs/build.md.")
    assert message.isprintable()


def test_names_with_blanks_equals_signs_and_other_alphabets_are_fine(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "site_one", {**SITE, "a b=c/ü—日本.txt": "x"})
    assert names(project_files(str(project)))[0] == "site_one/a b=c/ü—日本.txt"


def test_names_that_differ_only_by_case_are_refused_naming_both(tmp_path: Path) -> None:
    project = write_tree(tmp_path / "site_one", {**SITE, "Page.html": "1", "page.html": "2"})
    assert refused("check_together", project_files(str(project)).files) == (
        "site_one/page.html: differs from site_one/Page.html only by case. Rename one of them."
    )


def test_four_gigabytes_are_refused_with_the_largest_folders() -> None:
    def file(name: str, size: int) -> File:
        return File(f"site_one/{name}", 0o644, Place("/site", "site_one"), (1, 2, size, 3, 4))

    small = file("a/x", 10)
    assert refused("check_sizes", [small, file("b/y", 5 * 2**30)], 0) == (
        "/site/b/y: has 5368709120 bytes, 4 GiB or more. Exclude it: see docs/build.md."
    )
    message = refused("check_sizes", [file("a/x", 2**31), file("b/z", 2**31), small], 5)
    assert "has 3 files, with the wheels 4294967311 bytes: 4 GiB or more" in message
    assert "largest: site_one/a (2147 MB), site_one/b (2147 MB)" in message


def test_files_behind_a_folder_that_became_a_link_are_not_packed(site: Path, tmp_path: Path) -> None:
    (site / "site_one").rename(tmp_path / "elsewhere")
    (site / "site_one").symlink_to(tmp_path / "elsewhere")
    assert names(project_files(str(site))) == ["site_one/manage.py"]


def test_a_submodule_is_packed_and_a_missing_one_is_refused(site: Path, tmp_path: Path) -> None:
    library = write_tree(tmp_path / "library", {"code.py": "x = 1\n"})
    commit_all(library)
    git(site.parent, "submodule", "--quiet", "add", str(library), "site_one/vendor")
    commit_all(site.parent)
    assert "site_one/vendor/code.py" in names(project_files(str(site)))
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(site.parent), str(clone))
    assert refused("project_files", str(clone / "site_one")).endswith(
        "vendor: is a submodule that is not checked out. Run git submodule update --init --recursive."
    )


def test_modes_come_from_git_where_the_file_system_has_none(site: Path) -> None:
    git(site, "config", "core.fileMode", "false")
    (site / "manage.py").chmod(0o644)
    (site / "site_one" / "wsgi.py").chmod(0o755)
    assert [oct(file.mode) for file in project_files(str(site)).files] == ["0o755", "0o644", "0o644"]


@pytest.mark.parametrize("value", ["", "soon", "-1", "0", "315532799", "4354819200", "1e9"])
def test_a_bad_source_date_epoch_is_refused(value: str) -> None:
    assert refused("source_epoch", value, 5).startswith(f"SOURCE_DATE_EPOCH: is {value!r}, not a number of seconds")


def test_source_date_epoch_comes_before_the_commits_time() -> None:
    assert (source.source_epoch("1600000000", 5), source.source_epoch(None, 5)) == (1600000000, 5)


@pytest.mark.parametrize("seconds", [-(10**9), 0, 10**10, 30 * 10**9])
def test_a_file_is_packed_whatever_its_time(tmp_path: Path, seconds: int) -> None:
    site = write_tree(tmp_path / "site_one", SITE)
    os.utime(site / "manage.py", (seconds, seconds))
    chosen = project_files(str(site))
    source.check_unchanged([chosen])
    [file] = [file for file in chosen.files if file.name == "site_one/manage.py"]
    status = os.stat(site / "manage.py")
    assert (file.path, file.size, file.inode) == (str(site / "manage.py"), status.st_size, status.st_ino)
    os.utime(site / "manage.py", (1_234_567, 1_234_567))
    assert "manage.py: changed while the artifact was built" in refused("check_unchanged", [chosen])
