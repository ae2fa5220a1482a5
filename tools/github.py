"""A small client of GitHub's REST API that survives the failures which that API is known for.

Requests are repeated on connection errors, on 5xx and when a rate limit says so; everything that changes something is
written so that doing it twice does no harm, because an answer can be lost after the work was done. Rules from GitHub's
"REST API endpoints for releases", "... release assets", "... issues" and "Rate limits for the REST API":

- a draft is not found by its tag, only in the list of releases;
- an upload that broke leaves an asset of the state ``starter`` that blocks its name until it is deleted;
- a name taken is 422 with the code ``already_exists``;
- a published release can be immutable, so everything is uploaded to a draft first.
"""

from __future__ import annotations

import functools
import hashlib
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

import requests

API = "https://api.github.com"
VERSION = "2022-11-28"
ATTEMPTS = 6
LONGEST_WAIT = 120.0  # seconds between two attempts, whatever the server asks for
TIMEOUT = (10.0, 120.0)  # seconds to connect, and between two bytes of the answer


class GitHubError(Exception):
    """The API refused, or did not answer in time; the text is one line for people."""


class GitHub:
    """One repository, seen through the API.

    Parameters:
        repository: ``OWNER/NAME``.
        token: sent with every request, never printed.
        api: root of the API; the address of uploads comes with each release.
        sleep: waits the given seconds between attempts.
    """

    def __init__(
        self, repository: str, token: str, api: str = API, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._root = f"{api.rstrip('/')}/repos/{repository}"
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "User-Agent": "deployable-zipfile",
                "X-GitHub-Api-Version": VERSION,
            }
        )

    def release(self, tag: str) -> Optional[Dict[str, Any]]:
        """Return the release of *tag*, the published one before the oldest draft, or None."""
        found = [entry for entry in self._pages(f"{self._root}/releases") if entry["tag_name"] == tag]
        return min(found, key=lambda entry: (entry["draft"], entry["id"])) if found else None

    def create_draft(self, tag: str, notes: str) -> Dict[str, Any]:
        """Return a draft of the release *tag*, made when there is none."""
        document = {"tag_name": tag, "name": tag, "body": notes, "draft": True}
        created: Dict[str, Any] = self._repeat(
            lambda: self.release(tag) or self._once("POST", f"{self._root}/releases", json=document).json()
        )
        return created

    def publish(self, release: Mapping[str, Any]) -> Dict[str, Any]:
        """Make the draft *release* visible to everyone."""
        published: Dict[str, Any] = self._repeat(
            lambda: self._once("PATCH", f"{self._root}/releases/{release['id']}", json={"draft": False}).json()
        )
        return published

    def assets(self, release: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
        """Return the assets of *release* by name."""
        listed = self._pages(f"{self._root}/releases/{release['id']}/assets")
        return {entry["name"]: entry for entry in listed}

    def upload(self, release: Mapping[str, Any], path: Path) -> None:
        """Make the draft *release* hold the file *path*, once and complete."""
        self._repeat(lambda: self._upload_once(release, path))

    def delete_asset(self, asset: Mapping[str, Any]) -> None:
        """Take *asset* away; one that is gone already is no error."""
        address = f"{self._root}/releases/assets/{asset['id']}"
        self._repeat(lambda: self._once("DELETE", address, missing_is_fine=True))

    def same(self, asset: Mapping[str, Any], path: Path) -> bool:
        """Return whether *asset* is complete and has the bytes of the file *path*."""
        if asset["state"] != "uploaded" or asset["size"] != path.stat().st_size:
            return False
        return (asset.get("digest") or self._digest(asset)) == f"sha256:{sha256(path)}"

    def open_issue(self, title: str) -> Optional[Dict[str, Any]]:
        """Return the oldest open issue of exactly this *title*, or None."""
        listed = self._pages(f"{self._root}/issues?state=open")
        found = {entry["number"]: entry for entry in listed if entry["title"] == title and "pull_request" not in entry}
        return found[min(found)] if found else None

    def report(self, title: str, body: str) -> Dict[str, Any]:
        """Open an issue, or comment on the open one of that title; return what was written."""
        written: Dict[str, Any] = self._repeat(lambda: self._report_once(title, body))
        return written

    def _report_once(self, title: str, body: str) -> Dict[str, Any]:
        known = self.open_issue(title)
        if known is None:
            return dict(self._once("POST", f"{self._root}/issues", json={"title": title, "body": body}).json())
        if known["body"] == body:  # written by an attempt whose answer was lost
            return known
        return dict(self._once("POST", f"{known['url']}/comments", json={"body": body}).json())

    def _upload_once(self, release: Mapping[str, Any], path: Path) -> None:
        present = self.assets(release).get(path.name)
        if present is not None:
            if self.same(present, path):
                return
            self.delete_asset(present)
        address = str(release["upload_url"]).split("{")[0]
        with open(str(path), "rb") as file:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
            answer = self._once("POST", address, params={"name": path.name}, data=file, headers=headers).json()
        if not self.same(answer, path):
            raise _Passing(f"{path.name}: arrived incomplete")

    def _digest(self, asset: Mapping[str, Any]) -> str:
        """Return the digest of an asset uploaded before GitHub kept digests, by fetching it."""
        digest = hashlib.sha256()
        with self._once(
            "GET", str(asset["url"]), headers={"Accept": "application/octet-stream"}, stream=True
        ) as answer:
            for block in answer.iter_content(1 << 20):
                digest.update(block)
        return f"sha256:{digest.hexdigest()}"

    def _pages(self, address: str) -> Iterator[Dict[str, Any]]:
        following: Optional[str] = f"{address}{'&' if '?' in address else '?'}per_page=100"
        while following:
            answer: requests.Response = self._repeat(functools.partial(self._once, "GET", following))
            yield from answer.json()
            following = answer.links.get("next", {}).get("url")

    def _repeat(self, action: Callable[[], Any]) -> Any:
        """Return what *action* returns, tried again while it fails in passing."""
        for attempt in range(ATTEMPTS):
            try:
                return action()
            except _Passing as failure:
                if attempt == ATTEMPTS - 1:
                    raise GitHubError(f"{failure} ({ATTEMPTS} attempts). Try again later") from None
                self._sleep(min(failure.wait if failure.wait is not None else 2.0**attempt, LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _once(self, method: str, address: str, missing_is_fine: bool = False, **options: Any) -> requests.Response:
        what = f"{method} {address.split('?')[0]}"
        try:
            answer = self._session.request(method, address, timeout=TIMEOUT, **options)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _Passing(f"{what}: {type(error).__name__}") from None
        if answer.ok or (missing_is_fine and answer.status_code == 404):
            return answer
        if answer.status_code >= 500 or _is_limit(answer) or _is_taken(answer):
            raise _Passing(f"{what}: {answer.status_code} {answer.reason}", _asked_wait(answer))
        raise GitHubError(f"{what}: {answer.status_code} {_message(answer)}")


class _Passing(Exception):
    """A failure that another attempt may not meet; *wait* is what the server asks for, in seconds."""

    def __init__(self, text: str, wait: Optional[float] = None) -> None:
        super().__init__(text)
        self.wait = wait


def repository_of(environ: Mapping[str, str]) -> GitHub:
    """Return the client of the repository that *environ* names, as GitHub's runners set it.

    Raises:
        GitHubError: ``GITHUB_TOKEN`` or ``GITHUB_REPOSITORY`` is not set.
    """
    for name in ("GITHUB_TOKEN", "GITHUB_REPOSITORY"):
        if not environ.get(name):
            raise GitHubError(f"{name}: is not set. Set it, or run this in a workflow")
    return GitHub(environ["GITHUB_REPOSITORY"], environ["GITHUB_TOKEN"], environ.get("GITHUB_API_URL", API))


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file *path*, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _is_limit(answer: requests.Response) -> bool:
    limited = answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
    return answer.status_code == 429 or (answer.status_code == 403 and limited)


def _is_taken(answer: requests.Response) -> bool:
    return answer.status_code == 422 and "already_exists" in answer.text


def _asked_wait(answer: requests.Response) -> Optional[float]:
    if answer.headers.get("retry-after", "").isdigit():
        return float(answer.headers["retry-after"])
    if answer.headers.get("x-ratelimit-remaining") == "0" and answer.headers.get("x-ratelimit-reset", "").isdigit():
        return max(0.0, float(answer.headers["x-ratelimit-reset"]) - time.time())
    return None


def _message(answer: requests.Response) -> str:
    try:
        document = answer.json()
        errors: List[Any] = document.get("errors") or []
        return " ".join([str(document.get("message", "")), *[str(error) for error in errors]])[:300]
    except ValueError:
        return answer.reason
