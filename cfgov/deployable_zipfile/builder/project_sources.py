"""The Python files of a project by module name, and what their syntax trees say of how it is run."""

from __future__ import annotations

import ast
import os
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..artifact import manifests

_VARIABLE = "DJANGO_SETTINGS_MODULE"
_NAMES = ("application", "app")  # of a callable, as WSGI and ASGI servers look for them
# Constructors of the well-known frameworks.
_WSGI_MADE_BY = frozenset(
    ["Flask", "Bottle", "default_app", "get_wsgi_application", "make_wsgi_app", "API", "App", "Eve", "APIFlask", "web"]
)
_ASGI_MADE_BY = frozenset(["Starlette", "FastAPI", "Quart", "Litestar", "Sanic", "BlackSheep", "Connexion", "AsyncApp"])
_FACTORIES = frozenset(["create_app", "make_app", "create_application", "get_app", "build_app", "app_factory"])
_TOPMOST = ("wsgi.py", "asgi.py", "app.py", "main.py", "application.py", "server.py", "__init__.py")


class Sources:
    """The project's Python files, found by module name.

    Parameters:
        files: path on disk of each packed file, by its path relative to the project's folder.
        roots: folders, relative to the project's, that modules are imported from.
    """

    def __init__(self, files: Mapping[str, str], roots: Sequence[str]) -> None:
        self.files = files
        self._roots = roots
        self._trees: Dict[str, Optional[ast.Module]] = {}

    def find(self, module: str) -> str:
        """Return the packed file of *module*, "" when it is not the project's."""
        base = module.replace(".", "/")
        for root in self._roots:
            for tail in (".py", "/__init__.py"):
                name = os.path.join(root, base + tail)
                if name in self.files:
                    return name
        return ""

    def word(self, module: str, name: str, seen: Tuple[str, ...] = ()) -> str:
        """Return the text that *module*, or what it imports with ``*``, assigns to *name*, as MODULE:CALLABLE."""
        file = self.find(module) if module else ""
        tree = self._tree(file) if file and file not in seen else None
        if tree is None:
            return ""
        texts = [text for text in _assigned(tree, name) if "." in text]
        if texts:
            text = ":".join(texts[-1].rpartition(".")[::2])
            return text if manifests.is_callable(text) and not self._is_gone(text) else ""
        for node in reversed(list(ast.walk(tree))):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                found = self.word(_imported(node, module, file), name, (*seen, file))
                if found:
                    return found
        return ""

    def _is_gone(self, place: str) -> bool:
        """Tell whether the module of a callable is not there, in a package of the project that is."""
        module = place.partition(":")[0]
        package = module.rpartition(".")[0]
        return bool(package and self.find(package) and not self.find(module))

    def beside(self, settings: str, other: str, kind: str) -> str:
        """Return the callable of ``wsgi.py`` or ``asgi.py`` (*kind*) beside the other one or the settings."""
        packages = [other.partition(":")[0].rpartition(".")[0]] if other else []
        while settings:
            settings = settings.rpartition(".")[0]
            packages.append(settings)
        for package in packages:
            module = f"{package}.{kind}" if package else kind
            name = _callable(self._tree(self.find(module)))
            if name:
                return f"{module}:{name}"
        return ""

    def settings_in(self, place: str) -> str:
        """Return the last settings module that the module of the callable *place* names."""
        file = self.find(place.partition(":")[0]) if place else ""
        return self.settings_of(self.files[file]) if file else ""

    def settings_of(self, path: str) -> str:
        """Return the last settings module that the file *path* names."""
        tree = _parsed(path)
        found = [text for text in (_words(tree, _VARIABLE) if tree else []) if manifests.is_module(text)]
        return found[-1] if found else ""

    def topmost(self) -> Tuple[str, str]:
        """Return the WSGI and the ASGI callable of a project without Django, from its topmost modules."""
        names = [name for name in self.files if os.path.basename(name) in _TOPMOST]
        names.sort(key=lambda name: (name.count("/"), _TOPMOST.index(os.path.basename(name)), name))
        for name in names:
            tree = self._tree(name)
            found = _callable(tree)
            module = self._module(name)
            if not found or not module or tree is None:
                continue
            place = f"{module}:{found}"
            return ("", place) if _is_asgi(tree, found, os.path.basename(name)) else (place, "")
        return "", ""

    def factory(self) -> str:
        """Return the topmost module's function that makes a callable, as MODULE:FUNCTION."""
        for name in sorted((name for name in self.files if name.endswith(".py")), key=lambda n: (n.count("/"), n)):
            tree, module = self._tree(name), self._module(name)
            defined = [one for node in (tree.body if tree else []) for one in _defined(node)]
            for function in defined if module else []:
                if function in _FACTORIES:
                    return f"{module}:{function}"
        return ""

    def topmost_above(self, folder: str) -> str:
        """Return the file outside *folder* that has a WSGI or ASGI callable, as :meth:`topmost` looks for it."""
        outside = Sources({name: path for name, path in self.files.items() if not name.startswith(f"{folder}/")}, [""])
        wsgi, asgi = outside.topmost()
        return outside.find((wsgi or asgi).partition(":")[0])

    def needs(self, name: str, folder: str) -> bool:
        """Tell whether the file *name* imports a module that is in *folder* and not among the topmost ones."""
        tree = self._tree(name)
        modules = [one for node in ast.walk(tree) for one in _imports(node)] if tree else []
        tops = {module.partition(".")[0] for module in modules}
        inner = Sources(self.files, [folder])
        return any(inner.find(top) and not self.find(top) for top in tops)

    def is_factory(self, place: str, kind: str) -> bool:
        """Tell whether *place* is a function that cannot be called as WSGI or ASGI (*kind*) prescribes."""
        module, _, name = place.partition(":")
        tree = self._tree(self.find(module))
        for node in reversed(tree.body) if tree else ():
            if any(isinstance(one, ast.Name) and one.id == name and _is_bound(one) for one in ast.walk(node)):
                return False  # it may be anything by then
            if isinstance(node, ast.FunctionDef) and node.name == name:
                most = len(node.args.args) + len(getattr(node.args, "posonlyargs", []))
                takes = (2,) if kind == "wsgi" else (1, 3)  # the one of ASGI 2 is the scope
                is_open = bool(node.args.vararg or node.decorator_list)
                return not is_open and not any(most - len(node.args.defaults) <= number <= most for number in takes)
        return False

    def _module(self, name: str) -> str:
        for root in self._roots:
            inner = os.path.relpath(name, root) if root else name
            module = inner[: -len(".py")].replace("/", ".")
            module = module[: -len(".__init__")] if module.endswith(".__init__") else module
            if not inner.startswith(os.pardir) and manifests.is_module(module) and module != "__init__":
                return module
        return ""

    def _tree(self, name: str) -> Optional[ast.Module]:
        if name not in self._trees:
            self._trees[name] = _parsed(self.files[name]) if name else None
        return self._trees[name]


def _is_bound(name: ast.Name) -> bool:
    return isinstance(name.ctx, (ast.Store, ast.Del))


def _parsed(path: str) -> Optional[ast.Module]:
    """Return the syntax tree of *path*; None when this Python cannot parse it."""
    try:
        with open(path, "rb") as file:
            return ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def is_of_django(path: str) -> bool:
    """Say whether the file *path* names a settings module of Django, or Django itself."""
    tree = _parsed(path)
    if tree is not None and any(_words(tree, _VARIABLE)):
        return True
    with open(path, "rb") as file:
        return b"django" in file.read()


def _words(tree: ast.AST, variable: str) -> Iterator[str]:
    """Yield the texts that *tree* gives to an environment variable: ``setdefault(variable, TEXT)`` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and any(_text(argument) == variable for argument in node.args):
            later = [keyword.value for keyword in node.keywords if keyword.arg == "default"]
            for text in map(_text, [*node.args[1:], *later]):
                if text:
                    yield text
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            key = getattr(key, "value", key) if key.__class__.__name__ == "Index" else key  # before Python 3.9
            text = _text(node.value)
            if _text(key) == variable and text:
                yield text


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _assigned(tree: ast.AST, name: str) -> List[str]:
    """Return the texts that *tree* assigns to *name*, in classes too (django-configurations)."""
    found = []
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) and node.value is not None else targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found.append(_text(node.value))  # type: ignore[attr-defined]
    return found


def _imported(node: ast.ImportFrom, module: str, file: str) -> str:
    """Return the absolute name of the module that *node*, in *module*, imports from."""
    if not node.level:
        return node.module or ""
    package = module if file.endswith("/__init__.py") else module.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _imports(node: ast.AST) -> List[str]:
    """Return the modules that *node* imports by their whole names."""
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module and not node.level else []
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _callable(tree: Optional[ast.Module]) -> str:
    """Return "application" or "app" when the module defines one of them at its top level."""
    defined = {name for node in (tree.body if tree else []) for name in _defined(node)}
    return next((name for name in _NAMES if name in defined), "")


def _defined(node: ast.stmt) -> List[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return [node.target.id]
    if isinstance(node, (ast.If, ast.Try)):
        inner = [*node.body, *node.orelse, *getattr(node, "finalbody", [])]
        return [name for one in inner for name in _defined(one)]
    return []


def _is_asgi(tree: ast.Module, name: str, file: str) -> bool:
    """Say whether the callable *name* is one of ASGI: by its maker, its parameters, or the file's name."""
    made_by = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == name:
            return True
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return len(node.args.args) not in (0, 2)
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Call) and name in _defined(node):  # type: ignore[arg-type]
            function = value.func
            made_by = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if made_by in _ASGI_MADE_BY or made_by in _WSGI_MADE_BY:
        return made_by in _ASGI_MADE_BY
    return file == "asgi.py" or _imports_asgi(tree)


def _imports_asgi(tree: ast.Module) -> bool:
    modules = [module for node in ast.walk(tree) for module in _imports(node)]
    known = ("starlette", "fastapi", "quart", "litestar", "sanic", "blacksheep", "falcon.asgi")
    return any(module == name or module.startswith(f"{name}.") for module in modules for name in known)
