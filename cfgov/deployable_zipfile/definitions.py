"""Named tuples and regular expressions whose definition takes little time.

Every start of the tool defines dozens of them, and uses few.
"""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING, Any, AnyStr, Dict, Tuple, cast

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Definition(type):
        """Makes a class with annotated fields a named tuple."""

        def __new__(cls, name: str, bases: Tuple[type, ...], body: Dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.pop("__annotations__", {})
            optional = [field for field in fields if field in body]
            if optional != list(fields)[len(fields) - len(optional) :]:
                raise TypeError(f"{name}: a field without a default follows one that has it")
            made = collections.namedtuple(name, fields, defaults=[body.pop(field) for field in optional])
            made.__annotations__ = fields
            for attribute, value in body.items():
                setattr(made, attribute, value)
            return made

    class NamedTuple(metaclass=_Definition):
        """What ``typing.NamedTuple`` is, in half the time: that one compiles each annotation, which nothing reads."""


class _Expression:
    """A regular expression that is compiled when it is first used."""

    def __init__(self, text: Any, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._text, self._flags)
        value = getattr(compiled, name)
        setattr(self, name, value)  # from now on it is found without this method
        return value


def expression(text: AnyStr, flags: int = 0) -> "re.Pattern[AnyStr]":
    """Return the regular expression *text*, as ``re.compile`` does, but compile it only when it is first used.

    Parameters:
        text: of a mistake in it nothing is known before that, so a test uses each expression of the package.
        flags: of ``re``.
    """
    return cast("re.Pattern[AnyStr]", _Expression(text, flags))
