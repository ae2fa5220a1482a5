"""The reader of wheels, on wheels as they are published; for broken ones see test_wheel_hostile.py."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deployable_zipfile.artifact import record as record_module
from deployable_zipfile.artifact import versions, wheel_files
from deployable_zipfile.artifact import wheel as module
from deployable_zipfile.artifact.record import RecordRow, parse_record
from deployable_zipfile.artifact.versions import normalised
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.artifact.window import Window
from deployable_zipfile.errors import WheelError
from tests.support.helpers import make_wheel, urlsafe_digest, zip_bytes


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


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_signatures_may_be_in_record_without_a_digest(name: str, tmp_path: Path) -> None:
    path = f"Some_Thing-1.0.dist-info/{name}"
    for number, files in enumerate(({path: "{}"}, {})):
        wheel_ = made(tmp_path / str(number), unrecorded=files, record=lambda rows: [*rows, (path, "", "")])
        with Wheel.open(str(wheel_)) as wheel:
            wheel.check_structure()
            wheel.check_contents()
    wrong = made(tmp_path, unrecorded={path: "{}"}, record=lambda rows: [*rows, (path, "sha256=AAAA", "")])
    assert "digest" in refusal(wrong) or "sha256" in refusal(wrong)


def test_a_byte_order_mark_before_record_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = made(tmp_path, record=lambda rows: [("\ufeff" + rows[0][0], *rows[0][1:]), *rows[1:]])
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        wheel.check_contents()


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
        ("a,md5=abc,\n", "has a digest of a that is not sha256"),
        ("a,sha256=abc,\n", "has a digest of a that is not sha256"),
        ("a,sha256=é,\n", "has a digest of a that is not sha256"),
        ("a,,x\n", "has a size of a that is not a number"),
        ("a,,-1\n", "has a size of a that is not a number"),
        ("a,,²\n", "has a size of a that is not a number"),
        ("a,,\na,,1\n", "lists a twice, with different digests"),
        ('"a\0",,\n', "contains a NUL character"),
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
        ("[console_scripts]\nx = a\n", "which is not NAME = module:attribute"),
        ("[console_scripts]\nx\n", "which is not NAME = module:attribute"),
        ("[console_scripts]\nx = a:b; import os\n", "which is not NAME = module:attribute"),
        ("[console_scripts]\nx = a.b-c:d\n", "which is not NAME = module:attribute"),
        ("[gui_scripts]\n../x = a:b\n", "has the script name '../x', which is not allowed"),
        ("[console_scripts]\n.x = a:b\n", "has the script name '.x', which is not allowed"),
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


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1.0.0", True),
        ("1", "1.0", True),
        ("1.0", "v1.0", True),
        ("1.01", "1.1", True),
        ("1.0a1", "1.0-alpha.1", True),
        ("1.0rc1", "1.0c1", True),
        ("1.0.post1", "1.0-1", True),
        ("1.0_1", "1.0.post1", True),
        ("1.0.dev0", "1.0dev", True),
        ("1.0+cu118", "1.0_cu118", True),
        ("1.0+a.b", "1.0+a_b", True),
        ("2!1.0", "2!1", True),
        ("1.0", "1.0.1", False),
        ("1.0", "10", False),
        ("1.0", "1!1.0", False),
        ("1.0a1", "1.0b1", False),
        ("1.0+a", "1.0+b", False),
        ("1.0.post1", "1.0.dev1", False),
        ("banana", "banana", True),
        ("banana", "apple", False),
    ],
)
def test_spellings_of_one_version_are_the_same(one: str, other: str, same: bool) -> None:
    assert versions.same_version(one, other) is same


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_digest_in_hexadecimal_digits_is_read_as_one(algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"x")
    (row,) = parse_record(f"a,{algorithm}={digest.hexdigest()},1\n").values()
    assert row.digest == RecordRow.encoded(digest.digest())


@pytest.mark.parametrize("spelling", ["/{}", "./{}", "/./{}", "\\"])
def test_paths_in_record_may_be_spelled_in_another_way(spelling: str, tmp_path: Path) -> None:
    def spelled(rows: Any) -> Any:
        def path(name: str) -> str:
            return name.replace("/", spelling) if spelling == "\\" else spelling.format(name)

        return [(path(name), digest, size) for name, digest, size in rows]

    with Wheel.open(str(made(tmp_path, record=spelled))) as wheel:
        wheel.check_structure()
        wheel.check_contents()
        assert set(wheel.record) == set(wheel.files)


def test_a_record_that_says_two_things_of_one_file_in_two_spellings_is_refused(tmp_path: Path) -> None:
    line = refusal(made(tmp_path, record=lambda rows: [*rows, ("/" + rows[0][0], rows[1][1], "")]))
    assert "twice, with different digests" in line


@pytest.mark.parametrize("mode", [0o104755, 0o102755])
def test_a_mode_that_asks_to_run_as_another_user_is_a_plain_one(mode: int, tmp_path: Path) -> None:
    with Wheel.open(str(made(tmp_path, extra={"tool": ("x", mode)}))) as wheel:
        assert wheel.files[f"{wheel.dist_info}/tool"].mode == 0o755


def test_a_reader_with_older_unicode_tables_refuses_no_more_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, extra={"\U0001fae9.txt": "", "e\u0301.txt": ""})

    def unknown(_: str) -> str:
        raise AssertionError("the tables of the interpreter decide")

    monkeypatch.setattr("unicodedata.category", unknown)
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()


@pytest.mark.parametrize(
    "text",
    [
        "[console_scripts]\nx = a:b ; comment\n",
        "[console_scripts]\nx = a:b  # comment\n",
        "[console_scripts]\nx = a:b [extra] ; comment\n",
        "[console_scripts]\r\nx = a:b\r\n",
        "[console_scripts]\nx = a:b\nx = a:b\n",
        "[console_scripts]\nx = a:c\nx = a:b\n",
        "[gui_scripts]\nx = a:b\n[console_scripts]\nx = a:c\n",
        "[console_scripts]\nx = a:c\n[gui_scripts]\nx = a:b\n",
    ],
)
def test_entry_points_are_read_as_pip_reads_them(text: str, tmp_path: Path) -> None:
    with Wheel.open(str(made(tmp_path, entry_points=text))) as wheel:
        (point,) = wheel.entry_points()
    assert (point.name, point.module, point.attributes) == ("x", "a", "b")


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    metadata = "Metadata-Version: 2.1\r\nName: Some.Thing\r\nVersion: 1.0.0\r\n\r\nName: other\r\n"
    path = made(tmp_path, metadata=metadata, wheel_metadata="wheel-version: 1.0\r\nroot-is-purelib: TRUE\r\n")
    with Wheel.open(str(path)) as wheel:
        wheel.check_structure()
        assert wheel.purelib


def test_the_quick_reader_of_directories_reads_what_the_strict_one_reads_or_leaves_it_to_it(tmp_path: Path) -> None:
    content = zip_bytes({"a/b.py": "x", "a/é.txt": "y" * 3000, "c-1.data/scripts/run": ("z", 0o755), "d.txt": ""})
    path = tmp_path / "c-1-py3-none-any.whl"
    path.write_bytes(content)
    with open(path, "rb") as file:
        reader = _without_reading(file.fileno(), len(content), str(path))
        at, directory, total = reader.directory(wheel_files.MAX_FILES)
        assert wheel_files.quick_files(directory, total, at) == wheel_files.strict_files(reader, directory, total, at)
        taken = 0
        for offset in range(len(directory)):
            for value in (0, 1, directory[offset] ^ 0x20, directory[offset] ^ 0x80, 0x2E, 0x2F, 0xFF):
                changed = directory[:offset] + bytes([value]) + directory[offset + 1 :]
                found = wheel_files.quick_files(changed, total, at)
                if found is not None:
                    taken += 1
                    assert found == wheel_files.strict_files(reader, changed, total, at), (offset, value)
    assert taken > 100


def _without_reading(descriptor: int, size: int, label: str) -> Wheel:
    wheel = Wheel.__new__(Wheel)
    Window.__init__(wheel, descriptor, 0, size, label, WheelError)
    return wheel


@pytest.mark.parametrize(
    "line",
    [
        "a,sha256={0},1",
        "a,,",
        "a,sha256={0},",
        "a,sha256={0}=,1",
        "a,sha256={0},+1",
        "a,sha256={0}, 1",
        "a,sha256={0},1_0",
        "a,sha256={0},\u0661",
        "a,SHA256={0},1",
        "a,sha512={0},1",
        "a,sha256={0}A,1",
        "a,sha256=*{0},1",
        "a,,1",
        "b,sha256={0},2",
        "b,,",
        '"a,b",sha256={0},1',
        "a,b,c,d",
        "a",
        "",
        "a\0,,",
        "a,sha256={1},1",
    ],
)
def test_the_quick_reader_of_rows_reads_what_the_strict_one_reads_or_leaves_it_to_it(line: str) -> None:
    digest = urlsafe_digest(b"content")
    text = f"b,sha256={digest},7\n" + line.format(digest, digest.replace("_", "/").replace("-", "+")) + "\nc,,\n"
    found = record_module.quick_rows(text)
    if line in ("a,sha256={0},1", "a,,"):
        assert found is not None
    if found is not None:
        assert found == record_module._strict_rows(text)


@pytest.mark.deep
def test_letters_of_names_are_those_of_ascii_and_everything_beyond_its_controls() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    low = every[:0xA1]
    signs = "".join(one for one in low if not (one.isascii() and (one.isalnum() or one == "_")))
    assert re.sub(module._LETTER_OR_DIGIT, "", every) == signs
    assert re.sub(module._LETTER, "", every) == "".join(one for one in low if one in signs or one.isdigit())
    some = [*every[:1000], *every[1000::1000]]  # beyond the first ones nothing differs
    assert {one for one in some if not module._SCRIPT_NAME.match(one)} == set(signs)
    assert {one for one in some if not module._SCRIPT_NAME.match(f"x{one}")} == set(signs) - set(".+- ")
    assert module._SCRIPT_NAME.match(every.translate(dict.fromkeys(map(ord, set(signs) - set(".+- ")))).lstrip(".+- "))
