from __future__ import annotations

from pathlib import Path
from typing import Union

import pytest

from deployable_zipfile.builder import requirements
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import SECRET

HASH = "sha256:" + "a" * 64


def lock(folder: Path, text: Union[str, bytes], name: str = "req.txt") -> str:
    path = folder / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(BuildInputError) as caught:
        requirements.read(path)
    return str(caught.value)


def test_requirements_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    text = f"""# a comment
--index-url https://index.example.org/simple
--extra-index-url=https://more.example.org/simple
--pre
Django[argon2]==4.2.1 ; python_version >= "3.8" \\
    --hash={HASH} \\
    --hash=sha256:{"b" * 64}
    # via site
foo>=1,<2 --hash {HASH}  # another comment
"""
    read = requirements.read(lock(tmp_path, text))
    assert [str(line.requirement) for line in read.lines] == [
        'Django[argon2]==4.2.1; python_version >= "3.8"',
        "foo<2,>=1",
    ]
    assert read.lines[0].place == f"{tmp_path}/req.txt:5"
    assert read.lines[0].hashes == (HASH, "sha256:" + "b" * 64)
    assert read.options == (
        *("--index-url", "https://index.example.org/simple"),
        *("--extra-index-url", "https://more.example.org/simple"),
        "--pre",
    )
    assert (read.hashed, requirements.pinned(read)) == (True, frozenset(["django"]))


def test_included_files_count_and_constraints_are_kept_apart(tmp_path: Path) -> None:
    lock(tmp_path, "bar==2\n", "more.txt")
    lock(tmp_path, "baz==3\n", "constraints.txt")
    path = lock(tmp_path, "-rmore.txt\n-c constraints.txt\nfoo==1\n")
    read = requirements.read(path)
    assert [line.requirement.name for line in read.lines] == ["bar", "foo"]
    assert read.constraints == (f"{tmp_path}/constraints.txt",)
    before = read.digest
    lock(tmp_path, "baz==4\n", "constraints.txt")
    assert requirements.read(path).digest != before


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    assert requirements.read(lock(tmp_path, "")).lines == ()
    assert requirements.read(lock(tmp_path, b"\xef\xbb\xbffoo==1\n")).lines[0].requirement.name == "foo"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("foo==1\nfoo bar\n", 2, "'foo bar' is no requirement"),
        ("foo==1\n\n--wrong\n", 3, "cannot be read as an option: --wrong"),
        ("--wrong=1\n", 1, "uses the option --wrong, which is unknown. Remove it."),
        ("foo==1 --wrong=1\n", 1, "uses the option --wrong, which is unknown here"),
        ("-e .\n", 1, "asks for an editable installation. Write NAME @ URL of a released version instead."),
        ("-e git+https://example.org/x.git#egg=x\n", 1, "asks for an editable installation"),
        ("git+https://example.org/x.git\n", 1, "from version control. Write NAME @ git+URL@COMMIT"),
        ("x @ git+https://example.org/x.git@main\n", 1, "from version control"),
        ("x @ hg+https://example.org/x@" + "a" * 40 + "\n", 1, "from version control"),
        ("./folder\n", 1, "./folder is no wheel or sdist. Give the URL of a .whl or .tar.gz."),
        ("file:///nowhere/x-1.0-py3-none-any.whl\n", 1, "names /nowhere/x-1.0-py3-none-any.whl, which is no file"),
        ("foo==1 --hash=md5:abc\n", 1, "'md5:abc' is no sha256, sha384 or sha512 digest. Lock the requirements again."),
        ("-r nowhere.txt\n", 1, "which cannot be read (No such file or directory)"),
        ("x" * 70_000 + "\n", 1, "is a line of 70000 characters"),
        ("--index-url 'http\n", 1, "cannot be read (No closing quotation)"),
        ("foo==1\nb\xe4r==1\n".encode("latin-1"), 2, "is not UTF-8. Save the file as UTF-8."),
    ],
)
def test_a_mistake_is_refused_with_file_and_line(tmp_path: Path, text: Union[str, bytes], line: int, why: str) -> None:
    message = refused(lock(tmp_path, text))
    assert message.startswith(f"{tmp_path}/req.txt:{line}: ")
    assert why in message
    assert message.isprintable()
    assert len(message) <= 500


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    lock(tmp_path, "-r req.txt\n", "more.txt")
    path = lock(tmp_path, "foo==1\n-r more.txt\n")
    assert refused(path).startswith(f"{tmp_path}/more.txt:1: includes {tmp_path}/req.txt, which includes this file")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert refused(f"{tmp_path}/none.txt").endswith(
        "none.txt: cannot be read (No such file or directory). Give a requirements file."
    )
    assert refused(str(tmp_path)).endswith("is a folder. Give a requirements file.")


def test_hashes_on_some_lines_alone_are_refused(tmp_path: Path) -> None:
    path = lock(tmp_path, f"foo==1 --hash={HASH}\nbar==2\nbaz==3\n")
    assert refused(path) == (
        f"{path}:2: bar has no hash (and 1 more), others have. Lock all of them: uv pip compile --generate-hashes."
    )
    assert "foo has no hash" in refused(lock(tmp_path, "--require-hashes\nfoo==1\n"))


def test_a_pinned_commit_and_urls_are_accepted(tmp_path: Path) -> None:
    text = f"x @ git+https://example.org/x.git@{'a' * 40}\nhttps://example.org/some_thing-1.2-py3-none-any.whl\n"
    read = requirements.read(lock(tmp_path, text))
    assert requirements.pinned(read) == frozenset(["x", "some-thing"])


def test_a_local_wheel_is_part_of_the_locks_identity(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    path = lock(tmp_path, f"{wheel}\n")
    before = requirements.read(path).digest
    wheel.write_bytes(b"two")
    assert requirements.read(path).digest != before


def test_no_message_shows_the_token_of_a_private_index(tmp_path: Path) -> None:
    for text in (
        f"git+https://user:{SECRET}@example.org/x.git\n",
        f"x @ https://{SECRET}@example.org/x.whl bad\n",
        f"https://example.org/x?token={SECRET}\n",
        f"-e git+https://{SECRET}@example.org/x.git\n",
    ):
        assert SECRET not in refused(lock(tmp_path, text))
    assert requirements.without_credentials(f"a https://u:{SECRET}@h/x?t={SECRET} b") == "a https://****@h/x?**** b"


def test_variables_of_the_environment_are_replaced_as_pip_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_HOST", "index.example.org")
    read = requirements.read(lock(tmp_path, "--index-url https://${INDEX_HOST}/simple\nfoo==1\n"))
    assert read.options == ("--index-url", "https://index.example.org/simple")


PYLOCK = f"""lock-version = "1.0"
created-by = "test"
[[packages]]
name = "foo"
version = "1.2"
marker = "python_version >= '3.8'"
[[packages.wheels]]
name = "foo-1.2-py3-none-any.whl"
url = "https://example.org/foo-1.2-py3-none-any.whl"
hashes = {{sha256 = "{"a" * 64}"}}
[packages.sdist]
name = "foo-1.2.tar.gz"
hashes = {{sha256 = "{"b" * 64}"}}
[[packages]]
name = "bar"
[packages.archive]
url = "https://example.org/bar-2.tar.gz"
hashes = {{sha256 = "{"c" * 64}"}}
"""


def test_a_pylock_is_read_by_version_marker_and_hashes(tmp_path: Path) -> None:
    for name in ("pylock.toml", "pylock.deployment.toml"):
        read = requirements.read(lock(tmp_path, PYLOCK, name))
        assert [str(line.requirement) for line in read.lines] == [
            'foo==1.2; python_version >= "3.8"',
            "bar @ https://example.org/bar-2.tar.gz",
        ]
        assert read.lines[0].hashes == ("sha256:" + "a" * 64, "sha256:" + "b" * 64)
        assert (read.rewritten, read.hashed) == (True, True)
    text = requirements.as_pip_lines(read.lines)
    assert text.splitlines()[0] == f"foo==1.2 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', "has lock-version '2.0', known is 1.0. Export it again."),
        ("[[packages]]", "[[packages", "is no TOML"),
        ('name = "foo"', "", "packages[1]: has no name. Export it again."),
        ("python_version >=", "python_wersion >=", "packages[1]: cannot be read"),
        ("sha256", "md5", "packages[1]: foo has no usable hash. Export it with hashes."),
        ("[packages.archive]", "[packages.vcs]", "packages[2]: bar comes from a vcs. Lock a released version."),
        ("[packages.archive]", "[packages.sdist]", "packages[2]: bar has neither version nor URL. Export it again."),
    ],
)
def test_a_pylock_that_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert why in refused(lock(tmp_path, PYLOCK.replace(old, new), "pylock.toml"))
