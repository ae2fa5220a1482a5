"""The systems that the images can be built on: ``docker/centos7/platforms.ini`` as data."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

TABLE = Path(__file__).resolve().parent.parent / "docker" / "centos7" / "platforms.ini"
DEFAULT = "centos7"

_LISTS = (
    "os_ids",
    "repository_packages",
    "base_packages",
    "builder_packages",
    "tester_packages",
    "enable_scripts",
    "httpd_enable_scripts",
)


class Platform(NamedTuple):
    """One section of the table; the comments at its top say what the fields mean."""

    name: str
    base_image: str
    os_ids: List[str]
    os_version: str
    package_manager: str
    repository_packages: List[str]
    base_packages: List[str]
    builder_packages: List[str]
    tester_packages: List[str]
    python: str
    python_version: str
    shebang: str
    glibc: str
    enable_scripts: List[str]
    httpd_enable_scripts: List[str]
    httpd_environment: str
    httpd: str
    modules_dir: str
    run_dir: str
    wsgi_module: str
    ca_bundle: str


def read(table: Path = TABLE) -> Dict[str, Platform]:
    """Return the platforms of *table* by name, in its order.

    Raises:
        ValueError: a section lacks a field or has one that is not known.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(table.read_text(encoding="utf-8"), source=str(table))
    return {name: _platform(name, dict(parser[name])) for name in parser.sections()}


def _platform(name: str, fields: Dict[str, str]) -> Platform:
    expected = set(Platform._fields) - {"name"}
    if set(fields) != expected:
        wrong = ", ".join(sorted(set(fields) ^ expected))
        raise ValueError(f"{TABLE.name}: section {name}: missing or unknown: {wrong}")
    values = {key: value.split() if key in _LISTS else value for key, value in fields.items()}
    return Platform(name=name, **values)  # type: ignore[arg-type]


def of_system(os_release: Path = Path("/etc/os-release")) -> Optional[Platform]:
    """Return the platform that the file *os_release* describes (os-release(5)), None when the table has none."""
    if not os_release.is_file():
        return None
    fields: Dict[str, str] = {}
    for line in os_release.read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            fields[name] = "".join(shlex.split(value))
    version = fields.get("VERSION_ID", "").partition(".")[0]
    fitting = (row for row in read().values() if row.os_version == version and fields.get("ID") in row.os_ids)
    return next(fitting, None)
