"""What Python itself refuses in a self-test, on kernels that cannot close files too, and what it tells of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from deployable_zipfile.deploy import guard
from tests.support.depth import sampled
from tests.support.helpers import run_cli

PACKAGE = Path(guard.__file__).parents[1]

START = """
import sys
sys.path.insert(0, {place!r})
from deployable_zipfile.deploy import guard
guard.install({folder!r})
inside, outside = sys.argv[1:3]
try:
    exec(sys.argv[3])
except guard.Refused as error:
    print("refused", error.strerror)
else:
    print("done")
"""


@pytest.fixture
def places(tmp_path: Path) -> Tuple[Path, Path]:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "confined").write_text("network")  # as on a kernel without Landlock
    (tmp_path / "out" / "file").write_text("real")
    return tmp_path / "in", tmp_path / "out"


def guarded(places: Tuple[Path, Path], code: str) -> Tuple[str, List[Dict[str, str]]]:
    """Run *code* with the guard; return what it printed and what was recorded."""
    inside, outside = places
    text = START.format(place=str(PACKAGE.parent), folder=str(inside))
    said = run_cli([sys.executable, "-I", "-c", text, inside, outside, code]).stdout
    return said.strip(), guard.read(str(inside / "refused"))


@pytest.mark.parametrize(
    ("code", "tried"),
    sampled(
        [
            ("open(outside + '/new', 'w')", "to write {out}/new"),
            ("import os; os.remove(outside + '/file')", "to write {out}/file"),
            ("import os; os.rename(inside + '/confined', outside + '/new')", "to write {out}/new"),
            ("import os; os.chmod(outside + '/file', 0o600)", "to write {out}/file"),
            ("import os; d = os.open(outside, os.O_RDONLY); os.mkdir('new', dir_fd=d)", "to write {out}/new"),
            ("import os; os.symlink(outside, inside + '/l'); open(inside + '/l/file', 'a')", "to write {in}/l/file"),
            ("import shutil; shutil.rmtree(outside)", "to write {out}/file"),
            ("import sqlite3; sqlite3.connect(outside + '/file')", "to open the SQLite database {out}/file"),
            (
                "import sqlite3; sqlite3.connect('file:' + outside + '/file?mode=rw', uri=True)",
                "the SQLite database {out}",
            ),
            ("import socket; socket.socket().connect(('127.0.0.1', 9))", "to connect to 127.0.0.1:9"),
            ("import socket; socket.socket(socket.AF_UNIX).connect('/run/x')", "to connect to /run/x"),
            ("import socket; socket.getaddrinfo('db.example.org', 5432)", "to look up db.example.org, port 5432"),
            ("import subprocess; subprocess.run(['/bin/touch', outside + '/new'])", "to start /bin/touch"),
            ("import os; os.system('touch /x')", "to start touch"),
        ],
        5,
    ),
)
def test_what_leads_out_is_refused_and_recorded(places: Tuple[Path, Path], code: str, tried: str) -> None:
    said, recorded = guarded(places, code)
    wanted = tried.replace("{in}", str(places[0])).replace("{out}", str(places[1]))
    assert said.startswith("refused selftest refused: ")
    assert wanted in recorded[0]["tried"]
    assert [path.name for path in places[1].iterdir()] == ["file"]
    assert (places[1] / "file").read_text() == "real"


@pytest.mark.parametrize(
    "code",
    sampled(
        [
            "open(outside + '/file').read()",
            "open(inside + '/new', 'w')",
            "open('/dev/null', 'w')",
            "import sqlite3; sqlite3.connect(':memory:'); sqlite3.connect(inside + '/db')",
            "import socket; socket.getaddrinfo('localhost', 80); socket.getaddrinfo('127.0.0.1', 80)",
            "import subprocess; subprocess.run(['uname'], stdout=subprocess.DEVNULL, check=True)",
            "import asyncio; asyncio.run(asyncio.sleep(0))",
        ],
        3,
    ),
)
def test_what_stays_inside_or_only_reads_is_allowed(places: Tuple[Path, Path], code: str) -> None:
    assert guarded(places, code) == ("done", [])


def test_the_line_of_the_code_that_tried_is_named(places: Tuple[Path, Path]) -> None:
    module = places[0] / "settings.py"
    module.write_text("import pathlib\n\npathlib.Path('/nothing/real').write_text('x')\n")
    _, recorded = guarded(places, "import runpy; runpy.run_path(inside + '/settings.py')")
    assert recorded == [{"tried": "to write /nothing/real", "place": f"{module}:3"}]


def test_a_start_without_the_kernels_limits_is_refused(places: Tuple[Path, Path]) -> None:
    (places[0] / "confined").unlink()
    text = START.format(place=str(PACKAGE.parent), folder=str(places[0]))
    done = run_cli([sys.executable, "-I", "-c", text, places[0], places[1], "1"], code=1)
    assert "FileNotFoundError" in done.stderr


def test_what_is_recorded_is_json_a_line(tmp_path: Path) -> None:
    path = tmp_path / "refused"
    for text in ("a", "é\udc80\n"):
        guard._append(str(path), {"tried": text})
    assert [json.loads(line)["tried"] for line in path.read_text().splitlines()] == ["a", "é\udc80\n"]
    assert guard.read(str(tmp_path / "absent")) == []
