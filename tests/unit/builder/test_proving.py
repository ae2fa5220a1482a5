"""What is known of a wheel once it is proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployable_zipfile.builder import collected
from deployable_zipfile.errors import WheelError
from tests.support.helpers import make_wheel
from tests.support.wheels import proven


def test_a_wheel_is_read_for_all_that_the_build_needs(tmp_path: Path) -> None:
    path = make_wheel(
        tmp_path,
        "Some.Thing",
        "1.0",
        {"thing/__init__.py": "", "thing/data.txt": "", "thing.pth": "import x"},
        data={"purelib/more/extra.py": "", "scripts/run.py": "#!python\n", "platlib/x.start": ""},
        metadata=(
            "Metadata-Version: 2.1\nName: Some.Thing\nVersion: 1.0\nRequires-Python: >=3.8\n"
            "License: MIT\nRequires-Dist: foo>=1\nRequires-Dist: bar; extra == 'all'\n\nText\n"
        ),
    )
    wheel = proven(path, "Some.Thing-1.0.tar.gz sha256:0")
    assert (wheel.name, wheel.version, wheel.requires_python, wheel.licence) == ("some-thing", "1.0", ">=3.8", "MIT")
    assert wheel.requires == ("foo>=1", "bar; extra == 'all'")
    assert wheel.startup == ("Some_Thing-1.0.data/platlib/x.start", "thing.pth")
    assert wheel.python_files == (
        ("Some_Thing-1.0.data/purelib/more/extra.py", "more/extra.py"),
        ("thing/__init__.py", "thing/__init__.py"),
    )
    assert collected.from_document(collected.to_document(wheel), wheel.path) == wheel


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other\n", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause\n", "BSD-3-Clause"),
        ("Classifier: License :: OSI Approved :: BSD License\n", "BSD License"),
        ("License: UNKNOWN\n", ""),
        ("License: " + "long " * 40 + "\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
    ],
)
def test_the_licence_is_what_the_metadata_say(tmp_path: Path, lines: str, licence: str) -> None:
    text = f"Metadata-Version: 2.1\nName: x\nVersion: 1\n{lines}"
    assert proven(make_wheel(tmp_path, "x", "1", {}, metadata=text)).licence == licence


def test_metadata_that_cannot_be_understood_are_refused(tmp_path: Path) -> None:
    text = "Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Dist: ???\n"
    with pytest.raises(WheelError, match=r"x-1-py3-none-any.whl/x-1.dist-info/METADATA: cannot be read"):
        proven(make_wheel(tmp_path, "x", "1", {}, metadata=text))


def test_a_wheel_that_differs_from_its_record_is_refused_by_name(tmp_path: Path) -> None:
    path = make_wheel(
        tmp_path, "x", "1", {"x.py": "1"}, record=lambda rows: [(n, d.replace("A", "B"), s) for n, d, s in rows]
    )
    wrong = make_wheel(tmp_path, "y", "1", {"y.py": "1"}, unrecorded={"hidden.py": "2"})
    with pytest.raises(WheelError, match=r"y-1-py3-none-any.whl/hidden.py: is not listed in RECORD"):
        proven(wrong)
    assert path.exists()


@pytest.mark.parametrize(
    ("text", "read", "doubts"),
    [
        (">=3.6.*", ">=3.6", 0),
        (">=2.7,!=3.0.*,<4.*", ">=2.7,!=3.0.*,<4", 0),
        ("==3.*", "==3.*", 0),
        ("> 3.5.*", "> 3.5", 0),
        ("banana", "", 1),
        ("3.6", "", 1),
    ],
)
def test_a_requires_python_of_former_times_is_read(text: str, read: str, doubts: int, tmp_path: Path) -> None:
    metadata = f"Metadata-Version: 2.1\nName: x\nVersion: 1\nRequires-Python: {text}\n"
    wheel = proven(make_wheel(tmp_path, "x", "1", {}, metadata=metadata))
    assert wheel.requires_python == read
    assert len(wheel.doubts) == doubts
