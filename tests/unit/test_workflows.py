"""The workflows, read as data: what they may do, and that they and the documentation name the same things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tools import workflows

ROOT = Path(workflows.__file__).resolve().parent.parent
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / workflows.FOLDER).glob("*.yml"))}
REPOSITORY = workflows.read_repository(ROOT, TEXTS)


def test_all_the_workflows_are_here() -> None:
    assert set(TEXTS) == {
        "artifact.yml",
        "ci.yml",
        "image.yml",
        "images.yml",
        "platform.yml",
        "release.yml",
        "security.yml",
    }


def test_no_rule_of_the_repository_is_broken() -> None:
    assert workflows.findings(REPOSITORY) == []


def test_no_rule_is_vacuous() -> None:
    steps = [step for workflow in REPOSITORY.workflows.values() for *_, step in workflow.steps()]

    assert sum("run" in step for step in steps) > 15
    assert sum("uses" in step for step in steps) > 30
    assert {"lint", "unit-3.8", "unit-3.14", "images", "build", "e2e", "release"} <= REPOSITORY.sessions
    assert set(REPOSITORY.platforms) == {"centos7", "debian12", "el8", "el9", "el10"}


def test_every_permission_to_write_that_the_table_lists_is_used() -> None:
    used = {
        (workflow.name, name): frozenset(key for key, value in job["permissions"].items() if value == "write")
        for workflow in REPOSITORY.workflows.values()
        for name, job in workflow.jobs.items()
        if "write" in job["permissions"].values()
    }

    assert used == workflows.WRITERS


def test_every_action_that_the_table_lists_is_used() -> None:
    used = {
        step["uses"].split("@")[0] for w in REPOSITORY.workflows.values() for *_, step in w.steps() if "uses" in step
    }

    assert used == workflows.ACTIONS


def test_every_permission_says_what_it_is_for() -> None:
    for name, text in TEXTS.items():
        for line in text.splitlines():
            if re.match(r"\s+[\w-]+: (read|write)\b", line):
                assert re.search(r"# (to|for) ", line), f"{name}: {line.strip()}"


def test_only_the_publishing_workflows_can_write_packages_or_contents() -> None:
    writers = {name for (name, _), keys in workflows.WRITERS.items() if {"packages", "contents"} & keys}

    assert writers == {"image.yml", "images.yml", "release.yml"}


def test_the_released_bytes_are_those_that_were_tested() -> None:
    jobs = REPOSITORY.workflows["release.yml"].jobs
    fetched = next(step for step in jobs["assemble"]["steps"] if "download-artifact" in step.get("uses", ""))
    made = next(step for step in jobs["assemble"]["steps"] if "--artifact" in step.get("run", ""))

    assert jobs["assemble"]["needs"] == ["platform"]
    assert fetched["with"]["name"] == f"artifact-{jobs['platform']['with']['platform']}"
    assert f"--artifact {fetched['with']['path']}/cfgov_current_build.zip" in made["run"]


def test_an_artifact_is_tested_in_the_job_that_built_it_with_the_images_of_its_own_commit() -> None:
    steps = REPOSITORY.workflows["platform.yml"].jobs["platform"]["steps"]
    sessions = [
        match.group(1) for step in steps for match in [re.search(r"nox -s (\S+)", step.get("run", ""))] if match
    ]

    assert sessions == ["images", "build", "integration", "e2e", "facts"]
    assert "--image ghcr.io/cfpb/cfgov-artifact-builder:latest" in next(
        s["run"] for s in steps if " build " in s.get("run", "")
    )
    assert not any("login" in step.get("uses", "") for step in steps), "nothing may be pulled in place of this commit's"


def test_the_sessions_read_from_the_noxfile_have_their_versions() -> None:
    text = """
PYTHONS = ["3.8", "3.9"]
@nox.session(python=PYTHONS)
def unit(session): ...
@nox.session
def lint(session): ...
def helper(session): ...
"""

    assert workflows.sessions_of(text) == {"unit", "unit-3.8", "unit-3.9", "lint"}


@pytest.mark.parametrize("image", sorted(workflows.IMAGES))
def test_the_images_of_the_workflows_are_those_of_the_image_recipe(image: str) -> None:
    recipe = (ROOT / "docker/centos7/Dockerfile").read_text(encoding="utf-8")

    assert f"FROM centos7-py38 AS {image.rsplit('/', 1)[-1]}\n" in recipe


def test_dependabot_waits_a_week_before_it_proposes_anything() -> None:
    document = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))

    assert {update["package-ecosystem"] for update in document["updates"]} == {"github-actions", "docker", "pip"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in document["updates"])
