"""Which environment variables and Django settings a project's packed sources read and set: by their syntax trees.

Nothing is imported or run. What is found are names that stand in the text: as a literal, as a constant of the module,
or given to a function of the project that reads the environment by its parameter (``environment.text("NAME")``).
"""

from __future__ import annotations

import ast
import re
import warnings
from typing import Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from .. import durable
from ..artifact import layout
from .sides import MAX_SOURCE, Side

_SETTING = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_SETTINGS_FILE = re.compile(r"(?:.*/)?(?:settings/(?:[^/]+/)*[^/]+|[^/]*settings[^/]*)\.py\Z")
_ENVIRON = ("os.environ", "os.environb")
_GETTERS = frozenset(
    f"{owner}.{name}" for owner in _ENVIRON for name in ("get", "pop", "setdefault", "__getitem__")
) | {"os.getenv", "os.getenvb", "decouple.config"}
# Objects that are called, or whose methods are, with the name of a variable: django-environ, environs, decouple.
_READERS = frozenset(["environ.Env", "environ.FileAwareEnv", "environs.Env", "decouple.AutoConfig", "decouple.Config"])
_NO_READS = frozenset(["read_env", "read_envfile", "parse_value", "prefixed", "add_parser", "parser_for", "seal"])
_DEFAULTS = {"db": "DATABASE_URL", "db_url": "DATABASE_URL", "cache": "CACHE_URL", "email": "EMAIL_URL"}
_DATABASE_URL = ("dj_database_url.config", "env", "DATABASE_URL")
_DJANGO = "django.conf.settings"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BRANCHES = (ast.stmt, ast.Tuple, ast.List, ast.Starred, ast.ExceptHandler, ast.withitem)
_LONGEST = 20  # parts of a dotted name
_DEEPEST = 8  # modules or functions that a name is followed through


class Wrapper(NamedTuple):
    """A function that reads the environment by one of its parameters."""

    position: int  # of the parameter
    keyword: str  # its name


class Found(NamedTuple):
    """Names by the file that they stand in first."""

    environment: Dict[str, str]
    read: Dict[str, str]  # settings that are read
    assigned: Dict[str, str]  # settings that settings modules assign
    unread: Tuple[str, ...]  # files that are no Python which this interpreter knows


def compared(old: Side, new: Side) -> Tuple[Found, Found]:
    """Return the names whose presence can differ between *old* and *new*, on each side.

    Files that are the same on both sides are searched for nothing but the names that the others differ in.
    """
    changed = [name for name in sorted({*old.files, *new.files}) if old.files.get(name) != new.files.get(name)]
    before, after = Project(old), Project(new)
    sides = [project.found(name for name in changed if name in project.python) for project in (before, after)]
    same = sorted(set(after.python).difference(changed))
    doubtful = {
        kind: {*getattr(sides[0], kind)} ^ {*getattr(sides[1], kind)} for kind in ("environment", "read")
    }  # fmt: skip
    elsewhere = after.searched(same, doubtful["environment"] | doubtful["read"])
    return _without(sides[0], elsewhere, before), _without(sides[1], elsewhere, after)


def of_files(project: str, site: layout.Site, files: Dict[str, str]) -> Found:
    """Return what the files of a project that is not packed yet read and set; *files*: path by name."""
    names = {f"{project}/{name}": path for name, path in files.items()}
    found = Project(_Folder(project, site, names))
    return found.found(sorted(found.python))._replace(assigned=found.assigned())


class _Folder(Side):
    """A project that is not packed yet."""

    size = None

    def __init__(self, project: str, site: layout.Site, paths: Dict[str, str]) -> None:
        self.path, self._paths = "", paths
        source = layout.Source("", False, 0)
        self.manifest = layout.Manifest("", project, "", source, (), {}, (), (), site)
        self.files = {name: layout.Member(0, 0o644, "") for name in paths}

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
        self._modules: Dict[str, Optional[_Module]] = {}
        self._unread: Set[str] = set()

    def found(self, names: Iterable[str]) -> Found:
        """Return what the files *names* read."""
        environment: Dict[str, str] = {}
        read: Dict[str, str] = {}
        for name in names:
            module = self.module(name)
            if module is not None:
                for key in _environment(module, self):
                    environment.setdefault(key, name)
                for key in _settings_read(module):
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
                for key in _assigned(module.tree.body):
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

    def module(self, name: str) -> Optional["_Module"]:
        """Return the file *name* parsed, None when it cannot be."""
        if name not in self._modules:
            self._modules[name] = None
            text = self._side.source(name)
            tree = _parsed(text) if text is not None else None
            if tree is None:
                self._unread.add(name)
            else:
                base = next(base for base in self._bases if name.startswith(base))
                self._modules[name] = _Module(tree, name[len(base) :])
        return self._modules[name]

    def owner(self, dotted: str) -> Tuple[Optional["_Module"], str]:
        """Return the project's module that the name *dotted* is in, and what it is called there."""
        for _ in range(_DEEPEST):
            module_name, _, name = dotted.rpartition(".")
            file = self.file_of(module_name)
            module = self.module(file) if file else None
            if module is None:
                return None, ""
            if name not in module.aliases:
                return module, name
            dotted = module.aliases[name]
        return None, ""


class _Module:
    """One parsed file.

    Attributes:
        aliases: what imported names stand for, dotted.
        stars: modules from which everything is imported.
        constants: names that stand for texts.
        readers: names of objects that read the environment.
    """

    def __init__(self, tree: ast.Module, path: str) -> None:
        self.tree = tree
        parts = path[: -len(".py")].split("/")
        self._package = parts[:-1]
        self.aliases: Dict[str, str] = {}
        self.stars: List[str] = []
        self.constants: Dict[str, Set[str]] = {}
        self.readers: Set[str] = set()
        self._wrappers: Optional[Dict[str, Wrapper]] = None
        self.nodes = list(ast.walk(tree))
        for node in self.nodes:
            self._look_at_import(node)
        for node in self.nodes:
            self._look_at_binding(node)

    def _look_at_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            above = len(self._package) - (node.level - 1)
            base = self._package[: max(above, 0)] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                if alias.name == "*":
                    self.stars.append(module)
                else:
                    self.aliases[alias.asname or alias.name] = f"{module}.{alias.name}" if module else alias.name

    def _look_at_binding(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind(node.target, node.value)
        elif isinstance(node, (ast.For, ast.comprehension)):
            self._bind_each(node.target, node.iter)

    def _bind_each(self, target: ast.AST, values: ast.AST) -> None:
        if isinstance(target, ast.Name) and isinstance(values, (ast.Tuple, ast.List, ast.Set)):
            texts = {text for item in values.elts for text in self.texts(item)}
            self.constants.setdefault(target.id, set()).update(texts)

    def _bind(self, target: ast.AST, value: ast.AST) -> None:
        if not isinstance(target, ast.Name):
            return
        self.constants.setdefault(target.id, set()).update(self.texts(value))
        dotted = self.dotted(value)
        if dotted.startswith(("os.", "decouple.")) or dotted == _DJANGO:
            self.aliases.setdefault(target.id, dotted)
        if isinstance(value, ast.Call) and self.dotted(value.func) in _READERS:
            self.readers.add(target.id)

    def dotted(self, node: ast.AST) -> str:
        """Return the dotted name that the expression *node* spells, "" when it is none."""
        parts: List[str] = []
        while isinstance(node, ast.Attribute) and len(parts) < _LONGEST:
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.aliases.get(node.id, node.id), *reversed(parts)])

    def texts(self, node: Optional[ast.AST]) -> FrozenSet[str]:
        """Return the texts that the expression *node* can stand for."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            value = node.value
            return frozenset([value if isinstance(value, str) else value.decode("utf-8", "replace")])
        if isinstance(node, ast.Name):
            return frozenset(self.constants.get(node.id, ()))
        return frozenset()

    def wrappers(self, project: Project) -> Dict[str, Wrapper]:
        """Return the functions of this module that read the environment by a parameter."""
        if self._wrappers is None:
            self._wrappers = {}
            functions = list(self._functions())
            for _ in range(_DEEPEST):  # one may call another
                before = len(self._wrappers)
                for name, arguments, body in functions:
                    wrapper = None if name in self._wrappers else self._wrapper(arguments, body, project)
                    if wrapper is not None:
                        self._wrappers[name] = wrapper
                if len(self._wrappers) == before:
                    break
        return self._wrappers

    def _functions(self) -> Iterator[Tuple[str, ast.arguments, ast.AST]]:
        for node in self.nodes:
            if isinstance(node, _FUNCTIONS):
                yield node.name, node.args, node
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        yield target.id, node.value.args, node.value

    def _wrapper(self, arguments: ast.arguments, body: ast.AST, project: Project) -> Optional[Wrapper]:
        positional = [*getattr(arguments, "posonlyargs", ()), *arguments.args]
        names = [argument.arg for argument in positional]
        own = [name for name in names if name not in ("self", "cls")]
        for node in ast.walk(body):
            for key in _keys(node, self, project):
                if isinstance(key, ast.Name) and key.id in [*names, *(one.arg for one in arguments.kwonlyargs)]:
                    return Wrapper(own.index(key.id) if key.id in own else -1, key.id)
        return None


def _keys(node: ast.AST, module: _Module, project: Project) -> Iterator[ast.AST]:
    """Yield the expressions by which *node* itself reads the environment."""
    if isinstance(node, ast.Subscript):
        if isinstance(node.ctx, ast.Load) and module.dotted(node.value) in _ENVIRON:
            # Before Python 3.9 the tree has an Index in between.
            inner: ast.AST = node.slice
            yield getattr(inner, "value") if type(inner).__name__ == "Index" else inner  # noqa: B009
    elif isinstance(node, ast.Compare):
        if isinstance(node.ops[0], (ast.In, ast.NotIn)) and module.dotted(node.comparators[0]) in _ENVIRON:
            yield node.left
    elif isinstance(node, ast.Call):
        yield from _keys_of_call(node, module, project)


def _keys_of_call(node: ast.Call, module: _Module, project: Project) -> Iterator[ast.AST]:
    dotted = module.dotted(node.func)
    if not dotted:
        return
    if dotted in _GETTERS:
        yield from _argument(node, 0, "key")
        return
    if dotted == _DATABASE_URL[0]:
        found = list(_argument(node, 0, _DATABASE_URL[1]))
        yield from found or [ast.Constant(value=_DATABASE_URL[2], kind=None)]
        return
    method = _method_of_reader(node, dotted, module, project)
    if method is not None:
        if method not in _NO_READS:
            found = list(_argument(node, 0, "var"))
            yield from found or ([ast.Constant(value=_DEFAULTS[method], kind=None)] if method in _DEFAULTS else [])
        return
    wrapper = _wrapper_of(dotted, module, project) if node.args or node.keywords else None
    if wrapper is not None:
        yield from _argument(node, wrapper.position, wrapper.keyword)


def _argument(node: ast.Call, position: int, keyword: str) -> Iterator[ast.AST]:
    if 0 <= position < len(node.args):
        yield node.args[position]
        return
    for given in node.keywords:
        if given.arg == keyword:
            yield given.value


def _method_of_reader(node: ast.Call, dotted: str, module: _Module, project: Project) -> Optional[str]:
    """Return the method of an ``Env`` that is called, "" when it is called itself, None when it is no ``Env``."""
    if isinstance(node.func, ast.Name) and node.func.id in module.readers:
        return ""
    inner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if isinstance(inner, ast.Name) and inner.id in module.readers:
        return dotted.rpartition(".")[2]
    owner, name = project.owner(dotted)
    if owner is not None and name in owner.readers:
        return ""
    head, _, method = dotted.rpartition(".")
    owner, name = project.owner(head)
    return method if owner is not None and name in owner.readers else None


def _wrapper_of(dotted: str, module: _Module, project: Project) -> Optional[Wrapper]:
    owner, name = project.owner(dotted)
    if owner is None:
        # A function of the module itself, also called as a method.
        name = dotted.rpartition(".")[2] if dotted.startswith(("self.", "cls.")) else dotted
        return module.wrappers(project).get(name)
    return owner.wrappers(project).get(name)


def _environment(module: _Module, project: Project) -> Set[str]:
    return {text for node in module.nodes for key in _keys(node, module, project) for text in module.texts(key)}


def _settings_read(module: _Module) -> Set[str]:
    found: Set[str] = set()
    for node in module.nodes:
        names: Iterable[str] = ()
        owner: ast.AST = node
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner, names = node.value, [node.attr]
        elif isinstance(node, ast.Call) and len(node.args) > 1 and module.dotted(node.func) in ("getattr", "hasattr"):
            owner, names = node.args[0], module.texts(node.args[1])
        if names and module.dotted(owner) == _DJANGO:
            found.update(filter(_SETTING.match, names))
    return found


def _assigned(body: List[ast.stmt]) -> Iterator[str]:
    """Yield the settings that statements assign, those in branches and in classes of settings included."""
    waiting: List[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            if _SETTING.match(node.id):
                yield node.id
        elif isinstance(node, _BRANCHES) and not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def _parsed(text: bytes) -> Optional[ast.Module]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign text's style
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_source(name: str, project: str) -> bool:
    return name.endswith(".py") and name.startswith(f"{project}/") and not name.startswith(f"{layout.STATIC}/")
