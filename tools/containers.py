"""What a container needs to know of this machine's network: proxies, package indexes, private certificates.

A company network is the normal case. Everything is handed over when a container starts, so nothing of it can stay in
an image or an artifact; values travel in the environment of the ``docker`` command, never on its command line.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# Settings of pip that mean the same in a container; others name files of this machine or ways to print.
INDEX_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries")
BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
BUNDLE_INSIDE = "/run/host-ca-bundle.crt"
CACHE_INSIDE = "/var/cache/cfgov-artifact"


class Settings(NamedTuple):
    """How to start a container with this machine's settings."""

    environment: Dict[str, str]  # variables for the container
    mounts: Dict[str, str]  # path on this machine -> path in the container, read-only

    def arguments(self) -> List[str]:
        """Return options for ``docker run``; the values must be in the environment of that command."""
        named = [part for name in sorted(self.environment) for part in ("--env", name)]
        return named + [part for outside, inside in self.mounts.items() for part in ("-v", f"{outside}:{inside}:ro")]


def host_settings(environ: Mapping[str, str]) -> Settings:
    """Return what a container must be given to reach the same package index as this machine.

    Args:
        environ: the environment of the caller; pip's configuration files are asked for too.
    """
    pip = pip_settings(environ)
    environment = {name: environ[name] for name in proxy_names(environ)}
    for key in INDEX_SETTINGS:
        value = " ".join(word for word in pip.get(key, "").split() if not word.startswith("file:"))
        if value:
            environment["PIP_" + key.upper().replace("-", "_")] = value
    mounts: Dict[str, str] = {}
    bundle = next((path for path in [pip.get("cert", "")] + [environ.get(name, "") for name in BUNDLES] if path), "")
    if bundle and Path(bundle).is_file():
        mounts[str(Path(bundle).resolve())] = BUNDLE_INSIDE
        environment.update(PIP_CERT=BUNDLE_INSIDE, SSL_CERT_FILE=BUNDLE_INSIDE)
    return Settings(environment, mounts)


def proxy_names(environ: Mapping[str, str]) -> List[str]:
    """Return the names of the proxy variables that are set, in both spellings."""
    return sorted(name for name in environ if name.upper() in PROXIES and environ[name])


def pip_settings(environ: Mapping[str, str]) -> Dict[str, str]:
    """Return pip's settings by their long name without dashes, from its files and then from the environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    quiet = subprocess.DEVNULL
    listed = subprocess.run(command, env=dict(environ), stdout=subprocess.PIPE, stderr=quiet, check=False)
    settings: Dict[str, str] = {}
    for line in listed.stdout.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if key and section in ("global", ":env:"):
            settings[key] = " ".join(shlex.split(value))
    return settings
