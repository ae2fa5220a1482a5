from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple, Union

import pytest

from deployable_zipfile.builder import requirements, requirements_file
from deployable_zipfile.errors import BuildInputError
from tests.support.helpers import SECRET, write_tree

HASH = "sha256:" + "a" * 64


def lock(folder: Path, text: Union[str, bytes], name: str = "req.txt") -> str:
    path = folder / name
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(BuildInputError) as caught:
        requirements_file.read(path)
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
    read = requirements_file.read(lock(tmp_path, text))
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
    assert read.fixed


def test_included_files_count_and_constraints_are_kept_apart(tmp_path: Path) -> None:
    lock(tmp_path, "bar==2\n", "more.txt")
    lock(tmp_path, "baz==3\n", "constraints.txt")
    path = lock(tmp_path, "-rmore.txt\n-c constraints.txt\nfoo==1\n")
    read = requirements_file.read(path)
    assert [line.requirement.name for line in read.lines] == ["bar", "foo"]
    assert read.constraints == (f"{tmp_path}/constraints.txt",)
    before = read.digest
    lock(tmp_path, "baz==4\n", "constraints.txt")
    assert requirements_file.read(path).digest != before


def test_an_empty_file_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    assert requirements_file.read(lock(tmp_path, "")).lines == ()
    assert requirements_file.read(lock(tmp_path, b"\xef\xbb\xbffoo==1\n")).lines[0].requirement.name == "foo"


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("foo==1\nfoo bar\n", 2, "'foo bar' is not a requirement"),
        ("foo==1\n\n--wrong\n", 3, "uses the unknown option --wrong"),
        ("--wrong=1\n", 1, "uses the unknown option --wrong. Remove it."),
        ("foo==1 --wrong=1\n", 1, "uses the option --wrong, which is unknown here"),
        (
            "foo==1 --no-binary :all:\n",
            1,
            "uses --no-binary, which holds for all requirements. Put it on a line of its",
        ),
        ("foo==1 -i https://example.org/simple\n", 1, "uses -i, which holds for all requirements"),
        (f"foo==1 \\\n  # why\n  --hash={HASH}\n", 3, "is a hash without a requirement. End the line before it"),
        ("--index-url\n", 1, "uses --index-url without a value. Add the value."),
        ("--no-bin\n", 1, "uses --no-binary without a value"),
        ("--re x\n", 1, "uses the unknown option --re"),
        ("x @ git+git@example.org:a/b.git\n", 1, "is not a URL. Begin it with git+ssh:// and put a slash"),
        ("y @ file:///x/x-1.0-py3-none-any.whl\n", 1, "names /x/x-1.0-py3-none-any.whl, which does not exist"),
        ("y @ https://example.org/x_z-1.0-py3-none-any.whl\n", 1, "takes y from a wheel of x-z. Write x-z @ URL."),
        ("./req.txt\n", 1, "/req.txt is neither a wheel nor an sdist. Give a Python project"),
        ("foo==1 --global-option=--x\n", 1, "uses --global-option, which build backends do not know. Write --config-"),
        ("foo==1 --config-settings=x\n", 1, "'x' is not of the form KEY=VALUE. Write --config-settings=KEY=VALUE."),
        ("foo==1 --config-settings='x\n", 1, "cannot be read (No closing quotation)"),
        ("-e git+https://example.org/x.git#egg=x\n", 1, "from version control without a full commit"),
        ("git+https://example.org/x.git\n", 1, "without a full commit. Write NAME @ git+URL@COMMIT with the full"),
        ("x @ git+https://example.org/x.git@main\n", 1, "from version control without a full commit"),
        (f"x @ git+https://example.org/x.git@{'a' * 12}\n", 1, "from version control without a full commit"),
        ("x @ hg+https://example.org/x@" + "a" * 40 + "\n", 1, "from version control other than git"),
        ("./folder\n", 1, "/folder, which does not exist. Correct the path."),
        ("-e ./folder\n", 1, "/folder, which does not exist. Correct the path."),
        ("/\n", 1, "/ has neither pyproject.toml nor setup.py. Give a Python project."),
        ("x.whl\n", 1, "x.whl is not the name of a wheel"),
        ("file:///nowhere/x-1.0-py3-none-any.whl\n", 1, "names /nowhere/x-1.0-py3-none-any.whl, which does not exist"),
        (
            "foo==1 --hash=md5:abc\n",
            1,
            "'md5:abc' is not a sha256, sha384 or sha512 hash. Lock the requirements again.",
        ),
        ("-r nowhere.txt\n", 1, "which cannot be read (No such file or directory)"),
        ("-r https://example.org/r.txt\n", 1, "includes https://example.org/r.txt. Save that file beside this one."),
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
        "none.txt: cannot be read (No such file or directory). Give a requirements file or a lock."
    )
    assert refused(str(tmp_path)).endswith("is a directory. Give a requirements file or a lock.")


def test_hashes_on_some_lines_alone_are_refused(tmp_path: Path) -> None:
    path = lock(tmp_path, f"foo==1 --hash={HASH}\nbar==2\nbaz==3\n")
    assert refused(path) == (
        f"{path}:2: bar has no hash (and 1 more), others have. Lock all of them: uv pip compile --generate-hashes."
    )
    path = lock(tmp_path, "--require-hashes\nfoo==1\n")
    assert "foo has no hash, which is required" in refused(path)


GIT = "git+https://example.org/x.git@" + "a" * 40


@pytest.mark.parametrize(
    ("text", "name", "kind", "url"),
    [
        (f"x @ {GIT} ; python_version >= '3.8'", "x", "vcs", GIT),
        (f"x @ {GIT}#subdirectory=sub ; python_version >= '3.8'", "x", "vcs", f"{GIT}#subdirectory=sub"),
        (f"x[a]@{GIT}", "x", "vcs", GIT),
        (f"{GIT}#egg=x", "x", "vcs", f"{GIT}#egg=x"),
        (f"-e {GIT}#egg=x&subdirectory=sub", "x", "vcs", f"{GIT}#egg=x&subdirectory=sub"),
        (f"--editable={GIT}#egg=x ; python_version >= '3.8'", "x", "vcs", f"{GIT}#egg=x"),
        (GIT, "", "vcs", GIT),
        (f"GIT+HTTPS{GIT[len('git+https') :]}", "", "vcs", GIT),
        ("x @ git+https://example.org/x@" + "AB" * 20, "x", "vcs", "git+https://example.org/x@" + "AB" * 20),
        ("https://example.org/r/archive/main.zip", "", "archive", "https://example.org/r/archive/main.zip"),
        ("x @ https://example.org/r/archive/main.zip", "x", "archive", "https://example.org/r/archive/main.zip"),
        (
            "https://h/some_thing-1.2-py3-none-any.whl",
            "some-thing",
            "wheel",
            "https://h/some_thing-1.2-py3-none-any.whl",
        ),
        ("https://h/x-1.tar.gz ; python_version >= '3.8'", "", "archive", "https://h/x-1.tar.gz"),
        ("x>=1,<2", "x", "index", None),
    ],
)
def test_urls_are_read_in_the_forms_that_pip_and_uv_write(
    tmp_path: Path, text: str, name: str, kind: str, url: Optional[str]
) -> None:
    (line,) = requirements_file.read(lock(tmp_path, text + "\n")).lines
    assert (line.requirement.name if line.named else "", line.kind, line.requirement.url) == (name, kind, url)
    assert requirements.as_pip_lines([line]).strip() == (
        (f"{line.requirement.name}{'[a]' if '[a]' in text else ''} @ {url}" if name else url) if url else "x<2,>=1"
    )


def test_a_full_commit_is_a_pin_beside_hashes(tmp_path: Path) -> None:
    for option in ("", "--require-hashes\n"):
        read = requirements_file.read(lock(tmp_path, f"{option}x @ {GIT}\nfoo==1 --hash={HASH}\n"))
        assert read.fixed
        assert "--require-hashes" not in read.options


def test_a_hash_in_a_fragment_is_a_hash(tmp_path: Path) -> None:
    text = f"x @ https://example.org/x-1.tar.gz#{HASH.replace(':', '=')}&subdirectory=s\nfoo==1 --hash={HASH}\n"
    read = requirements_file.read(lock(tmp_path, text))
    assert read.lines[0].hashes == (HASH,)
    weak = lock(tmp_path, f"x @ https://example.org/x-1.tar.gz#md5={'a' * 32}\nfoo==1 --hash={HASH}\n")
    assert "x has no hash, others have" in refused(weak)


@pytest.mark.parametrize(
    "text", ["./libs/x", "libs/x", "-e ./libs/x", "x @ ./libs/x", "x @ file:./libs/x", "-e libs/x"]
)
def test_a_folder_is_found_from_the_working_directory_and_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    write_tree(tmp_path, {"libs/x/pyproject.toml": "", "req/r.txt": text, "r.txt": f"{text}\nfoo==1 --hash={HASH}\n"})
    monkeypatch.chdir(tmp_path)
    for path in ("r.txt", "req/r.txt"):
        line = requirements_file.read(path).lines[0]
        assert (line.kind, line.requirement.url) == ("folder", f"file://{tmp_path}/libs/x")
    monkeypatch.chdir("/")
    assert requirements_file.read(str(tmp_path / "r.txt")).lines[0].requirement.url == f"file://{tmp_path}/libs/x"


def test_extras_and_markers_of_a_folder_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"setup.py": ""})
    monkeypatch.chdir(tmp_path)
    (line,) = requirements_file.read(lock(tmp_path, ".[all,fast] ; python_version >= '3.8'")).lines
    assert (line.requirement.extras, str(line.requirement.marker)) == ({"all", "fast"}, 'python_version >= "3.8"')
    assert requirements.as_pip_lines([line]) == f"file://{tmp_path}\n"  # pip knows no extras behind a URL


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ('foo==1 --config-settings="ssl=on"', ("--config-settings=ssl=on",)),
        ("foo==1 -C ssl=on -Cx=y --hash=" + HASH, ("--config-settings=ssl=on", "--config-settings=x=y")),
        ('foo==1 --config-settings="--build-option=--a --b"', ("--config-settings=--build-option=--a --b",)),
    ],
)
def test_settings_for_a_backend_are_kept(tmp_path: Path, text: str, options: Tuple[str, ...]) -> None:
    (line,) = requirements_file.read(lock(tmp_path, text)).lines
    assert line.options == options
    path = lock(tmp_path, requirements.as_pip_lines([line]), "again.txt")
    assert requirements_file.read(path).lines[0].options == options


def test_places_start_at_the_file_and_then_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "req/p.txt": "--find-links ./w\n-f ./v\n-r sub/q.txt\n-c c.txt\n",
        "req/sub/q.txt": "-r ../more.txt\n-f w --index-url https://h/simple\nfoo==1\n",
        "req/more.txt": "bar==1\n",
        "req/w/x": "",
        "v/x": "",
        "c.txt": "bar<2\n",
    }
    write_tree(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    read = requirements_file.read("req/p.txt")
    assert [line.requirement.name for line in read.lines] == ["bar", "foo"]
    links = [value for name, value in zip(read.options, read.options[1:]) if name == "--find-links"]
    assert links == [f"{tmp_path}/req/w", f"{tmp_path}/v", f"{tmp_path}/req/sub/w"]
    assert read.constraints == (f"{tmp_path}/c.txt",)  # pip reads it from another folder
    text = requirements.as_pip_lines(read.lines, read.options, ["/a b/c.txt"])
    assert "--index-url https://h/simple\n--constraint '/a b/c.txt'\nbar==1\n" in text


def test_remote_constraints_are_left_to_pip_and_remote_requirements_are_fetched(tmp_path: Path) -> None:
    pages = {"https://h/a/r.txt": b"-r s.txt\nfoo==1\n", "https://h/a/s.txt": b"bar==1\n"}
    path = lock(tmp_path, "-c https://h/c.txt\n-r https://h/a/r.txt\n")
    read = requirements_file.read(path, pages.__getitem__)
    assert [line.requirement.name for line in read.lines] == ["bar", "foo"]
    assert read.constraints == ("https://h/c.txt",)
    assert read.lines[0].place == "https://h/a/s.txt:1"


def test_the_origin_of_a_wheel_holds_no_secret_and_no_place_of_this_machine(tmp_path: Path) -> None:
    write_tree(tmp_path, {"lib/setup.py": "", "x-1.tar.gz": "x"})
    text = f"""x @ git+https://u:{SECRET}@example.org/x.git@{"a" * 40}#subdirectory=s
y @ https://example.org/y.zip?token={SECRET} --hash={HASH}
z @ file://{tmp_path}/lib
v @ file://{tmp_path}/x-1.tar.gz
"""
    found = [requirements.origin(line) for line in requirements_file.read(lock(tmp_path, text)).lines]
    assert found[:3] == [
        f"git+https://example.org/x.git@{'a' * 40}#subdirectory=s",
        f"https://example.org/y.zip {HASH}",
        "folder z",
    ]
    assert found[3].startswith("x-1.tar.gz sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")


def test_a_local_wheel_is_part_of_the_locks_identity(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    path = lock(tmp_path, f"{wheel}\n")
    before = requirements_file.read(path).digest
    wheel.write_bytes(b"two")
    assert requirements_file.read(path).digest != before


def test_no_message_shows_the_token_of_a_private_index(tmp_path: Path) -> None:
    for text in (
        f"git+https://user:{SECRET}@example.org/x.git\n",
        f"x @ https://{SECRET}@example.org/x.whl bad\n",
        f"x @ https://example.org/x?token={SECRET} bad\n",
        f"-r https://example.org/x?token={SECRET}\n",
        f"-e git+https://{SECRET}@example.org/x.git\n",
    ):
        assert SECRET not in refused(lock(tmp_path, text))


def test_variables_of_the_environment_are_replaced_as_pip_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_HOST", "index.example.org")
    read = requirements_file.read(lock(tmp_path, "--index-url https://${INDEX_HOST}/simple\nfoo==1\n"))
    assert read.options == ("--index-url", "https://index.example.org/simple")


def test_a_variable_that_decides_what_is_required_is_part_of_the_locks_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lock(tmp_path, f"--index-url https://${{TOKEN}}@example.org/\nfoo==${{WANTED}} --hash={HASH}\n")
    monkeypatch.setenv("TOKEN", "first")
    monkeypatch.setenv("WANTED", "1")
    first = requirements_file.read(path)
    monkeypatch.setenv("TOKEN", "second")
    assert requirements_file.read(path).digest == first.digest
    monkeypatch.setenv("WANTED", "2")
    second = requirements_file.read(path)
    assert (str(second.lines[0].requirement), second.digest != first.digest) == ("foo==2", True)
    monkeypatch.setenv("WANTED", "")  # pip leaves it, as one that is not set
    assert "'foo==${WANTED}' is not a requirement" in refused(path)


@pytest.mark.parametrize(
    ("text", "location", "marker"),
    [
        ("./x-1-py3-none-any.whl;python_version>'3'", "x-1-py3-none-any.whl", 'python_version > "3"'),
        ("./x-1-py3-none-any.whl; python_version>'3'", "x-1-py3-none-any.whl", 'python_version > "3"'),
        ("file:x-1-py3-none-any.whl; python_version>'3'", "x-1-py3-none-any.whl", 'python_version > "3"'),
        ("x @ file:x-1-py3-none-any.whl;python_version>'3'", "x-1-py3-none-any.whl", 'python_version > "3"'),
        ("x@ file:x-1-py3-none-any.whl ; python_version>'3'", "x-1-py3-none-any.whl", 'python_version > "3"'),
        ("./a;b/x-1-py3-none-any.whl ; os_name=='x'", "a%3Bb/x-1-py3-none-any.whl", 'os_name == "x"'),
        ("./a;b/x-1-py3-none-any.whl", "a%3Bb/x-1-py3-none-any.whl", "None"),
        ("-e 'a dir' ", "a%20dir", "None"),
        ('-e "./a dir[x]" --config-settings=a=b', "a%20dir", "None"),
        ("-e proj", "proj", "None"),
        ("--editable=proj[x] ; os_name=='x'", "proj", 'os_name == "x"'),
        ("./p%20q", "p%2520q", "None"),
        ("./p%2520q", "p%2520q", "None"),
        ("file:./p%2520q", "p%2520q", "None"),
        ("./a%20dir", "a%20dir", "None"),
    ],
)
def test_a_location_is_read_as_pip_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, location: str, marker: str
) -> None:
    wheel = "x-1-py3-none-any.whl"
    projects = {f"{name}/pyproject.toml": "" for name in ("a dir", "proj", "p%20q")}
    write_tree(tmp_path, {wheel: "", f"a;b/{wheel}": "", **projects})
    monkeypatch.chdir(tmp_path)
    (line,) = requirements_file.read(lock(tmp_path, f"{text}\n")).lines
    assert (line.requirement.url, str(line.requirement.marker)) == (f"file://{tmp_path}/{location}", marker)


def test_an_option_may_be_shortened_and_a_hash_be_in_capitals_as_with_pip(tmp_path: Path) -> None:
    text = f"--extra-index https://example.org/\n--find-link /w\nfoo==1 --hash=sha256:{'AB' * 32}\n"
    read = requirements_file.read(lock(tmp_path, text))
    assert read.options == ("--extra-index-url", "https://example.org/", "--find-links", "/w")
    assert read.lines[0].hashes == ("sha256:" + "ab" * 32,)


def test_the_last_demand_for_hashes_counts(tmp_path: Path) -> None:
    assert requirements_file.read(lock(tmp_path, "--require-hashes\nfoo==1\n--no-require-hashes\n")).options == ()
    assert "foo has no hash, which is required" in refused(
        lock(tmp_path, "--no-require-hashes\n--require-hashes\nfoo==1\n")
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("foo[x]==1\n", "foo has extras, which no constraint may. Write NAME and versions only."),
        ("-e ./p\n", "is editable, which no constraint may be. Make it a requirement."),
        ("./p\n", "names no project, which no constraint may"),
    ],
)
def test_what_pip_takes_for_no_constraint_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    write_tree(tmp_path, {"p/pyproject.toml": ""})
    lock(tmp_path, "bar\n" + text, "constraints.txt")
    assert f"constraints.txt:2: {why}" in refused(lock(tmp_path, "-c constraints.txt\nfoo==1\n"))


def test_what_a_constraints_file_includes_is_required_as_with_pip(tmp_path: Path) -> None:
    lock(tmp_path, "-r more.txt\nbar<2\n", "constraints.txt")
    lock(tmp_path, "foo==1\n", "more.txt")
    read = requirements_file.read(lock(tmp_path, "-c constraints.txt\n"))
    assert [str(line.requirement) for line in read.lines] == ["foo==1"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfbar==1\r\n",
        "# caf\u00e9\r\nbar==1\r\n".encode("utf-16"),
        b"\xfe\xff" + "# caf\u00e9\nbar==1\n".encode("utf-16-be"),
        "bar==1\n".encode("utf-32"),
        b"# -*- coding: latin-1 -*-\n# caf\xe9\nbar==1\n",
        b"\n# vim: set fileencoding=iso8859-15 :\nbar==1 # \xa4\n",
    ],
)
def test_the_encodings_that_pip_reads_are_read(tmp_path: Path, content: bytes) -> None:
    assert [str(line.requirement) for line in requirements_file.read(lock(tmp_path, content)).lines] == ["bar==1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"# coding: nothing-known\nbar==1\n", "req.txt: names an unknown encoding, nothing-known."),
        (b"# coding: ascii\nbar==1\n# caf\xe9\n", "req.txt:3: is not ascii."),
        (b"\xff\xfea", "req.txt:1: is not utf-16."),
    ],
)
def test_an_encoding_that_is_not_what_is_said_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    assert why in refused(lock(tmp_path, content))


@pytest.mark.parametrize("line", ["-e .", "./", "--editable=."])
def test_the_project_beside_the_file_is_meant_where_the_working_folder_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    write_tree(tmp_path, {"web/pyproject.toml": "", "elsewhere/x": "", "other/setup.py": ""})
    path = lock(tmp_path / "web", f"{line}\n")
    for folder, meant in (("elsewhere", "web"), ("other", "other"), ("web", "web")):
        monkeypatch.chdir(tmp_path / folder)
        (found,) = requirements_file.read(path).lines
        assert str(found.requirement.url).rstrip("/") == f"file://{tmp_path}/{meant}"
