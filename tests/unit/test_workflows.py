"""The workflows, read as data: what they may do, and what only GitHub itself would find wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tools import platforms, workflows

ROOT = Path(workflows.__file__).resolve().parent.parent
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / workflows.FOLDER).glob("*.yml"))}
WORKFLOWS = workflows.read(ROOT)


def test_no_rule_of_the_repository_is_broken() -> None:
    assert workflows.findings(WORKFLOWS) == []


def test_every_permission_to_write_that_the_table_lists_is_used() -> None:
    used = {
        (workflow.name, name): frozenset(key for key, value in job["permissions"].items() if value == "write")
        for workflow in WORKFLOWS.values()
        for name, job in workflow.jobs.items()
        if "write" in job["permissions"].values()
    }

    assert used == workflows.WRITERS


def test_every_action_that_the_table_lists_is_used() -> None:
    steps = [step for workflow in WORKFLOWS.values() for *_, step in workflow.steps()]

    assert {step["uses"].split("@")[0] for step in steps if "uses" in step and "@" in step["uses"]} == workflows.ACTIONS


def test_every_permission_says_what_it_is_for() -> None:
    for name, text in TEXTS.items():
        for line in text.splitlines():
            if re.match(r"\s+[\w-]+: (read|write)\b", line):
                assert re.search(r"# (to|for) ", line), f"{name}: {line.strip()}"


@pytest.mark.parametrize("target", ["builder", "tester"])
def test_the_images_of_the_workflows_are_those_of_the_image_recipe(target: str) -> None:
    recipe = (ROOT / "docker/centos7/Dockerfile").read_text(encoding="utf-8")

    assert f"FROM centos7-py38 AS cfgov-artifact-{target}\n" in recipe
    assert f"target: cfgov-artifact-{target}\n" in TEXTS["image.yml"]
    assert f"tags: ghcr.io/cfpb/cfgov-artifact-{target}:" in TEXTS["image.yml"]


def test_the_platforms_to_choose_from_are_those_of_the_table() -> None:
    inputs = WORKFLOWS["artifact.yml"].triggers["workflow_dispatch"]["inputs"]

    assert set(inputs) == {"platform"}, "no free reference: what is attested is the commit that the run is of"
    assert set(inputs["platform"]["options"]) == set(platforms.read())


def test_what_changes_an_image_starts_its_publication() -> None:
    paths = WORKFLOWS["images.yml"].triggers["push"]["paths"]

    for called in ("image.yml", "images.yml", "platform.yml"):
        assert f"{workflows.FOLDER}/{called}" in paths
    assert {"docker/**", "tools/images.py", "tools/promote.py"} <= set(paths)
    assert all("*" in path or (ROOT / path).is_file() for path in paths)


def test_dependabot_is_asked_only_for_what_it_can_read() -> None:
    document = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))

    assert {update["package-ecosystem"] for update in document["updates"]} == {"github-actions"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in document["updates"])
