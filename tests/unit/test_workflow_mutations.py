"""Every rule finds what it is for: each deliberate damage to a workflow is found by its rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.depth import sampled
from tests.unit.test_workflows import TEXTS, WORKFLOWS
from tools import workflows

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
OURS = "github.repository == 'cfpb/deployable-zipfile'"
READ = "      contents: read # to check the code out"


class Mutation(NamedTuple):
    """One damage: the first *old* in *file* becomes *new*, and *rule* must say so; "" leaves it to others."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    zizmor: bool = False  # whether zizmor must see it too


MUTATIONS = [
    Mutation("an action by tag", "", "ci.yml", CHECKOUT + " # v7.0.1", "actions/checkout@v7", zizmor=True),
    Mutation("another pin than elsewhere", "action", "ci.yml", CHECKOUT, CHECKOUT[:-1] + "0"),
    Mutation("an unknown action", "action", "ci.yml", CHECKOUT, "someone/checkout@" + "a" * 40),
    Mutation("no permissions at the top", "permissions", "ci.yml", "permissions: {}\n", "", zizmor=True),
    Mutation("all at the top", "permissions", "ci.yml", "permissions: {}", "permissions: write-all", zizmor=True),
    Mutation("reading everything at the top", "permissions", "release.yml", "permissions: {}", "permissions: read-all"),
    Mutation("a job that writes code", "permissions", "ci.yml", READ, READ.replace("read", "write", 1)),
    Mutation("a test job that pushes", "permissions", "platform.yml", "packages: read", "packages: write"),
    Mutation("a job without permissions of its own", "permissions", "ci.yml", "    permissions:\n" + READ + "\n", ""),
    Mutation("no timeout", "timeout", "ci.yml", "    timeout-minutes: 15\n", ""),
    Mutation("six hours", "timeout", "image.yml", "timeout-minutes: 90", "timeout-minutes: 360"),
    Mutation("a moving runner", "runner", "ci.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest"),
    Mutation("our own runner", "runner", "ci.yml", "runs-on: ubuntu-24.04", "runs-on: self-hosted"),
    Mutation(
        "a title in a script",
        "",
        "ci.yml",
        "tools/nox -s lint",
        'tools/nox -s lint -- "${{ github.event.pull_request.title }}"',
        zizmor=True,
    ),
    Mutation("strangers with our rights", "trigger", "ci.yml", "pull_request:", "pull_request_target:", zizmor=True),
    Mutation("a chained workflow", "trigger", "artifact.yml", "  workflow_dispatch:", "  workflow_run:"),
    Mutation(
        "a token left behind",
        "",
        "image.yml",
        "        with:\n          persist-credentials: false\n",
        "",
        zizmor=True,
    ),
    Mutation("runs without a group", "concurrency", "security.yml", "  group: security-${{ github.ref }}\n", ""),
    Mutation("a push that drops one before", "concurrency", "ci.yml", " || github.run_id", " || github.ref"),
    Mutation("images that drop a run", "concurrency", "images.yml", "  queue: max\n", ""),
    Mutation("half a release", "concurrency", "release.yml", "  queue: max", "  cancel-in-progress: true"),
    Mutation("a gate that forgets a job", "gate", "ci.yml", "matrix, unit, site,", "matrix, unit,"),
    Mutation("a gate that is skipped", "gate", "ci.yml", "    if: always()\n", ""),
    Mutation("a gate that lets failures pass", "gate", "ci.yml", "contains(needs.*.result, 'failure') || ", ""),
    Mutation("a gate of another name", "gate", "ci.yml", "\n  required:\n", "\n  finished:\n"),
    Mutation("images from any branch", "guard", "image.yml", "github.ref == 'refs/heads/main' && ", ""),
    Mutation("images from a fork", "guard", "image.yml", f" && {OURS}", ""),
    Mutation("a release of a fork", "guard", "release.yml", f"    if: {OURS}\n", ""),
    Mutation("a schedule of a fork", "guard", "security.yml", f"    if: {OURS}\n", ""),
    Mutation("an issue in a fork", "guard", "report.yml", f"    if: {OURS}\n", ""),
    Mutation("an identity without reviewers", "guard", "artifact.yml", "    environment: artifact\n", ""),
    Mutation("an image without an environment", "guard", "image.yml", "    environment: images\n", ""),
    Mutation(
        "every secret handed on",
        "secret",
        "release.yml",
        "    with:\n      platform: centos7\n",
        "    with:\n      platform: centos7\n    secrets: inherit\n",
        zizmor=True,
    ),
    Mutation(
        "a secret in a pull request",
        "secret",
        "ci.yml",
        "        run: tools/nox -s lint\n",
        "        run: tools/nox -s lint\n        env:\n          KEY: ${{ secrets.RELEASE_SIGNING_KEY }}\n",
    ),
    Mutation(
        "a signing key beside the build",
        "identity",
        "release.yml",
        "python3 -m tools.release sign",
        "tools/nox -s release -- sign",
    ),
    Mutation(
        "an identity beside the build",
        "identity",
        "artifact.yml",
        "          python3 -m tools.release artifact",
        "          pip install build && python3 -m tools.release artifact",
    ),
    Mutation(
        "an identity beside an image's build",
        "identity",
        "image.yml",
        "      packages: write # to push the images\n",
        "      packages: write # to push the images\n      id-token: write # to sign\n",
    ),
    Mutation("a schedule that fails unseen", "report", "images.yml", "needs: [table, platform]", "needs: [platform]"),
    Mutation("a schedule that reports nothing", "report", "locks.yml", "\n  report:\n", "\n  told:\n"),
    Mutation(
        "an artifact gone before the approval", "retention", "platform.yml", "retention-days: 45", "retention-days: 14"
    ),
    Mutation(
        "a folder gone before the approval", "retention", "candidate.yml", "retention-days: 45", "retention-days: 7"
    ),
    Mutation(
        "a download that makes the tree dirty",
        "ignored",
        "candidate.yml",
        "path: downloads/artifact",
        "path: tested",
    ),
    Mutation("a download over the checkout", "ignored", "artifact.yml", "path: downloads/artifact", "path: ."),
    Mutation("an artifact with stray files", "clean", "platform.yml", " --require-clean", ""),
    Mutation(
        "an artifact of the runner",
        "clean",
        "platform.yml",
        "--image ghcr.io/cfpb/cfgov-artifact-builder:latest",
        "--native",
    ),
]


def mutated(mutation: Mutation) -> str:
    """Return the text of the damaged workflow."""
    text = TEXTS[mutation.file]
    assert mutation.old in text, f"{mutation.name}: nothing to damage any more"
    return text.replace(mutation.old, mutation.new, 1)


@pytest.mark.parametrize(
    "mutation",
    sampled([m for m in MUTATIONS if m.rule], {m.rule: m for m in MUTATIONS if m.rule}.values()),
    ids=lambda mutation: mutation.name,
)
def test_a_damaged_workflow_is_found(mutation: Mutation) -> None:
    damaged = {**WORKFLOWS, mutation.file: workflows.parse(mutation.file, mutated(mutation))}
    found = workflows.findings(damaged)

    assert mutation.rule in {finding.rule for finding in found}, found


def test_every_rule_is_broken_by_a_mutation() -> None:
    source = Path(workflows.__file__).read_text(encoding="utf-8")
    rules = set(re.findall(r'Finding\(\s*"(\w+)"', source))

    assert {mutation.rule for mutation in MUTATIONS if mutation.rule} == rules
