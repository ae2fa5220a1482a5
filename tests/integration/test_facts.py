"""What an image holds is recorded from the image itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict

import pytest

from tools import facts, platforms


def test_the_record_answers_every_question_about_the_image(
    images: Dict[str, str], platform: platforms.Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "ROOT", tmp_path)

    words = ["--platform", platform.name, "--image", images["tester"], "--builder-image", images["builder"]]
    assert facts.main(words) == 0

    text = (tmp_path / "test-results/facts" / f"{platform.name}.txt").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections["platform"] == f"{platform.name}\n"
    assert sections["python"].startswith(f"Python {platform.python_version}.")
    assert re.search(r"^sqlite \d+\.\d+", sections["python"], re.MULTILINE)
    assert platform.glibc in sections["libc"]
    assert "Apache/2.4" in sections["httpd"]
    assert "wsgi" in sections["modules"]
    assert sections["libraries"].splitlines()[0] == platform.python
    assert "libc.so.6 => /" in sections["libraries"]
    assert re.search(r"^NEEDED .*\[libc\.so\.6\]$", sections["dynamic"], re.MULTILINE)
    for package in platform.tester_packages:
        assert re.search(rf"^{re.escape(package)}-\d", sections["packages"], re.MULTILINE), package
