"""What the steps of one deployment or rollback share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

from ..artifact import layout
from ..console import Console
from . import health, provision, releases, restart
from .commands import Commands, Secrets, person
from .options import Options
from .releases import Root, build_id_of


class Context:
    """One deployment or rollback under way: where it works, what it was told, what it found."""

    def __init__(self, root: Root, target: str, options: Options, console: Console, lock: int) -> None:
        self.root = root
        self.target = target
        self.release = root.folder(target)
        self.options = options
        self.settings = options.settings
        self.console = console
        self.lock = lock
        self.before = root.target()
        self.known = releases.folded(root)
        self.fallback = self._fallback()
        self.variables: Optional[Dict[str, str]] = None
        self.config_changed = False

    def write(self, event: str, **details: Any) -> None:
        """Add one record of the release to the journal."""
        self.root.journal.append(event, self.target, **details)

    def commands(self) -> Commands:
        """Return what runs commands of the release."""
        return Commands(
            release=self.release,
            project=self.project(),
            secrets=Secrets(self.variables or {}),
            log=self.log(),
            timeout=self.settings.step_timeout,
            run_as=person(self.settings.run_as) if self.settings.run_as else None,
            inherited=[self.lock],
        )

    def log(self) -> Path:
        """Return the log of the release's commands."""
        return self.root.logs / f"{self.release.name}.log"

    def project(self) -> str:
        """Return the name of the project's folder."""
        return layout.Manifest.from_json((self.release / layout.MANIFEST).read_bytes()).project

    def wsgi_script(self) -> str:
        """Return the WSGI script's path in the release, "" when it is not known."""
        if self.settings.wsgi_script:
            return str(self.settings.wsgi_script)
        if not (self.release / layout.MANIFEST).is_file():
            return ""
        project = self.project()
        return f"{project}/{project}/wsgi.py"

    def owners(self) -> provision.Ownership:
        """Return who owns what the host adds."""
        return provision.ownership(self.settings.owner or None, self.settings.group or None)

    def linked_paths(self) -> List[str]:
        """Return the paths in the release at which links are made."""
        shared = [provision.parse_shared(text).path for text in self.settings.shared]
        return shared + [provision.parse_link(text).path for text in self.settings.links]

    def strategy(self) -> restart.Strategy:
        """Return how the server takes up a release."""
        first = self.before is None and self.settings.first_restart
        return restart.parse(first or self.settings.restart, self.settings.httpd_pid_file or None)

    def health_check(self) -> health.Check:
        """Return what is asked, and how."""
        headers = dict(health.parse_header(text) for text in self.settings.health_headers)
        return health.Check(self.settings.health_url, headers, self.settings.health_count, self.settings.health_timeout)

    def _fallback(self) -> Optional[str]:
        """Return the release to go back to: what is live, or what was before an unproven one."""
        current = self.before
        if current is None:
            return None
        if current in self.known.proven[-1:] or build_id_of(current) is None or current not in self.known.last:
            return current if self.root.folder(current).is_dir() else None
        for choice in self.known.previous(current):
            if self.root.folder(choice).is_dir():
                return choice
        return current if current != self.target else None
