from __future__ import annotations

from pathlib import Path

import pytest

from deployable_zipfile.builder import settings
from deployable_zipfile.errors import BuildInputError


def read(folder: Path, text: str, below: str = "site_one") -> settings.Settings:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / below).mkdir(exist_ok=True, parents=True)
    return settings.read(str(folder / below))


def test_the_nearest_file_with_the_section_holds(tmp_path: Path) -> None:
    text = '[tool.deployable-zipfile]\ninclude = ["a/*"]\nrequire-clean = true\nshebang = "#!/usr/bin/python3"\n'
    found = read(tmp_path, text)
    assert found.path == str(tmp_path / "pyproject.toml")
    assert (found.include, found.require_clean, found.shebang) == (("a/*",), True, "#!/usr/bin/python3")
    (tmp_path / "site_one" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings.read(str(tmp_path / "site_one")) == found


def test_nothing_above_the_checkout_is_read(tmp_path: Path) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert read(tmp_path, "[tool.deployable-zipfile]\nstrict = true\n", "repo/site_one") == settings.Settings()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("includes = []", "has the unknown setting 'includes'. Known are allow, exclude, include, require-clean"),
        ("require_clean = true", "has the unknown setting 'require_clean'"),
        ("path = 'x'", "has the unknown setting 'path'"),
        ("include = 'x'", "include in [tool.deployable-zipfile] is no list of strings"),
        ("include = [1]", "include in [tool.deployable-zipfile] is no list of strings"),
        ("strict = 1", "strict in [tool.deployable-zipfile] has a wrong type"),
        ("strict = ", "cannot be read as TOML"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(BuildInputError) as caught:
        read(tmp_path, f"[tool.deployable-zipfile]\n{line}\n")
    assert str(caught.value).startswith(f"{tmp_path}/pyproject.toml: ")
    assert why in str(caught.value)
