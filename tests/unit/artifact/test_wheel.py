"""The reader of wheels, on wheels as they are published; what broken ones meet stands in test_hostile_containers."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deployable_zipfile.artifact import wheel as module
from deployable_zipfile.artifact.wheel import RecordRow, Wheel, normalised, parse_record
from deployable_zipfile.errors import WheelError
from tests.support.helpers import make_wheel, urlsafe_digest


def refusal(path: Path) -> str:
    with pytest.raises(WheelError) as caught:
        check(path)
    return str(caught.value)


def check(path: Path) -> None:
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        wheel.check_contents()


def made(folder: Path, **options: Any) -> Path:
    return make_wheel(folder, "Some.Thing", "1.0", options.pop("files", {"thing/__init__.py": "x = 1\n"}), **options)


def test_a_wheel_says_what_it_is(tmp_path: Path) -> None:
    path = made(tmp_path, tag="py2.py3-none-any", entry_points="[console_scripts]\nthing = thing:main\n")
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        wheel.check_contents()
        assert (wheel.name, wheel.version, wheel.purelib) == ("some-thing", "1.0", True)
        assert wheel.tags == ("py2-none-any", "py3-none-any")
        assert wheel.dist_info == "Some_Thing-1.0.dist-info"
        assert wheel.text("thing/__init__.py") == "x = 1\n"
        assert wheel.record["thing/__init__.py"].sha256 == hashlib.sha256(b"x = 1\n").hexdigest()
        assert wheel.record["thing/__init__.py"].size == 6
        assert [(point.name, point.module, point.attributes, point.gui) for point in wheel.entry_points()] == [
            ("thing", "thing", "main", False)
        ]


def test_a_wheel_for_one_machine_is_told_apart(tmp_path: Path) -> None:
    path = made(tmp_path, tag="cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", purelib=False)
    with Wheel.open(str(path)) as wheel:
        assert not wheel.purelib
        assert wheel.tags == ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")


def test_a_build_number_is_no_part_of_the_version(tmp_path: Path) -> None:
    path = made(tmp_path, filename="Some_Thing-1.0-2-py3-none-any.whl")
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        assert wheel.version == "1.0"


def test_directories_descriptors_and_extra_fields_are_taken(tmp_path: Path) -> None:
    source = zipfile.ZipFile(made(tmp_path / "a"))
    path = tmp_path / source.filename.rpartition("/")[2]  # type: ignore[union-attr]

    class Stream(io.RawIOBase):
        """Cannot be rewound, so zipfile puts sizes behind the data."""

        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    stream = Stream()
    with source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(zipfile.ZipInfo("thing/"), b"")
        for name in source.namelist():
            target.writestr(name, source.read(name))
    path.write_bytes(stream.data)
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        wheel.check_contents()
        assert "thing/" not in wheel.files


@pytest.mark.parametrize(
    "algorithm",
    ["sha256", "sha384", "sha512"],
)
def test_each_strong_digest_is_compared(algorithm: str, tmp_path: Path) -> None:
    def digest(text: bytes) -> str:
        raw = hashlib.new(algorithm, text).digest()
        return f"{algorithm}={base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}"

    def record(content: bytes) -> Any:
        return lambda rows: [(n, digest(content) if n == "thing/__init__.py" else d, s) for n, d, s in rows]

    with Wheel.open(str(made(tmp_path / "good", record=record(b"x = 1\n")))) as wheel:
        wheel.check_structure()
        wheel.check_contents()
        assert bool(wheel.record["thing/__init__.py"].sha256) == (algorithm == "sha256")
    line = refusal(made(tmp_path / "bad", record=record(b"x = 2\n")))
    assert f"thing/__init__.py: its {algorithm} is not the one in RECORD" in line


def test_signatures_need_not_be_in_record(tmp_path: Path) -> None:
    path = made(tmp_path, unrecorded={"Some_Thing-1.0.dist-info/RECORD.jws": "{}"})
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()


@pytest.mark.parametrize("name", ["METADATA", "WHEEL", "RECORD"])
def test_a_text_that_is_not_utf_8_is_refused_by_name(name: str, tmp_path: Path) -> None:
    option = {"METADATA": "metadata", "WHEEL": "wheel_metadata"}.get(name)
    if option:
        path = made(tmp_path, **{option: b"Name: \xff\n"})
    else:
        path = made(tmp_path, record=False, unrecorded={"Some_Thing-1.0.dist-info/RECORD": b"\xff,,\n"})
    assert f"Some_Thing-1.0.dist-info/{name}: is not UTF-8" in refusal(path)


def test_a_text_too_large_to_be_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 100)
    assert "bytes, more than 100" in refusal(made(tmp_path, metadata="Name: some.thing\nVersion: 1.0\n" + "x" * 200))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n", "has a line of 2 fields"),
        ("a,,,\n", "has a line of 4 fields"),
        ("a,md5=abc,\n", "the digest of a is no sha256"),
        ("a,sha256=abc,\n", "the digest of a is no sha256"),
        ("a,sha256=é,\n", "the digest of a is no sha256"),
        ("a,,x\n", "the size of a is no number"),
        ("a,,-1\n", "the size of a is no number"),
        ("a,,²\n", "the size of a is no number"),
        ("a,,\na,,\n", "lists a twice"),
    ],
)
def test_a_record_of_another_form_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_record(text)


def test_a_record_may_quote_end_lines_its_way_and_hold_empty_ones() -> None:
    digest = urlsafe_digest(b"")
    rows = parse_record(f'"a,b ""c"".py",sha256={digest},0\r\n\r\nplain.py,,\r\n')
    assert rows == {'a,b "c".py': RecordRow("sha256", digest, 0), "plain.py": RecordRow("", "", None)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[console_scripts]\nx = a\n", "is not NAME = module:attribute"),
        ("[console_scripts]\nx\n", "is not NAME = module:attribute"),
        ("[console_scripts]\nx = a:b; import os\n", "is not NAME = module:attribute"),
        ("[console_scripts]\nx = a.b-c:d\n", "is not NAME = module:attribute"),
        ("[gui_scripts]\n../x = a:b\n", "'../x' is no name for a script"),
        ("[console_scripts]\n.x = a:b\n", "'.x' is no name for a script"),
        ("[console_scripts]\nx = a:b\n[gui_scripts]\nx = a:c\n", "asks for the script 'x' twice"),
    ],
)
def test_an_entry_point_of_another_form_is_refused(text: str, why: str, tmp_path: Path) -> None:
    line = refusal(made(tmp_path, entry_points=text))
    assert "Some_Thing-1.0.dist-info/entry_points.txt: " in line
    assert why in line


def test_entry_points_of_other_groups_comments_and_extras_are_passed_over(tmp_path: Path) -> None:
    text = "# one\n; two\n[pytest11]\nx = anything goes\n\n[ console_scripts ]\na-b.c = m.n : f.g [extra]\n"
    with Wheel.open(str(made(tmp_path, entry_points=text))) as wheel:
        assert wheel.entry_points() == [module.EntryPoint("a-b.c", "m.n", "f.g", False)]


@pytest.mark.parametrize(("one", "other"), [("a_b", "A-b"), ("a.b", "a--b"), ("a-_.b", "a_b")])
def test_names_are_compared_normalised(one: str, other: str) -> None:
    assert normalised(one) == normalised(other) == "a-b"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"a\.whl: cannot be read \(No such file or directory\)"):
        Wheel.open(str(tmp_path / "a.whl"))


def test_nothing_stays_open_after_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "a-1-py3-none-any.whl"
    path.write_bytes(b"nothing")
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(WheelError):
        Wheel.open(str(path))
    assert sorted(os.listdir("/proc/self/fd")) == before
