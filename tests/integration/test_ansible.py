"""The collection, run by ansible-core against three hosts that are three roots of this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import pytest

from deployable_zipfile.artifact.zipreader import Artifact
from deployable_zipfile.builder import delta
from deployable_zipfile.builder.output import Written
from deployable_zipfile.console import Console
from tests.support import signatures
from tests.support.depth import sampled
from tests.support.helpers import run_cli
from tests.support.plays import COLLECTION, Play, play, program
from tests.support.sites import PROJECT, Server, build_id, make_sites, serving_current

HOSTS = ("web1", "web2", "web3")
CANARY = "canary-of-ansible"
ROLLBACK_SECONDS = 30.0
LOOKALIKE = COLLECTION.parent / "tests/lookalike"


class Farm:
    """Three hosts: a root, a web server and a set of variables each. Plays run on *hosts*, all of them unless told."""

    def __init__(self, folder: Path, artifacts: Dict[str, Path], servers: Dict[str, Server]) -> None:
        self.folder = folder
        self.artifacts = artifacts
        self.hosts: Sequence[str] = HOSTS
        self.environments: Dict[str, Dict[str, Any]] = {}
        self.more: Dict[str, Any] = {}
        self._servers = servers
        for name in HOSTS:
            self.environments[name] = {"SECRET_KEY": CANARY, "RAN": str(folder / f"{name}.ran")}

    def root(self, name: str) -> Path:
        return self.folder / name

    def live(self) -> List[Optional[str]]:
        return [build_id(self.root(name) / "current") for name in self.hosts]

    def ran(self, name: str) -> List[str]:
        path = self.folder / f"{name}.ran"
        return path.read_text().splitlines() if path.exists() else []

    def play(self, book: str, *words: str, archive: str = "", **variables: Any) -> Play:
        """Run one of the collection's playbooks."""
        hosts = {name: self._host(name) for name in self.hosts}
        given = dict({"site_become": False, "site_serial": 1}, **self.more, **variables)
        if archive:
            given["deploy_artifact"] = str(self.artifacts[archive])
        return play(self.folder, book, hosts, given, *words)

    def given(self, archive: str) -> str:
        """Make *archive* live on all hosts without a play, which takes several times as long; return its build id."""
        for name in self.hosts:
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(self.environments[name], indent=4, sort_keys=True) + "\n")
            path.chmod(0o600)
            words = ["--root", self.root(name), "--env-file", path, "--shared", f"media={PROJECT}/media"]
            words += ["--manage", "createcachetable", "--health-url", self._servers[name].url]
            words += ["--health-count", "2", "--health-timeout", "60", "--quiet"]
            run_cli([sys.executable, "-I", self.artifacts[archive], "deploy", *words])
        (found,) = set(self.live())
        assert found is not None
        return found

    def _host(self, name: str) -> Dict[str, Any]:
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "deploy_root": str(self.root(name)),
            "deploy_python": sys.executable,
            "deploy_environment": self.environments[name],
            "deploy_health_url": self._servers[name].url,
            "deploy_health_count": 2,
            "deploy_health_timeout": 60,
            "deploy_shared": [f"media={PROJECT}/media"],
            "deploy_manage": ["createcachetable"],
            "rollback_root": str(self.root(name)),
            "rollback_python": sys.executable,
            "prepare_root": str(self.root(name)),
        }


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Path]:
    program("ansible-playbook")
    made = make_sites(tmp_path_factory.mktemp("artifacts"))
    for path in made.values():
        published(path)
    return made


@pytest.fixture
def farm(tmp_path: Path, artifacts: Dict[str, Path]) -> Iterator[Farm]:
    servers = {}
    for name in HOSTS:
        (tmp_path / name).mkdir(mode=0o755)
        servers[name] = serving_current(tmp_path / name)
    yield Farm(tmp_path, artifacts, servers)
    for server in servers.values():
        server.__exit__(None, None, None)


def test_a_play_deploys_everywhere_migrates_once_and_changes_nothing_the_second_time(farm: Farm) -> None:
    dry = farm.play("deploy", "--check", "--diff", archive="one")
    assert dry.code == 0, dry.output
    assert farm.live() == [None, None, None]
    assert not (farm.root("web1") / "releases").exists()

    first = farm.play("deploy", "-vvv", "--diff", archive="one")
    assert first.code == 0, first.output
    assert len(set(farm.live())) == 1
    assert farm.live()[0] is not None
    assert [sum("migrate --noinput" in line for line in farm.ran(name)) for name in HOSTS] == [1, 0, 0]
    assert "migrate --check --plan" in farm.ran("web2")

    second = farm.play("deploy", archive="one")
    assert second.code == 0, second.output
    assert second.changed == {"web1": 0, "web2": 0, "web3": 0}

    dry = farm.play("deploy", "--check", archive="one")
    assert dry.changed == {"web1": 0, "web2": 0, "web3": 0}, dry.output


def test_one_broken_host_stops_the_batch_and_a_rerun_converges(farm: Farm) -> None:
    one = farm.given("one")
    farm.environments["web2"]["FAIL_AT"] = "collectstatic"
    broken = farm.play("deploy", archive="two")
    assert broken.code != 0
    assert broken.failed["web2"] == 1
    assert "collectstatic: exit status 1" in broken.output
    assert "web3" not in broken.failed  # never begun
    web1, web2, web3 = farm.live()
    assert (web2, web3) == (one, one)
    assert web1 != one

    del farm.environments["web2"]["FAIL_AT"]
    repaired = farm.play("deploy", archive="two")
    assert repaired.code == 0, repaired.output
    assert set(farm.live()) == {web1}
    assert repaired.changed["web1"] == 0
    assert farm.play("deploy", archive="two").changed == {"web1": 0, "web2": 0, "web3": 0}


def test_a_rollback_takes_every_host_to_the_same_release_in_time(farm: Farm) -> None:
    one, two = farm.given("one"), farm.given("two")
    dry = farm.play("rollback", "--check")
    assert dry.code == 0, dry.output
    assert set(farm.live()) == {two}
    back = farm.play("rollback")
    assert back.code == 0, back.output
    assert set(farm.live()) == {one}
    assert back.seconds <= ROLLBACK_SECONDS
    print(f"rollback play on three hosts: {back.seconds:.1f} s")
    again = farm.play("rollback", rollback_release=one)
    assert again.changed == {"web1": 0, "web2": 0, "web3": 0}
    nowhere = farm.play("rollback")  # the one that was left is bad, and nothing is before this one
    assert nowhere.code != 0
    assert "no earlier good release" in nowhere.output
    assert set(farm.live()) == {one}


def test_an_artifact_that_is_not_the_published_one_goes_nowhere(farm: Farm) -> None:
    wrong = farm.play("deploy", archive="one", deploy_sha256="0" * 64)
    assert wrong.code != 0
    assert "its SHA-256 is not" in wrong.output
    assert not (farm.root("web1") / "incoming").exists()


def test_a_bad_signature_stops_the_play(farm: Farm) -> None:
    farm.hosts = ("web1",)
    refused = farm.play("deploy", archive="one", deploy_verify_command=["false"])
    assert refused.code != 0
    assert farm.live() == [None]
    assert farm.play("deploy", archive="one", deploy_verify_command=["true"]).code == 0


def test_hosts_demand_a_signature_until_they_are_told_not_to(farm: Farm, tmp_path: Path) -> None:
    farm.hosts = ("web1",)
    copies = tmp_path / "artifacts"
    shutil.copytree(str(farm.artifacts["one"].parent), str(copies))
    farm.artifacts = {name: copies / path.name for name, path in farm.artifacts.items()}
    key = signatures.ssh_key(tmp_path / "key")
    demanding = {
        "deploy_require_signature": True,
        "deploy_allowed_signers": str(tmp_path / "signers/allowed"),
        "deploy_allowed_signers_source": str(signatures.allow(tmp_path / "allowed", key)),
    }
    unsigned = farm.play("deploy", archive="one", **demanding)
    assert unsigned.code != 0
    assert "is missing, and a signature is required" in unsigned.output
    signatures.ssh_sign(key, farm.artifacts["one"])
    signed = farm.play("deploy", archive="one", **demanding)
    assert signed.code == 0, signed.output
    assert farm.play("deploy", archive="one", **demanding).changed == {"web1": 0}
    later = farm.play("deploy", archive="two")
    assert later.code != 0
    farm.artifacts["forged"] = forged(copies / "forged.zip", tmp_path / "ran")
    refused = farm.play("deploy", archive="forged", **demanding)
    assert refused.code != 0
    assert not (tmp_path / "ran").exists()  # the verbs of the release before checked it
    assert "is missing, and a signature is required" in later.output
    assert farm.play("deploy", archive="two", deploy_require_signature=False).code == 0


def forged(path: Path, mark: Path) -> Path:
    """Write a file that is run as an artifact, makes the file *mark* and says that all is well."""
    code = f'open({str(mark)!r}, \'w\').close()\nprint(\'{{"changed": false, "release": ""}}\')\n'
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr("__main__.py", code)
    return published(path)


def published(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    return path


def test_a_delta_is_deployed_where_its_build_is_and_from_what_is_named(farm: Farm, tmp_path: Path) -> None:
    farm.hosts = ("web1", "web2")
    with Artifact.open(str(farm.artifacts["two"])) as artifact:
        whole = Written(str(farm.artifacts["two"]), artifact.size, artifact.sha256)
    with delta.opened_base(str(farm.artifacts["one"])) as old:
        changes = Path(delta.write(whole, old, str(tmp_path / "two"), 1, Console(quiet=True)).path)
    farm.artifacts = {**farm.artifacts, "changes": published(changes)}
    nowhere = farm.play("deploy", archive="changes")
    assert nowhere.code != 0
    assert "is a delta against build" in nowhere.output
    named = farm.play("deploy", archive="changes", deploy_base=[str(farm.artifacts["one"])])
    assert named.code == 0, named.output
    (two,) = set(farm.live())
    shutil.rmtree(str(farm.root("web1")))
    farm.root("web1").mkdir(mode=0o755)
    assert farm.play("deploy", archive="one").code == 0
    assert set(farm.live()) != {two}
    dry = farm.play("deploy", "--check", archive="changes")
    assert dry.code == 0, dry.output
    assert farm.play("deploy", archive="changes").code == 0
    assert set(farm.live()) == {two}


def test_hosts_leave_the_load_balancer_and_come_back_even_when_they_fail(farm: Farm, tmp_path: Path) -> None:
    log = tmp_path / "balancer.log"
    for word in ("drain", "return"):
        task = {
            "name": word,
            "ansible.builtin.shell": f"echo {word} {{{{ inventory_hostname }}}} >> {log}",
            "changed_when": False,
        }
        (tmp_path / f"{word}.yml").write_text(json.dumps([task]))
        farm.more[f"deploy_{word}_tasks"] = str(tmp_path / f"{word}.yml")
    farm.environments["web2"]["FAIL_AT"] = "check"
    assert farm.play("deploy", archive="one").code != 0
    assert log.read_text().split("\n")[:-1] == ["drain web1", "return web1", "drain web2", "return web2"]


def test_a_missing_variable_is_named_before_anything_is_done(farm: Farm) -> None:
    refused = farm.play("deploy")
    assert refused.code != 0
    assert "deploy_artifact" in refused.output
    assert "missing required arguments" in refused.output, refused.output


@pytest.mark.parametrize("server", ["httpd", "gunicorn"])
def test_preparing_twice_changes_nothing_the_second_time(farm: Farm, tmp_path: Path, server: str) -> None:
    for name in ("units", "etc"):
        (tmp_path / name).mkdir()
    variables: Dict[str, Any] = {
        "prepare_server": server,
        "prepare_install_packages": False,
        "prepare_manage_units": False,
        "prepare_make_user": False,
        "prepare_user": "root",
        "prepare_group": "root",
        "prepare_unit_folder": str(tmp_path / "units"),
        "prepare_config_folder": str(tmp_path / "etc"),
    }
    first = farm.play("prepare", "--limit", "web1", **variables)
    assert first.code == 0, first.output
    units = sorted(path.name for path in (tmp_path / "units").iterdir())
    if server == "httpd":
        assert units == ["cfgov-httpd.service"]
        text = (tmp_path / "etc" / "httpd.env").read_text()
        assert f'CFGOV_CURRENT="{farm.root("web1")}/current"' in text
    else:
        assert units == ["cfgov-gunicorn.service", "cfgov-gunicorn.socket"]
    second = farm.play("prepare", "--limit", "web1", **variables)
    assert second.changed == {"web1": 0}, second.output
    unit = (tmp_path / "units" / units[0]).read_text()
    assert f"{farm.root('web1')}/current" in unit


class System:
    """A folder in the place of an Enterprise Linux whose package manager is a stub."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.state = folder / "var/lib/lookalike"
        self.repositories = folder / "etc/yum.repos.d"
        for path in (self.state / "installed", self.repositories, folder / "bin"):
            path.mkdir(parents=True)
        shutil.copytree(str(LOOKALIKE / "repos"), str(self.state / "repos"))
        shutil.copy(str(LOOKALIKE / "packages.txt"), str(self.state))
        for name in ("CentOS-Base.repo", "CentOS-Vault.repo"):
            shutil.copy(str(LOOKALIKE / "repos" / name), str(self.repositories))
        for name in ("yum", "rpm"):
            self.program(name, f'LOOKALIKE_ROOT={folder} exec {LOOKALIKE}/bin/{name} "$@"')
        monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")

    def program(self, name: str, body: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def calls(self) -> List[str]:
        path = self.state / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def prepare(self, farm: Farm, platform: str, **variables: Any) -> Play:
        """Run the role for *platform* as far as its packages."""
        places = {f"prepare_{name}_folder": str(self.folder / name) for name in ("unit", "config")}
        return farm.play(
            "prepare",
            "--limit",
            "web1",
            prepare_platform=f"{{{{ prepare_platforms.{platform} }}}}",
            prepare_repository_folder=str(self.repositories),
            prepare_manage_units=False,
            prepare_make_user=False,
            prepare_user="root",
            prepare_group="root",
            **dict(places, **variables),
        )


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    (tmp_path / "system/unit").mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # as on a server; the stub has EL7's trap
    yield System(tmp_path / "system", monkeypatch)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_packages_come_to_centos7_from_the_vault_and_a_second_run_installs_nothing(farm: Farm, system: System) -> None:
    first = system.prepare(farm, "RedHat7", prepare_vault=True)
    assert first.code == 0, first.output
    packages = "rh-python38 policycoreutils-python httpd24 rh-python38-mod_wsgi"
    install = "yum -y --setopt=skip_missing_names_on_install=False install"
    assert system.calls() == [f"rpm -q {packages}", f"{install} centos-release-scl", f"{install} {packages}"]

    second = system.prepare(farm, "RedHat7", prepare_vault=True)
    assert second.changed == {"web1": 0}, second.output
    assert system.calls()[3:] == [f"rpm -q {packages}"]


def test_a_package_that_no_repository_has_stops_the_play_on_centos7(farm: Farm, system: System) -> None:
    known = system.state / "packages.txt"
    known.write_text(known.read_text().replace("rh-python38-mod_wsgi", "rh-python38-mod_wsgy"))
    stopped = system.prepare(farm, "RedHat7", prepare_vault=True)
    assert stopped.failed == {"web1": 1}
    assert "No package rh-python38-mod_wsgi available" in stopped.output


@pytest.mark.parametrize("platform", sampled(["RedHat8", "RedHat9", "RedHat10"], ["RedHat10"]))
def test_packages_come_to_later_systems_by_dnf(farm: Farm, system: System, platform: str) -> None:
    record = 'for name in "$@"; do case $name in -*|install) ;; *) touch "$STATE/installed/$name" ;; esac; done'
    system.program("dnf", f'STATE={system.state}; echo "dnf $*" >>"$STATE/calls"; {record}')
    first = system.prepare(farm, platform, prepare_server="gunicorn")
    assert first.code == 0, first.output
    query, install = system.calls()
    assert query.startswith("rpm -q python3")
    assert install == query.replace("rpm -q", "dnf -y --setopt=install_weak_deps=False install")
    second = system.prepare(farm, platform, prepare_server="gunicorn")
    assert second.changed == {"web1": 0}, second.output
    assert len(system.calls()) == 3


def test_a_host_without_a_python_for_ansible_gets_it_first(farm: Farm, system: System) -> None:
    """The interpreter that the inventory names appears when its package is installed."""
    python = system.folder / "python3.8"
    system.program(
        "yum", f'LOOKALIKE_ROOT={system.folder} {LOOKALIKE}/bin/yum "$@" && ln -sf {sys.executable} {python}'
    )
    (system.folder / "os-release").write_text('ID="centos"\nVERSION_ID="7"\n')
    more = {"ansible_python_interpreter": str(python), "prepare_os_release": str(system.folder / "os-release")}
    made = system.prepare(farm, "RedHat7", prepare_server="gunicorn", **more)
    assert made.code == 0, made.output
    install = "yum -y --setopt=skip_missing_names_on_install=False install"
    assert system.calls() == [
        f"{install} centos-release-scl",
        f"{install} rh-python38 policycoreutils-python",
        "rpm -q rh-python38 policycoreutils-python",
    ]
    unit = (system.folder / "unit/cfgov-gunicorn.service").read_text()
    assert "Environment=LD_LIBRARY_PATH=/opt/rh/rh-python38/root/usr/lib64\n" in unit
    again = system.prepare(farm, "RedHat7", prepare_server="gunicorn", **more)
    assert again.changed == {"web1": 0}, again.output


SELINUX = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: prepare
        tasks_from: selinux
  handlers:
    - name: Apply the labels
      ansible.builtin.command: restorecon -RF /srv/site
"""


@pytest.mark.parametrize("over_network", [False, True])
def test_selinux_may_map_compiled_files_and_asks_for_databases_only_when_told(
    farm: Farm, system: System, over_network: bool
) -> None:
    log = system.folder / "selinux"
    rules = system.folder / "rules"
    rules.write_text("")
    keep = f'case "$*" in *--list*) cat {rules} ;; *) echo "$5 $4" >>{rules} ;; esac'
    system.program("semanage", f'echo "$*" >>{log}; {keep}')
    system.program("restorecon", f'echo "restorecon $*" >>{log}')
    system.program("getsebool", f'if test -e {system.folder}/on; then echo "$1 --> on"; else echo "$1 --> off"; fi')
    system.program("setsebool", f'echo "setsebool $*" >>{log}; touch {system.folder}/on')
    (system.folder / "selinux-only.yml").write_text(SELINUX)
    given: Dict[str, Any] = {"prepare_root": "/srv/site", "prepare_database_over_network": over_network}
    words = ("--limit", "web1")

    first = farm.play(str(system.folder / "selinux-only"), *words, **given)
    assert first.code == 0, first.output
    done = log.read_text().splitlines()
    added = [line.split() for line in done if line.startswith("fcontext --add")]
    # The last rule that fits decides.
    assert [words[3] for words in added] == ["httpd_sys_content_t", *["httpd_sys_rw_content_t"] * 2, "lib_t"]
    pattern = added[-1][4]
    for name in ("venv/lib/python3.8/site-packages/_x.cpython-38.so", "venv/lib/libs/libz-1.so.1.3"):
        assert re.fullmatch(pattern, f"/srv/site/releases/0123abcd/{name}")
    for name in ("cfgov/venv/x.so", "venv/lib/x.py"):
        assert not re.fullmatch(pattern, f"/srv/site/releases/0123abcd/{name}")
    assert ("setsebool -P httpd_can_network_connect_db on" in done) == over_network
    second = farm.play(str(system.folder / "selinux-only"), *words, **given)
    assert second.changed == {"web1": 0}, second.output


def test_the_collection_passes_its_linter_at_the_strictest_profile() -> None:
    lint = program("ansible-lint")
    environment = dict(os.environ, PATH=f"{Path(lint).parent}:{os.environ['PATH']}", NO_COLOR="1")
    done = subprocess.run(
        [lint, "--offline", "--profile", "production"],
        cwd=COLLECTION,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 failure(s), 0 warning(s)" in done.stdout


def test_the_collection_can_be_built_and_holds_no_inventory(tmp_path: Path) -> None:
    command = [program("ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path), str(COLLECTION)]
    environment = dict(os.environ, HOME=str(tmp_path), ANSIBLE_LOCAL_TEMP=str(tmp_path / "tmp"))
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    import tarfile

    with tarfile.open(str(tmp_path / "cfpb-deployable_zipfile-1.0.0.tar.gz")) as archive:
        names = archive.getnames()
        fix = archive.extractfile("roles/prepare/files/fix_centos_repos.sh")
        assert fix is not None, "a link out of the collection would lead nowhere"
        assert fix.read() == (COLLECTION.parent / "docker/centos7/fix_centos_repos.sh").read_bytes()
    assert "roles/deploy/tasks/verb.yml" in names
    assert not [name for name in names if "inventory" in name or name == "ansible.cfg"]
