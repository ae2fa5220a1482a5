"""A small hostile file takes little memory and little time, whatever it holds."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest

from deployable_zipfile.artifact import layout
from deployable_zipfile.artifact.wheel import Wheel
from deployable_zipfile.errors import MAX_LINE, WheelError
from tests.support import drafts
from tests.support.artifacts import runtime
from tests.support.depth import sampled
from tests.support.memory import peak

MOST = 128  # MiB
LOADENV = Path(layout.__file__).parents[1] / "loadenv.py"


Content = Callable[[], bytes]  # made when it is needed: each has megabytes


def added(value: Content) -> Callable[[bytes], bytes]:
    """Return a change of a manifest's text that adds a key with *value*."""
    return lambda text: text[:-2] + b',"x":' + value() + b"}\n"


MANIFESTS: Dict[str, Callable[[bytes], bytes]] = {
    "a name of 31 MB": lambda text: text[:-2] + b',"' + b"k" * 31_000_000 + b'":1}\n',
    "a name of 15 MB": lambda text: text[:-2] + b',"' + b"k" * 15_000_000 + b'":1}\n',
    "a name of 15 MB of escaped quotes": lambda text: text[:-2] + b',"' + b'\\"' * 7_500_000 + b'":1}\n',
    "15 MB of one control character": added(lambda: b'"' + b"\x01" * 15_000_000 + b'"'),
    "escaped control characters": added(lambda: b"[" + b",".join([b'"' + b"\\u0001" * 5000 + b'"'] * 500) + b"]"),
    "wide strings": added(lambda: b"[" + b",".join([b'"\\ud83d\\ude00' + b"k" * 32_000 + b'"'] * 500) + b"]"),
    "3.9 million objects": added(lambda: b"[" + b"{}," * 3_900_000 + b"{}]"),
    "fewer objects": added(lambda: b"[" + b",".join(b'{"%016d":"%016d"}' % (n, n) for n in range(190_000)) + b"]"),
    "2 million names": added(lambda: b"{" + b",".join(b'"%d":0' % number for number in range(1_300_000)) + b"}"),
    "names and values": added(lambda: b"{" + b",".join(b'"%018d":"%018d"' % (n, n) for n in range(380_000)) + b"}"),
    "many short strings": added(lambda: b"[" + b",".join(b'"%024d"' % number for number in range(590_000)) + b"]"),
    "many numbers": added(lambda: b"[" + b"0.1," * 3_900_000 + b"1]"),
    "a number of 15 MB": added(lambda: b"9" * 15_000_000),
    "deep nesting": added(lambda: b"[" * 15_000_000),
    "blanks": lambda text: text[:-2] + b" " * 15_000_000 + b"}\n",
}


@pytest.mark.parametrize("case", sampled(sorted(MANIFESTS), ["deep nesting"]))
def test_a_hostile_manifest_is_refused_with_little_memory(case: str, tmp_path: Path) -> None:
    draft = drafts.draft(runtime=runtime())
    draft.document = MANIFESTS[case]
    path = draft.write(tmp_path / "site.zip")
    taken = peak([sys.executable, "-I", path, "info"], timeout=30)
    assert (taken.code, len(taken.stderr.splitlines())) == (3, 1), taken.stderr
    assert len(taken.stderr) <= MAX_LINE + len("error: \n")
    assert taken.mebibytes <= MOST


@pytest.mark.deep
@pytest.mark.parametrize("where", sampled(["members", "folders"], ["folders"]))
def test_sixty_thousand_deep_names_are_refused_with_little_memory(where: str, tmp_path: Path) -> None:
    names = [f"shop/{number}/{'a/' * 50}f" for number in range(60_000)]
    draft = drafts.draft(runtime=runtime())
    if where == "folders":
        draft.directories = tuple(names)
    else:
        draft.members += [drafts.Raw(name, b"", 0o644, drafts.STORED) for name in names[:20_000]]
    taken = peak([sys.executable, "-I", draft.write(tmp_path / "site.zip"), "info"], timeout=30)
    assert taken.code == 3
    assert f"need more than {131_068} folders" in taken.stderr
    assert taken.mebibytes <= MOST


WHEELS: Dict[str, Tuple[str, Content]] = {
    "15 MB of one control character in WHEEL": ("WHEEL", lambda: b"Wheel-Version: " + b"\x01" * 15_000_000),
    "15 MB of one control character in METADATA": ("METADATA", lambda: b"Name: " + b"\x01" * 15_000_000 + b"\n"),
    "a million scripts": ("entry_points.txt", lambda: b"[console_scripts]\n" + b"s = a:b\n" * 1_000_000),
    "rows of files that are not there": ("RECORD", lambda: b"f,sha256=AAAA,1\n" * 900_000),
    "15 million commas": ("RECORD", lambda: b"," * 15_000_000),
    "15 million empty rows": ("RECORD", lambda: b"\n" * 15_000_000),
    "a quoted row of 15 MB": ("RECORD", lambda: b'"' + b"a" * 15_000_000 + b'"'),
}


def wheel_with(name: str, content: Content) -> bytes:
    texts = {
        "METADATA": b"Name: demo\nVersion: 1.0\n",
        "WHEEL": b"Wheel-Version: 1.0\n",
        "RECORD": b"",
        name: content(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, text in texts.items():
            archive.writestr(f"demo-1.0.dist-info/{inner}", text)
    return buffer.getvalue()


@pytest.mark.parametrize("case", sampled(sorted(WHEELS), ["15 million commas"]))
def test_a_hostile_wheel_is_refused_with_little_memory(case: str, tmp_path: Path) -> None:
    wheel = drafts.WheelFile("demo-1.0-py3-none-any.whl", wheel_with(*WHEELS[case]), "demo", "1.0")
    path = drafts.draft(runtime=runtime(), wheels=[wheel]).write(tmp_path / "site.zip")
    taken = peak([sys.executable, "-I", path, "verify", "--workers", "1"], timeout=30)
    assert (taken.code, len(taken.stderr.splitlines())) == (6, 1), taken.stderr
    assert taken.mebibytes <= MOST


def test_a_record_that_is_no_csv_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(wheel_with("RECORD", lambda: b'"' + b"a" * 140_000 + b'"\n'))
    # Beside enough files for a RECORD of that size.
    with zipfile.ZipFile(str(path), "a") as archive:
        for number in range(300):
            archive.writestr(f"demo/{number}", b"")
    with pytest.raises(WheelError, match=r"RECORD: is not a CSV file"):
        Wheel.open(str(path))


ENVIRONMENTS: Dict[str, Content] = {
    "a hundred thousand keys": lambda: json.dumps({f"KEY_{number}": "v" * 40 for number in range(100_000)}).encode(),
    "a million keys": lambda: json.dumps({f"K{number}": "" for number in range(400_000)}).encode(),
    "many keys that are none": lambda: b"{" + b",".join(b'"\\u0001%d":1' % number for number in range(190_000)) + b"}",
    "a wide value": lambda: b'{"A":"\\ud83d\\ude00' + b"x" * 6_000_000 + b'"}',
    "objects": lambda: b'{"A":[' + b"{}," * 1_900_000 + b"1]}",
    "numbers": lambda: b'{"A":[' + b"1.5," * 1_400_000 + b"1]}",
    "a number of 6 MB": lambda: b'{"A":' + b"1" * 6_000_000 + b"}",
    "deep nesting": lambda: b'{"A":' + b"[" * 6_000_000 + b"}",
    "control characters": lambda: b'{"A":"' + b"\x01" * 6_000_000 + b'"}',
    "15 MB": lambda: b'{"A":"' + b"x" * 15_000_000 + b'"}',
}
LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("loadenv", sys.argv[1])
loadenv = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loadenv)
try:
    loadenv._load(sys.argv[2])
except loadenv.EnvironmentFileError as error:
    sys.exit("error: %s" % error)
"""


@pytest.mark.parametrize("case", sampled(sorted(ENVIRONMENTS), ["deep nesting", "numbers"]))
def test_a_hostile_environment_file_is_refused_with_little_memory(case: str, tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    path.write_bytes(ENVIRONMENTS[case]())
    taken = peak([sys.executable, "-I", "-c", LOAD, LOADENV, path], timeout=30)
    assert (taken.code, len(taken.stderr.splitlines())) == (1, 1), taken.stderr
    assert taken.stderr.startswith(f"error: {path}: ")
    assert taken.mebibytes <= MOST
