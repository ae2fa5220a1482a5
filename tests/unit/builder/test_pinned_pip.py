"""The pip that every artifact carries, where the pinned release cannot be had."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import List, Sequence

import pytest

from deployable_zipfile.builder import cache, needs, pinned_pip, pip, requirements, targets, wheelcache
from tests.support.helpers import make_wheel


def of(folder: Path, kept: cache.Cache, wheelhouse: str = "") -> pinned_pip.PinnedPip:
    settings = needs.CollectSettings(use_cache=False, wheelhouse=wheelhouse)
    nothing = requirements.Requirements(str(folder), (), (), (), "")
    return pinned_pip.PinnedPip(needs.Needs(settings, nothing), wheelcache.WheelCache(kept))


@pytest.mark.parametrize("place", ["variable", "file", "wheelhouse"])
def test_without_an_index_the_pip_of_python_itself_is_taken(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []
    bundled = tmp_path / "bundled"

    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        asked.append(lines)
        if str(bundled) not in lines:
            raise pip.NotFound("pip==0", "cannot be found", "Allow the package index")
        return [str(make_wheel(bundled, "pip", "1.0", {"pip/__main__.py": ""}))]

    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n" if place == "file" else "")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1" if place == "variable" else "")
    monkeypatch.setattr(pip, "download", download)
    monkeypatch.setattr(pip, "starting_command", lambda *words: (sys.executable, "-m", "pip"))
    monkeypatch.setattr(pip, "bundled", lambda interpreters: [str(bundled)])
    with cache.Cache(None) as kept:
        found = of(tmp_path, kept, str(tmp_path) if place == "wheelhouse" else "")
        [facts] = found.bootstrap_of(targets.of_interpreter(sys.executable))
    assert facts.file == "pip-1.0-py3-none-any.whl"
    assert len(asked) == 2


def test_with_an_index_that_lacks_it_the_build_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(runner: pip.Runner, arguments: Sequence[str], lines: str) -> List[str]:
        raise pip.NotFound("pip==0", "no version of it fits", "Correct it")

    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setattr(pip, "download", download)
    monkeypatch.setattr(pip, "starting_command", lambda *words: (sys.executable, "-m", "pip"))
    with cache.Cache(None) as kept, pytest.raises(pip.NotFound, match="no version of it fits"):
        of(tmp_path, kept).bootstrap_of(targets.of_interpreter(sys.executable))
