"""Passwords and tokens in configuration files that are packed."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from deployable_zipfile.builder import credentials

PASSWORD = "hunter2-and-more"


@pytest.mark.parametrize(
    ("name", "line", "kind"),
    [
        ("requirements.txt", f"--index-url https://build:{PASSWORD}@pypi.corp/simple", "a password in a URL"),
        ("requirements/base.txt", f"x @ git+https://o:{PASSWORD}@git.corp/x.git@0123", "a password in a URL"),
        ("requirements.in", f"--extra-index-url=http://build:{PASSWORD}@10.0.0.5:8080/simple", "a password in a URL"),
        ("constraints.txt", "x @ https://ghp_0123456789abcdef@git.corp/x.zip", "a token in a URL"),
        ("requirements.txt", f"x @ https://files.corp/x-1-py3-none-any.whl?sig={PASSWORD}", "a token in a URL"),
        ("pip.conf", f"index-url = https://build:{PASSWORD}@pypi.corp/simple", "a password in a URL"),
        ("uv.toml", f'index-url = "https://build:p/w@{PASSWORD}@pypi.corp/simple"', "a password in a URL"),
        ("pyproject.toml", f'url = "https://__token__:{PASSWORD}@pypi.corp/simple"', "a password in a URL"),
        ("poetry.toml", f'http-basic.corp.password = "{PASSWORD}"', "a password or token"),
        ("uv.lock", f'source = {{ registry = "https://a:{PASSWORD}@pypi.corp/simple" }}', "a password in a URL"),
        ("Pipfile", f'url = "https://a:{PASSWORD}@pypi.corp/simple"', "a password in a URL"),
        (".npmrc", f"//npm.corp/:_authToken={PASSWORD}", "a password or token"),
        ("etc/pypirc", f"password: {PASSWORD}", "a password or token"),
        ("my-netrc", f"machine pypi.corp login build password {PASSWORD}", "a password"),
        ("uwsgi.ini", f"env = AWS_SECRET_ACCESS_KEY={PASSWORD}", "a password or token"),
        ("site.service", f'Environment="DJANGO_SECRET_KEY={PASSWORD}"', "a password or token"),
        ("app.toml", f'db_password = "{PASSWORD}"', "a password or token"),
        (".gitmodules", f"\turl = https://a:{PASSWORD}@git.corp/x", "a password in a URL"),
        ("docker-compose.yml", f"  DATABASE_URL: postgres://a:{PASSWORD}@db.corp.net/a", "a password in a URL"),
        ("mysite/settings/production.py", f'BROKER = "amqp://a:{PASSWORD}@mq.corp.net/"', "a password in a URL"),
        ("Dockerfile", f"RUN pip install -i https://a:{PASSWORD}@pypi.corp/simple x", "a password in a URL"),
    ],
)
def test_a_secret_is_found_by_line_and_kind(tmp_path: Path, name: str, line: str, kind: str) -> None:
    assert credentials.may_hold(name)
    path = tmp_path / Path(name).name
    path.write_text(f"# first\r\n{line}\r\n")
    assert credentials.found(str(path)) == [(2, kind)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("requirements.txt", "--index-url https://${USER}:${PASSWORD}@pypi.corp/simple"),
        ("requirements.txt", "--index-url https://pypi.corp/simple"),
        ("requirements.txt", "x @ git+https://git@git.corp/x.git@0123"),
        ("requirements.txt", "x @ git+ssh://git@git.corp/x.git@0123"),
        ("requirements.txt", "x==1 --hash=sha256:0123456789abcdef"),
        ("pip.conf", "index-url = https://<user>:<password>@pypi.corp/simple"),
        ("pip.conf", "# password = hunter2"),
        ("alembic.ini", "sqlalchemy.url = postgres://dev:dev@localhost/site"),
        ("docker-compose.yml", "  DATABASE_URL: postgres://cfgov:cfgov@db/cfgov"),
        ("compose.yml", "  URL: redis://:%(password)s@cache.corp.net/0"),
        ("settings.py", 'URL = f"postgres://{user}:{password}@{host}.corp.net/{name}"'),
        ("pyproject.toml", "SECRET_KEY = { secret = true }"),
        ("pyproject.toml", "password = true"),
        ("pyproject.toml", "max-token = 4096"),
        ("site.service", "Environment=SECRET_KEY_FILE=/etc/site/key"),
        ("site.service", "EnvironmentFile=/etc/site/environment"),
        (".npmrc", "//npm.corp/:_authToken=${NPM_TOKEN}"),
        ("package.json", '"url": "git+https://git.corp/x/y.git"'),
    ],
)
def test_references_and_addresses_of_this_machine_are_no_secrets(tmp_path: Path, name: str, line: str) -> None:
    path = tmp_path / name
    path.write_text(f"{line}\n")
    assert credentials.found(str(path)) == []


@pytest.mark.parametrize("name", ["pip.conf.example", "README.md", "app/views.py", "tests/test_urls.py", "logo.svg"])
def test_examples_prose_and_programs_are_not_looked_at(name: str) -> None:
    assert not credentials.may_hold(name)


def test_every_line_of_a_text_is_looked_at_whatever_its_length(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    lines: List[str] = [f'"https://a:{PASSWORD}@x.corp"', "://a:" * 200_000, f'"https://b:{PASSWORD}@x.corp"']
    path.write_text("\n".join(lines))
    assert [number for number, _ in credentials.found(str(path))] == [1, 3]
    path.write_bytes(f"https://a:{PASSWORD}@x.corp\0".encode())
    assert credentials.found(str(path)) == []
