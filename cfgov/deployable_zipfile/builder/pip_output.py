"""What pip's output says: how many files it has, and why a run failed."""

from __future__ import annotations

import os
import re
from typing import Callable, Optional, Sequence

from ..definitions import NamedTuple, expression

_NO_WHEEL = expression(
    r"ERROR: (?:No matching distribution found for|Could not find a version that satisfies the requirement) "
    r"(.+?)(?: \(from |$)",
    re.MULTILINE,
)
# pip 24.1 and later ignore a file whose metadata breaks the rules, and say so above the two lines of "no version".
_IGNORED = expression(r"Ignoring version \S+ of \S+ since it has invalid metadata:\n.*has invalid metadata: (.+)")
_NOTHING = expression(r"\(from versions: none\)")
_INDEXES = expression(r"^Looking in indexes: (.+)$", re.MULTILINE)
_LINKS = expression(r"^Looking in links: (.+)$", re.MULTILINE)
_HASH_BLOCK = expression(r"^\s{4}(\S.*?) (?:from |\(from )", re.MULTILINE)
_EXPECTED = expression(r"Expected (?:or )?(\w+) ([0-9a-f]{12})")
_GOT = expression(r"Got\s+([0-9a-f]{12})")
_CONFLICT = expression(r"The conflict is caused by:\n(.*?)\n\n", re.DOTALL)
_BUILD = expression(
    r"(?:Failed to build installable wheels for|Failed to build|Failed building wheel for|Could not build wheels for)"
    r"\s+(.+)"
)
_COLLECTED = expression(r"^(?:Collecting|Processing) ", re.MULTILINE)
_FETCHED = expression(r"^(?:Processing \S| *(?:Downloading|Using cached) (?!\S+\.metadata\b))", re.MULTILINE)
_GIT = expression(r"^\s*\u00d7 git \S+ .*did not run successfully", re.MULTILINE)
_OTHER_NAME = expression(r"has inconsistent name: expected '([^']*)', but metadata has '([^']*)'")
_NO_PROJECT = expression(r"^ERROR: (\S+).* does not appear to be a Python project: neither", re.MULTILINE)
_UNSUPPORTED = expression(r"^ERROR: (\S+\.whl) is not a supported wheel on this platform", re.MULTILINE)
# pip's form for errors that it explains.
_DIAGNOSIS = expression("^\\s*\u00d7 (.+)$", re.MULTILINE)
_URL = expression(r"(?:URL:|while fetching) (\S+)")
# What pip says of every failed build.
_ERROR = expression(r"\berror: ", re.IGNORECASE)
_NO_CAUSE = tuple(f"error: {text}" for text in ("command", "failed", "could not build", "metadata-", "subprocess-"))


class Failure(NamedTuple):
    """Why a run of pip failed, in one line."""

    what: str
    why: str
    fix: str
    not_found: bool = False  # the package index, or what is taken instead of it, has no such file


class Progress:
    """Counts the files that pip has, by its output so far.

    It may fetch the metadata of all files before the first of them: then half of the way is the metadata's.

    Parameters:
        fetched: called with how many more files there are.
    """

    def __init__(self, fetched: Callable[[int], object]) -> None:
        self._fetched = fetched
        self._rest = ""  # the line that is not complete yet
        self._halves = 0

    def feed(self, text: str) -> None:
        """Take the next piece of the output."""
        lines, newline, self._rest = (self._rest + text).rpartition("\n")
        before = self._halves // 2
        self._halves += len(_COLLECTED.findall(lines + newline)) + len(_FETCHED.findall(lines + newline))
        if self._halves // 2 > before:
            self._fetched(self._halves // 2 - before)


def explained(text: str, arguments: Sequence[str], no_index: str = "") -> Failure:
    """Return the reason of a failed run from pip's output *text*.

    Parameters:
        no_index: what forbade the package index, "" when pip could use it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    known = (
        *(_settings, _hash_failure, _conflict, _git_failure, _other_name, _unsupported, _no_project),
        *(_build_failure, _index_failure, _diagnosis),
    )
    for recognise in known:
        failure = recognise(text, lines)
        if failure is not None:
            return _without_index(failure, text, no_index) if failure.not_found and no_index else failure
    errors = [line[len("ERROR: ") :] for line in lines if line.startswith("ERROR: ")]
    crashed = errors[-1:] == ["Exception:"]  # pip itself failed, and a traceback follows
    last = errors[-1] if errors and not crashed else (lines[-1] if lines else "no output")
    return Failure(f"pip {arguments[0]}", last.rstrip(".: ")[:300], "See its output")


def _settings(_text: str, lines: Sequence[str]) -> Optional[Failure]:
    opening = "Configuration file could not be loaded."
    if opening not in lines:
        return None
    said = " ".join(lines[lines.index(opening) + 1 :][:2]).rstrip(".")
    return Failure("pip's configuration", f"cannot be read ({said[:200]})", "Correct the file")


def _conflict(text: str, _lines: Sequence[str]) -> Optional[Failure]:
    found = _CONFLICT.search(text)
    if not found:
        return None
    parents = "; ".join(line.strip() for line in found.group(1).splitlines())
    return Failure("requirements", f"contradict each other: {parents}", "Change one of these versions")


def _git_failure(text: str, lines: Sequence[str]) -> Optional[Failure]:
    if not _GIT.search(text):
        return None
    said = [line for line in lines if line.startswith("fatal: ")]
    why = said[-1][len("fatal: ") :] if said else "see the log"
    return Failure(_culprit(lines), f"cannot be taken from git ({why[:200]})", "Look at URL, commit and access rights")


def _other_name(text: str, _lines: Sequence[str]) -> Optional[Failure]:
    found = _OTHER_NAME.search(text)
    return (
        Failure(found[1], f"is not the name of what is there, which is {found[2]}", "Correct the name")
        if found
        else None
    )


def _unsupported(text: str, _lines: Sequence[str]) -> Optional[Failure]:
    found = _UNSUPPORTED.search(text)
    return Failure(found[1], "does not run on this Python and platform", "Name another file") if found else None


def _no_project(text: str, _lines: Sequence[str]) -> Optional[Failure]:
    found = _NO_PROJECT.search(text)
    return (
        Failure(found[1], "has neither pyproject.toml nor setup.py", "Correct URL or subdirectory") if found else None
    )


def _build_failure(text: str, lines: Sequence[str]) -> Optional[Failure]:
    built = _BUILD.search(text)
    if not (built or "subprocess-exited-with-error" in text or "metadata-generation-failed" in text):
        return None
    name = os.path.basename(built.group(1).split()[0].strip("'")) if built else _culprit(lines)
    why = f"cannot be built from its sdist ({_cause(lines)})"
    return Failure(name, why, "Lock a version that has a wheel, or install what it needs")


def _index_failure(text: str, lines: Sequence[str]) -> Optional[Failure]:
    """Return why no file was found: the index does not answer, pip ignores the file, or there is none."""
    match = _NO_WHEEL.search(text)
    if not match:
        return None
    name, ignored = match.group(1), _IGNORED.search(text)
    if any("Retrying" in line or "connection broken" in line for line in lines):
        why = "cannot be fetched: the package index does not answer"
        return Failure(name, why, "Look at network, proxy and index settings")
    if ignored:
        why = f"pip ignores its file, whose metadata is invalid ({ignored.group(1).strip()[:200]})"
        return Failure(name, why, "Lock a version whose metadata is valid")
    if _NOTHING.search(text):
        # pip says the same of an index that refuses access, fails, or cannot be reached while PIP_RETRIES is 0.
        indexes = _INDEXES.search(text)
        where = f" ({indexes.group(1).strip()})" if indexes else ""
        why = f"the package index{where} has no version of it that fits this Python and platform, or refuses access"
        fix = "Correct name or version, or look at address and credentials of the index"
        return Failure(name, why, fix, not_found=True)
    why = "no version of it fits this Python and platform on the package index"
    return Failure(name, why, "Correct name or version", not_found=True)


def _without_index(failure: Failure, text: str, no_index: str) -> Failure:
    """Return *failure* with where pip looked instead of the package index."""
    links = _LINKS.search(text)
    closed = f"the package index is not used ({no_index})"
    if not links:
        why = f"cannot be found: {closed}, and nothing names another place"
        return failure._replace(why=why, fix="Allow the package index, or name a folder with --find-links")
    why = f"no file for this Python and platform in {links.group(1).strip()}, and {closed}"
    return failure._replace(why=why, fix="Add the file there, or correct name or version")


def _diagnosis(text: str, lines: Sequence[str]) -> Optional[Failure]:
    diagnosed = _DIAGNOSIS.search(text)
    if not diagnosed:
        return None
    url = _URL.search(text)
    what = os.path.basename(url.group(1)) if url else _culprit(lines)
    return Failure(what, diagnosed.group(1).strip(), "Try again, and look at the network")


def _hash_failure(text: str, _lines: Sequence[str]) -> Optional[Failure]:
    _, mark, block = text.partition("DO NOT MATCH THE HASHES")
    if not mark:
        return None
    name = _HASH_BLOCK.search(block)
    expected, got = _EXPECTED.search(block), _GOT.search(block)
    digests = f": expected {expected.group(2)}..., found {got.group(1)}..." if expected and got else ""
    what = name.group(1).split(" from ")[0] if name else "a requirement"
    return Failure(what, f"its file does not match the locked hash{digests}", "Lock again, and find out why it changed")


def _culprit(lines: Sequence[str]) -> str:
    for line in reversed(lines):
        match = re.match(r"(?:Collecting|Processing|Building wheel for) (\S+)", line)
        if match:
            return match.group(1)
    return "a requirement"


def _cause(lines: Sequence[str]) -> str:
    """Return the line of a build's output that most likely says why it failed: a compiler's first, else the last."""
    compiler = [line for line in lines if re.search(r":\d+: (?:fatal )?error: ", line)]
    failed = [line for line in lines if _ERROR.search(line) and not line.lower().startswith(_NO_CAUSE)]
    raised = [line for line in lines if re.match(r"[\w.]*(?:Error|Exception)\b", line)]
    return [*compiler[:1], *failed[-1:], *raised[-1:], "see the log"][0][:200]
