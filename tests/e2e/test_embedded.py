"""environment.json in Apache's own processes: mod_wsgi embedded, without daemons, as other sites may run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from tests.support import containers
from tests.support.artifacts import make_artifact, make_target
from tests.support.fixtures_docker import evidence
from tools import platforms

__all__ = ["evidence"]

LIMIT = 60.0
APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [os.environ.get("NAME", "nothing").encode()]
"""
# Runs in the tester's image: installs the artifact, starts Apache with the directive $1 and sends it one request.
SCRIPT = """
. /platform.sh
platform_enable $(platform_get enable_scripts)
python=$(platform_get python) httpd=$(platform_get httpd) modules=$(platform_get modules_dir)
"$python" -I /given/site.zip -d /srv/site --quiet --no-sync || exit
cp /given/environment.json /srv/site/environment.json 2>/dev/null
cp /given/app.wsgi /srv/app.wsgi
packages=$(ls -d /srv/site/venv/lib/python*/site-packages)
module=$(cd "$modules" && ls $(platform_get wsgi_module))
{
    for name in mpm_event authz_core unixd; do
        if [[ -e $modules/mod_$name.so ]]; then echo "LoadModule ${name}_module $modules/mod_$name.so"; fi
    done
    echo "LoadModule wsgi_module $modules/$module"
    echo "ServerRoot /srv"
    echo "ServerName localhost"
    echo "User $APACHE_USER"
    echo "Group $APACHE_GROUP"
    echo "Listen 127.0.0.1:8080"
    echo "PidFile /srv/httpd.pid"
    echo "ErrorLog /srv/error.log"
    echo "${1//PACKAGES/$packages}"
    echo "WSGIScriptAlias / /srv/app.wsgi"
    echo "<Directory /srv>"
    echo "Require all granted"
    echo "</Directory>"
} >/srv/httpd.conf
platform_enable $(platform_get httpd_enable_scripts)
touch /srv/error.log
"$httpd" -f /srv/httpd.conf -DFOREGROUND &
refused=0
for _ in 1 2 3 4 5 6 7 8; do
    sleep 0.5
    # The file was refused: two requests that get no answer show that nothing is served.
    if grep -q "error: /srv/site/environment.json: " /srv/error.log; then refused=$((refused + 1)); fi
    if curl -s -m 2 -o /srv/answer -w 'status %{http_code}\\n' http://127.0.0.1:8080/; then break; fi
    if ((refused == 2)); then break; fi
done
cat /srv/error.log
echo "answer $(cat /srv/answer 2>/dev/null)"
kill -KILL "$!"
"""
WAYS = ["WSGIPythonHome /srv/site/venv", "WSGIPythonPath PACKAGES"]
Ask = Callable[[str, str], containers.Finished]


@pytest.fixture
def ask(
    engine: containers.Engine,
    images: Dict[str, str],
    platform: platforms.Platform,
    tmp_path: Path,
    evidence: Callable[[Any], None],
) -> Ask:
    """Return a function that serves one request with a directive and a text for environment.json, "" for no file."""

    def run(directive: str, text: str) -> containers.Finished:
        target = make_target([], None, False)._replace(
            python=platform.python_version, abi="cp" + platform.python_version.replace(".", "")
        )
        make_artifact(tmp_path / "site.zip", bytecode=False, targets=[target])
        (tmp_path / "app.wsgi").write_text(APPLICATION)
        if text:
            (tmp_path / "environment.json").write_text(text)
        container = engine.start(
            images["tester"],
            entrypoint=["bash", "-c", SCRIPT, "bash"],
            command=[directive],
            volumes={str(tmp_path): {"bind": "/given", "mode": "ro"}},
            environment=["APACHE_USER=apache", "APACHE_GROUP=apache"],
        )
        evidence(container)
        return containers.wait_exit(container, LIMIT)

    return run


@pytest.mark.parametrize("directive", WAYS)
def test_the_file_is_loaded(ask: Ask, directive: str) -> None:
    lines = ask(directive, '{"NAME": "from the file"}').output.splitlines()
    assert "status 200" in lines
    assert "answer from the file" in lines


@pytest.mark.parametrize("directive", WAYS)
@pytest.mark.parametrize("text", ['{"NAME": 5}', '{"NAME": "x"', '{"NAME": "a", "NAME": "b"}'])
def test_with_a_bad_file_nothing_is_served(ask: Ask, directive: str, text: str) -> None:
    output = ask(directive, text).output
    assert "status 200" not in output
    assert "answer \n" in output + "\n" or output.rstrip().endswith("answer")
    assert "error: /srv/site/environment.json: " in output


@pytest.mark.parametrize("directive", WAYS)
def test_without_a_file_the_process_has_its_own_environment(ask: Ask, directive: str) -> None:
    assert "answer nothing" in ask(directive, "").output.splitlines()
