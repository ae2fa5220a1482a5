"""Hold the workflows under ``.github/workflows/`` to this repository's own rules.

    python -m tools.workflows [--shellcheck]

Each rule is one function that takes the parsed workflows and yields findings. The schema of workflows and the rules
that hold for any repository are the business of check-jsonschema and zizmor; ``tools.lint`` runs all three.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import yaml

from tools import platforms

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ".github/workflows"

RUNNERS = frozenset(["ubuntu-24.04"])
TRIGGERS = frozenset(["merge_group", "pull_request", "push", "schedule", "workflow_call", "workflow_dispatch"])
LONGEST_MINUTES = 120
ACTIONS = frozenset(
    [
        "actions/attest",
        "actions/checkout",
        "actions/download-artifact",
        "actions/setup-python",
        "actions/upload-artifact",
        "docker/build-push-action",
        "docker/login-action",
        "docker/metadata-action",
        "docker/setup-buildx-action",
        "docker/setup-qemu-action",
        "github/codeql-action/analyze",
        "github/codeql-action/init",
        "pypa/gh-action-pypi-publish",
        "zizmorcore/zizmor-action",
    ]
)
# Every permission to write, and the only jobs that have it.
WRITERS: Dict[Tuple[str, str], FrozenSet[str]] = {
    ("artifact.yml", "attest"): frozenset(["attestations", "id-token"]),
    ("image.yml", "push"): frozenset(["attestations", "id-token", "packages"]),
    ("images.yml", "platform"): frozenset(["attestations", "id-token", "packages"]),  # hands them to image.yml
    ("images.yml", "report"): frozenset(["issues"]),
    ("release.yml", "assemble"): frozenset(["attestations", "id-token"]),
    ("release.yml", "package"): frozenset(["id-token"]),
    ("release.yml", "publish"): frozenset(["contents"]),
    ("security.yml", "code"): frozenset(["security-events"]),
    ("security.yml", "workflows"): frozenset(["security-events"]),
}
PUBLISHING = frozenset(["artifact.yml", "images.yml", "release.yml"])  # a run of these is never cancelled half-way
IMAGES = frozenset(["ghcr.io/cfpb/cfgov-artifact-builder", "ghcr.io/cfpb/cfgov-artifact-tester"])
FROM_MAIN = "github.ref == 'refs/heads/main'"
GATE = ("ci.yml", "required")

_PIN = re.compile(r"\A[\w.-]+/[\w.-]+(?:/[\w./-]+)?@[0-9a-f]{40}\Z")
_PINNED_LINE = re.compile(r"uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+\Z")
_SELF = "$/"
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_IMAGE = re.compile(r"ghcr\.io/[\w.-]+/[\w.-]+(?:\$\{\{[^}]*\}\})?")


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
    text: str
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


class Repository(NamedTuple):
    """What the rules look at."""

    workflows: Dict[str, Workflow]  # by file name
    sessions: FrozenSet[str]  # names of nox sessions
    platforms: Dict[str, str]  # name to base image


Rule = Callable[[Repository], Iterator[Finding]]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Print the findings and return 1 when there are any, else 0."""
    parser = argparse.ArgumentParser(prog="tools.workflows", description=__doc__.split("\n")[0])
    parser.add_argument("--shellcheck", action="store_true", help="run shellcheck over the run blocks too")
    arguments = parser.parse_args(argv)
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / FOLDER).glob("*.yml"))}
    found = findings(read_repository(ROOT, texts))
    for finding in found:
        print(finding)
    if arguments.shellcheck and not run_blocks_pass(texts):
        return 1
    print(f"workflows: {len(found)} findings in {len(texts)} files")
    return 1 if found or not texts else 0


def findings(repository: Repository) -> List[Finding]:
    """Return every finding, sorted."""
    return sorted({finding for rule in RULES for finding in rule(repository)})


def read_repository(root: Path, texts: Dict[str, str]) -> Repository:
    """Parse the workflows *texts* (file name to text), the noxfile and the table of platforms below *root*."""
    workflows = {name: parse(name, text) for name, text in texts.items()}
    table = platforms.read(root / "docker/centos7/platforms.ini")
    bases = {name: platform.base_image for name, platform in table.items()}
    return Repository(workflows, sessions_of((root / "noxfile.py").read_text(encoding="utf-8")), bases)


def parse(name: str, text: str) -> Workflow:
    """Parse one workflow, every scalar as the string that stands there."""
    return Workflow(name, text, yaml.load(text, yaml.BaseLoader))


def sessions_of(noxfile: str) -> FrozenSet[str]:
    """Return the names of the sessions that the text of a noxfile defines, without running it.

    A session with ``python=NAME`` has one name per string of the list NAME: ``unit-3.8``. The tests hold this against
    what nox itself says.
    """
    tree = ast.parse(noxfile)
    lists = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names: List[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if "session" in ast.dump(decorator):
                    names.extend([node.name, *[f"{node.name}-{python}" for python in _pythons(decorator, lists)]])
    return frozenset(names)


def _pythons(decorator: ast.expr, lists: Dict[str, List[str]]) -> List[str]:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else []:
        if keyword.arg == "python" and isinstance(keyword.value, ast.Name):
            return lists[keyword.value.id]
    return []


def run_blocks_pass(texts: Dict[str, str]) -> bool:
    """Return whether shellcheck accepts every ``run`` block, and print what it says."""
    accepted = True
    for name, text in texts.items():
        for where, _, _, step in parse(name, text).steps():
            if "run" in step:
                command = ["shellcheck", "--shell=bash", "-"]
                done = subprocess.run(command, input=step["run"].encode("utf-8"), check=False)
                if done.returncode:
                    print(f"{where}: shellcheck complains [shellcheck]")
                    accepted = False
    return accepted


def _triggers(repository: Repository) -> Iterator[Finding]:
    """Only known events: pull_request_target and workflow_run give strangers' code our rights."""
    for workflow in repository.workflows.values():
        for event in sorted(set(workflow.triggers) - TRIGGERS):
            yield Finding("trigger", workflow.name, f"is started by {event}")


def _permissions(repository: Repository) -> Iterator[Finding]:
    """Nothing for the workflow, little for each job, and writing only where the table says so."""
    for workflow in repository.workflows.values():
        if workflow.document.get("permissions") != {}:
            yield Finding("permissions", workflow.name, "has no `permissions: {}` at the top")
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            granted = job.get("permissions")
            if not isinstance(granted, dict):
                yield Finding("permissions", where, "does not list its permissions")
                continue
            writes = {key for key, value in granted.items() if value == "write"}
            for key in sorted(writes - WRITERS.get((workflow.name, name), frozenset())):
                yield Finding("permissions", where, f"may write {key}")
            if writes and "pull_request" in workflow.triggers:
                yield Finding("permissions", where, "may write although a pull request can start it")


def _guards(repository: Repository) -> Iterator[Finding]:
    """Images are pushed from main only, releases are made from version tags only."""
    for workflow in repository.workflows.values():
        for name, job in workflow.jobs.items():
            granted = job.get("permissions")
            granted = granted if isinstance(granted, dict) else {}
            where = f"{workflow.name}:{name}"
            if granted.get("packages") == "write" and job.get("if") != FROM_MAIN:
                yield Finding("guard", where, f"pushes images without `if: {FROM_MAIN}`")
            if granted.get("contents") == "write" and workflow.triggers != {"push": {"tags": ["v*"]}}:
                yield Finding("guard", where, "makes releases but is not started by version tags alone")
            publishes = "write" in (granted.get("packages"), granted.get("contents"))
            if publishes and "uses" not in job and "environment" not in job:
                yield Finding("guard", where, "publishes without an environment")


def _secrets(repository: Repository) -> Iterator[Finding]:
    """A secret is named by one job of a protected environment, or is the job's own token; a fork gets none."""
    for workflow in repository.workflows.values():
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            if job.get("secrets") == "inherit":
                yield Finding("secret", where, "hands on every secret")
            named = set(re.findall(r"secrets\.(\w+)", str(job)))
            if named and {"pull_request", "merge_group"} & set(workflow.triggers):
                yield Finding("secret", where, "uses a secret although a pull request can start it")
            if named - {"GITHUB_TOKEN"} and "environment" not in job:
                yield Finding("secret", where, "uses a secret outside of an environment")


def _limits(repository: Repository) -> Iterator[Finding]:
    """Every job ends by itself, on a runner that stays the same; superseded runs are ended, publishing ones never."""
    for workflow in repository.workflows.values():
        group = workflow.document.get("concurrency", {})
        if set(workflow.triggers) != {"workflow_call"} and not group.get("group"):
            yield Finding("concurrency", workflow.name, "has no concurrency group")
        if workflow.name in PUBLISHING and group.get("cancel-in-progress") != "false":
            yield Finding("concurrency", workflow.name, "may be cancelled while it publishes")
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            if "uses" in job:
                continue
            minutes = str(job.get("timeout-minutes", ""))
            if not minutes.isdigit() or not 1 <= int(minutes) <= LONGEST_MINUTES:
                yield Finding("timeout", where, f"has no timeout of 1 to {LONGEST_MINUTES} minutes")
            if job.get("runs-on") not in RUNNERS:
                yield Finding("runner", where, f"runs on {job.get('runs-on')}, not on {', '.join(sorted(RUNNERS))}")


def _pins(repository: Repository) -> Iterator[Finding]:
    """A foreign action is known, pinned to one commit with its version beside it, and pinned the same everywhere."""
    pins: Dict[str, str] = {}
    for workflow in repository.workflows.values():
        for number, line in enumerate(workflow.text.splitlines(), 1):
            if re.search(r"uses:\s*[^$\s]", line) and not _PINNED_LINE.search(line):
                yield Finding("pin", f"{workflow.name}:{number}", "is not `OWNER/ACTION@COMMIT # vX.Y.Z`")
        used = [(where, step["uses"]) for where, _, _, step in workflow.steps() if "uses" in step]
        used += [(f"{workflow.name}:{name}", job["uses"]) for name, job in workflow.jobs.items() if "uses" in job]
        for where, uses in used:
            if uses.startswith(_SELF):
                continue
            action, _, commit = uses.partition("@")
            if action not in ACTIONS:
                yield Finding("action", where, f"uses {action}, which is not on the list of known actions")
            if not _PIN.match(uses):
                yield Finding("pin", where, f"uses {uses}, not a full commit")
            if pins.setdefault(action, commit) != commit:
                yield Finding("pin", where, f"uses another commit of {action} than elsewhere")


def _calls(repository: Repository) -> Iterator[Finding]:
    """A reusable workflow exists, can be called, and gets the inputs that it declares."""
    for workflow in repository.workflows.values():
        for name, job in workflow.jobs.items():
            if "uses" not in job:
                continue
            where, uses = f"{workflow.name}:{name}", job["uses"]
            prefix = f"{_SELF}{FOLDER}/"
            called = repository.workflows.get(uses[len(prefix) :]) if uses.startswith(prefix) else None
            if called is None or "workflow_call" not in called.triggers:
                yield Finding("call", where, f"calls {uses}, which is no reusable workflow of this repository")
                continue
            inputs = called.triggers["workflow_call"].get("inputs", {})
            given = job.get("with", {})
            for key in sorted(set(given) - set(inputs)):
                yield Finding("call", where, f"gives {key}, which {called.name} does not take")
            for key in sorted(key for key, value in inputs.items() if value.get("required") == "true"):
                if key not in given:
                    yield Finding("call", where, f"does not give {key} to {called.name}")


def _checkouts(repository: Repository) -> Iterator[Finding]:
    """No token stays behind in the checkout."""
    for workflow in repository.workflows.values():
        for where, _, _, step in workflow.steps():
            if _is(step, "checkout") and _argument(step, "persist-credentials") != "false":
                yield Finding("checkout", where, "keeps its credentials")


def _scripts(repository: Repository) -> Iterator[Finding]:
    """A step is one nox session: no expression in its text, no other program, no variable from nowhere."""
    for workflow in repository.workflows.values():
        if workflow.document.get("defaults", {}).get("run", {}).get("shell") != "bash":
            yield Finding("shell", workflow.name, "does not say `shell: bash`, which stops at the first failure")
        for where, name, job, step in workflow.steps():
            script = step.get("run")
            if script is None:
                continue
            if "${{" in script:
                yield Finding("injection", where, "puts an expression into a script; pass it by env")
            known = {**workflow.document.get("env", {}), **job.get("env", {}), **step.get("env", {})}
            for variable in sorted(set(_VARIABLE.findall(script))):
                if variable not in known and not variable.startswith("GITHUB_"):
                    yield Finding("variable", where, f"reads ${variable}, which nothing sets")
            if not (script == "exit 1" and (workflow.name, name) == GATE):
                yield from _session_findings(where, script, known, repository.sessions)


def _session_findings(where: str, script: str, known: Dict[str, str], sessions: FrozenSet[str]) -> Iterator[Finding]:
    words = shlex.split(script)
    if words[0] != "tools/nox" or "\n" in script.strip() or re.search(r"[;|&<>`]|\$\(", script):
        yield Finding("session", where, "runs something else than one nox session")
    elif "-s" not in words:
        yield Finding("session", where, "names no session")
    else:
        session = words[words.index("-s") + 1]
        from_matrix = session == "$SESSION" and known.get("SESSION") == "${{ matrix.session }}"
        if not from_matrix and session not in sessions:
            yield Finding("session", where, f"names the session {session}, which the noxfile does not have")


def _needs(repository: Repository) -> Iterator[Finding]:
    """Jobs wait for jobs that exist, and the gate for all of them, whatever became of them."""
    for workflow in repository.workflows.values():
        for name, job in workflow.jobs.items():
            for needed in _listed(job.get("needs", [])):
                if needed not in workflow.jobs:
                    yield Finding("needs", f"{workflow.name}:{name}", f"needs {needed}, which does not exist")
    yield from _gate(repository)


def _gate(repository: Repository) -> Iterator[Finding]:
    where = ":".join(GATE)
    jobs = repository.workflows[GATE[0]].jobs if GATE[0] in repository.workflows else {}
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


def _listed(value: Any) -> List[str]:
    return [value] if isinstance(value, str) else list(value)


def _hand_overs(repository: Repository) -> Iterator[Finding]:
    """What is uploaded exists and goes away again; what is downloaded was uploaded in the same run."""
    for workflow in repository.workflows.values():
        reachable = [workflow, *_called(workflow, repository.workflows)]
        uploads = [step for part in reachable for _, _, _, step in part.steps() if _is(step, "upload-artifact")]
        patterns = [re.sub(r"\\\$\\\{\\\{.*?\\\}\\\}", ".+", re.escape(_argument(step, "name"))) for step in uploads]
        for where, _, _, step in workflow.steps():
            if _is(step, "upload-artifact"):
                for key in ("retention-days", "if-no-files-found"):
                    if not _argument(step, key):
                        yield Finding("upload", where, f"does not say {key}")
            if _is(step, "download-artifact"):
                name = _argument(step, "name")
                sample = re.sub(r"\$\{\{.*?\}\}", "x", name)
                if not any(re.match(rf"{pattern}\Z", sample) for pattern in patterns):
                    yield Finding("download", where, f"fetches {name or 'everything'}, which no job of this run keeps")


def _called(workflow: Workflow, workflows: Dict[str, Workflow]) -> List[Workflow]:
    names = [str(job["uses"]).rsplit("/", 1)[-1] for job in workflow.jobs.values() if "uses" in job]
    return [workflows[name] for name in names if name in workflows]


def _is(step: Dict[str, Any], action: str) -> bool:
    return str(step.get("uses", "")).startswith(f"actions/{action}@")


def _argument(step: Dict[str, Any], key: str) -> str:
    return str(step.get("with", {}).get(key, ""))


def _platforms(repository: Repository) -> Iterator[Finding]:
    """Platforms and their base images are those of the one table, and no matrix leaves one out."""
    table = repository.platforms
    for workflow in repository.workflows.values():
        for name, job in workflow.jobs.items():
            where = f"{workflow.name}:{name}"
            matrix = job.get("strategy", {}).get("matrix", {})
            rows = [row for row in matrix.get("include", []) if isinstance(row, dict) and "platform" in row]
            named = {*_listed(matrix.get("platform", [])), *[row["platform"] for row in rows]}
            for platform in sorted(named - set(table)):
                yield Finding("platform", where, f"names the platform {platform}, which the table does not have")
            for platform in sorted(set(table) - named if named else ()):
                yield Finding("platform", where, f"leaves out the platform {platform}")
            for row in rows:
                if row.get("base", table.get(row["platform"])) != table.get(row["platform"]):
                    yield Finding("platform", where, f"builds {row['platform']} on {row['base']}, the table does not")


def _images(repository: Repository) -> Iterator[Finding]:
    """Images have the two documented names and no other."""
    for workflow in repository.workflows.values():
        for written in sorted(set(_IMAGE.findall(workflow.text))):
            names = {re.sub(r"\$\{\{[^}]*\}\}", target, written) for target in ("builder", "tester")}
            if not names <= IMAGES:
                yield Finding("image", workflow.name, f"names the image {written}")


RULES: Tuple[Rule, ...] = (
    _triggers,
    _permissions,
    _guards,
    _secrets,
    _limits,
    _pins,
    _calls,
    _checkouts,
    _scripts,
    _needs,
    _hand_overs,
    _platforms,
    _images,
)

if __name__ == "__main__":
    sys.exit(main())
