from __future__ import annotations

from pathlib import Path
from typing import List, Sequence

import pytest

from deployable_zipfile.builder import pylock
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import write_tree

A, B, C = "a" * 64, "b" * 64, "c" * 64
LOCK = f"""lock-version = "1.0"
created-by = "test"
requires-python = ">=3.8"
environments = ["sys_platform == 'linux'", "sys_platform == 'darwin'"]
extras = ["fast-json"]
dependency-groups = ["deploy", "dev"]
default-groups = ["deploy"]
[[packages]]
name = "foo"
version = "1.2"
marker = "python_version >= '3.8'"
requires-python = ">=3.7"
index = "https://index.example.org/simple"
wheels = [
  {{ name = "foo-1.2-py3-none-any.whl", url = "https://example.org/f/1", hashes = {{ sha256 = "{A}", md5 = "0" }} }},
  {{ path = "./w/foo-1.2-cp311-cp311-linux_x86_64.whl", hashes = {{ sha512 = "{"d" * 128}" }} }},
]
sdist = {{ url = "https://example.org/foo-1.2.tar.gz", hashes = {{ sha256 = "{B}" }} }}
[[packages]]
name = "bar"
archive = {{ url = "https://example.org/bar.zip", hashes = {{ sha256 = "{C}" }}, subdirectory = "sub" }}
[[packages]]
name = "local"
archive = {{ path = "a b/local.tar.gz", hashes = {{ sha256 = "{C}" }} }}
[[packages]]
name = "tree"
directory = {{ path = "libs/tree", editable = true, subdirectory = "py" }}
[[packages]]
name = "repo"
[packages.vcs]
type = "git"
url = "https://example.org/r.git"
requested-revision = "main"
commit-id = "{"1" * 40}"
subdirectory = "s"
[[packages]]
name = "near"
vcs = {{ type = "git", path = "../near", commit-id = "{"2" * 40}" }}
[[packages]]
name = "deploying"
version = "1"
marker = "'deploy' in dependency_groups and python_version < '4'"
sdist = {{ url = "https://example.org/deploying-1.tar.gz", hashes = {{ sha256 = "{B}" }} }}
[[packages]]
name = "developing"
version = "1"
marker = "'dev' in dependency_groups or 'fast-json' in extras"
sdist = {{ url = "https://example.org/developing-1.tar.gz", hashes = {{ sha256 = "{B}" }} }}
"""


def read(text: str = LOCK, groups: Sequence[str] = (), extras: Sequence[str] = ()) -> pylock.Lock:
    return pylock.parsed("/p/pylock.toml", text.encode("utf-8"), groups, extras)


def test_every_source_of_the_specification_is_read() -> None:
    lock = read()
    assert (lock.requires_python, len(lock.environments)) == (">=3.8", 2)
    found = {package.name: package for package in lock.packages}
    assert found["foo"].files == (
        pylock.File("foo-1.2-py3-none-any.whl", "https://example.org/f/1", (f"sha256:{A}",)),
        pylock.File(
            "foo-1.2-cp311-cp311-linux_x86_64.whl",
            "file:///p/w/foo-1.2-cp311-cp311-linux_x86_64.whl",
            (f"sha512:{'d' * 128}",),
        ),
        pylock.File("foo-1.2.tar.gz", "https://example.org/foo-1.2.tar.gz", (f"sha256:{B}",)),
    )
    assert (found["foo"].version, found["foo"].requires_python) == ("1.2", ">=3.7")
    assert (found["bar"].url, found["bar"].hashes) == ("https://example.org/bar.zip#subdirectory=sub", (f"sha256:{C}",))
    assert found["local"].url == "file:///p/a%20b/local.tar.gz"
    assert found["tree"].url == "file:///p/libs/tree/py"
    assert found["repo"].url == f"git+https://example.org/r.git@{'1' * 40}#subdirectory=s"
    assert found["near"].url == f"git+file:///near@{'2' * 40}"


ALWAYS, NEVER = 'python_version >= "0"', 'python_version < "0"'


@pytest.mark.parametrize(
    ("groups", "extras", "deploying", "developing"),
    [
        ([], [], ALWAYS, [NEVER, NEVER]),
        (["dev"], [], NEVER, [ALWAYS, NEVER]),
        (["dev", "deploy"], [], ALWAYS, [ALWAYS, NEVER]),
        ([], ["Fast_JSON"], ALWAYS, [NEVER, ALWAYS]),
    ],
)
def test_groups_and_extras_are_decided_and_other_markers_stay(
    groups: List[str], extras: List[str], deploying: str, developing: List[str]
) -> None:
    found = {package.name: package.marker for package in read(LOCK, groups, extras).packages}
    assert found["deploying"] == f'{deploying} and python_version < "4"'
    assert found["developing"] == " or ".join(developing)
    assert found["foo"] == 'python_version >= "3.8"'


def test_the_names_of_groups_and_extras_are_compared_in_their_normal_form() -> None:
    text = LOCK.replace('["deploy", "dev"]', '["deploy", "Dev_Tools"]').replace("'dev' in dep", "'dev.tools' in dep")
    text = text.replace("'fast-json' in extras", "'Fast_Json' in extras")
    for groups, extras, wanted in ((["dev-tools"], [], [ALWAYS, NEVER]), ([], ["fast.json"], [NEVER, ALWAYS])):
        assert read(text, groups, extras).packages[-1].marker == " or ".join(wanted)


def test_a_newer_minor_version_is_a_doubt_and_a_byte_order_mark_is_none(caplog: pytest.LogCaptureFixture) -> None:
    lock = pylock.parsed("/p/pylock.toml", LOCK.replace('"1.0"', '"1.1"').encode("utf-8-sig"))
    assert lock.doubt == "is of version 1.1, and only what 1.0 knows is understood"
    assert (read().doubt, caplog.records) == ("", [])


def test_a_path_comes_before_a_url_where_the_file_is(tmp_path: Path) -> None:
    write_tree(tmp_path, {"foo-1.tar.gz": "four", "bar.zip": "four"})
    hashes = f'hashes = {{ sha256 = "{A}" }}'
    sdist = f'sdist = {{ path = "foo-1.tar.gz", url = "https://example.org/foo-1.tar.gz", size = 4, {hashes} }}'
    packages = f"""lock-version = "1.0"
created-by = "test"
[[packages]]
name = "foo"
version = "1"
{sdist}
[[packages]]
name = "bar"
archive = {{ path = "bar.zip", url = "https://example.org/bar.zip", size = 4, {hashes} }}
"""
    path = str(tmp_path / "pylock.toml")

    def urls() -> List[str]:
        foo, bar = pylock.parsed(path, packages.encode()).packages
        return [foo.files[0].url, bar.url]

    assert urls() == [f"file://{tmp_path}/foo-1.tar.gz", f"file://{tmp_path}/bar.zip"]
    (tmp_path / "bar.zip").write_text("five!")
    with pytest.raises(
        BuildInputError, match=r"packages\[1\]: bar.zip has 5 bytes, the lock says 4. Lock again, and find"
    ):
        urls()
    for name in ("foo-1.tar.gz", "bar.zip"):
        (tmp_path / name).unlink()
    assert urls() == ["https://example.org/foo-1.tar.gz", "https://example.org/bar.zip"]


def test_what_is_not_in_a_set_is_decided_too() -> None:
    text = LOCK.replace("'dev' in dependency_groups or", "'dev' not in dependency_groups and")
    assert read(text).packages[-1].marker == f"{ALWAYS} and {NEVER}"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', "pylock.toml: pylock version 2.0 is not supported"),
        ("[[packages]]", "[[packages", "is not TOML"),
        ('name = "foo"', "", "packages[0].name: Missing required value"),
        ("python_version >=", "python_wersion >=", "packages[0].marker: foo: "),
        (
            'sha512 = "',
            'blake2b = "',
            "pylock.toml:packages[0]: foo has no sha256, sha384 or sha512 hash, only blake2b",
        ),
        (f'"{C}"', '"abc"', "packages[1]: bar has no sha256, sha384 or sha512 hash"),
        ('type = "git"\nurl', 'type = "hg"\nurl', "repo comes from version control other than git (hg)"),
        ('"' + "1" * 40, '"main', "repo comes from git without a full commit"),
        ('name = "foo-1.2-py3', 'name = "fo-1.2-py3', "packages[0].wheels[0]: foo: Name in 'fo-1.2-py3-none-any.whl'"),
        ("sdist = { url", "sdist = { uri", "packages[0].sdist: foo: path or url must be provided"),
        ("[[packages]]\n", "[[package]]\n", "packages: Unexpected type dict (expected Sequence)"),
    ],
)
def test_a_lock_that_cannot_be_used_is_refused_naming_the_package(old: str, new: str, why: str) -> None:
    assert old in LOCK
    with pytest.raises(BuildInputError) as caught:
        read(LOCK.replace(old, new))
    assert why in str(caught.value)


def test_an_unknown_group_or_extra_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(BuildInputError, match=r"has no group 'prod', known are deploy, dev\. Correct --group"):
        read(LOCK, ["prod"])
    with pytest.raises(BuildInputError, match=r"has no extra 'x', known are fast-json\. Correct --extra"):
        read(LOCK, [], ["x"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/pylock.toml", True), ("pylock.prod.toml", True), ("pylock.a.b.toml", False), ("requirements.txt", False)],
)
def test_a_lock_is_known_by_its_name(path: str, expected: bool) -> None:
    assert pylock.is_lock(path) is expected
