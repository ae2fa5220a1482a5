"""The collection's playbooks, run by ansible-core."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple

from tests.support.machine import lacking

COLLECTION = Path(__file__).resolve().parents[2] / "ansible"
TIMEOUT = 900  # seconds for one play


class Play(NamedTuple):
    """How a play ended."""

    code: int
    output: str
    changed: Dict[str, int]  # by host, of those that were begun
    failed: Dict[str, int]  # unreachable ones too
    seconds: float


def program(name: str, source: str = "requirements/ansible.txt, for Python 3.11 or newer") -> str:
    """Return the path of a program that plays need, beside this Python or on PATH; *source* tells what brings it.

    Without it, skip; REQUIRE_ANSIBLE=1 makes that a failure.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        lacking(f"{name} is not installed ({source})", "REQUIRE_ANSIBLE")
    return found


def play(folder: Path, book: str, hosts: Mapping[str, Any], variables: Mapping[str, Any], *words: str) -> Play:
    """Run the playbook *book* on the group ``web``.

    Parameters:
        folder: where the inventory, the home folder and what Ansible keeps for a while are.
        hosts: the variables of each host by its name.
        variables: those of the play itself.
        words: further words of the command line.
    """
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"web": {"hosts": dict(hosts)}}))
    command = [program("ansible-playbook"), "-i", str(inventory), str(COLLECTION / "playbooks" / f"{book}.yml")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        "ANSIBLE_NOCOLOR": "1",
    }
    began = time.monotonic()
    done = subprocess.run(
        [*command, "-e", json.dumps(dict(variables)), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    seconds = time.monotonic() - began
    assert "canary" not in done.stdout
    recap = re.findall(r"^(\w+) +: .*changed=(\d+) +unreachable=(\d+) +failed=(\d+)", done.stdout, re.MULTILINE)
    return Play(
        done.returncode,
        done.stdout,
        {name: int(changed) for name, changed, _, _ in recap},
        {name: int(lost) + int(failed) for name, _, lost, failed in recap},
        seconds,
    )
