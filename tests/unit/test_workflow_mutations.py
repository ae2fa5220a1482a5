"""Every rule bites: each deliberate damage to a workflow is found, by the rule that is meant to find it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.test_workflows import REPOSITORY, TEXTS
from tools import workflows

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
ATTEST = "actions/attest@1e69f48acb82d1966a394da916b4c1698aa569d6"


class Mutation(NamedTuple):
    """One damage: the first *old* in *file* becomes *new*, and *rule* must say so."""

    name: str
    rule: str
    file: str
    old: str
    new: str
    zizmor: bool = False  # whether zizmor must see it too


MUTATIONS = [
    Mutation("an action by tag", "pin", "ci.yml", CHECKOUT + " # v7.0.1", "actions/checkout@v7", zizmor=True),
    Mutation("an action by branch", "pin", "image.yml", ATTEST + " # v4.2.2", "actions/attest@main", zizmor=True),
    Mutation("a short commit", "pin", "ci.yml", CHECKOUT, CHECKOUT[:-20]),
    Mutation("no version beside a pin", "pin", "ci.yml", " # v7.0.1", ""),
    Mutation("another pin than elsewhere", "pin", "ci.yml", CHECKOUT, CHECKOUT[:-1] + "0"),
    Mutation("an unknown action", "action", "ci.yml", CHECKOUT, "someone/checkout@" + "a" * 40),
    Mutation("no permissions at the top", "permissions", "ci.yml", "permissions: {}\n", "", zizmor=True),
    Mutation("all at the top", "permissions", "ci.yml", "permissions: {}", "permissions: write-all", zizmor=True),
    Mutation("reading everything at the top", "permissions", "release.yml", "permissions: {}", "permissions: read-all"),
    Mutation(
        "a job that writes code",
        "permissions",
        "ci.yml",
        "      contents: read # to check the code out",
        "      contents: write # to check the code out",
    ),
    Mutation(
        "a test job that pushes images",
        "permissions",
        "platform.yml",
        "      contents: read # to check the code out",
        "      contents: read # to check the code out\n      packages: write # why not",
    ),
    Mutation(
        "a job without permissions of its own",
        "permissions",
        "ci.yml",
        "    permissions:\n      contents: read # to check the code out\n    steps:",
        "    steps:",
    ),
    Mutation("no timeout", "timeout", "ci.yml", "    timeout-minutes: 15\n", ""),
    Mutation("six hours", "timeout", "image.yml", "timeout-minutes: 90", "timeout-minutes: 360"),
    Mutation("a moving runner", "runner", "ci.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest"),
    Mutation("our own runner", "runner", "ci.yml", "runs-on: ubuntu-24.04", "runs-on: self-hosted"),
    Mutation("an unknown session", "session", "ci.yml", "tools/nox -s lint", "tools/nox -s lnt"),
    Mutation("no session", "session", "ci.yml", "tools/nox -s lint", "tools/nox --list"),
    Mutation("another program", "session", "ci.yml", "tools/nox -s lint", "make lint"),
    Mutation("a second command", "session", "ci.yml", "tools/nox -s lint", "tools/nox -s lint; make install"),
    Mutation("a command in a command", "session", "ci.yml", "-s lint", "-s lint -- $(cat options)"),
    Mutation(
        "a title in a script",
        "injection",
        "ci.yml",
        "tools/nox -s lint",
        'tools/nox -s lint -- "${{ github.event.pull_request.title }}"',
        zizmor=True,
    ),
    Mutation(
        "a branch name in a script",
        "injection",
        "platform.yml",
        '--platform "$PLATFORM"',
        "--platform ${{ github.head_ref }}",
        zizmor=True,
    ),
    Mutation("a variable from nowhere", "variable", "platform.yml", '"$PLATFORM"', '"$PLATFROM"'),
    Mutation("a shell that goes on after a failure", "shell", "ci.yml", "shell: bash", "shell: sh"),
    Mutation("strangers with our rights", "trigger", "ci.yml", "pull_request:", "pull_request_target:", zizmor=True),
    Mutation("a chained workflow", "trigger", "artifact.yml", "  workflow_dispatch:", "  workflow_run:"),
    Mutation("a token left behind", "checkout", "ci.yml", "persist-credentials: false", "persist-credentials: true"),
    Mutation(
        "a token left behind by default",
        "checkout",
        "image.yml",
        "        with:\n          persist-credentials: false\n",
        "",
        zizmor=True,
    ),
    Mutation("runs that pile up", "concurrency", "ci.yml", "  group: ci-${{ github.ref }}\n", ""),
    Mutation("half a release", "concurrency", "release.yml", "cancel-in-progress: false", "cancel-in-progress: true"),
    Mutation("a job that waits for none", "needs", "release.yml", "needs: [assemble]", "needs: [assembly]"),
    Mutation("a gate that forgets a job", "gate", "ci.yml", "matrix, unit, site,", "matrix, unit,"),
    Mutation("a gate that is skipped", "gate", "ci.yml", "    if: always()\n", ""),
    Mutation("a gate that lets failures pass", "gate", "ci.yml", "contains(needs.*.result, 'failure') || ", ""),
    Mutation("a gate of another name", "gate", "ci.yml", "\n  required:\n", "\n  finished:\n"),
    Mutation("images from any branch", "guard", "images.yml", "    if: github.ref == 'refs/heads/main'\n", ""),
    Mutation("an image from any branch", "guard", "image.yml", "    if: github.ref == 'refs/heads/main'\n", ""),
    Mutation("an image without a guardian", "guard", "image.yml", "    environment: images\n", ""),
    Mutation("a release from a branch", "guard", "release.yml", 'tags: ["v*"]', "branches: [main]"),
    Mutation(
        "a release without a guardian",
        "guard",
        "release.yml",
        "to make the release\n    environment: release",
        "to make the release",
    ),
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
        "a secret without a guardian",
        "secret",
        "release.yml",
        "      attestations: write # to store it\n    environment: release\n",
        "      attestations: write # to store it\n",
    ),
    Mutation(
        "a stranger's workflow", "call", "ci.yml", "$/.github/workflows/platform.yml", "some/ci/platform.yml@main"
    ),
    Mutation("a workflow that is not there", "call", "ci.yml", "workflows/platform.yml", "workflows/platforms.yml"),
    Mutation("an input that nobody takes", "call", "ci.yml", "      required: ${{", "      needed: ${{"),
    Mutation("an input that is missing", "call", "release.yml", "    with:\n      platform: centos7\n", ""),
    Mutation("a file that nobody kept", "download", "release.yml", "name: artifact-centos7", "name: artifacts-centos7"),
    Mutation("any file", "download", "artifact.yml", "name: artifact-${{ inputs.platform }}", "path: ."),
    Mutation("files for ever", "upload", "platform.yml", "          retention-days: 14\n", ""),
    Mutation("no files at all", "upload", "platform.yml", "          if-no-files-found: error\n", ""),
    Mutation("an unknown platform", "platform", "ci.yml", "platform: el9,", "platform: el99,"),
    Mutation("a forgotten platform", "platform", "images.yml", "{ platform: el10, base", "{ platform: el9, base"),
    Mutation("another base image", "platform", "images.yml", '"centos:7"', '"centos:8"'),
    Mutation("a misspelt image", "image", "image.yml", "ghcr.io/cfpb/cfgov-artifact-", "ghcr.io/cfpb/cfgov-artefact-"),
    Mutation("an image of someone else", "image", "platform.yml", "ghcr.io/cfpb/", "ghcr.io/someone/"),
]


def mutated(mutation: Mutation) -> str:
    """Return the text of the damaged workflow."""
    text = TEXTS[mutation.file]
    assert mutation.old in text, f"{mutation.name}: nothing to damage any more"
    return text.replace(mutation.old, mutation.new, 1)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_damaged_workflow_is_found(mutation: Mutation) -> None:
    damaged = {**REPOSITORY.workflows, mutation.file: workflows.parse(mutation.file, mutated(mutation))}
    found = workflows.findings(REPOSITORY._replace(workflows=damaged))

    assert mutation.rule in {finding.rule for finding in found}, found


def test_every_rule_is_broken_by_a_mutation() -> None:
    source = Path(workflows.__file__).read_text(encoding="utf-8")
    rules = {part.split('"')[0] for part in source.split('Finding("')[1:]}

    assert {mutation.rule for mutation in MUTATIONS} == rules
