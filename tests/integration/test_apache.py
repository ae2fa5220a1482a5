"""Every promise of the web server's configuration, with a small application behind it, so that boots take a second."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import requests

from tests.support import containers
from tests.support.helpers import write_tree

# Answers with what it was asked and what it runs in; POST answers with the size of the body.
APPLICATION = """
import json, locale, os, sys, time

def application(environ, start_response):
    if "HTTP_X_WAIT" in environ:
        print("waits as told", file=environ["wsgi.errors"], flush=True)
        time.sleep(float(environ["HTTP_X_WAIT"]))
    document = {key: value for key, value in environ.items() if isinstance(value, str)}
    document.update(encoding=locale.getpreferredencoding(), prefix=sys.prefix, pid=os.getpid(), uid=os.getuid())
    document.update(threads=environ["wsgi.multithread"], folder=os.getcwd(), path=sys.path)
    body = json.dumps(document) if environ["REQUEST_METHOD"] != "POST" else str(len(environ["wsgi.input"].read()))
    headers = [("Content-Type", "application/json"), ("X-Frame-Options", "DENY"), ("ETag", '"first"')]
    if environ.get("HTTP_IF_NONE_MATCH") == '"first"':
        start_response("304 Not Modified", headers)
        return []
    start_response(environ.get("HTTP_X_STATUS", "200 OK"), headers)
    return [body.encode()]
"""

# What the entry point does around the release, without a release.
BOOT = """
. /platform.sh
platform_enable $(platform_get enable_scripts) $(platform_get httpd_enable_scripts)
mkdir -p "$CFGOV_CURRENT" "$STATIC_PATH"
cp -R /given/cfgov "$CFGOV_CURRENT"
cp -R /given/static/. "$STATIC_PATH"
"$(platform_get python)" -m venv --without-pip "$CFGOV_CURRENT/venv"
ln -s "$(platform_get modules_dir)" "$APACHE_SERVER_ROOT/modules"
mkdir -p "$(platform_get run_dir)"
ln -s "$(platform_get run_dir)" "$APACHE_SERVER_ROOT/run"
ln -s wsgi.conf.venv "$APACHE_SERVER_ROOT/conf.d/wsgi.conf"
modules=("$(platform_get modules_dir)"/$(platform_get wsgi_module))
export WSGI_MODULE=${modules[0]##*/}
httpd=$(platform_get httpd)
"$httpd" -t -f "$APACHE_SERVER_ROOT/conf/httpd.conf"
exec "$httpd" -f "$APACHE_SERVER_ROOT/conf/httpd.conf" -DFOREGROUND
"""

# A daemon shows its group as its command line.
SIGNAL_THE_DAEMONS = """
signalled=0
for process in /proc/[0-9]*; do
    if [[ $(tr -d '\\0' <"$process/cmdline") == '(wsgi:django)'* ]]; then
        kill -USR1 "${process#/proc/}" && signalled=$((signalled + 1))
    fi
done 2>/dev/null
((signalled == 4))
"""

CHECK_CONFIGURATION = """
. /platform.sh
platform_enable $(platform_get enable_scripts) $(platform_get httpd_enable_scripts)
modules=("$(platform_get modules_dir)"/$(platform_get wsgi_module))
WSGI_MODULE=${modules[0]##*/} env $1 "$(platform_get httpd)" -t -f "$APACHE_SERVER_ROOT/conf/httpd.conf"
"""

Boot = Callable[..., containers.Tester]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    shutil.copytree(containers.ROOT / "cfgov/apache", folder / "cfgov/apache")
    files: Dict[str, Any] = {
        "cfgov/cfgov/wsgi.py": APPLICATION,
        "boot.sh": BOOT,
        "static/css/site.0123456789ab.css": "p { color: black }\n" * 200,
        "static/js/plain.js": "void 0;\n",
        "static/js/hashed.0123456789ab.js": "void 0;\n",
        "static/favicon.ico": b"icon",
        "static/.htsecret": "no",
    }
    write_tree(folder, files)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module", params=["images", "lookalike"])
def boot(engine: containers.Engine, given: Path, request: pytest.FixtureRequest) -> Iterator[Boot]:
    images: Dict[str, str] = request.getfixturevalue(request.param)
    started: List[containers.Tester] = []

    def start(**changes: str) -> containers.Tester:
        container = engine.start(
            images["tester"],
            entrypoint=["bash", "-e", "/given/boot.sh"],
            environment=containers.test_environment(**changes),
            volumes={str(given): {"bind": "/given", "mode": "ro"}},
            ports={"80/tcp": ("127.0.0.1", None)},
            healthcheck={"interval": 500_000_000},
        )
        started.append(containers.Tester(container))
        containers.wait_healthy(container, 30)
        return started[-1]

    yield start
    for tester in started:
        tester.close()


@pytest.fixture(scope="module")
def server(boot: Boot) -> containers.Tester:
    return boot()


@pytest.fixture(scope="module")
def other_server(boot: Boot) -> containers.Tester:
    return boot(
        APACHE_HTTPS_FORWARDED_HOST="www.example.gov",
        LIMIT_REQUEST_BODY="100",
        APACHE_UPLOADS_F_ALIAS="/srv/cfgov/uploads/",
        APACHE_PROCESS_COUNT="1",
    )


def test_the_application_runs_in_the_releases_virtualenv_as_the_sites_user(server: containers.Tester) -> None:
    answer = server.get("/some/page?x=1").json()
    assert answer["prefix"] == "/srv/cfgov/current/venv"
    assert answer["folder"] == "/srv/cfgov/current"
    assert "/srv/cfgov/current/cfgov" in answer["path"]
    assert str(answer["uid"]) == server.run("id", "-u", "apache").output.strip()
    assert answer["PATH_INFO"] == "/some/page"
    assert answer["mod_wsgi.process_group"] == "django"
    assert answer["mod_wsgi.application_group"] == ""


def test_text_is_utf8_in_the_daemons_whatever_the_containers_locale(server: containers.Tester) -> None:
    assert server.get("/").json()["encoding"].upper().replace("-", "") == "UTF8"


def test_as_many_daemons_run_as_the_setting_says_with_fifteen_threads(server: containers.Tester) -> None:
    names = server.container.top()["Processes"]
    assert sum("(wsgi:django)" in " ".join(row) for row in names) == 4
    server.wait_for_log("threads=15")


def test_the_application_is_loaded_before_the_first_request(boot: Boot) -> None:
    fresh = boot(APACHE_PROCESS_COUNT="3")
    fresh.wait_for_log("Loading Python script file", times=3)


def test_the_servers_variables_reach_the_application(server: containers.Tester) -> None:
    expected = containers.variables_of(containers.test_environment())
    names = [name for name in expected if name.startswith(("CFGOV", "STATIC_", "APACHE_", "LIMIT_"))]
    names = [name for name in names if name not in ("APACHE_USER", "APACHE_GROUP")] + ["ERROR_LOG", "ACCESS_LOG"]
    assert len(names) == 12
    answer = server.get("/").json()
    assert {name: answer.get(name) for name in names} == {name: expected[name] for name in names}


def test_answers_carry_each_protective_header_once_and_no_version(server: containers.Tester) -> None:
    answer = server.get("/")
    assert answer.headers["Server"] == "Apache"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-XSS-Protection" not in answer.headers, "browsers dropped it, and it made holes of its own"
    assert answer.headers["Permissions-Policy"] == "camera=(), geolocation=(), microphone=()"


@pytest.mark.parametrize("path", ["/static/css/site.0123456789ab.css", "/static/js/hashed.0123456789ab.js"])
def test_a_hashed_static_file_may_be_cached_for_a_thousand_days(server: containers.Tester, path: str) -> None:
    answer = server.get(path)
    assert answer.status_code == 200
    assert "max-age=86400000" in answer.headers["Cache-Control"]
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Edge-Control"] == "cache-maxage=1000d"


def test_a_script_without_a_hash_may_be_cached_for_two_hours(server: containers.Tester) -> None:
    answer = server.get("/static/js/plain.js")
    assert "max-age=7200" in answer.headers["Cache-Control"]
    assert "Edge-Control" not in answer.headers


def test_a_static_file_that_was_not_collected_is_the_applications_to_answer(server: containers.Tester) -> None:
    assert server.get("/static/other.css").json()["PATH_INFO"] == "/static/other.css"
    assert server.get("/favicon.ico").content == b"icon"
    assert server.get("/robots.txt").json()["PATH_INFO"] == "/robots.txt"


@pytest.mark.parametrize("path", ["/static/.htsecret", "/static/../current/environment.json", "/static/%2e%2e/x"])
def test_hidden_files_and_folders_above_are_not_served(server: containers.Tester, path: str) -> None:
    request = requests.Request("GET", f"http://{server.address}{path}").prepare()
    request.url = f"http://{server.address}{path}"
    answer = server.session.send(request, timeout=30)
    reached_the_application = answer.status_code == 200 and answer.json()["PATH_INFO"] in (
        "/current/environment.json",
        "/x",
    )
    assert reached_the_application or answer.status_code in (400, 403, 404)


@pytest.mark.parametrize("method", ["gzip", "br"])
def test_text_travels_compressed(server: containers.Tester, method: str) -> None:
    path = "/static/css/site.0123456789ab.css"
    plain = server.get(path, headers={"Accept-Encoding": "identity"})
    packed = server.get(path, headers={"Accept-Encoding": method}, stream=True)
    if method == "br" and not _has_module(server, "brotli"):
        assert "Content-Encoding" not in packed.headers
        return
    assert packed.headers["Content-Encoding"] == method
    assert len(packed.raw.read(decode_content=False)) < len(plain.content) / 2
    assert "Accept-Encoding" in packed.headers["Vary"]


@pytest.mark.parametrize("method", ["gzip", "br"])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_the_applications_answers_travel_compressed_whatever_their_status(
    server: containers.Tester, status: str, method: str
) -> None:
    if method == "br" and not _has_module(server, "brotli"):
        method = "gzip"
    answer = server.get("/page", headers={"Accept-Encoding": method, "X-Status": status}, stream=True)
    assert f"{answer.status_code} {answer.reason}" == status
    assert answer.headers["Content-Encoding"] == method


@pytest.mark.parametrize("method", ["gzip", "br", "identity"])
def test_a_page_that_the_browser_has_is_not_sent_again(server: containers.Tester, method: str) -> None:
    first = server.get("/page", headers={"Accept-Encoding": method})
    again = server.get("/page", headers={"Accept-Encoding": method, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def _has_module(server: containers.Tester, name: str) -> bool:
    return not server.run("test", "-e", f"/srv/cfgov/current/cfgov/apache/modules/mod_{name}.so", check=False).code


def test_server_status_answers_the_own_host_alone(server: containers.Tester) -> None:
    assert server.get("/__server-status").status_code == 403
    assert "Server uptime" in server.run("curl", "-fs", "http://localhost/__server-status").output


def test_trace_is_refused(server: containers.Tester) -> None:
    assert server.request("TRACE", "/").status_code == 405


def test_uploaded_files_are_redirected_to_their_host(server: containers.Tester) -> None:
    answer = server.get("/f/documents/report.pdf")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "https://files.consumerfinance.gov/f/documents/report.pdf"


def test_uploaded_files_are_served_from_a_folder_of_this_host(other_server: containers.Tester) -> None:
    other_server.run("mkdir", "/srv/cfgov/uploads")
    other_server.run("sh", "-c", "echo uploaded >/srv/cfgov/uploads/report.txt")
    assert other_server.get("/f/report.txt").text == "uploaded\n"
    assert other_server.get("/f/missing.txt").status_code == 404


def test_a_body_within_the_limit_arrives_and_one_above_it_is_refused(
    server: containers.Tester, other_server: containers.Tester
) -> None:
    assert other_server.request("POST", "/", data=b"x" * 100).text == "100"
    assert other_server.request("POST", "/", data=b"x" * 101).status_code == 413
    assert server.request("POST", "/", data=b"x" * 3_000_000).text == "3000000"


def test_editors_may_upload_eight_mebibytes_whatever_the_limit(other_server: containers.Tester) -> None:
    assert other_server.request("POST", "/admin/images/add/", data=b"x" * 1_000_000).text == "1000000"
    assert other_server.request("POST", "/admin/images/add/", data=b"x" * 8_388_609).status_code == 413
    assert other_server.request("POST", "/admin/documents/multiple/add/", data=b"x" * 1_000_000).text == "1000000"


def test_the_outside_name_is_told_to_the_application_when_set(
    server: containers.Tester, other_server: containers.Tester
) -> None:
    told = other_server.get("/").json()
    assert told["HTTP_X_FORWARDED_PROTO"] == "https"
    assert told["HTTP_X_FORWARDED_HOST"] == "www.example.gov"
    assert "HTTP_X_FORWARDED_HOST" not in server.get("/").json()


def test_the_maintenance_file_closes_every_address_at_once_and_opens_them_without_restart(
    server: containers.Tester,
) -> None:
    paths = ["/", "/static/css/site.0123456789ab.css", "/f/x", "/admin/"]
    server.run("touch", "/srv/cfgov/current/WEBSITE_DOWN_FOR_MAINTENANCE")
    try:
        answers = [server.get(path) for path in paths]
    finally:
        server.run("rm", "/srv/cfgov/current/WEBSITE_DOWN_FOR_MAINTENANCE")
    assert [answer.status_code for answer in answers] == [503] * len(paths)
    assert "maintenance" in answers[0].text
    assert [server.get(path).status_code for path in paths] == [200, 200, 302, 200]


def test_the_log_names_forwarded_address_status_and_time(server: containers.Tester) -> None:
    server.get("/for-the-log", headers={"X-Forwarded-For": "192.0.2.7", "User-Agent": "tester"})
    line = next(line for line in server.wait_for_log("/for-the-log").splitlines() if "/for-the-log" in line)
    assert "[192.0.2.7]" in line
    assert '"GET /for-the-log HTTP/1.1" 200 ' in line
    assert line.endswith('"-" "tester"')


def test_the_daemons_finish_slow_requests_when_they_are_signalled(server: containers.Tester) -> None:
    outcome: List[Any] = []
    slow = threading.Thread(
        target=lambda: outcome.append(requests.get(f"http://{server.address}/", headers={"X-Wait": "3"}, timeout=60))
    )
    before = {row["pid"] for row in _answers(server, 20)}
    slow.start()
    server.wait_for_log("waits as told")
    server.run("bash", "-c", SIGNAL_THE_DAEMONS)
    statuses = [server.get("/").status_code for _ in range(30)]
    slow.join(60)
    assert set(statuses) == {200}
    assert outcome[0].status_code == 200
    assert outcome[0].json()["pid"] in before
    deadline = time.monotonic() + 60
    while {row["pid"] for row in _answers(server, 20)} & before:
        assert time.monotonic() < deadline, "a daemon that was signalled still answers"
        time.sleep(0.5)


def _answers(server: containers.Tester, count: int) -> List[Dict[str, Any]]:
    return [json.loads(server.get("/").text) for _ in range(count)]


@pytest.mark.parametrize("change", ["-u APACHE_SERVER_ROOT", "APACHE_PROCESS_COUNT=many", "LIMIT_REQUEST_BODY=lots"])
def test_an_unset_server_root_and_a_bad_number_are_refused_by_the_configuration_test(
    server: containers.Tester, change: str
) -> None:
    good = server.run("bash", "-c", CHECK_CONFIGURATION, "-", "A=B")
    assert "Syntax OK" in good.output
    assert "AH00111" not in good.output
    assert server.run("bash", "-c", CHECK_CONFIGURATION, "-", change, check=False).code != 0
