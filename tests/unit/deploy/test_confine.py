"""A process that is confined: no network, nothing written outside its folder, for its children too."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from deployable_zipfile.deploy import confine
from tests.support.depth import sampled
from tests.support.helpers import run_cli

PROGRAM = Path(confine.__file__)


@pytest.fixture
def places(tmp_path: Path) -> Tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("real")
    return tmp_path / "in", tmp_path / "out"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(0.05)
        yield made


def confined(folder: Path, code: str, *words: object, status: int = 0) -> str:
    """Run Python code in a child of a confined process and return what it printed."""
    child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-I', '-c', {code!r}, *sys.argv[1:]]))"
    command = [sys.executable, "-I", "-S", PROGRAM, folder, sys.executable, "-I", "-c", child, *map(str, words)]
    return run_cli(command, code=status).stdout


REFUSED = "try:\n    {}\nexcept OSError as error:\n    print(error.errno)\nelse:\n    print('done')"


@pytest.mark.parametrize(
    "code",
    sampled(
        [
            "socket.create_connection(('127.0.0.1', int(sys.argv[1])))",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', int(sys.argv[1])))",
            "socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', int(sys.argv[1])))",
            "socket.socket().sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', int(sys.argv[1])))",
            "socket.socket(socket.AF_UNIX).connect('/run/nothing')",
            "socket.socket(socket.AF_INET6).connect(('::1', int(sys.argv[1])))",
        ],
        2,
    ),
)
def test_no_address_can_be_reached(places: Tuple[Path, Path], server: socket.socket, code: str) -> None:
    said = confined(places[0], "import socket, sys\n" + REFUSED.format(code), server.getsockname()[1])
    assert said.strip() == "13"
    with pytest.raises(socket.timeout):
        server.accept()


def test_a_pair_of_sockets_and_an_event_loop_work(places: Tuple[Path, Path]) -> None:
    code = "import asyncio, socket; a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1)); "
    code += "asyncio.run(asyncio.sleep(0))"
    assert confined(places[0], code) == "b'x'\n"


@pytest.mark.parametrize(
    "code",
    sampled(
        [
            "open(out + '/file', 'a')",
            "open(out + '/new', 'w')",
            "os.remove(out + '/file')",
            "os.rename(out + '/file', inside + '/file')",
            "os.mkdir(out + '/new')",
            "os.symlink('/', out + '/new')",
            "(os.symlink(out, inside + '/link'), open(inside + '/link/file', 'w'))",
        ],
        2,
    ),
)
def test_nothing_is_written_outside_the_folder(places: Tuple[Path, Path], code: str) -> None:
    inside, outside = places
    text = "import os, sys\ninside, out = sys.argv[1:]\n" + REFUSED.format(code)
    said = confined(inside, text, inside, outside)
    if (inside / "confined").read_text() == "network":
        pytest.skip("this kernel has no Landlock")
    assert said.strip() in ("13", "18")  # EACCES, or EXDEV for a rename
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "real"


def test_everything_can_be_written_inside_it(places: Tuple[Path, Path]) -> None:
    code = (
        "import os, sys, multiprocessing; os.chdir(sys.argv[1]); os.mkdir('a'); open('b', 'w').close();"
        "os.rename('b', 'a/b'); open('/dev/null', 'w'); multiprocessing.Lock(); print('done')"
    )
    assert confined(places[0], code, places[0]) == "done\n"


def test_a_machine_that_is_not_known_starts_nothing(places: Tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    text = PROGRAM.read_text().replace('"x86_64"', '"other"').replace('"aarch64"', '"another"')
    program = places[0] / "changed.py"
    program.write_text(text)
    started = places[0] / "started"
    command = [sys.executable, "-I", "-S", program, places[0], "/usr/bin/touch", started]
    assert "cannot be blocked on" in run_cli(command, code=confine.NOT_CONFINED).stderr
    assert not started.exists()
