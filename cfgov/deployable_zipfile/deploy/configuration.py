"""The step *config-test*: the web server's configuration as it will be after the switch."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from pathlib import Path
from typing import Dict

from .context import Context
from .options import read_variables


def check(context: Context) -> str:
    """Test the server's configuration as it will be after the switch."""
    path = context.settings.config_path
    if path and context.fallback is not None:
        old = context.root.folder(context.fallback)
        context.config_changed = _tree_digest(old / path) != _tree_digest(context.release / path)
    if not context.settings.config_test:
        return "none"
    words = [word.replace("{release}", str(context.release)) for word in shlex.split(context.settings.config_test)]
    context.commands().command("config-test", words, _httpd_variables(context))
    return "the server's configuration is good" + (", and differs" if context.config_changed else "")


def _httpd_variables(context: Context) -> Dict[str, str]:
    """Return the web server's variables as they will be when ``current`` is this release."""
    if not context.settings.httpd_env:
        return {}
    current, release = str(context.root.current), str(context.release)
    pattern = re.compile(re.escape(current) + r"(?![^/:,; ])")
    return {
        key: pattern.sub(lambda _: release, value)
        for key, value in read_variables(Path(context.settings.httpd_env)).items()
    }


def _tree_digest(path: Path) -> str:
    """Return one digest of the names and contents of the files below *path*; "" when there is nothing."""
    digest = hashlib.sha256()
    empty = True
    for folder, folders, files in os.walk(str(path)):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            if not file.is_symlink():
                empty = False
                digest.update(f"{file.relative_to(path)}\0".encode("utf-8", "surrogateescape"))
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return "" if empty else digest.hexdigest()
