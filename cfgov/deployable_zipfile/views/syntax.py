"""What one Python file reads of the environment and of Django's settings, by its syntax tree.

Nothing is imported or run. What is found are names in the text: a literal, a constant of the module, or what a function
of the project that reads the environment by its parameter is given (``environment.text("NAME")``).
"""

from __future__ import annotations

import ast
import warnings
from typing import Dict, FrozenSet, Iterable, Iterator, List, Optional, Protocol, Set, Tuple

from ..definitions import NamedTuple, expression

_SETTING = expression(r"[A-Z][A-Z0-9_]*\Z")
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
_IMPORTS = (ast.Import, ast.ImportFrom)
_BINDINGS = (ast.Assign, ast.AnnAssign, ast.For, ast.comprehension)
_READS = (ast.Subscript, ast.Compare, ast.Call)  # that can read the environment
_LONGEST = 20  # parts of a dotted name
DEEPEST = 8  # modules or functions that a name is followed through


class Project(Protocol):
    """The other files of the same project."""

    def owner(self, dotted: str) -> "Tuple[Optional[Module], str]":
        """Return the project's module that the name *dotted* is in, and what it is called there."""


class Wrapper(NamedTuple):
    """A function that reads the environment by one of its parameters."""

    position: int  # of the parameter
    keyword: str  # its name


class Module:
    """One parsed file.

    Attributes:
        aliases: what imported names stand for, dotted.
        stars: modules from which everything is imported.
        constants: names that stand for texts.
        nodes: of the tree, all of them.
        reads: those that can read the environment.
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
        self.nodes = _walked(tree)
        for node in self.nodes:
            if isinstance(node, _IMPORTS):
                self._look_at_import(node)
        for node in self.nodes:
            if isinstance(node, _BINDINGS):
                self._look_at_binding(node)
        self.reads = [node for node in self.nodes if isinstance(node, _READS)]

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
            for _ in range(DEEPEST):  # one may call another
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
        parameters = {*names, *(one.arg for one in arguments.kwonlyargs)}
        if not parameters:
            return None
        for node in _walked(body):
            if not isinstance(node, _READS):
                continue
            for key in _keys(node, self, project):
                if isinstance(key, ast.Name) and key.id in parameters:
                    return Wrapper(own.index(key.id) if key.id in own else -1, key.id)
        return None


def _walked(tree: ast.AST) -> List[ast.AST]:
    """Return what :func:`ast.walk` does but the contexts (Load, Store, ...), in its order, much faster."""
    found = [tree]
    for node in found:  # it grows
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                found.append(value)
    return found


def _keys(node: ast.AST, module: Module, project: Project) -> Iterator[ast.AST]:
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


def _keys_of_call(node: ast.Call, module: Module, project: Project) -> Iterator[ast.AST]:
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


def _method_of_reader(node: ast.Call, dotted: str, module: Module, project: Project) -> Optional[str]:
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


def _wrapper_of(dotted: str, module: Module, project: Project) -> Optional[Wrapper]:
    owner, name = project.owner(dotted)
    if owner is None:
        # A function of the module itself, also called as a method.
        name = dotted.rpartition(".")[2] if dotted.startswith(("self.", "cls.")) else dotted
        return module.wrappers(project).get(name)
    return owner.wrappers(project).get(name)


def environment(module: Module, project: Project) -> Set[str]:
    """Return the environment variables that *module* reads."""
    return {text for node in module.reads for key in _keys(node, module, project) for text in module.texts(key)}


def settings_read(module: Module) -> Set[str]:
    """Return the settings that *module* reads from ``django.conf.settings``."""
    found: Set[str] = set()
    for node in module.nodes:
        names: Iterable[str] = ()
        owner: ast.AST = node
        if isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Load) and _SETTING.match(node.attr):
                owner, names = node.value, [node.attr]
        elif isinstance(node, ast.Call) and len(node.args) > 1 and module.dotted(node.func) in ("getattr", "hasattr"):
            owner, names = node.args[0], module.texts(node.args[1])
        if names and module.dotted(owner) == _DJANGO:
            found.update(filter(_SETTING.match, names))
    return found


def assigned(body: List[ast.stmt]) -> Iterator[str]:
    """Yield the settings that statements assign, those in branches and in classes of settings included."""
    waiting: List[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            if _SETTING.match(node.id):
                yield node.id
        elif isinstance(node, _BRANCHES) and not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def parsed(text: bytes) -> Optional[ast.Module]:
    """Return the syntax tree of *text*, None when this interpreter cannot read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign text's style
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
