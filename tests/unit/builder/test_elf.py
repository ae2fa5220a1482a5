"""What the compiled files of a wheel need and provide."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployable_zipfile.builder import collected
from tests.support.wheels import MACHINE, compiled, extension


def test_compiled_files_say_what_they_need_and_provide(tmp_path: Path) -> None:
    wheel = compiled(tmp_path, {"native/core.so": extension("2.9.9"), "native.libs/libfoo-1.so.2": extension()})
    (elf,) = wheel.elves
    assert (elf.machine, elf.glibc_file) == (MACHINE, "native/core.so")
    assert elf.glibc >= (2, 9)
    assert "libc.so.6" in elf.needed
    assert {"core.so", "libfoo-1.so.2"} <= set(elf.provided)
    assert collected.glibc_floor([wheel], MACHINE) == "{}.{}".format(*elf.glibc)
    assert "libc.so.6" not in collected.system_libraries([wheel], MACHINE)


@pytest.mark.parametrize("content", [b"\x7fELF nonsense", b"\x7fELF", b"\x7fELF\x02\x01\x01" + b"\xff" * 500])
def test_a_broken_elf_file_is_data_and_named_as_a_doubt(content: bytes, tmp_path: Path) -> None:
    wheel = compiled(tmp_path, {"native/tests/broken.so": content})
    assert wheel.elves == ()
    (doubt,) = wheel.doubts
    assert doubt.startswith("native/tests/broken.so is not a sound ELF file (")
    assert doubt.endswith("), so what it needs is not known")


def test_an_elf_file_that_is_cut_adds_nothing_of_what_was_read_of_it(tmp_path: Path) -> None:
    whole = extension("9.9.5")
    wheel = compiled(tmp_path, {"native/core.so": whole, "native/cut.so": whole[: len(whole) // 2]})
    alone = compiled(tmp_path / "alone", {"native/core.so": whole})
    assert wheel.elves == alone.elves
    assert len(wheel.doubts) == 1
