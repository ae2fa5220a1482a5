"""The state that a command line gives itself, whatever it was started with."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.helpers import run_cli
from tests.support.hostile_parent import PACKAGE, spoiled


def test_what_nohup_and_a_background_job_ask_for_is_kept_and_nothing_else() -> None:
    said = spoiled(
        """
        import signal
        from deployable_zipfile import inherited
        inherited.claim()
        print([n for n in range(1, 32) if signal.getsignal(n) == signal.SIG_IGN and n not in (13, 25)])
        print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        """
    )
    assert said == "[1, 2]\n[]\n"


def test_a_timer_of_the_caller_does_not_end_this_process() -> None:
    program = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.5);"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    )
    own = (
        f"import sys, time; sys.path.insert(0, {PACKAGE!r}); from deployable_zipfile import inherited;"
        "inherited.claim(); time.sleep(0.6); print('alive')"
    )
    assert run_cli([sys.executable, "-c", program, own]).stdout == "alive\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_are_filled(tmp_path: Path, closed: str) -> None:
    program = (
        f"import sys; sys.path.insert(0, {PACKAGE!r}); from deployable_zipfile import inherited; inherited.claim();"
        f"import os; [os.fstat(number) for number in range(3)]; open({str(tmp_path / 'out')!r}, 'x').write('done')"
    )
    subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program], check=True)
    assert (tmp_path / "out").read_text() == "done"


def test_output_that_must_wait_for_its_reader_arrives_whole() -> None:
    program = (
        f"import os, sys; sys.path.insert(0, {PACKAGE!r}); os.set_blocking(1, False)\n"
        "from deployable_zipfile import inherited; inherited.claim(); sys.stdout.write('x' * 1_000_000)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    time.sleep(0.3)
    assert len(child.communicate()[0]) == 1_000_000
    assert child.returncode == 0
