"""The rehearsal's list of faults fits the pipeline, and a machine without its programs is told so."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.rehearsal import actions, scenarios
from tests.rehearsal.mutations import MUTATIONS, Mutation
from tools import rehearse, workflows

ROOT = Path(workflows.__file__).resolve().parent.parent


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_fault_can_be_put_back_and_has_its_scenario(mutation: Mutation, tmp_path: Path) -> None:
    for name in mutation.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)

    mutation.put_back(tmp_path)

    assert mutation.scenario in scenarios.SCENARIOS
    assert all((tmp_path / name).read_bytes() != (ROOT / name).read_bytes() for name in mutation.files)


def test_a_fault_that_fits_no_more_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")

    with pytest.raises(ValueError, match="nothing to damage"):
        Mutation("gone", "rules", "other", "", ["file"]).put_back(tmp_path)


def test_every_event_of_every_workflow_is_rehearsed() -> None:
    text = inspect.getsource(scenarios)
    for path in sorted((ROOT / workflows.FOLDER).glob("*.yml")):
        events = set(yaml.load(path.read_text("utf-8"), yaml.BaseLoader)["on"]) - {"workflow_call"}
        for event in events - ({"workflow_dispatch"} if path.name in ("ci.yml", "images.yml") else set()):
            assert f'"{path.name}"' in text, path.name
            assert f'"{event}"' in text, f"{path.name} on {event}"


def test_every_action_has_a_stand_in_that_takes_the_inputs_in_use() -> None:
    for workflow in workflows.read(ROOT).values():
        for where, _, _, step in workflow.steps():
            action = str(step.get("uses", "")).split("@")[0]
            if action and not action.startswith("$/"):
                unknown = set(step.get("with", {})) - set(actions.INPUTS.get(action, []))
                assert action in actions.STAND_INS, where
                assert not unknown, f"{where}: {unknown}"


def test_a_missing_program_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "skopeo" else f"/usr/bin/{name}")

    assert rehearse.main(["rules"]) == 1
    assert re.match(r"error: skopeo: command not found\. Install it", capsys.readouterr().err)


def test_the_list_names_every_scenario_and_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert rehearse.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}: " in shown for name in scenarios.SCENARIOS)
    assert all(f". {mutation.name} ({mutation.scenario})" in shown for mutation in MUTATIONS)


def test_a_fault_that_is_not_known_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        rehearse.main(["--fault", "a fault of somebody else"])
    assert caught.value.code == 2
    assert "no known fault has that in its name" in capsys.readouterr().err


def test_an_unknown_scenario_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        rehearse.main(["releases"])
    assert caught.value.code == 2
    assert "unknown scenario" in capsys.readouterr().err
