"""What GitHub does to the workflows, and what must come of it.

Each scenario runs workflows in a :class:`~tests.rehearsal.harness.Rehearsal` and raises Failed when something is not
as it must be. Together they run every workflow on every event that it has.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any, Callable, Dict

from deployable_zipfile.artifact.zipreader import Artifact
from tests.rehearsal.harness import REPOSITORY, ROOT, Failed, Rehearsal, Run
from tools import assets

IMAGES = ("cfpb/cfgov-artifact-builder", "cfpb/cfgov-artifact-tester")
MAIN = {"ref": "refs/heads/main"}


def expect(condition: object, text: str, run: "Run | None" = None) -> None:
    """Raise Failed with *text* unless *condition* holds; with *run*, say where its log is."""
    if not condition:
        raise Failed(text if run is None else f"{text}; log: {run.state / 'log'}\n{tail(run.log)}")


def tail(log: str) -> str:
    """Return the lines of *log* that say what failed."""
    lines = [line for line in log.splitlines() if "❌" in line or "rror" in line]
    return "\n".join(lines[-12:])


def passed(run: Run, what: str) -> Run:
    """Return *run*, which must have passed."""
    expect(run.passed, f"{what}: failed", run)
    return run


def rules(here: Rehearsal) -> None:
    """What only GitHub enforces is right: rights, environments, concurrency, retention."""
    command = [sys.executable, "-m", "tools.workflows", "--root", str(here.source)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    expect(done.returncode == 0, done.stdout.decode())


def checks(here: Rehearsal, event: str, document: Dict[str, Any]) -> Run:
    """Run ci.yml on *event* and expect what holds for each of its events."""
    run = passed(here.run("ci.yml", event, document), f"ci.yml on {event}")
    wanted = {"lint", "site", "unit-3.8", "images", "build", "integration", "e2e", "facts", "package", "release"}
    expect(wanted <= set(run.sessions()), f"ci.yml: {sorted(wanted - set(run.sessions()))} did not run")
    built = [entry for entry in run.of("built") if entry["job"] == "platform"]
    expect(built and all("--require-clean" in entry["options"] for entry in built), "ci.yml: builds what is not clean")
    looked = [entry["session"] for entry in run.of("tested look-alike")]
    expect(looked == ["integration", "e2e"], f"ci.yml: the look-alike of CentOS 7 ran {looked}")
    rehearsed(run)
    expect(not here.server.repository.releases, "ci.yml: made a release")
    expect(not any(here.registry.tags(image) for image in IMAGES), "ci.yml: pushed an image")
    return run


def rehearsed(run: Run) -> None:
    """Expect a release folder of the tested artifact and the tested package, checked by two builds in the image."""
    tested = {entry["sha256"] for entry in run.of("tested artifact") if entry["platform"] == "centos7"}
    kept = {entry["name"]: entry["files"] for entry in run.of("actions/upload-artifact")}
    expect("candidate" in kept, "no release folder was made", run)
    candidate = kept["candidate"]
    expect({candidate[assets.ARTIFACT]} == tested, "the release does not hold the tested artifact")
    packages = {name: digest for name, digest in candidate.items() if name.endswith((".whl", ".tar.gz"))}
    expect(packages == kept["package"], "the release does not hold the tested package")
    [made] = [entry for entry in run.of("session") if entry["session"] == "release"]
    expect("--package" in made["options"], "the release builds a package of its own")
    twice = [entry for entry in run.of("built") if entry["job"] == "check"]
    expect(len(twice) == 2, f"the check built {len(twice)} artifacts in the builder image, not two")


def pull_request(here: Rehearsal) -> None:
    """A pull request is checked, the release rehearsed, and one comment says what was built."""
    checks(here, "pull_request", request(REPOSITORY))
    comments = here.server.repository.comments.get(7, [])
    expect(len(comments) == 1, f"the pull request has {len(comments)} comments, not one")
    expect("| build id |" in comments[0]["body"], "the comment does not name the build")


def pull_request_of_a_fork(here: Rehearsal) -> None:
    """A pull request of a fork is checked too, without what it has no right to."""
    checks(here, "pull_request", request("stranger/fork"))
    expect(not here.server.repository.comments, "the token of a fork's pull request cannot comment")


def request(repository: str) -> Dict[str, Any]:
    """Return the payload of pull request 7 from a branch of *repository*."""
    head = {"ref": "change", "sha": "0" * 40, "repo": {"full_name": repository}}
    return {"number": 7, "pull_request": {"number": 7, "head": head, "base": {"ref": "main"}}}


def other_checks(here: Rehearsal) -> None:
    """A push to main and the merge queue are checked as pull requests are."""
    checks(here, "push", MAIN)
    checks(here, "merge_group", {"merge_group": {"head_ref": "refs/heads/gh-readonly-queue/main/pr-7"}})


def documentation(here: Rehearsal) -> None:
    """The site that main has is published, and nothing when it has a warning."""
    for event in ("push", "workflow_dispatch"):
        run = passed(here.run("docs.yml", event, MAIN), f"docs.yml on {event}")
        [published] = run.of("actions/deploy-pages")
        expect("index.html" in published["files"], f"docs.yml: published {sorted(published['files'])}", run)
    run = here.run("docs.yml", "push", MAIN, fail="docs")
    expect(not run.passed and not run.of("actions/deploy-pages"), "a site with a warning was published", run)
    run = here.run("docs.yml", "workflow_dispatch", {"ref": "refs/heads/side"})
    expect(not run.of("actions/deploy-pages"), "the site of a branch was published", run)


def images(here: Rehearsal, event: str = "push") -> None:
    """Images get their names only under the digest that was tested, with their own labels, for what was tested."""
    run = passed(here.run("images.yml", event, MAIN), f"images.yml on {event}")
    found = " ".join(entry["found"] for entry in run.of("tested image"))
    for image in IMAGES:
        tags = here.registry.tags(image)
        expect({"latest", "el8-latest"} <= set(tags), f"{image} has the tags {sorted(tags)} only", run)
        for tag, digest in tags.items():
            expect(f"{image}@{digest}" in found, f"{image}:{tag} is {digest}, which was not tested")
        labels = here.labels(f"{image}:latest")
        expect(labels.get("org.opencontainers.image.title") == "ours", f"{image}: the recipe's labels were replaced")
        expect(labels.get("org.opencontainers.image.revision") == here.head, f"{image}: is not of the commit")
    for entry in run.of("docker/build-push-action"):
        expect(entry["platforms"] == "linux/amd64", f"{entry['platforms']} is pushed, linux/amd64 is tested")
    attested = {name for entry in run.of("actions/attest") for name in entry["subjects"]}
    expect(len(attested) == 2, f"{sorted(attested)} are attested, not both images")


def images_on_monday(here: Rehearsal) -> None:
    """The weekly run does the same. What reports its failure is rehearsed with security.yml and locks.yml.

    act ends a run at a failure in a workflow that a called workflow calls, and at a matrix whose job has failed.
    """
    images(here, "schedule")


def fork(here: Rehearsal) -> None:
    """A fork publishes nothing, neither on a push nor on a schedule nor on a tag."""
    here.tag("v" + assets.version_of(here.clone))
    for workflow, event, document in (
        ("images.yml", "push", MAIN),
        ("images.yml", "schedule", MAIN),
        ("docs.yml", "push", MAIN),
        ("locks.yml", "schedule", MAIN),
        ("release.yml", "push", {"ref": f"refs/tags/v{assets.version_of(here.clone)}"}),
    ):
        run = here.run(workflow, event, document, repository="stranger/fork")
        kinds = ("session", "actions/attest", "actions/deploy-pages", "gh")
        ran = [entry for entry in run.events if entry["what"] in kinds]
        expect(not ran, f"{workflow} on {event} runs in a fork: {ran[:1]}", run)
    repository = here.server.repository
    expect(not (repository.releases or repository.issues or repository.pulls), "a fork wrote to GitHub")


def release(here: Rehearsal) -> None:
    """A tag on main becomes a public release of exactly the tested bytes, signed, attested and verified."""
    tag = here.tag("v" + assets.version_of(here.clone))
    key, public = here.folder / "key.pem", here.folder / "public.pem"
    quiet = subprocess.DEVNULL
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, stderr=quiet)
    subprocess.run(["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)], check=True, stderr=quiet)
    secrets = dict.fromkeys(("RELEASE_SIGNING_KEY", "ARTIFACT_SIGNING_KEY"), key.read_text("utf-8"))
    run = passed(here.run("release.yml", "push", {"ref": f"refs/tags/{tag}"}, secrets=secrets), "release.yml")
    rehearsed(run)
    [made] = here.server.repository.releases
    expect(made["tag_name"] == tag and not made["draft"], f"the release is {made}")
    files = here.server.repository.assets(made)
    wanted = {*assets.required(tag[1:]), assets.SUMS, *assets.OPTIONAL}
    expect(set(files) == wanted, f"the release holds {sorted(files)}")
    folder = here.folder / "published"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    expect(assets.problems(folder, tag[1:]) == [], f"{assets.problems(folder, tag[1:])}")
    verify = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", assets.SIGNATURE, assets.SUMS]
    expect(subprocess.run(verify, cwd=folder, stdout=quiet, check=False).returncode == 0, "the signature is wrong")
    words = [" ".join(entry["words"][:2]) for entry in run.of("gh")]
    verified = words.count("attestation verify")
    expect(verified == len(assets.required(tag[1:])), f"{verified} files were verified")
    expect(words.index("release create") > words.index("attestation verify"), "verified after it was published")
    [index] = run.of("pypa/gh-action-pypi-publish")
    for name, digest in index["files"].items():
        expect(digest == assets.sha256(folder / name), f"{name}: the package index has other bytes")


def release_twice(here: Rehearsal) -> None:
    """The same tag released from nothing again gives the same bytes, and once more changes nothing."""
    release(here)
    [first] = here.server.repository.releases
    before = here.server.repository.assets(first)
    run = here.run("release.yml", "push", {"ref": f"refs/tags/{first['tag_name']}"})
    candidates = [entry["files"] for entry in run.of("actions/upload-artifact") if entry["name"] == "candidate"]
    expect(len(candidates) == 1, "the second run made no folder", run)
    for name, digest in candidates[0].items():
        expect(digest == assets.sha256(here.folder / "published" / name), f"{name}: differs in the second run")
    expect(here.server.repository.assets(first) == before, "the second run changed the public release")


def release_off_main(here: Rehearsal) -> None:
    """A tag of a commit that is not on main is refused before anything is signed."""
    here.git("checkout", "--quiet", "-b", "side")
    here.commit("Not reviewed")
    tag = here.tag("v" + assets.version_of(here.clone))
    run = here.run("release.yml", "push", {"ref": f"refs/tags/{tag}"})
    expect(not run.passed, "a tag off main was released", run)
    expect(not run.of("actions/attest") and not here.server.repository.releases, "a tag off main was signed")
    expect("is not on origin/main" in run.log, "the refusal does not say why", run)


def artifact(here: Rehearsal) -> None:
    """An artifact made by hand is clean, tested, attested, and of the commit that the attestation names."""
    here.git("branch", "side", "main")
    here.git("checkout", "--quiet", "side")
    here.commit("Another commit")
    here.push("side")
    here.git("checkout", "--quiet", "main")
    run = passed(here.run("artifact.yml", "workflow_dispatch", MAIN, inputs={"platform": "centos7"}), "artifact.yml")
    expect(len(run.of("actions/attest")) == 2, "provenance and bill of materials are not both attested")
    kept = run.state / "artifacts/deployable-centos7"
    with Artifact.open(str(kept / assets.ARTIFACT)) as opened:
        source = opened.manifest.source
    expect(source.commit == here.head and not source.dirty, f"the attested artifact is of {source}")
    expect(run.of("actions/attest")[0]["commit"] == source.commit, "the attestation names another commit")
    [tested] = {entry["sha256"] for entry in run.of("tested artifact")}
    expect(tested == assets.sha256(kept / assets.ARTIFACT), "what is kept is not what was tested")
    expect("--require-clean" in run.of("built")[0]["options"], "an artifact may hold what no commit has")


def locks(here: Rehearsal) -> None:
    """New locks become one pull request, CI runs on its branch, and the schedules stay enabled."""
    for event in ("schedule", "workflow_dispatch"):
        passed(here.run("locks.yml", event, MAIN), f"locks.yml on {event}")
    repository = here.server.repository
    expect([entry["head"]["ref"] for entry in repository.pulls] == ["renew-locks"], f"requests: {repository.pulls}")
    pushed = subprocess.run(
        ["git", "diff", "--name-only", "main", "renew-locks"], cwd=here.origin, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    expect(pushed == "requirements/lock.txt\n", f"the branch changes {pushed!r}")
    expect(repository.dispatched == ["ci.yml renew-locks"] * 2, f"CI was started on {repository.dispatched}")
    scheduled = {path.name for path in here.clone.glob(".github/workflows/*.yml") if "schedule:" in path.read_text()}
    expect(set(repository.enabled) == scheduled, f"enabled are {sorted(set(repository.enabled))}")
    run = here.run("locks.yml", "schedule", MAIN, fail="lock")
    expect(not run.passed and len(repository.issues) == 1, "a failure of the weekly renewal opened no issue", run)


def security(here: Rehearsal) -> None:
    """The search for known weaknesses runs, and a failure on its schedule opens an issue."""
    for event in ("push", "schedule", "workflow_dispatch"):
        passed(here.run("security.yml", event, MAIN), f"security.yml on {event}")
    expect(not here.server.repository.issues, "an issue without a failure")
    run = here.run("security.yml", "schedule", MAIN, fail="audit")
    expect(not run.passed and len(here.server.repository.issues) == 1, "a failure opened no issue", run)


def others(here: Rehearsal) -> None:
    """The example of docs/github.md builds, tests and attests the artifact of another repository."""
    text = (here.clone / "docs/github.md").read_text("utf-8")
    example = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "package.yml@" in block)
    expect(len(example.splitlines()) <= 16, "the example is longer than it says")
    example = re.sub(r"cfpb/deployable-zipfile/(\S+)@\S+", r"./\1", example)
    (here.clone / ".github/workflows/example.yml").write_text(example, encoding="utf-8")
    project = here.clone / "mysite"
    (project / "mysite").mkdir(parents=True)
    for name, content in PROJECT.items():
        (project / name).write_text(content, encoding="utf-8")
    (here.clone / "requirements.txt").write_text("django==5.2.*\n", encoding="utf-8")
    here.commit("A project of somebody else")
    here.push("main")
    run = passed(here.run("example.yml", "push", MAIN), "the example of docs/github.md")
    built = run.state / "artifacts/artifact/artifact.zip"
    [attested] = run.of("actions/attest")
    expect(attested["subjects"] == {"artifact.zip": assets.sha256(built)}, f"attested is {attested['subjects']}")
    with Artifact.open(str(built)) as opened:
        expect(opened.manifest.source.commit == here.head, "the artifact is of another commit")
    for verb in ("verify", "check", "selftest"):
        expect(f"artifact.zip {verb}" in run.log, f"{verb} did not run", run)
    run = passed(here.run("example.yml", "pull_request", request(REPOSITORY)), "the example on a pull request")
    expect(not run.of("actions/attest"), "a pull request was attested")


SETTINGS = """
SECRET_KEY = "x"
ROOT_URLCONF = "mysite.urls"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL, STATIC_ROOT = "static/", "static"
WSGI_APPLICATION = "mysite.wsgi.application"
"""
MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.management import execute_from_command_line
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("hello"))]
"""
WSGI = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
"""
PROJECT = {
    "manage.py": MANAGE,
    "mysite/__init__.py": "",
    "mysite/settings.py": SETTINGS,
    "mysite/urls.py": URLS,
    "mysite/wsgi.py": WSGI,
}

SCENARIOS: Dict[str, Callable[[Rehearsal], None]] = {
    scenario.__name__: scenario
    for scenario in (
        rules,
        pull_request,
        pull_request_of_a_fork,
        other_checks,
        documentation,
        images,
        images_on_monday,
        fork,
        release,
        release_twice,
        release_off_main,
        artifact,
        locks,
        security,
        others,
    )
}
