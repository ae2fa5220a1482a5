"""The contract of ``environment.json``: which variables a project reads, and what their values must be.

The project declares them in ``[tool.deployable-zipfile.environment]``; they travel as a member of the artifact, a JSON
Schema (2020-12) that other programs can use, and are checked here by the standard library. Every value is a text,
as in the process's environment. No message holds a value.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Tuple, Union

from ..definitions import NamedTuple, expression
from ..errors import ArtifactError, printable, shortened
from . import layout, strict_json, value_types
from .pattern import Pattern, TooLong
from .zipreader import Artifact

MAX_KEYS = 300
MAX_TEXT = 1000  # characters of a description, a default, an example or a choice
MAX_CHOICES = 200
LARGEST = 10**40  # that a bound may be, either way: more digits no integer has
SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_OWN = "x-deployable-zipfile"  # what our own checker reads; the standard keywords are made from it
_NAME = expression(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}\Z")
_ALIKE = 0.83  # ratio of difflib: two slips in a name of ten letters
_MOST_COMPARED = 200  # names
_TEXTS = ("pattern", "default", "example", "description")
_FLAGS = ("required", "secret")
_BOUNDS = ("minimum", "maximum")  # as in JSON Schema, where they mean nothing for a text: only this checks them
Bound = Union[int, float]


class Variable(NamedTuple):
    """What one variable must be."""

    name: str
    type: str = "string"  # of value_types.TYPES
    required: bool = True
    secret: bool = False
    pattern: str = ""  # that the whole value must match
    choices: Tuple[str, ...] = ()
    default: Optional[str] = None  # what the project does without it; information
    example: str = ""
    description: str = ""
    minimum: Optional[Bound] = None  # of integer and number, both included
    maximum: Optional[Bound] = None

    def fault(self, value: str) -> str:
        """Say what is wrong with *value* without naming it, "" when nothing is."""
        if not value:
            return "must not be empty" if self.required else ""
        if self.choices:
            return "" if value in self.choices else f"must be one of {', '.join(self.choices)}"
        if not value_types.fits(self.type, value):
            return value_types.ADVICE[self.type]
        if not self._within(value):
            return f"must be {self.range}"
        try:
            if self.pattern and not Pattern(self.pattern).matches(value):
                return f"must match the pattern {self.pattern}"
        except TooLong:
            return "is too long to be compared with its pattern"
        return ""

    @property
    def range(self) -> str:
        """Return which numbers it may be, "" for any."""
        if self.minimum is not None and self.maximum is not None:
            return f"from {self.minimum} to {self.maximum}"
        if self.minimum is not None:
            return f"at least {self.minimum}"
        return "" if self.maximum is None else f"at most {self.maximum}"

    def _within(self, value: str) -> bool:
        if not self.range:
            return True
        number = int(value) if self.type == "integer" else float(value)
        return (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)

    def facts(self) -> List[str]:
        """Return what is declared of it, in words."""
        facts = [self.type, "required" if self.required else "optional"]
        facts += ["secret"] if self.secret else []
        facts += [f"one of {', '.join(self.choices)}"] if self.choices else []
        facts += [self.range] if self.range else []
        facts += [f"matches {self.pattern}"] if self.pattern else []
        facts += [f"default: {self.default or 'empty'}"] if self.default is not None else []
        return facts

    def schema(self) -> Dict[str, Any]:
        """Return its part of the schema."""
        document: Dict[str, Any] = {"type": "string", _OWN: self._own()}
        form = f"^(?:{value_types.FORMS[self.type]})$" if self.type in value_types.FORMS else ""
        own = f"^(?:{_plain(self.pattern)})$" if self.pattern else ""
        if self.required:
            document["minLength"] = 1
        patterns = [{"pattern": one} for one in (form, own) if one]
        if patterns and not self.choices:
            allowed: Dict[str, Any] = {"allOf": patterns}
            document.update(allowed if self.required else {"anyOf": [{"const": ""}, allowed]})
        if self.choices:
            document["enum"] = [*self.choices, *([] if self.required else [""])]
        if self.type == "url" and self.required:
            document["format"] = "uri"
        document.update({key: bound for key, bound in self.bounds() if bound is not None})
        if self.description:
            document["description"] = self.description
        if self.default is not None:
            document["default"] = self.default
        if self.example:
            document["examples"] = [self.example]
        if self.secret:
            document["writeOnly"] = True
        return document

    def bounds(self) -> List[Tuple[str, Optional[Bound]]]:
        """Return its minimum and maximum by their names."""
        return [("minimum", self.minimum), ("maximum", self.maximum)]

    def _own(self) -> Dict[str, Any]:
        found = {key: value for key, value in self._asdict().items() if value != Variable._field_defaults.get(key)}
        del found["name"]
        return dict(found, required=self.required)

    def sample(self) -> str:
        """Return a value for an example file; of a secret, one that can be taken for no real one."""
        if self.secret:
            return "CHANGE-ME"
        if self.example or self.default or self.choices:
            return self.example or self.default or self.choices[0]
        usual = value_types.EXAMPLES[self.type]
        if self._within(usual):
            return usual
        return str(self.maximum if self.minimum is None else self.minimum)


class Contract(NamedTuple):
    """Every variable that a project declares, by its name, in the order of the names."""

    variables: Dict[str, Variable]

    def problems(self, environment: Mapping[str, str]) -> List[Tuple[str, str]]:
        """Return the name of each variable that is wrong in *environment*, and what is wrong; never a value."""
        found = []
        for name, variable in self.variables.items():
            value = environment.get(name)
            fault = ("is missing" if variable.required else "") if value is None else variable.fault(value)
            if fault:
                found.append((name, fault))
        return found

    def hints(self, environment: Mapping[str, str]) -> List[Tuple[str, str]]:
        """Return each name in *environment* that is not declared and like a declared one that is not set, and that."""
        unset = {_letters(known): known for known in self.variables if known not in environment}
        unknown = [name for name in sorted(environment) if name not in self.variables and len(name) <= 200]
        found = []
        for name in unknown[:_MOST_COMPARED]:
            letters = _letters(name)
            near = [known for known in unset if _is_one_slip(letters, known)]
            near = near or difflib.get_close_matches(letters, unset, 1, _ALIKE)
            found += [(name, unset[near[0]])] if near else []
        return found

    def to_json(self, project: str) -> bytes:
        """Return the schema, canonical: sorted keys, no blanks, ASCII, one final newline."""
        document = {
            "$schema": SCHEMA,
            "title": f"environment.json of {project}",
            "type": "object",
            "properties": {name: variable.schema() for name, variable in self.variables.items()},
            "required": [name for name, variable in self.variables.items() if variable.required],
            "additionalProperties": {"type": "string"},
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, text: bytes, project: str) -> "Contract":
        """Read a schema that :meth:`to_json` wrote, and refuse any other.

        Raises:
            ArtifactError: it is not one.
        """
        try:
            document = strict_json.bounded_json(text)
            properties = document["properties"]
            found = declared({name: properties[name][_OWN] for name in properties}, with_values=False)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            _refuse(f"cannot be read ({_reason(error)})")
        if found.to_json(project) != text:
            _refuse("is not in the form in which this tool writes it")
        return found

    def example(self, form: str) -> str:
        """Return an example file: ``json`` for environment.json, ``env`` for lines of NAME=VALUE with comments."""
        if form == "json":
            samples = {name: variable.sample() for name, variable in self.variables.items() if _is_shown(variable)}
            return json.dumps(samples, indent=2, ensure_ascii=False) + "\n"
        lines: List[str] = []
        for name, variable in self.variables.items():
            lines += ["#" + f" {line}".rstrip() for line in _described(variable)]
            value = variable.sample()
            quoted = value if re.match(r"[\w.,:/@+-]*\Z", value, re.ASCII) else json.dumps(value, ensure_ascii=False)
            lines += [f"{'' if variable.required else '# '}{name}={quoted}", ""]
        return "\n".join(lines)


def contract_of(artifact: Artifact) -> Optional[Contract]:
    """Return the contract in *artifact*, None where its project declares nothing.

    Raises:
        ArtifactError: it is damaged.
    """
    if layout.ENVIRONMENT_SCHEMA not in artifact.members:
        return None
    return Contract.from_json(artifact.read(layout.ENVIRONMENT_SCHEMA), artifact.manifest.project)


def declared(table: Any, with_values: bool = True) -> Contract:
    """Return the contract in a table: of ``pyproject.toml``, or of a schema's own keywords.

    Parameters:
        with_values: also compare defaults and examples with what they are for.

    Raises:
        ValueError: saying what is wrong with it.
    """
    if not isinstance(table, dict) or len(table) > MAX_KEYS:
        raise ValueError(f"must be a table of at most {MAX_KEYS} variables")
    return Contract({name: _variable(name, table[name], with_values) for name in sorted(table)})


def _variable(name: str, options: Any, with_values: bool) -> Variable:
    if not _NAME.match(name):
        raise ValueError(f"{shortened(printable(name), 60)!r} cannot be the name of a variable")
    if not isinstance(options, dict):
        raise ValueError(f'{name} must be a table, such as {{ type = "string" }}')
    for key, value in options.items():
        problem = _problem(key, value)
        if problem:
            raise ValueError(f"{name}: {shortened(printable(key), 60)} {problem}")
    given = dict(options, choices=tuple(options.get("choices", ())))
    given.setdefault("required", "default" not in options)
    variable = Variable(name, **given)
    try:
        Pattern(variable.pattern)
    except ValueError as error:
        raise ValueError(f"{name}: pattern {error}") from None
    _check_together(variable)
    for what, value in (("default", variable.default or ""), ("example", variable.example)):
        if with_values and value and variable.fault(value):
            raise ValueError(f"{name}: its own {what} {variable.fault(value)}")
    return variable


def _check_together(variable: Variable) -> None:
    """Refuse options that exclude each other."""
    if variable.pattern and variable.choices:
        raise ValueError(f"{variable.name}: give either a pattern or choices")
    if variable.secret and (variable.default or variable.example):
        raise ValueError(f"{variable.name}: a secret has no default and no example, which every artifact would show")
    if not variable.range:
        return
    if variable.type not in ("integer", "number"):
        raise ValueError(f"{variable.name}: only an integer or a number has a minimum and a maximum")
    if variable.choices:
        raise ValueError(f"{variable.name}: give either choices or a minimum and a maximum")
    if variable.type == "integer" and not all(isinstance(bound, (int, type(None))) for _, bound in variable.bounds()):
        raise ValueError(f"{variable.name}: minimum and maximum of an integer must be integers")
    if variable.minimum is not None and variable.maximum is not None and variable.minimum > variable.maximum:
        raise ValueError(f"{variable.name}: its minimum is above its maximum")


def _problem(key: str, value: Any) -> str:
    if key == "type":
        known = value_types.TYPES
        return "" if value in known and isinstance(value, str) else f"must be one of {', '.join(known)}"
    if key in _FLAGS:
        return "" if isinstance(value, bool) else "must be true or false"
    if key in _BOUNDS:
        fits = type(value) in (int, float) and -LARGEST <= value <= LARGEST
        return "" if fits else f"must be a number from -{LARGEST:.0e} to {LARGEST:.0e}".replace("e+", "e")
    if key == "choices":
        fits = (
            isinstance(value, (list, tuple))
            and 0 < len(value) <= MAX_CHOICES
            and len(set(map(str, value))) == len(value)
        )
        fits = fits and all(isinstance(one, str) and 0 < len(one) <= MAX_TEXT and one.isprintable() for one in value)
        return "" if fits else f"must be a list of 1 to {MAX_CHOICES} different texts"
    if key in _TEXTS:
        fits = isinstance(value, str) and len(value) <= MAX_TEXT
        if not fits:
            return f"must be a text of at most {MAX_TEXT} characters"
        shown = value.replace("\n", " ") if key == "description" else value
        return "" if shown.isprintable() else "holds characters that cannot be printed"
    return f"is not known; known are type, choices, {', '.join([*_FLAGS, *_BOUNDS, *_TEXTS])}"


def _letters(name: str) -> str:
    """Return what is compared of a name: case and what separates words are often mistaken."""
    return re.sub(r"[-_.]", "", name).upper()


def _is_one_slip(name: str, known: str) -> bool:
    """Tell whether one letter more, less, other, or two exchanged make one name the other."""
    if name == known:
        return True
    if abs(len(name) - len(known)) > 1 or min(len(name), len(known)) < 3:
        return False
    start = next((at for at, (one, other) in enumerate(zip(name, known)) if one != other), min(len(name), len(known)))
    rest, other = name[start:], known[start:]
    if len(rest) == len(other):
        return rest[1:] == other[1:] or (rest[:2] == other[:2][::-1] and rest[2:] == other[2:])
    return rest[1:] == other or rest == other[1:]


def _is_shown(variable: Variable) -> bool:
    return variable.required or bool(variable.example)


def _described(variable: Variable) -> List[str]:
    """Return comments for an example file."""
    return [*variable.description.splitlines(), "; ".join(variable.facts())]


def _plain(pattern: str) -> str:
    """Return *pattern* without the marks of its ends, for a group."""
    text = pattern[1:] if pattern.startswith("^") else pattern
    before = text[:-1]
    return before if text.endswith("$") and (len(before) - len(before.rstrip("\\"))) % 2 == 0 else text


def _reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError else type(error).__name__


def _refuse(why: str) -> NoReturn:
    raise ArtifactError(layout.ENVIRONMENT_SCHEMA, why, "Build the artifact again with this deployable-zipfile")
