"""How the tester says that the application or one of its commands failed."""

import importlib.util
from types import ModuleType

import pytest

from tests.support.documentation import ROOT

SCRIPT = ROOT / "docker/centos7/prepare_site.py"


@pytest.fixture
def prepare_site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_site", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("ALLOWED_HOSTS must be a list.", "ValueError: ALLOWED_HOSTS must be a list"),
        ("no luck today", "ValueError: no luck today"),
        ("the first line.\nthe second", "ValueError: the first line"),
        ("and so on...", "ValueError: and so on"),
        ("", "ValueError: no message"),
    ],
)
def test_a_failure_is_one_sentence_whatever_the_exception_ends_with(
    prepare_site: ModuleType, capsys: pytest.CaptureFixture[str], said: str, why: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        prepare_site.stop("migrate", ValueError(said))
    fix = "Correct the site or the variable it read; the traceback is above"
    assert ended.value.code == f"error: migrate: failed with {why}. {fix}"
    assert "ValueError" in capsys.readouterr().err
