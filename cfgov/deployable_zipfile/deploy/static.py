"""Static files belong to a release: collected in it, served through ``current/static``.

They are always collected into a fresh folder of the release, whatever STATIC_ROOT says, and appear by one rename of the
link ``RELEASE/static``. So a deployment that fails, also by a power cut, and a rollback leave those of the live release
as they are, and no time of a file decides what is collected. Where the project itself looks for them at run time,
STATIC_ROOT, becomes a link to the collection as well:

- inside the release: a link in the release;
- ``ROOT/NAME``, absent or empty: a link to ``current/static``, made at the switch;
- a folder elsewhere, or one with files: shared by all releases. New names are added at the switch, other files are
  replaced once the release has proven itself. A manifest of one name for all releases makes that impossible.

Names with a hash that the live release had and the new one has not are kept for a while: pages that were loaded before
the switch ask for them.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from .. import durable, removal
from ..artifact import layout, strict_json
from ..definitions import NamedTuple, expression
from ..errors import DeploymentError
from . import links, losses
from .collect import REPORT
from .commands import CommandError
from .context import Context
from .releases import inside
from .site import NO_COLLECTSTATIC, program

RECORD = layout.STATIC_FILES
_MOST_LINKS = 40  # that lead to each other: as many as Linux follows
_DAY = 86_400.0  # seconds
_MOST_REPORT = 65_536  # bytes
_MOST_RECORD = 16 * 1024 * 1024  # bytes: a name and a time for each file that is kept
# A part of a file name that is a hash of the content: Django's, webpack's, and that of Vite and others, which has 8
# letters of base64 and, unlike a word, a digit or a capital letter.
_HASHED = expression(r"[.-]([0-9a-f]{8,64}|(?=[\w-]*[0-9A-Z])[\w-]{8})(\.\w+)+\Z")


class Collection(NamedTuple):
    """The static files of one release, collected and not yet visible."""

    link: Path  # RELEASE/static
    folder: str  # what it is to point to
    before: str  # what it pointed to, "": nothing
    outer: str  # path outside the release that becomes a link to current/static, "": none
    shared: str  # folder outside the release, "": none
    record: Dict[str, Any]


def collect(context: Context) -> str:
    """Collect the release's static files into a fresh folder; the step *collectstatic*.

    Raises:
        DeploymentError: the command failed, or the project's STATIC_ROOT cannot be shared safely.
    """
    link = context.release / _name(context)
    before = os.readlink(str(link)) if link.is_symlink() else ""
    folder = next(f"{link.name}-{letter}" for letter in "ab" if f"{link.name}-{letter}" != before)
    fresh = context.release / folder
    _make(context, fresh)
    try:
        output = _run(context, fresh)
    except CommandError as error:
        removal.remove_tree(str(fresh))
        if NO_COLLECTSTATIC in error.output:
            return "skipped: django.contrib.staticfiles is not installed"
        raise
    report = _report(fresh)
    losses.warn_of_uploads(context, report["media_root"] if report else "")
    if report is None or not report["local"]:
        removal.remove_tree(str(fresh))
        if report and os.path.isabs(report["elsewhere"]) and os.path.isdir(report["elsewhere"]):
            place = f"the project's own storage writes to {report['elsewhere']}, whatever STATIC_ROOT is"
            context.console.warn(f"{place}: the live site has the new static files already, also if a later step fails")
        return "done, by the project's own storage" if report else "done"
    found = _settled(context, Collection(link, folder, before, "", "", {}), report)
    kept = _keep(context, found, fresh)
    found.record["kept"] = kept
    _check_shared(context, found, report["manifest"])
    context.static = found
    if context.target != context.before:
        _show(context, found)
    counted = re.findall(r"^(\d+) static files?", output, re.MULTILINE)
    return (f"{counted[-1]} files" if counted else "done") + (f", {len(kept)} kept" if kept else "")


def publish(context: Context) -> None:
    """Make the collection visible where it is not yet; part of the switch, before ``current`` moves.

    Raises:
        DeploymentError: it cannot be made so.
    """
    found = context.static
    if found is None:
        return
    if context.target == context.before:
        _show(context, found)
    if found.shared:
        _share(context, "add" if context.fallback else "replace", str(found.link), found.shared)


def publish_outer(context: Context) -> None:
    """Make ``ROOT/NAME`` a link to ``current/static``; right after ``current`` moved."""
    found = context.static
    if found is None or not found.outer or os.path.islink(found.outer):
        return
    try:
        if os.path.isdir(found.outer):
            os.rmdir(found.outer)
        durable.point(found.outer, f"current/{found.link.name}")
    except OSError as error:
        why = f"cannot become a link to current/{found.link.name} ({error.strerror})"
        raise DeploymentError(found.outer, why, "Make that link by hand") from error


def withdraw(context: Context) -> None:
    """Show again what was shown before; part of going back."""
    found = context.static
    if found is not None and context.target == context.before and found.before:
        durable.point(str(found.link), found.before)


def settle(context: Context) -> None:
    """Finish once the release is proven: remove what it replaced, and replace what is shared.

    Raises:
        DeploymentError: the shared folder cannot be written.
    """
    found = context.static
    record = found.record if found else read(context.release)
    if found is not None and found.before:
        removal.remove_tree(str(context.release / found.before))
    shared = str(record.get("shared") or "")
    if shared and (context.release / str(record.get("link"))).is_dir():
        _share(context, "replace", str(context.release / str(record["link"])), shared)


def read(release: Path) -> Dict[str, Any]:
    """Return what was recorded of the static files of a release, nothing when nothing was."""
    try:
        document = strict_json.bounded_json(durable.read_file(str(release / RECORD), _MOST_RECORD))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise DeploymentError(release / RECORD, f"cannot be read ({error})", "Deploy that release again") from None
    if not isinstance(document, dict) or not _is_record(document):
        raise DeploymentError(release / RECORD, "is not a record of static files", "Deploy that release again")
    return document


def _is_record(document: Dict[str, Any]) -> bool:
    kept = document.get("kept", {})
    texts = [document.get(key, "") for key in ("link", "inner", "shared")]
    times = kept.values() if isinstance(kept, dict) else [None]
    return all(isinstance(text, str) for text in texts) and all(type(one) in (int, float) for one in times)


def _name(context: Context) -> str:
    manifest = context.manifest()
    return "collected" if manifest is not None and manifest.project.startswith("static") else "static"


def _make(context: Context, fresh: Path) -> None:
    """Make an empty folder that the site's user can write to."""
    user = context.user()
    try:
        if os.path.lexists(str(fresh)):
            removal.remove_tree(str(fresh))
        fresh.mkdir(mode=0o755)
        os.chmod(str(fresh), 0o755)
        if user is not None and os.geteuid() == 0:
            os.chown(str(fresh), user.uid, user.gid)
    except OSError as error:
        raise DeploymentError(
            fresh, f"cannot be made ({error.strerror})", "Check disk space and permissions"
        ) from error


def _run(context: Context, fresh: Path) -> str:
    site = context.site()
    manage = context.release / site.manage if site and site.manage else None
    script = str(manage) if manage is not None and manage.is_file() else ""
    words = ["run", program("overlay"), str(fresh), script, "collectstatic", "--noinput"]
    return context.commands().python("collectstatic", ["-c", program("collect"), *words])


def _report(fresh: Path) -> Optional[Dict[str, Any]]:
    """Take the report of the command out of the folder; None when it wrote none: it was not Django's."""
    path = fresh / REPORT
    try:
        descriptor = os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            document = json.loads(file.read(_MOST_REPORT))
        os.unlink(str(path))
        return {
            "static_root": str(document["static_root"]),
            "manifest": str(document["manifest"]),
            "local": document["local"] is True,
            "elsewhere": str(document.get("elsewhere", "")),
            "media_root": str(document.get("media_root", "")),
        }
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DeploymentError(path, f"cannot be read ({type(error).__name__})", "Deploy again") from None


def _settled(context: Context, found: Collection, report: Dict[str, Any]) -> Collection:
    """Return *found* with what becomes of the project's own STATIC_ROOT."""
    record: Dict[str, Any] = {"link": found.link.name, "inner": "", "shared": "", "kept": {}}
    text = str(report["static_root"])
    if not text:
        return found._replace(record=record)
    path = os.path.normpath(os.path.join(str(context.release), text))
    inner, below = context.root.inside(path, context.release), inside(path, context.root.path)
    if inner == "":
        raise _refused(path, context, "is the release itself")
    if inner is not None:
        links.check_inner("STATIC_ROOT", inner, f"{context.root.path}/static")
        return found._replace(record=dict(record, inner="" if inner == found.link.name else inner))
    if _leads_to(path, context.root.path, f"current/{found.link.name}"):
        return found._replace(record=record)
    _check_outside(path, context, below)
    if below is not None and "/" not in below and below != "shared" and _is_free(path):
        return found._replace(outer=path, record=record)
    return found._replace(shared=path, record=dict(record, shared=path))


def _leads_to(path: str, root: Path, wanted: str) -> bool:
    """Tell whether *path* is a link, or a link to a link, to *wanted*, a path below *root*."""
    for _ in range(_MOST_LINKS):
        if not os.path.islink(path):
            return False
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        if inside(path, root) == wanted:
            return True
    return False


def _check_outside(path: str, context: Context, below: Optional[str]) -> None:
    """Refuse a STATIC_ROOT in which collected files would become part of a release or of what the root keeps.

    Raises:
        DeploymentError: it is the root itself, a link to a part of it, or below ``releases`` or the state directory.
    """
    kept = [context.root.releases, context.root.state]
    if below == "":
        raise _refused(path, context, "is the root of the site")
    if any(inside(os.path.realpath(path), folder) is not None for folder in kept):
        raise _refused(path, context, "leads to another release or to the records of the root")


def _refused(path: str, context: Context, why: str) -> DeploymentError:
    fix = f"Let the settings name another folder, {context.root.path}/static for instance"
    return DeploymentError(f"STATIC_ROOT {path}", why, fix)


def _is_free(path: str) -> bool:
    try:
        return not os.listdir(path) and not os.path.ismount(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _keep(context: Context, found: Collection, fresh: Path) -> Dict[str, float]:
    """Take over hashed names that the live release has and the new one lacks; return when each was last needed."""
    if context.fallback is None or context.settings.keep_static <= 0:
        return {}
    live = context.root.folder(context.fallback)
    try:
        known = read(live)
    except DeploymentError as error:  # nothing in the live release may prevent that it is replaced
        context.console.warn(f"{error.what} {error.why}: the names kept there are kept as if they were new")
        known = {}
    old = live / str(known.get("link") or found.link.name)
    if not old.is_dir():
        return {}
    now = time.time()
    earlier: Dict[str, float] = known.get("kept") or {}
    there = set(_names(fresh))
    kept: Dict[str, float] = {}
    for name in _names(old):
        last = float(earlier.get(name, now))
        if name not in there and _is_hashed(name) and now - last <= context.settings.keep_static * _DAY:
            kept[name] = last
    if kept:
        plan = context.release / layout.DEPLOY / "static.new.json"
        durable.replace_file(str(plan), json.dumps({"kept": kept}).encode(), 0o644)
        words = ["keep", str(plan), os.path.realpath(str(old)), str(fresh)]
        context.commands().python("collectstatic", ["-c", program("collect"), *words])
        plan.unlink()
    return kept


def _is_hashed(name: str) -> bool:
    base = name.rpartition("/")[2]
    plain = base[: -len(".gz")] if base.endswith((".gz", ".br")) else base
    return bool(_HASHED.search(plain)) and not (base.startswith("staticfiles") and plain.endswith(".json"))


def _names(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(str(folder.resolve())):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), str(folder.resolve()))


def _check_shared(context: Context, found: Collection, manifest: str) -> None:
    """Refuse a folder in which this release's manifest would take the place of the live one's."""
    if not found.shared or context.fallback is None or not os.path.isdir(found.shared):
        return
    fresh = str(context.release / found.folder)
    if manifest and _share(context, "look", fresh, found.shared, manifest)["manifest"]:
        why = f"STATIC_ROOT {found.shared} is shared by releases, and its {manifest} would change under the live one"
        fix = f"Put a link to {context.root.current}/{found.link.name} in its place, or unset it in environment.json"
        raise DeploymentError("collectstatic", why, fix)


def _share(context: Context, mode: str, source: str, target: str, manifest: str = "") -> Dict[str, int]:
    words = [mode, source, target, manifest]
    output = context.commands().python("collectstatic", ["-c", program("collect"), *words])
    counted: Dict[str, int] = json.loads(output.strip().splitlines()[-1])
    return counted


def _show(context: Context, found: Collection) -> None:
    """Let the links lead to the collection, with every file of it on the disk."""
    fresh = context.release / found.folder
    try:
        durable.sync_file_system(str(fresh))
        _link_inner(context, found)
        durable.replace_file(str(context.release / RECORD), _json(found.record), 0o644)
        durable.point(str(found.link), found.folder)
    except OSError as error:
        raise DeploymentError(
            found.link, f"cannot be linked ({error.strerror})", "Check disk space and permissions"
        ) from error


def _link_inner(context: Context, found: Collection) -> None:
    inner = str(found.record["inner"])
    if not inner:
        return
    place = context.release / inner
    if place.is_dir() and not place.is_symlink() and os.listdir(str(place)):
        # Files of the artifact are there, or a link cannot be: what was collected is added to them.
        _share(context, "replace", str(context.release / found.folder), str(place))
        return
    links.place_inner_link(context.release, inner, found.link.name)
    links.record_links(context.release, [*context.linked_paths(), inner])


def _json(document: Dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"
