"""The site behind a proxy that ends TLS, with a limit on what visitors may send."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.support import containers

HOST = "www.example.gov"


@pytest.fixture(scope="module")
def site(engine: containers.Engine, images: Dict[str, str], checkout: Path) -> Iterator[containers.Tester]:
    limits = {"LIMIT_REQUEST_BODY": "100", "APACHE_PROCESS_COUNT": "1"}
    hosts = {"APACHE_HTTPS_FORWARDED_HOST": HOST, "ALLOWED_HOSTS": f'["{HOST}"]'}
    env = containers.test_environment(**limits, **hosts)
    tester = containers.start_tester(engine, checkout, image=images["tester"], env=env)
    try:
        containers.wait_healthy(tester.container)
        yield tester
    finally:
        tester.close()


def test_the_site_knows_its_outside_name_whatever_host_was_asked(site: containers.Tester) -> None:
    answer = site.get("/", headers={"Host": "inside.local"})
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    redirect = site.get("/admin/", headers={"Host": "inside.local"})
    assert redirect.status_code == 302
    cookies = site.get("/admin/login/").headers["Set-Cookie"]
    assert "Secure" in cookies


def test_a_body_above_the_limit_is_refused(site: containers.Tester) -> None:
    assert site.request("POST", "/admin/login/", data=b"x" * 101).status_code == 413
    assert site.request("POST", "/admin/login/", data=b"x" * 100).status_code == 403  # arrives, lacks the form's token
