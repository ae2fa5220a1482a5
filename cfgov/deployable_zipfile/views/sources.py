"""Which environment variables and Django settings the packed sources of a project read and set, file by file."""

from __future__ import annotations

from typing import Dict, Iterable, List, Optional, Set, Tuple

from .. import durable
from ..artifact import layout, manifests
from ..definitions import NamedTuple, expression
from . import syntax
from .sides import MAX_SOURCE, Side

_SETTINGS_FILE = expression(r"(?:.*/)?(?:settings/(?:[^/]+/)*[^/]+|[^/]*settings[^/]*)\.py\Z")


class Found(NamedTuple):
    """Names by the file in which they first appear."""

    environment: Dict[str, str]
    read: Dict[str, str]  # settings that are read
    assigned: Dict[str, str]  # settings that settings modules assign
    unread: Tuple[str, ...]  # files that are no Python which this interpreter knows


def changed_files(old: Side, new: Side) -> List[str]:
    """Return the names of the project's files that are not the same on both sides, sorted."""
    changed = [name for name, member in old.files.items() if new.files.get(name) != member]
    return sorted([*changed, *(new.files.keys() - old.files.keys())])


def compared(old: Side, new: Side, changed: List[str]) -> Tuple[Found, Found]:
    """Return the names whose presence can differ between *old* and *new*, on each side.

    Files that are the same on both sides are searched for nothing but the names that the others differ in.

    Parameters:
        changed: what :func:`changed_files` finds.
    """
    before, after = Project(old), Project(new)
    sides = [project.found(name for name in changed if name in project.python) for project in (before, after)]
    doubtful = {
        kind: {*getattr(sides[0], kind)} ^ {*getattr(sides[1], kind)} for kind in ("environment", "read")
    }  # fmt: skip
    keys = doubtful["environment"] | doubtful["read"]
    elsewhere = after.searched(sorted(set(after.python).difference(changed)) if keys else (), keys)
    return _without(sides[0], elsewhere, before), _without(sides[1], elsewhere, after)


def of_files(project: str, site: manifests.Site, files: Dict[str, str]) -> Found:
    """Return what the files of a project that is not packed yet read and set; *files*: path by name."""
    names = {f"{project}/{name}": path for name, path in files.items()}
    found = Project(_Folder(project, site, names))
    return found.found(sorted(found.python))._replace(assigned=found.assigned())


class _Folder(Side):
    """A project that is not packed yet."""

    size = None

    def __init__(self, project: str, site: manifests.Site, paths: Dict[str, str]) -> None:
        self.path, self._paths = "", paths
        source = manifests.Source("", False, 0)
        self.manifest = manifests.Manifest("", project, "", source, (), {}, (), (), site)
        self.files = {name: manifests.Member(0, 0o644, "") for name in paths}

    def source(self, name: str) -> Optional[bytes]:
        try:
            return durable.read_file(self._paths[name], MAX_SOURCE)
        except OSError:
            return None

    def _bill_text(self) -> Optional[bytes]:
        return None


def _without(found: Found, elsewhere: Found, project: "Project") -> Found:
    """Return *found* without what is in files that are the same on both sides; with the settings assigned."""
    return found._replace(
        environment={key: file for key, file in found.environment.items() if key not in elsewhere.environment},
        read={key: file for key, file in found.read.items() if key not in elsewhere.read},
        assigned=project.assigned(),
    )


class Project:
    """The Python files of one side's project, parsed when they are needed."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._project = side.manifest.project
        site = side.manifest.site
        self._settings_module = site.settings_module if site else ""
        below = f"{self._project}/{site.path}/" if site and site.path else ""
        self._bases = sorted({f"{self._project}/", below, ""}, key=len, reverse=True)
        self.python = {name: member for name, member in side.files.items() if _is_source(name, self._project)}
        self._modules: Dict[str, Optional[syntax.Module]] = {}
        self._unread: Set[str] = set()

    def found(self, names: Iterable[str]) -> Found:
        """Return what the files *names* read."""
        environment: Dict[str, str] = {}
        read: Dict[str, str] = {}
        for name in names:
            module = self.module(name)
            if module is not None:
                for key in syntax.environment(module, self):
                    environment.setdefault(key, name)
                for key in syntax.settings_read(module):
                    read.setdefault(key, name)
        return Found(environment, read, {}, tuple(sorted(self._unread)))

    def searched(self, names: Iterable[str], keys: Set[str]) -> Found:
        """Return what those of the files *names* read in whose text one of *keys* is found."""
        texts = [key.encode("utf-8", "surrogatepass") for key in sorted(keys)]
        holding = []
        for name in names if texts else ():
            text = self._side.source(name)
            if text is not None and any(key in text for key in texts):
                holding.append(name)
        return self.found(holding)

    def assigned(self) -> Dict[str, str]:
        """Return every setting that the settings modules assign."""
        found: Dict[str, str] = {}
        waiting = [name for name in sorted(self.python) if _SETTINGS_FILE.match(name)]
        waiting += filter(None, [self.file_of(self._settings_module)])
        seen: Set[str] = set()
        while waiting:
            name = waiting.pop(0)
            module = self.module(name) if name not in seen else None
            seen.add(name)
            if module is not None:
                for key in syntax.assigned(module.tree.body):
                    found.setdefault(key, name)
                waiting += filter(None, (self.file_of(dotted) for dotted in module.stars))
        return found

    def file_of(self, dotted: str) -> str:
        """Return the project's file that is the module *dotted*, "" when it is another's."""
        path = dotted.replace(".", "/")
        for base in self._bases if dotted else ():
            for name in (f"{base}{path}.py", f"{base}{path}/__init__.py"):
                if name in self.python:
                    return name
        return ""

    def module(self, name: str) -> Optional["syntax.Module"]:
        """Return the file *name* parsed, None when it cannot be."""
        if name not in self._modules:
            self._modules[name] = None
            text = self._side.source(name)
            tree = syntax.parsed(text) if text is not None else None
            if tree is None:
                self._unread.add(name)
            else:
                base = next(base for base in self._bases if name.startswith(base))
                self._modules[name] = syntax.Module(tree, name[len(base) :])
        return self._modules[name]

    def owner(self, dotted: str) -> Tuple[Optional["syntax.Module"], str]:
        """Return the project's module that the name *dotted* is in, and what it is called there."""
        for _ in range(syntax.DEEPEST):
            module_name, _, name = dotted.rpartition(".")
            file = self.file_of(module_name)
            module = self.module(file) if file else None
            if module is None:
                return None, ""
            if name not in module.aliases:
                return module, name
            dotted = module.aliases[name]
        return None, ""


def _is_source(name: str, project: str) -> bool:
    return name.endswith(".py") and name.startswith(f"{project}/") and not name.startswith(f"{layout.STATIC}/")
