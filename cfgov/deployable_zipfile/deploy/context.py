"""What the steps of one deployment or rollback share."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ..artifact import layout, manifest_reader, manifests
from ..console import Console
from ..errors import DeploymentError
from ..process import Person
from . import health, links, provision, restart, selection, signing
from .commands import Commands, Log, person
from .lock import Lock
from .options import Options
from .redaction import Secrets
from .releases import Root, build_id_of
from .site import Site, site_of


class Context:
    """One deployment or rollback under way: where it works, its options, and what it found."""

    def __init__(
        self, root: Root, target: str, options: Options, console: Console, lock: Optional[Lock] = None
    ) -> None:
        self.root = root
        self.target = target
        self.release = root.folder(target)
        self.options = options
        self.settings = options.settings
        self.console = console
        self.lock = lock
        self.before = root.target()
        self.known = selection.folded(root)
        self.fallback = self._fallback()
        self.variables: Optional[Dict[str, str]] = None
        self.variables_before = None if self.fallback is None else _environment_of(root, self.fallback)
        self.config_changed = False
        self.static: Any = None  # of the module static, that knows this one
        self.checked = signing.Checked()

    def write(self, event: str, **details: Any) -> None:
        """Add one record of the release to the journal."""
        self.root.journal.append(event, self.target, **details)

    def commands(self) -> Commands:
        """Return what runs commands of the release."""
        site = self.site()
        return Commands(
            release=self.release,
            manage=site.manage if site else "",
            log=self.log(),
            timeout=self.settings.step_timeout,
            run_as=self.user(),
            note=self.lock.note if self.lock else lambda _: None,
            variables=site.variables() if site else None,
        )

    def user(self) -> Optional[Person]:
        """Return whom commands of the release run as, None: this process's user."""
        return person(self.settings.run_as) if self.settings.run_as else None

    def secrets(self) -> Secrets:
        """Return what hides the values of the environment, of the new one and of the one before."""
        return Secrets({**(self.variables_before or {}), **(self.variables or {})})

    def log(self) -> Log:
        """Return the log of the release's commands."""
        return Log(self.root.logs / f"{self.release.name}.log", self.secrets())

    def run(self, words: Sequence[str], timeout: float) -> str:
        """Run one of the operator's own commands, logged like those of the release.

        Raises:
            CommandError: it failed.
        """
        return self.log().run(f"restart {words[0]}", words, timeout, env=restart.environment())

    def manifest(self) -> Optional[manifests.Manifest]:
        """Return the release's manifest, None of a folder that was made by hand before the first deployment."""
        try:
            return manifest_reader.read((self.release / layout.MANIFEST).read_bytes())
        except FileNotFoundError:
            return None

    def site(self) -> Optional[Site]:
        """Return how the release is run, None of a folder that was made by hand.

        Raises:
            DeploymentError: nothing says how.
        """
        manifest = self.manifest()
        if manifest is None:
            return None
        settings = self.settings
        return site_of(manifest, self.release, self.variables, settings.wsgi_module, settings.asgi_module)

    def wsgi_script(self) -> str:
        """Return the WSGI script's path in the release, "" when it is not known."""
        if self.settings.wsgi_script:
            return str(self.settings.wsgi_script)
        manifest, site = self.manifest(), self.site()
        if manifest is None or site is None or not site.script:
            return ""
        below = manifest.site.path if manifest.site else ""
        choices = [f"{manifest.project}/{site.script}", f"{manifest.project}/{below}/{site.script}"]
        return next((one for one in choices if (self.release / one).is_file()), choices[0])

    def without(self, step: str) -> str:
        """Return why a step of Django does not apply, "" when it does."""
        site = self.site()
        return "skipped: the release has no manifest" if site is None else site.without(step)

    def owners(self) -> provision.Ownership:
        """Return who owns what the host adds."""
        return provision.ownership(self.settings.owner or None, self.settings.group or None)

    def linked_paths(self) -> List[str]:
        """Return the paths in the release at which links are made."""
        shared = [links.parse_shared(text).path for text in self.settings.shared]
        return shared + [links.parse_link(text).path for text in self.settings.links]

    def strategy(self) -> restart.Strategy:
        """Return how the server takes up a release."""
        first = self.before is None and self.settings.first_restart
        return restart.parse(first or self.settings.restart, self.settings.httpd_pid_file or None, self.run)

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


def _environment_of(root: Root, target: str) -> Optional[Dict[str, str]]:
    """Return the environment of a release that is to be left; a bad file of it does not prevent that."""
    try:
        return provision.environment_of(root.folder(target))
    except DeploymentError:
        return None
