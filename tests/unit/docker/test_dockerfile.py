"""Facts of the images that others rely on: names, order, entry points, health check, what must never be in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import List

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docker/centos7"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


def instructions() -> List[str]:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    return [re.sub(r"\s+", " ", line).strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]


def stage(name: str) -> List[str]:
    lines = instructions()
    begin = next(
        number for number, line in enumerate(lines) if line.startswith("FROM") and line.endswith(f" AS {name}")
    )
    following = [number for number, line in enumerate(lines) if line.startswith("FROM") and number > begin]
    return lines[begin : following[0] if following else len(lines)]


def test_one_base_stage_from_one_argument_and_the_two_targets() -> None:
    lines = instructions()
    assert lines[0] == "ARG BASE_IMAGE=centos:7"
    assert [line for line in lines if line.startswith("FROM")] == [
        "FROM ${BASE_IMAGE} AS centos7-py38",
        "FROM centos7-py38 AS cfgov-artifact-tester",
        "FROM centos7-py38 AS cfgov-artifact-builder",
    ]


def test_the_tester_listens_checks_its_health_and_starts_the_site() -> None:
    lines = stage("cfgov-artifact-tester")
    assert "EXPOSE 80" in lines
    assert "HEALTHCHECK --start-period=60s CMD ./check_health.sh" in lines
    assert lines[-1] == 'ENTRYPOINT ["./install_cfgov_and_run_apache.sh"]'


def test_the_builder_builds() -> None:
    assert stage("cfgov-artifact-builder")[-1] == 'ENTRYPOINT ["./build_cfgov_artifact.sh"]'


@pytest.mark.parametrize("name", ["cfgov-artifact-tester", "cfgov-artifact-builder"])
def test_each_image_carries_its_description(name: str) -> None:
    labels = " ".join(line for line in stage(name) if line.startswith("LABEL"))
    for label in ("title", "description", "source", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert f'org.opencontainers.image.title="{name}"' in labels


def test_nothing_that_only_one_of_the_two_builders_understands_is_used() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    for word in ("--mount", "--chmod", "<<EOF", "--start-interval", "# syntax", "--link"):
        assert word not in text


def test_no_setting_of_a_network_can_stay_in_a_layer() -> None:
    arguments = [line for line in instructions() if line.startswith(("ARG", "ENV"))]
    assert arguments == ["ARG BASE_IMAGE=centos:7"]
    assert "pip" not in " ".join(line for line in instructions() if line.startswith("RUN"))


def test_what_is_copied_is_there_and_can_be_run() -> None:
    copied = [word for line in instructions() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (FOLDER / name).is_file(), name
        if name.endswith(".sh"):
            assert (FOLDER / name).stat().st_mode & 0o111, name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_good_bash(script: Path) -> None:
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_configuration_asks_for_no_variable_that_test_env_does_not_set() -> None:
    given = {
        line.split("=")[0] for line in (FOLDER / "test.env").read_text(encoding="utf-8").splitlines() if "=" in line
    }
    configuration = ROOT / "cfgov/apache"
    files = [path for path in configuration.rglob("*") if path.is_file()]
    asked = {name for path in files for name in re.findall(r"\$\{([A-Z_]+)\}", path.read_text(encoding="utf-8"))}
    assert asked - given == {"WSGI_MODULE"}, "the entry point sets that one"
    passed = set(re.findall(r"^PassEnv (\S+)$", (configuration / "conf/httpd.conf").read_text(encoding="utf-8"), re.M))
    assert len(passed) == 12
    assert passed <= given


CONFIGURATION = sorted(path for path in (ROOT / "cfgov/apache").rglob("*") if path.is_file())


def modules(name: str, guard: str) -> List[str]:
    """Return the modules that conf.modules.d/*name* loads, each of them inside *guard*."""
    text = (ROOT / "cfgov/apache/conf.modules.d" / name).read_text(encoding="utf-8")
    section = guard.split()[0].strip("<")
    line = r" *LoadModule (\w+)_module modules/mod_(\w+)\.so\n"
    loaded = re.findall(rf"^ *{guard}\n{line} *</{section}>$", text, re.MULTILINE)
    assert len(loaded) == text.count("LoadModule")
    assert all(len(set(names)) == 1 for names in loaded)
    return [names[0] for names in loaded]


def test_each_module_that_is_needed_is_loaded_unless_it_is_built_in_and_each_other_one_where_it_is_a_file() -> None:
    needed = modules("00-base.conf", r"<IfModule !(\w+)_module>")
    others = modules("10-optional.conf", r"<IfFile modules/mod_(\w+)\.so>")
    assert len({*needed, *others}) == len(needed) + len(others) == 60
    assert {*needed, *others}.isdisjoint({"http2", "info", "autoindex", "cgi", "cgid", "dav", "proxy"})


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_nothing_is_asked_of_httpd_2_4_34_that_it_refuses(path: Path) -> None:
    """CentOS 7 has 2.4.34: <IfFile> takes a quoted name since 2.4.35, handshake= of mod_reqtimeout is of 2.4.39."""
    text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not re.search(r"<IfFile\s+[\"']", text)
    assert not re.search(r"<IfDirective|<IfSection|handshake=", text)


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_httpd_before_2_4_34_never_sees_a_question_after_a_file(path: Path) -> None:
    """<IfFile> came with 2.4.34, and the oldest httpd that the tests serve the site with has 2.4.27."""
    text = path.read_text(encoding="utf-8")
    outside = re.sub(r"<IfVersion >= 2\.4\.34>.*?</IfVersion>", "", text, flags=re.DOTALL)
    assert not re.search(r"^\s*<IfFile", outside, re.MULTILINE)


def test_no_link_that_the_entry_point_makes_is_in_the_way() -> None:
    for name in ("modules", "run", "conf.d/wsgi.conf"):
        assert not (ROOT / "cfgov/apache" / name).exists()


def test_the_builder_packs_the_icons_names_a_committer_and_writes_the_platforms_first_line() -> None:
    text = (FOLDER / "build_cfgov_artifact.sh").read_text(encoding="utf-8")
    command = text[text.index("\nexec ") :].replace("\\\n", " ").split()
    assert command[command.index("--extra-static") + 1] == '"$mount/static.in/cfgov-fonts"'
    assert "--shebang" in command
    assert command[-1] == '"$@"', "the caller's options come last, so they win"
    exported = re.findall(r"\b(GIT_COMMITTER_\w+)=", text)
    assert exported == ["GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"]
