"""Work on collected static files that must be done as the site's user. Runs in the release's Python.

    python -c COLLECT run OVERLAY FOLDER MANAGE WORD...  run collectstatic with FOLDER in place of STATIC_ROOT
    python -c COLLECT keep PLAN OLD NEW                  take the files that PLAN names from OLD over to NEW
    python -c COLLECT look|add|replace FROM TO [NAME]    compare two folders; add or replace what differs in TO

``run`` leaves what it learned of the settings in ``FOLDER/.collected.json``.
"""

from __future__ import annotations

import atexit
import filecmp
import json
import os
import runpy
import shutil
import sys
from typing import Any, Dict, Iterator, List, Sequence

REPORT = ".collected.json"
_FOLDER_STORAGES = ("django.", "whitenoise.")  # modules whose storages are folders


def main(argv: Sequence[str]) -> None:
    """Do what the first argument says."""
    if argv[0] == "run":
        _run(argv[1], argv[2], argv[3], argv[4:])
    elif argv[0] == "keep":
        _keep(argv[1], argv[2], argv[3])
    else:
        print(json.dumps(_share(argv[0], argv[1], argv[2], argv[3] if len(argv) > 3 else "")))


def _run(overlay: str, folder: str, manage: str, words: Sequence[str]) -> None:
    namespace: Dict[str, Any] = {"__name__": "overlay"}
    exec(compile(overlay, "overlay.py", "exec"), namespace)
    before: Dict[str, Any] = {}

    def change(values: Dict[str, Any]) -> Dict[str, Any]:
        before.setdefault("static_root", str(values.get("STATIC_ROOT") or ""))
        before.setdefault("static_url", str(values.get("STATIC_URL") or ""))
        before.setdefault("media_root", _media_root(values))
        atexit.register(_report, folder, before)
        changed: Dict[str, Any] = {"STATIC_ROOT": folder}
        storages = values.get("STORAGES")
        if isinstance(storages, dict) and "staticfiles" in storages:
            entry = dict(storages["staticfiles"])
            options = dict(entry.get("OPTIONS", {}))
            place = str(options.get("location") or "")
            # "location" of a storage that we don't know may be a prefix in a bucket.
            known = str(entry.get("BACKEND")).startswith(_FOLDER_STORAGES) or place == before["static_root"]
            if place not in ("", folder) and known:
                before["static_root"] = place
                options["location"] = folder
                changed["STORAGES"] = dict(storages, staticfiles=dict(entry, OPTIONS=options))
        return changed

    namespace["install"](change)
    sys.argv = [manage or "django", *words]
    if manage:
        runpy.run_path(manage, run_name="__main__")
    else:
        runpy.run_module("django", run_name="__main__", alter_sys=True)


def _media_root(values: Dict[str, Any]) -> str:
    """Return where uploads are kept, "" when they are not in a folder of Django's own storage."""
    storages = values.get("STORAGES")
    entry = storages.get("default") if isinstance(storages, dict) else None
    backend = entry.get("BACKEND") if isinstance(entry, dict) else values.get("DEFAULT_FILE_STORAGE")
    return str(values.get("MEDIA_ROOT") or "") if str(backend or "django.").startswith("django.") else ""


def _report(folder: str, before: Dict[str, Any]) -> None:
    """Write down where the project itself has its static files, and how their storage names them."""
    module = sys.modules.get("django.contrib.staticfiles.storage")
    if module is None:
        return
    try:
        storage = module.staticfiles_storage
        location = getattr(storage, "location", None)
        manifest = getattr(storage, "manifest_name", None) if hasattr(storage, "hashed_files") else None
        found = dict(before, local=location is not None and os.path.realpath(location) == os.path.realpath(folder))
        found["manifest"] = manifest if isinstance(manifest, str) else ""
        found["elsewhere"] = "" if found["local"] or location is None else str(location)
    except Exception as error:  # the command itself has failed by the same, and said it
        found = dict(before, local=False, manifest="", error=type(error).__name__)
    with open(os.path.join(folder, REPORT), "w", encoding="utf-8") as file:
        json.dump(found, file)


def _keep(plan: str, old: str, new: str) -> None:
    with open(plan, encoding="utf-8") as file:
        names = json.load(file)["kept"]
    for name in names:
        source, target = os.path.join(old, name), os.path.join(new, name)
        if os.path.lexists(target) or os.path.islink(source) or not os.path.isfile(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # of another user, or on another file system
            shutil.copy2(source, target)


def _share(mode: str, source: str, target: str, manifest: str) -> Dict[str, int]:
    """Compare two folders; ``add`` writes what is missing, ``replace`` also what differs, each file at one instant."""
    missing: List[str] = []
    different: List[str] = []
    for name in _files(source):
        place = os.path.join(target, name)
        if not os.path.lexists(place):
            missing.append(name)
        elif os.path.islink(place) or not filecmp.cmp(os.path.join(source, name), place, shallow=False):
            different.append(name)
    for name in {"look": [], "add": missing, "replace": [*missing, *different]}[mode]:
        _write(os.path.join(source, name), os.path.join(target, name))
    return {"missing": len(missing), "different": len(different), "manifest": int(manifest in different)}


def _write(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    fresh = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:200]}.new")
    if os.path.lexists(fresh):
        os.unlink(fresh)
    shutil.copy2(source, fresh)
    with open(fresh, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(fresh, target)


def _files(folder: str) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            if os.path.isfile(os.path.join(place, name)):
                yield os.path.relpath(os.path.join(place, name), folder)


if __name__ == "__main__":
    main(sys.argv[1:])
