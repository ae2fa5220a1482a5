"""The same artifact on a real PostgreSQL, by DATABASE_URL only; here also what needs settings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator

import pytest

from tests.e2e.test_site import Editor
from tests.support import containers
from tests.support.fixtures_docker import RESULTS

IMAGE = "cfgov-artifact-test-postgresql:latest"
URL = "postgres://postgres@127.0.0.1:5432/postgres"


@pytest.fixture(scope="module")
def database(engine: containers.Engine) -> Iterator[containers.Tester]:
    """Start the database; its network namespace, and the published port in it, are shared with the tester."""
    built = containers.docker_command(["build", "tests/e2e/postgresql", "-t", IMAGE])
    assert built.code == 0, built.output
    container = engine.start(
        IMAGE, ports={"80/tcp": ("127.0.0.1", None)}, healthcheck={"interval": containers.SECOND // 2}
    )
    tester = containers.Tester(container)
    try:
        containers.wait_healthy(container, 60)
        yield tester
    finally:
        tester.close()


@pytest.fixture(scope="module")
def site(
    engine: containers.Engine,
    images: Dict[str, str],
    checkout: Path,
    database: containers.Tester,
    request: pytest.FixtureRequest,
) -> Iterator[containers.Tester]:
    """Boot the site on that database and return its address, which is the database container's."""
    env = containers.test_environment(DATABASE_URL=URL)
    network = f"container:{database.container.id}"
    tester = containers.start_tester(engine, checkout, image=images["tester"], env=env, network_mode=network)
    try:
        containers.wait_healthy(tester.container)
        yield database
    finally:
        if request.session.testsfailed:
            containers.keep_evidence(tester.container, RESULTS / "postgresql")
        tester.close()


def test_the_tables_are_in_postgresql(site: containers.Tester, database: containers.Tester) -> None:
    query = "SELECT count(*) FROM django_migrations"
    command = ["psql", "--host=127.0.0.1", "--username=postgres", "--tuples-only", f"--command={query}"]
    assert int(database.run(*command).output) > 100


@pytest.mark.parametrize("path", ["/", "/guides/", "/admin/login/", "/health/"])
def test_pages_answer(site: containers.Tester, path: str) -> None:
    assert site.get(path).status_code == 200


def test_the_demonstration_is_found_by_search(site: containers.Tester) -> None:
    answer = site.get("/search/", params={"query": "lease"})
    assert answer.status_code == 200
    assert 'href="/guides/' in answer.text


def test_an_editor_signs_in(site: containers.Tester) -> None:
    with Editor(site) as editor:
        assert editor.landed.url.endswith("/admin/")
        assert editor.get("/admin/pages/").status_code == 200
