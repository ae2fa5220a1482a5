"""What is fetched from a URL, and what remains of the connection when it cannot be."""

from __future__ import annotations

import socket
from typing import List

import pytest

from deployable_zipfile.builder import urls
from deployable_zipfile.errors import BuildInputError
from tests.support.sites import Server


@pytest.fixture
def made(connections: List[socket.socket], monkeypatch: pytest.MonkeyPatch) -> List[socket.socket]:
    """Every connection that is made, none of them through a proxy."""
    monkeypatch.setenv("no_proxy", "*")
    return connections


def test_the_content_of_a_url_is_returned(made: List[socket.socket]) -> None:
    with Server(lambda _: (200, {}, b"asgiref==3.8.1\n")) as server:
        assert urls.content(server.url) == b"asgiref==3.8.1\n"
    assert [one.fileno() for one in made] == [-1]


@pytest.mark.parametrize(
    ("status", "size", "why"),
    [(404, 10, "Not Found"), (503, 300_000, "Service Unavailable"), (200, 300_000, "has more than 1000 bytes")],
)
def test_a_url_that_cannot_be_used_is_named_and_its_connection_is_closed(
    made: List[socket.socket], status: int, size: int, why: str
) -> None:
    with Server(lambda _: (status, {}, b"x" * size)) as server:
        with pytest.raises(BuildInputError, match=why) as caught:
            urls.content(server.url, 1000)
        assert [one.fileno() for one in made] == [-1], caught  # which keeps what it came from
