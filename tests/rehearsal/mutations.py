"""Faults that the pipeline once had, each with the scenario that must fail when it is put back."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple

WORKFLOWS = ".github/workflows"
OURS = "github.repository == 'cfpb/deployable-zipfile'"
NO_TOKEN = "          persist-credentials: false\n"


class Mutation(NamedTuple):
    """One fault: in each file every *old* becomes *new*, and *scenario* must fail."""

    name: str
    scenario: str
    old: str
    new: str
    files: List[str]

    def put_back(self, clone: Path) -> None:
        """Put the fault into the checkout *clone*."""
        for name in self.files:
            path = clone / name
            text = path.read_text("utf-8")
            if self.old not in text:
                raise ValueError(f"{self.name}: {name} has nothing to damage any more")
            path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def _in(*names: str) -> List[str]:
    return [f"{WORKFLOWS}/{name}" for name in names]


MUTATIONS = (
    Mutation(
        "integration without the Python of the platform",
        "artifact",
        "            ${{ steps.table.outputs.python }}\n",
        "",
        _in("platform.yml"),
    ),
    Mutation("a download that makes the tree dirty", "release", "downloads/artifact", "tested", _in("candidate.yml")),
    Mutation(
        "images, releases and pages of a fork",
        "fork",
        OURS,
        "true",
        _in("docs.yml", "image.yml", "images.yml", "release.yml"),
    ),
    Mutation("the schedules of a fork", "fork", f"    if: {OURS}\n", "", _in("locks.yml")),
    Mutation(
        "a check of two builds without the builder image",
        "release",
        "        run: tools/nox -s images -- --platform centos7 --target builder\n",
        "        run: tools/nox -s matrix -- platforms\n",
        _in("candidate.yml"),
    ),
    Mutation(
        "a check of two builds on the runner's own Python",
        "release",
        '["--image", build_artifact.IMAGE]',
        '["--native"]',
        ["tools/release_check.py"],
    ),
    Mutation(
        "an attestation of another commit's artifact",
        "artifact",
        NO_TOKEN,
        NO_TOKEN + "          ref: side\n",
        _in("platform.yml"),
    ),
    Mutation(
        "an attestation of what a branch holds by then",
        "artifact",
        NO_TOKEN,
        NO_TOKEN + "          ref: side\n",
        _in("artifact.yml", "platform.yml"),
    ),
    Mutation("any workflow as the signer", "release", '"--signer-workflow"', '"--owner"', ["tools/release.py"]),
    Mutation("any branch as the source", "release", '"--source-ref"', '"--owner"', ["tools/release.py"]),
    Mutation("any runner as the signer", "release", ', "--deny-self-hosted-runners"', "", ["tools/release.py"]),
    Mutation(
        "an attestation that nobody verifies",
        "release",
        '        run: python3 -m tools.release verify --tag "$GITHUB_REF_NAME" --output release\n',
        "        run: python3 --version\n",
        _in("release.yml"),
    ),
    Mutation("a tag off main", "release_off_main", ' --branch "$BRANCH"', "", _in("candidate.yml")),
    Mutation(
        "images that are not those tested",
        "images",
        "      tester: ${{ needs.stage.outputs.tester }}\n",
        "      tester: ${{ needs.stage.outputs.builder }}\n",
        _in("image.yml"),
    ),
    Mutation("a processor without a test", "images", "linux/amd64", "linux/amd64,linux/arm64", _in("image.yml")),
    Mutation(
        "labels that replace those of the recipe",
        "images",
        "          labels: |\n",
        "          labels: |\n            org.opencontainers.image.title=deployable-zipfile\n",
        _in("image.yml"),
    ),
    Mutation(
        "a signing key beside packages from an index",
        "release",
        "python3 -m tools.release sign",
        "tools/nox -s release -- sign",
        _in("release.yml"),
    ),
    Mutation(
        "an identity beside build code",
        "rules",
        "      packages: write # to push the images\n    outputs",
        "      packages: write # to push the images\n      id-token: write # to sign\n    outputs",
        _in("image.yml"),
    ),
    Mutation("a package without a test", "release", " --package downloads/package", "", _in("candidate.yml")),
    Mutation(
        "a release folder for the package index",
        "release",
        "          name: package\n",
        "          name: release\n",
        _in("release.yml"),
    ),
    Mutation("an artifact with stray files", "artifact", " --require-clean", "", _in("platform.yml")),
    Mutation(
        "a failed schedule without a report",
        "security",
        "github.event_name == 'schedule'\n",
        "github.event_name == 'cron'\n",
        _in("security.yml"),
    ),
    Mutation(
        "a renewal of the locks that starts no CI",
        "locks",
        '    github.write("POST", "actions/workflows/ci.yml/dispatches", {"ref": BRANCH})\n',
        "",
        ["tools/propose_locks.py"],
    ),
    Mutation("a schedule that falls asleep", "locks", '"images.yml", ', "", ["tools/propose_locks.py"]),
    Mutation("a pull request without a comment", "pull_request", ' --pull-request "$NUMBER"', "", _in("ci.yml")),
    Mutation("a look-alike that is skipped", "pull_request", '      REQUIRE_LOOKALIKE: "1"\n', "", _in("ci.yml")),
    Mutation(
        "a look-alike without its Python",
        "pull_request",
        "            3.8\n            3.13\n",
        "            3.13\n",
        _in("ci.yml"),
    ),
    Mutation(
        "files gone before the approval", "rules", "retention-days: 45", "retention-days: 7", _in("candidate.yml")
    ),
    Mutation("runs that are dropped", "rules", "  queue: max\n", "", _in("images.yml")),
    Mutation("pages of any branch", "documentation", " && github.ref == 'refs/heads/main'", "", _in("docs.yml")),
    Mutation("a release without reviewers", "rules", "    environment: release\n", "", _in("release.yml")),
    Mutation(
        "an artifact for others without a test",
        "others",
        'artifact, "selftest"]',
        'artifact, "info"]',
        [".github/actions/package/package.py"],
    ),
)
