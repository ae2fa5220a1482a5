"""The release reaches GitHub complete and once, whatever fails on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, List

import pytest

from tests.unit.tools.github_server import REPOSITORY, TOKEN, Fault, Server
from tools.github import LONGEST_WAIT, GitHub, GitHubError, repository_of

UPLOAD, LIST, CREATE = r"/uploads/", r"/releases\Z", r"/releases\Z"


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    with Server() as server:
        yield server


class Client(GitHub):
    """The client under test, which writes down how long it would wait."""

    def __init__(self, server: Server, token: str = TOKEN) -> None:
        self.waits: List[float] = []
        super().__init__(REPOSITORY, token, server.api, self.waits.append)


def make_file(folder: Path, name: str = "site.zip", content: bytes = b"PK" * 50_000) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_a_release_is_a_draft_until_it_is_published(server: Server, tmp_path: Path) -> None:
    client = Client(server)

    release = client.create_draft("v1.0.0", "What is new")
    client.upload(release, make_file(tmp_path))
    assert server.state.releases[0]["draft"] is True
    published = client.publish(release)

    assert published["draft"] is False
    assert server.state.releases[0]["body"] == "What is new"
    assert server.state.names() == {"site.zip": b"PK" * 50_000}


def test_a_draft_is_found_on_a_later_page_of_the_list(server: Server) -> None:
    client = Client(server)
    for number in range(7):
        client.create_draft(f"v{number}.0.0", "notes")

    assert client.create_draft("v5.0.0", "notes")["tag_name"] == "v5.0.0"
    assert len(server.state.releases) == 7


def test_a_published_release_is_preferred_to_a_draft_of_the_same_tag(server: Server) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")
    server.state.releases.append({**server.state.releases[0], "id": 999, "draft": False})

    assert client.create_draft("v1.0.0", "notes")["id"] == 999 != release["id"]


@pytest.mark.parametrize("kind", ["bad_gateway", "hang_up", "lost_answer", "starter", "cut", "secondary_limit"])
def test_an_upload_that_fails_in_passing_is_complete_and_single_in_the_end(
    kind: str, server: Server, tmp_path: Path
) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")
    server.state.faults = [Fault("POST", UPLOAD, kind), Fault("POST", UPLOAD, kind)]

    client.upload(release, make_file(tmp_path))

    assert server.state.names() == {"site.zip": b"PK" * 50_000}
    assert len(server.state.releases[0]["assets"]) == 1
    assert client.waits


@pytest.mark.parametrize("kind", ["bad_gateway", "hang_up", "lost_answer", "too_many", "primary_limit"])
def test_a_release_whose_making_fails_in_passing_is_made_once(kind: str, server: Server) -> None:
    client = Client(server)
    server.state.faults = [Fault("POST", CREATE, kind)]

    client.create_draft("v1.0.0", "notes")

    assert [release["tag_name"] for release in server.state.releases] == ["v1.0.0"]


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("kind", ["bad_gateway", "hang_up", "lost_answer"])
def test_every_other_request_is_repeated_too(method: str, kind: str, server: Server, tmp_path: Path) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")
    client.upload(release, make_file(tmp_path))
    server.state.faults = [Fault(method, "", kind)]

    client.delete_asset(client.assets(release)["site.zip"])
    client.publish(release)

    assert server.state.names() == {}
    assert server.state.releases[0]["draft"] is False
    assert not server.state.faults


def test_a_file_that_is_there_already_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")

    client.upload(release, make_file(tmp_path))
    client.upload(release, make_file(tmp_path))

    assert sum("uploads" in request for request in server.state.requests) == 1


def test_a_file_that_changed_is_replaced(server: Server, tmp_path: Path) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")

    client.upload(release, make_file(tmp_path, content=b"old"))
    client.upload(release, make_file(tmp_path, content=b"new"))

    assert server.state.names() == {"site.zip": b"new"}


def test_an_asset_without_a_digest_is_compared_by_its_bytes(server: Server, tmp_path: Path) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")
    server.state.faults = [Fault("POST", UPLOAD, "no_digest")]
    client.upload(release, make_file(tmp_path, content=b"one"))
    asset = client.assets(release)["site.zip"]

    assert asset["digest"] is None
    assert client.same(asset, make_file(tmp_path, content=b"one"))
    assert not client.same(asset, make_file(tmp_path, content=b"two"))


def test_it_waits_as_long_as_the_server_asks_but_not_for_ever(server: Server) -> None:
    client = Client(server)
    server.state.faults = [
        Fault("GET", LIST, "secondary_limit"),
        Fault("GET", LIST, "primary_limit"),
        Fault("GET", LIST, "too_many"),
        Fault("GET", LIST, "bad_gateway"),
    ]

    client.release("v1.0.0")

    asked, reset, longest, own = client.waits
    assert asked == 7.0
    assert 20.0 < reset <= 31.0
    assert longest == LONGEST_WAIT
    assert own == 2.0**3


def test_it_gives_up_with_one_line(server: Server) -> None:
    server.state.faults = [Fault("GET", LIST, "bad_gateway")] * 50

    with pytest.raises(
        GitHubError, match=r"\AGET http://\S+/releases: 502 Bad Gateway \(6 attempts\)\. Try again later\Z"
    ):
        Client(server).release("v1.0.0")


def test_a_refusal_is_not_repeated_and_shows_no_token(server: Server) -> None:
    client = Client(server, token="s3cret")

    with pytest.raises(GitHubError, match="401 Bad credentials") as caught:
        client.release("v1.0.0")

    assert client.waits == []
    assert "s3cret" not in str(caught.value)


def test_a_token_without_the_right_is_a_refusal_not_a_limit(server: Server) -> None:
    client = Client(server)
    server.state.faults = [Fault("GET", LIST, "forbidden")]

    with pytest.raises(GitHubError, match="403 Resource not accessible by integration"):
        client.release("v1.0.0")
    assert client.waits == []


def test_a_published_release_takes_no_more_files(server: Server, tmp_path: Path) -> None:
    client = Client(server)
    release = client.create_draft("v1.0.0", "notes")
    client.publish(release)

    with pytest.raises(GitHubError, match="422 Cannot upload assets to an immutable release"):
        client.upload(release, make_file(tmp_path))


@pytest.mark.parametrize("kind", ["bad_gateway", "lost_answer"])
def test_a_failure_is_reported_once_and_then_as_comments(kind: str, server: Server) -> None:
    client = Client(server)
    server.state.faults = [Fault("POST", r"/issues\Z", kind)]

    client.report("The weekly build failed", "run 1")
    client.report("Another thing failed", "run 1")
    client.report("The weekly build failed", "run 2")

    assert [issue["title"] for issue in server.state.issues] == ["The weekly build failed", "Another thing failed"]
    assert server.state.comments == [(server.state.issues[0]["number"], "run 2")]


def test_a_closed_issue_of_the_same_title_is_left_alone(server: Server) -> None:
    client = Client(server)
    client.report("The weekly build failed", "run 1")
    server.state.issues[0]["state"] = "closed"

    client.report("The weekly build failed", "run 2")

    assert len(server.state.issues) == 2


@pytest.mark.parametrize("missing", ["GITHUB_TOKEN", "GITHUB_REPOSITORY"])
def test_a_missing_setting_is_named(missing: str) -> None:
    environ = {"GITHUB_TOKEN": "t", "GITHUB_REPOSITORY": REPOSITORY}
    del environ[missing]

    with pytest.raises(GitHubError, match=f"{missing}: is not set"):
        repository_of(environ)
