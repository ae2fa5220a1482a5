"""Regular expressions that match in a time proportional to the text and the pattern, whatever they are.

``re`` goes back when it fails, so a pattern such as ``(a+)+b`` takes years for fifty characters. A pattern that comes
with an artifact must not do that to a server. This is the part of its syntax that a set of states can follow (Thompson,
CACM 11(6), 1968): characters, ``.``, classes, ``\\d \\w \\s`` (ASCII) and their opposites, groups, ``|`` and ``* + ?
{m,n}``. The pattern is of the whole text; ``^`` and ``$`` are allowed at its ends. ECMA-262 and Python read it alike.
"""

from __future__ import annotations

from typing import Callable, FrozenSet, List, Optional, Set, Tuple

from ..definitions import NamedTuple, expression

MAX_LENGTH = 500  # characters of a pattern
_MAX_STATES = 1000
_MAX_DEPTH = 20
_MAX_REPEAT = 200
_MAX_WORK = 1_000_000  # comparisons for one text: a second of an old machine

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \t\n\r\f\v"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_SPECIAL = frozenset("\\^$.|?*+()[]{}")
_REPEATS = ("*", "+", "?", "{")
_COUNT = expression(r"\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\}")

Ranges = Tuple[Tuple[str, str], ...]


class Characters(NamedTuple):
    """A set of characters."""

    ranges: Ranges
    negated: bool = False

    def hold(self, character: str) -> bool:
        """Tell whether *character* is one of them."""
        return any(first <= character <= last for first, last in self.ranges) is not self.negated


class _State:
    """One state: a character leads to ``then``; without one the state leads to all of ``others`` at once."""

    def __init__(self) -> None:
        self.characters: Optional[Characters] = None
        self.then = -1
        self.others: List[int] = []


class TooLong(ValueError):
    """A text is too long to be compared with this pattern."""


Maker = Callable[[int], int]  # makes the states of one part, given the state behind it; returns the first of them


class Pattern:
    """A pattern that was read.

    Raises:
        ValueError: saying what in it is not supported.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise ValueError(f"has {len(text)} characters, more than {MAX_LENGTH}")
        self._text = text[1:] if text.startswith("^") else text
        before = self._text[:-1]
        if self._text.endswith("$") and (len(before) - len(before.rstrip("\\"))) % 2 == 0:
            self._text = before
        self._at = 0
        self._states: List[_State] = []
        self._made = 0
        make = self._alternatives(0)
        if self._at < len(self._text):
            raise ValueError(f"has an unmatched ) at character {self._at + 1}")
        self._end = self._new()
        self._start = make(self._end)
        self._weight = max(len(state.characters.ranges) if state.characters else 1 for state in self._states)

    def matches(self, text: str) -> bool:
        """Tell whether the pattern matches the whole of *text*.

        Raises:
            TooLong: that would take too long to find out.
        """
        now = self._closed([self._start])
        work = 0
        for character in text:
            work += len(now) * self._weight
            if work > _MAX_WORK:
                raise TooLong
            ahead = [
                state.then
                for state in (self._states[number] for number in now)
                if state.characters is not None and state.characters.hold(character)
            ]
            if not ahead:
                return False
            now = self._closed(ahead)
        return self._end in now

    def _closed(self, numbers: List[int]) -> FrozenSet[int]:
        """Return *numbers* and every state that is reached from them without a character."""
        found: Set[int] = set()
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting += self._states[number].others
        return frozenset(found)

    def _new(self, *others: int) -> int:
        if len(self._states) >= _MAX_STATES:
            raise ValueError("is too large when its repetitions are written out")
        state = _State()
        state.others = list(others)
        self._states.append(state)
        return len(self._states) - 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self, depth: int) -> Maker:
        """Read alternatives up to a ``)`` or the end."""
        if depth > _MAX_DEPTH:
            raise ValueError("has groups nested too deeply")
        choices = [self._sequence(depth)]
        while self._peek() == "|":
            self._at += 1
            choices.append(self._sequence(depth))
        if len(choices) == 1:
            return choices[0]
        return lambda then: self._new(*[make(then) for make in choices])

    def _sequence(self, depth: int) -> Maker:
        """Read what comes one after the other."""
        makers: List[Maker] = []
        while self._peek() not in ("", "|", ")"):
            makers.append(self._repeated(depth))

        def make(then: int) -> int:
            self._made += 1
            if self._made > 10 * _MAX_STATES:
                raise ValueError("is too large when its repetitions are written out")
            for one in reversed(makers):
                then = one(then)
            return then

        return make

    def _repeated(self, depth: int) -> Maker:
        make = self._atom(depth)
        mark = self._peek()
        if mark not in _REPEATS:
            return make
        least, most = self._count(mark)
        if self._peek() in _REPEATS:
            raise ValueError(f"has a second repetition at character {self._at + 1}")

        def repeated(then: int) -> int:
            if most is None:
                loop = self._new(then)
                self._states[loop].others.append(make(loop))
                then = loop
            else:
                end = then
                for _ in range(most - least):
                    then = self._new(make(then), end)
            for _ in range(least):
                then = make(then)
            return then

        return repeated

    def _count(self, mark: str) -> Tuple[int, Optional[int]]:
        if mark != "{":
            self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        match = _COUNT.match(self._text, self._at)
        if match is None:
            raise ValueError(f"has a {{ that is not a repetition at character {self._at + 1}")
        self._at = match.end()
        least = int(match.group(1))
        most = least if not match.group(2) else int(match.group(3)) if match.group(3) else None
        if max(least, most or 0) > _MAX_REPEAT or (most is not None and most < least):
            raise ValueError(f"repeats more than {_MAX_REPEAT} times, or has a minimum above its maximum")
        return least, most

    def _atom(self, depth: int) -> Maker:
        mark = self._peek()
        if mark == "[":
            return self._of(self._class())
        self._at += 1
        if mark == "(":
            return self._group(depth)
        if mark == "\\":
            return self._of(self._escaped())
        if mark == ".":
            return self._of(Characters((("\n", "\n"), ("\r", "\r"), ("\u2028", "\u2029")), negated=True))
        if mark in _SPECIAL:
            raise ValueError(f"has an unexpected {mark} at character {self._at}")
        return self._of(Characters(((mark, mark),)))

    def _of(self, characters: Characters) -> Maker:
        def make(then: int) -> int:
            number = self._new()
            self._states[number].characters, self._states[number].then = characters, then
            return number

        return make

    def _group(self, depth: int) -> Maker:
        if self._text.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise ValueError(f"has a (? that is not supported at character {self._at}")
        make = self._alternatives(depth + 1)
        if self._peek() != ")":
            raise ValueError("has a ( without a )")
        self._at += 1
        return make

    def _escaped(self) -> Characters:
        letter = self._peek()
        self._at += 1
        if letter in _CLASSES or (letter and letter.lower() in _CLASSES):
            return Characters(_ranges(_CLASSES[letter.lower()]), letter.isupper())
        if letter in _ESCAPES:
            return Characters(((_ESCAPES[letter], _ESCAPES[letter]),))
        if letter in _SPECIAL or letter in ("/", "-"):
            return Characters(((letter, letter),))
        raise ValueError(f"has an escape that is not supported at character {self._at - 1}")

    def _class(self) -> Characters:
        self._at += 1
        negated = self._peek() == "^"
        self._at += negated
        ranges: List[Tuple[str, str]] = []
        while self._peek() != "]":
            first = self._class_part(ranges)
            if (
                first
                and self._text.startswith("-", self._at)
                and self._text[self._at + 1 : self._at + 2] not in ("]", "")
            ):
                self._at += 1
                last = self._class_part(ranges)
                if not last or last < first:
                    raise ValueError(f"has an invalid range before character {self._at + 1}")
                ranges.append((first, last))
            elif first:
                ranges.append((first, first))
        self._at += 1
        if not ranges:
            raise ValueError("has an empty class")
        return Characters(tuple(ranges), negated)

    def _class_part(self, ranges: List[Tuple[str, str]]) -> str:
        """Return one character of a class; what means several is added to *ranges*, and "" comes back."""
        character = self._peek()
        self._at += 1
        if not character:
            raise ValueError("has a [ without a ]")
        if character == "[":
            raise ValueError(f"has a [ inside a class at character {self._at}: write \\[")
        if character != "\\":
            return character
        found = self._escaped()
        if found.negated:
            raise ValueError(f"has a negated escape inside a class at character {self._at}")
        if len(found.ranges) == 1 and found.ranges[0][0] == found.ranges[0][1]:
            return found.ranges[0][0]
        ranges.extend(found.ranges)
        return ""


def _ranges(text: str) -> Ranges:
    pairs: List[Tuple[str, str]] = []
    position = 0
    while position < len(text):
        wide = text[position + 1 : position + 2] == "-"
        pairs.append((text[position], text[position + 2 * wide]))
        position += 3 if wide else 1
    return tuple(pairs)
