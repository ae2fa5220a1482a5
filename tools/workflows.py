"""Hold the workflows under ``.github/workflows/`` to the rules of this repository that nothing else checks.

    python -m tools.workflows [--shellcheck]

Each rule is one function that takes the parsed workflows and yields findings. Schemas, actionlint and zizmor know the
rules that hold for any repository, and ``nox -s rehearse`` finds what fails when a workflow runs. Here is the rest:
what only GitHub itself enforces (rights, environments, concurrency, retention), where a mistake shows too late.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ".github/workflows"
REPOSITORY = "cfpb/deployable-zipfile"

RUNNER = "ubuntu-24.04"
# The look-alike copies the runner's Python 3.8 into images of Debian 12, where that of ubuntu-24.04 does not run.
OTHER_RUNNERS = {("ci.yml", "lookalike"): "ubuntu-22.04"}
TRIGGERS = frozenset(["merge_group", "pull_request", "push", "schedule", "workflow_call", "workflow_dispatch"])
LONGEST_MINUTES = 120
APPROVAL_DAYS = 30  # how long GitHub lets a job wait for its environment's reviewers
ACTIONS = frozenset(
    [
        "actions/attest",
        "actions/checkout",
        "actions/deploy-pages",
        "actions/download-artifact",
        "actions/setup-python",
        "actions/upload-artifact",
        "actions/upload-pages-artifact",
        "docker/build-push-action",
        "docker/login-action",
        "docker/setup-buildx-action",
        "github/codeql-action/analyze",
        "github/codeql-action/init",
        "pypa/gh-action-pypi-publish",
        "zizmorcore/zizmor-action",
    ]
)
# Every permission to write, and the only jobs that have it.
WRITERS: Dict[Tuple[str, str], FrozenSet[str]] = {
    ("artifact.yml", "attest"): frozenset(["attestations", "id-token"]),
    ("attest.yml", "attest"): frozenset(["attestations", "id-token"]),
    ("ci.yml", "summary"): frozenset(["pull-requests"]),
    ("docs.yml", "publish"): frozenset(["id-token", "pages"]),
    ("image.yml", "stage"): frozenset(["packages"]),
    ("image.yml", "promote"): frozenset(["attestations", "id-token", "packages"]),
    ("images.yml", "platform"): frozenset(["attestations", "id-token", "packages"]),  # hands them to image.yml
    ("images.yml", "report"): frozenset(["issues"]),
    ("locks.yml", "propose"): frozenset(["actions", "contents", "pull-requests"]),
    ("locks.yml", "report"): frozenset(["issues"]),
    ("release.yml", "sign"): frozenset(["attestations", "id-token"]),
    ("release.yml", "package"): frozenset(["id-token"]),
    ("release.yml", "publish"): frozenset(["contents"]),
    ("report.yml", "report"): frozenset(["issues"]),
    ("security.yml", "code"): frozenset(["security-events"]),
    ("security.yml", "report"): frozenset(["issues"]),
    ("security.yml", "workflows"): frozenset(["security-events"]),
}
# Workflows that run for other repositories, and so not only for this one.
FOR_OTHERS = frozenset(["attest.yml", "package.yml"])
# Rights that a pull request from a branch of this repository may use; one from a fork never gets them.
HARMLESS = frozenset(["pull-requests"])
GATE = ("ci.yml", "required")
# What a job with a key or an identity may run: nothing that was installed or built in that job.
PLAIN = re.compile(r"(python3 -m tools\.\w+|sha256sum --check)( |\Z)")
PLAIN_ACTIONS = frozenset(
    [
        "actions/attest",
        "actions/checkout",
        "actions/deploy-pages",
        "actions/download-artifact",
        "actions/upload-artifact",
        "docker/login-action",
        "pypa/gh-action-pypi-publish",
    ]
)


class Finding(NamedTuple):
    """One place where a rule is broken."""

    rule: str
    where: str  # FILE, FILE:JOB or FILE:JOB:STEP
    what: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.where}: {self.what} [{self.rule}]"


class Workflow(NamedTuple):
    """One file, parsed with every scalar a string."""

    name: str
    document: Dict[str, Any]

    @property
    def triggers(self) -> Dict[str, Any]:
        """Return the events that start it, each with its filter."""
        events = self.document.get("on", {})
        if isinstance(events, str):
            return {events: {}}
        return {event: {} for event in events} if isinstance(events, list) else dict(events)

    @property
    def jobs(self) -> Dict[str, Dict[str, Any]]:
        """Return the jobs by name."""
        return dict(self.document.get("jobs", {}))

    def steps(self) -> Iterator[Tuple[str, str, Dict[str, Any], Dict[str, Any]]]:
        """Yield place, job name, job and step of every step."""
        for name, job in self.jobs.items():
            for number, step in enumerate(job.get("steps", [])):
                yield f"{self.name}:{name}:{step.get('name', number)}", name, job, step


Workflows = Dict[str, Workflow]  # by file name
Rule = Callable[[Workflows], Iterator[Finding]]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print the findings and return 1 when there are any, else 0."""
    parser = argparse.ArgumentParser(prog="tools.workflows", description=__doc__.split("\n")[0])
    parser.add_argument("--shellcheck", action="store_true", help="run shellcheck over the run blocks too")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to read (default: this one)")
    arguments = parser.parse_args(argv)
    workflows = read(arguments.root)
    found = findings(workflows)
    for finding in found:
        print(finding)
    if arguments.shellcheck and not run_blocks_pass(workflows):
        return 1
    print(f"workflows: {len(found)} findings in {len(workflows)} files")
    return 1 if found or not workflows else 0


def read(root: Path) -> Workflows:
    """Parse the workflows of the checkout *root*."""
    return {path.name: parse(path.name, path.read_text("utf-8")) for path in sorted((root / FOLDER).glob("*.yml"))}


def parse(name: str, text: str) -> Workflow:
    """Parse the *text* of one workflow, every scalar as the string that is written there."""
    return Workflow(name, yaml.load(text, yaml.BaseLoader))


def findings(workflows: Workflows) -> List[Finding]:
    """Return every finding, sorted."""
    return sorted({finding for rule in RULES for finding in rule(workflows)})


def run_blocks_pass(workflows: Workflows) -> bool:
    """Return whether shellcheck accepts every ``run`` block, and print what it says."""
    accepted = True
    for workflow in workflows.values():
        for where, _, _, step in workflow.steps():
            if "run" in step:
                command = ["shellcheck", "--shell=bash", "-"]
                done = subprocess.run(command, input=step["run"].encode("utf-8"), check=False)
                if done.returncode:
                    print(f"{where}: shellcheck complains [shellcheck]")
                    accepted = False
    return accepted


def _triggers(workflows: Workflows) -> Iterator[Finding]:
    """Only known events: pull_request_target and workflow_run give strangers' code our rights."""
    for workflow in workflows.values():
        for event in sorted(set(workflow.triggers) - TRIGGERS):
            yield Finding("trigger", workflow.name, f"is started by {event}")


def _permissions(workflows: Workflows) -> Iterator[Finding]:
    """Nothing for the workflow, little for each job, and writing only where the table says so."""
    for workflow in workflows.values():
        if workflow.document.get("permissions") != {}:
            yield Finding("permissions", workflow.name, "has no `permissions: {}` at the top")
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            if not isinstance(job.get("permissions"), dict):
                yield Finding("permissions", where, "does not list its permissions")
                continue
            writes = _writes(job)
            for key in sorted(writes - WRITERS.get((workflow.name, name), frozenset())):
                yield Finding("permissions", where, f"may write {key}")
            if writes - HARMLESS and "pull_request" in workflow.triggers:
                yield Finding("permissions", where, "may write although a pull request can start it")


def _guards(workflows: Workflows) -> Iterator[Finding]:
    """Only this repository publishes: images from main, and behind an environment."""
    for workflow in workflows.values():
        for name, job in workflow.jobs.items():
            writes, where = _writes(job), f"{workflow.name}:{name}"
            if writes & {"contents", "packages", "pages", "issues"} and "steps" in job and not _guarded(workflow, name):
                yield Finding("guard", where, f"may run in another repository than {REPOSITORY}")
            first = "steps" in job and not _listed(job.get("needs", []))
            if "packages" in writes and first and "github.ref == 'refs/heads/main'" not in str(job.get("if")):
                yield Finding("guard", where, "pushes images of other branches than main")
            if "id-token" in writes and "steps" in job and "environment" not in job and workflow.name not in FOR_OTHERS:
                yield Finding("guard", where, "has an identity without an environment")
        if "schedule" in workflow.triggers:
            for name, job in workflow.jobs.items():
                if not _listed(job.get("needs", [])) and not _guarded(workflow, name):
                    yield Finding("guard", f"{workflow.name}:{name}", "runs on the schedules of forks")


def _guarded(workflow: Workflow, name: str) -> bool:
    """Tell whether the job *name*, or each that it needs, runs in this repository only."""
    job = workflow.jobs[name]
    if f"github.repository == '{REPOSITORY}'" in str(job.get("if")):
        return True
    needs = _listed(job.get("needs", []))
    return bool(needs) and all(needed in workflow.jobs and _guarded(workflow, needed) for needed in needs)


def _secrets(workflows: Workflows) -> Iterator[Finding]:
    """A secret is named by one job of a protected environment, or is the job's own token."""
    for workflow in workflows.values():
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            if job.get("secrets") == "inherit":
                yield Finding("secret", where, "hands on every secret")
            named = set(re.findall(r"secrets\.(\w+)", str(job))) - {"GITHUB_TOKEN"}
            if named and "environment" not in job:
                yield Finding("secret", where, "uses a secret outside of an environment")


def _identities(workflows: Workflows) -> Iterator[Finding]:
    """A job with an identity or a key runs no build code: what it runs was neither installed nor built there."""
    for workflow in workflows.values():
        for where, _, job, step in workflow.steps():
            secrets = set(re.findall(r"secrets\.(\w+)", str(job))) - {"GITHUB_TOKEN"}
            if "id-token" not in _writes(job) and not secrets:
                continue
            action = str(step.get("uses", "")).split("@")[0]
            if ("run" in step and not PLAIN.match(step["run"])) or (action and action not in PLAIN_ACTIONS):
                yield Finding("identity", where, "runs build code in a job that has a key or an identity")


def _limits(workflows: Workflows) -> Iterator[Finding]:
    """Every job ends by itself, on a fixed runner, and no run is dropped but that of a superseded pull request."""
    for workflow in workflows.values():
        group = workflow.document.get("concurrency", {})
        if set(workflow.triggers) != {"workflow_call"}:
            cancels, drops = group.get("cancel-in-progress", "false"), group.get("queue") != "max"
            superseded = "github.run_id" in group.get("group", "") and "github.event_name == 'pull_request'" in cancels
            if not group.get("group") or (drops and not superseded) or cancels == "true":
                yield Finding("concurrency", workflow.name, "may drop a run; say `queue: max`")
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            if "uses" in job:
                continue
            minutes = str(job.get("timeout-minutes", ""))
            if not minutes.isdigit() or not 1 <= int(minutes) <= LONGEST_MINUTES:
                yield Finding("timeout", where, f"has no timeout of 1 to {LONGEST_MINUTES} minutes")
            wanted = OTHER_RUNNERS.get((workflow.name, name), RUNNER)
            if job.get("runs-on") != wanted:
                yield Finding("runner", where, f"runs on {job.get('runs-on')}, not on {wanted}")


def _actions(workflows: Workflows) -> Iterator[Finding]:
    """A foreign action is one of the list, and of the same commit everywhere."""
    pins: Dict[str, str] = {}
    for workflow in workflows.values():
        used = [(where, step["uses"]) for where, _, _, step in workflow.steps() if "uses" in step]
        used += [(f"{workflow.name}:{name}", job["uses"]) for name, job in workflow.jobs.items() if "uses" in job]
        for where, uses in used:
            action, _, commit = uses.partition("@")
            if uses.startswith("$/"):
                continue
            if action not in ACTIONS:
                yield Finding("action", where, f"uses {action}, which is not on the list of known actions")
            if pins.setdefault(action, commit) != commit:
                yield Finding("action", where, f"uses another commit of {action} than elsewhere")


def _gate(workflows: Workflows) -> Iterator[Finding]:
    """The one required check waits for every job, whatever became of it."""
    where = ":".join(GATE)
    jobs = workflows[GATE[0]].jobs if GATE[0] in workflows else {}
    if GATE[1] not in jobs:
        yield Finding("gate", where, "does not exist")
        return
    gate = jobs[GATE[1]]
    for name in sorted(set(jobs) - {GATE[1]} - set(_listed(gate.get("needs", [])))):
        yield Finding("gate", where, f"does not wait for {name}")
    if gate.get("if") != "always()":
        yield Finding("gate", where, "has no `if: always()`, so a failure leaves it skipped, which counts as passed")
    condition = " ".join(str(step.get("if")) for step in gate.get("steps", []))
    for result in ("failure", "cancelled", "skipped"):
        if f"contains(needs.*.result, '{result}')" not in condition:
            yield Finding("gate", where, f"lets {result} jobs pass")


def _reports(workflows: Workflows) -> Iterator[Finding]:
    """A scheduled run that fails is reported, whichever job of it failed."""
    for workflow in workflows.values():
        if "schedule" not in workflow.triggers:
            continue
        report = workflow.jobs.get("report", {})
        missing = set(workflow.jobs) - {"report"} - set(_listed(report.get("needs", [])))
        if not report or missing or "failure()" not in str(report.get("if")):
            yield Finding(
                "report", workflow.name, f"does not report a failure of {', '.join(sorted(missing)) or 'a job'}"
            )


def _hand_overs(workflows: Workflows) -> Iterator[Finding]:
    """What a job fetches after an approval is still there, where git ignores it."""
    kept = _retention(workflows)
    for workflow in workflows.values():
        for where, _, job, step in workflow.steps():
            if not str(step.get("uses", "")).startswith("actions/download-artifact@"):
                continue
            name, path = _pattern(_argument(step, "name")), _argument(step, "path")
            days = [value for known, value in kept.items() if re.match(known, name) or re.match(name, known)]
            if "environment" in job and (not days or min(days) <= APPROVAL_DAYS):
                yield Finding("retention", where, f"may wait {APPROVAL_DAYS} days for what is kept {min(days or [0])}")
            checks_out = any(str(other.get("uses", "")).startswith("actions/checkout@") for other in job["steps"])
            if checks_out and path != "requirements" and not ignored(path):
                yield Finding("ignored", where, f"downloads into {path or '.'}, which git does not ignore")


def _retention(workflows: Workflows) -> Dict[str, int]:
    kept = {}
    for workflow in workflows.values():
        for _, _, _, step in workflow.steps():
            if str(step.get("uses", "")).startswith("actions/upload-artifact@"):
                days = _argument(step, "retention-days")
                kept[_pattern(_argument(step, "name"))] = int(days) if days.isdigit() else 0
    return kept


def _pattern(name: str) -> str:
    return re.sub(r"\\\$\\\{\\\{.*?\\\}\\\}", "x", re.escape(name)).replace("\\-", "-")


def ignored(path: str) -> bool:
    """Tell whether git ignores what is below the folder *path* of this checkout."""
    command = ["git", "check-ignore", "--quiet", "--no-index", f"{path}/file"]
    return bool(path) and subprocess.run(command, cwd=str(ROOT), check=False).returncode == 0


def _clean(workflows: Workflows) -> Iterator[Finding]:
    """An artifact is built from a clean checkout, in the builder image."""
    builds = 0
    for workflow in workflows.values():
        for where, _, _, step in workflow.steps():
            words = shlex.split(step.get("run", "")) if "nox -s build" in step.get("run", "") else []
            builds += bool(words)
            if words and not {"--require-clean", "--image"} <= set(words):
                yield Finding("clean", where, "builds an artifact that may be dirty or from another place")
    if not builds:
        yield Finding("clean", FOLDER, "builds no artifact")


def _writes(job: Dict[str, Any]) -> FrozenSet[str]:
    granted = job.get("permissions")
    return (
        frozenset(key for key, value in granted.items() if value == "write")
        if isinstance(granted, dict)
        else frozenset()
    )


def _argument(step: Dict[str, Any], key: str) -> str:
    return str(step.get("with", {}).get(key, ""))


def _listed(value: Any) -> List[str]:
    return [value] if isinstance(value, str) else list(value)


RULES: Tuple[Rule, ...] = (
    _triggers,
    _permissions,
    _guards,
    _secrets,
    _identities,
    _limits,
    _actions,
    _gate,
    _reports,
    _hand_overs,
    _clean,
)

if __name__ == "__main__":
    sys.exit(main())
