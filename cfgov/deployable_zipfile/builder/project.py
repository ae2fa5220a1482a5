"""How a project is run: settings module, WSGI and ASGI callable, ``manage.py``, in the words of the project itself.

Nothing is imported or guessed from the folder's name: ``manage.py``, ``wsgi.py`` and the settings are parsed.
What they compute at run time is not known here; a setting of the build can say it.
"""

from __future__ import annotations

import ast
import os
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..artifact import layout, manifests
from ..errors import UsageError

_VARIABLE = "DJANGO_SETTINGS_MODULE"
_NAMES = ("application", "app")  # of a callable, as WSGI and ASGI servers look for them
# Constructors of the well-known frameworks.
_WSGI_MADE_BY = frozenset(
    ["Flask", "Bottle", "default_app", "get_wsgi_application", "make_wsgi_app", "API", "App", "Eve", "APIFlask", "web"]
)
_ASGI_MADE_BY = frozenset(["Starlette", "FastAPI", "Quart", "Litestar", "Sanic", "BlackSheep", "Connexion", "AsyncApp"])
_FACTORIES = frozenset(["create_app", "make_app", "create_application", "get_app", "build_app", "app_factory"])
_TOPMOST = ("wsgi.py", "asgi.py", "app.py", "main.py", "application.py", "server.py", "__init__.py")


class Wanted(NamedTuple):
    """What the settings of the build say; "" leaves it to the project's words."""

    settings_module: str = ""
    wsgi: str = ""
    asgi: str = ""
    manage: str = ""
    path: str = ""
    skip_steps: Tuple[str, ...] = ()


def check(wanted: Wanted) -> Wanted:
    """Return *wanted* with callables as ``MODULE:CALLABLE``; ``MODULE.CALLABLE``, Django's form, is taken too.

    Raises:
        UsageError: a value of a wrong form.
    """
    if wanted.settings_module and not manifests.is_module(wanted.settings_module):
        raise UsageError("settings-module", f"{wanted.settings_module!r} is not a module name", "Correct it")
    for name in ("wsgi", "asgi"):
        value = getattr(wanted, name)
        if value and ":" not in value:
            value = ":".join(part for part in value.rpartition(".")[::2] if part)
        if value and not manifests.is_callable(value):
            fix = "Write it like config.wsgi:application"
            module, _, function = value.partition(":")
            if function.endswith(")"):
                function = function.partition("(")[0]
                fix = f"Add a {name}.py with: from {module} import {function}; application = {function}()"
            raise UsageError(name, f"{value!r} is not MODULE:CALLABLE", fix)
        wanted = wanted._replace(wsgi=value) if name == "wsgi" else wanted._replace(asgi=value)
    for name in ("manage", "path"):
        value = getattr(wanted, name)
        plain = os.path.normpath(value) if value else ""
        outside = os.path.isabs(plain) or plain.split("/")[0] == os.pardir or not plain.isascii()
        if outside:
            option = "python-path" if name == "path" else name
            raise UsageError(option, f"{value!r} must be an ASCII path inside the project's folder", "Correct it")
        plain = "" if plain == os.curdir else plain
        wanted = wanted._replace(manage=plain) if name == "manage" else wanted._replace(path=plain)
    for step in wanted.skip_steps:
        if step not in manifests.STEPS:
            raise UsageError("skip-steps", f"{step!r} must be one of {', '.join(manifests.STEPS)}", "Correct it")
    return wanted._replace(skip_steps=tuple(step for step in manifests.STEPS if step in wanted.skip_steps))


def describe(files: Mapping[str, str], wanted: Wanted) -> manifests.Site:
    """Return how the project is run.

    Parameters:
        files: path on disk of each packed file, by its path relative to the project's folder.
        wanted: as :func:`check` returns it; comes first.

    Raises:
        UsageError: *wanted* names a file or folder that is not packed.
    """
    manage = wanted.manage or _manage(files)
    if wanted.manage and wanted.manage not in files:
        raise UsageError("manage", f"{wanted.manage} is not packed", "Correct it")
    path = wanted.path or _path(files, manage, wanted)
    if wanted.path and not any(name.startswith(f"{wanted.path}/") for name in files):
        raise UsageError("python-path", f"no packed file is in {wanted.path}", "Correct it")
    sources = _Sources(files, [path, ""] if path else [""])
    said = _named_settings(sources, manage) if manage else ""
    wsgi = wanted.wsgi or sources.word(wanted.settings_module or said, "WSGI_APPLICATION")
    asgi = wanted.asgi or sources.word(wanted.settings_module or said, "ASGI_APPLICATION")
    # manage.py may compute the name of the settings, or name others: then those that were asked for tell the place.
    wsgi = wsgi or sources.beside(said, asgi, "wsgi") or sources.beside(wanted.settings_module, asgi, "wsgi")
    asgi = asgi or sources.beside(said, wsgi, "asgi") or sources.beside(wanted.settings_module, wsgi, "asgi")
    # wsgi.py and asgi.py are what a server imports: their word is production's, manage.py's is often a developer's.
    settings = wanted.settings_module or sources.settings_in(wsgi) or sources.settings_in(asgi) or said
    if not settings and not wsgi and not asgi:
        wsgi, asgi = sources.topmost()
    return manifests.Site(settings, wsgi, asgi, manage, path, wanted.skip_steps)


def hidden(files: Mapping[str, str], path: str) -> str:
    """Return the project's own module that has the name of the loader in site-packages, "" when there is none.

    Parameters:
        files, path: as for :func:`describe`, and what it found.
    """
    stem = layout.LOADENV[: -len(".py")]
    names = [os.path.join(root, name) for root in {"", path} for name in (layout.LOADENV, f"{stem}/__init__.py")]
    return min((name for name in names if name in files), default="")


def factory(files: Mapping[str, str]) -> str:
    """Return the function that makes the callable, ``MODULE:FUNCTION``, in a project that has none.

    Parameters:
        files: as for :func:`describe`.

    Returns "" when there is no function of the usual names.
    """
    return _Sources(files, ["src", ""]).factory()


def _path(files: Mapping[str, str], manage: str, wanted: Wanted) -> str:
    """Return the folder that modules are imported from beside the project's own, "" when there is no other.

    It is where ``manage.py`` is, which Python puts on ``sys.path``; unless what is to be imported is elsewhere, as with
    ``tools/manage.py`` and ``src/``, or below a ``src/`` without ``manage.py``.
    """
    folder = os.path.dirname(manage)
    sources = _Sources(files, [folder, ""] if folder else [""])
    module = wanted.settings_module or (_named_settings(sources, manage) if manage else "")
    module = module or (wanted.wsgi or wanted.asgi).partition(":")[0]
    if not module:
        is_src = any(name.startswith("src/") for name in files) and "src/__init__.py" not in files
        return folder or ("src" if is_src and not sources.topmost_is_above("src") else "")
    if sources.find(module):
        return folder
    base = module.replace(".", "/")
    tails = tuple(f"/{base}{tail}" for tail in (".py", "/__init__.py"))
    found = sorted((name for name in files if name.endswith(tails)), key=lambda name: (name.count("/"), name))
    return found[0][: found[0].rindex(f"/{base}")] if found else folder


def _manage(files: Mapping[str, str]) -> str:
    """Return the topmost ``manage.py`` that is Django's."""
    found = sorted((name for name in files if os.path.basename(name) == "manage.py"), key=lambda n: (n.count("/"), n))
    for name in found:
        tree = _parsed(files[name])
        if (tree is not None and any(_words(tree, _VARIABLE))) or _mentions(files[name], b"django"):
            return name
    return ""


def _named_settings(sources: "_Sources", manage: str) -> str:
    return sources.settings_of(sources.files[manage])


class _Sources:
    """The project's Python files, found by module name."""

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

    def topmost_is_above(self, folder: str) -> bool:
        """Tell whether a module outside *folder* has a WSGI or ASGI callable, as :meth:`topmost` looks for it."""
        outside = {name: path for name, path in self.files.items() if not name.startswith(f"{folder}/")}
        return any(_Sources(outside, [""]).topmost())

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


def _parsed(path: str) -> Optional[ast.Module]:
    """Return the syntax tree of *path*; None when this Python cannot parse it."""
    try:
        with open(path, "rb") as file:
            return ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _mentions(path: str, word: bytes) -> bool:
    with open(path, "rb") as file:
        return word in file.read()


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
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    known = ("starlette", "fastapi", "quart", "litestar", "sanic", "blacksheep", "falcon.asgi")
    return any(module == name or module.startswith(f"{name}.") for module in modules for name in known)
