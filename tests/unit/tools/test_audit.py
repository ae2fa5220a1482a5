"""Every pin of a universal lock is compared, whatever Python runs the comparison."""

from __future__ import annotations

import pytest

from tools import audit, lock

LOCK = """# comment
alpha==1.0 ; python_full_version < '3.9' \\
    --hash=sha256:00
    # via beta
alpha==2.0 ; python_full_version >= '3.9' \\
    --hash=sha256:00
beta==1.0 \\
    --hash=sha256:00
tomli==2.0 ; python_full_version < '3.11' \\
    --hash=sha256:00
gamma==1.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:00
delta==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""


def test_each_python_and_machine_has_its_own_pins() -> None:
    found = audit.sets(LOCK, "3.8")

    assert found[frozenset(["alpha==1.0", "beta==1.0", "tomli==2.0"])] == ["3.8"]
    assert found[frozenset(["alpha==2.0", "beta==1.0", "tomli==2.0", "gamma==1.0"])] == ["3.9", "3.10"]
    assert found[frozenset(["alpha==2.0", "beta==1.0"])] == ["3.11", "3.12", "3.13", "3.14"]


def test_a_lock_for_newer_pythons_is_not_compared_for_older_ones() -> None:
    assert all("3.8" not in pythons for pythons in audit.sets(LOCK.replace("< '3.9'", "< '3.11'"), "3.10").values())


def test_a_pin_that_nothing_installs_is_an_error() -> None:
    with pytest.raises(ValueError, match="no Python installs omega"):
        audit.sets(LOCK + "omega==1.0 ; python_full_version < '3.7'\n", "3.8")


@pytest.mark.parametrize("name", list(lock.OLDEST))
def test_no_pin_of_our_locks_is_left_out(name: str) -> None:
    text = (lock.REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")

    found = audit.sets(text, lock.OLDEST[name])

    assert sum(len(pins) for pins in found) > 0
    if name == "deployment":
        oldest = next(pins for pins, pythons in found.items() if "3.8" in pythons)
        newest = next(pins for pins, pythons in found.items() if "3.14" in pythons)
        assert len(oldest) >= 30
        assert len(oldest - newest) >= 20, "what one Python's markers would hide"


def test_what_is_found_for_one_python_fails_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(audit, "audit", lambda pins: seen.append(pins) or ("tomli" in str(pins)))

    assert audit.main(["build"]) == 1
    assert len(seen) >= 2
