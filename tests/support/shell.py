"""The commands that a shell script runs, found by reading it: enough of bash's grammar for this repository's scripts.

What it cannot read is an error, so a script cannot hide a command by a construct that this module does not know.
"""

from __future__ import annotations

import re
from typing import List, NamedTuple, Tuple

_RESERVED = frozenset(
    [
        "{",
        "}",
        "!",
        "if",
        "then",
        "else",
        "elif",
        "fi",
        "while",
        "until",
        "for",
        "do",
        "done",
        "case",
        "esac",
        "in",
        "time",
    ]
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=")
_REDIRECTION = re.compile(r"\d*(<<<|<>|>>|>\||&>>|&>|<&|>&|<(?!\()|>(?!\())")
_SEPARATORS = ("&&", "||", ";;", "|&", "\n", ";", "&", "|", "(", ")")


class NotUnderstood(ValueError):
    """The text uses a construct that this module does not read."""


class Command(NamedTuple):
    """One simple command: its words as written, without assignments and redirections."""

    line: int
    words: Tuple[str, ...]


def commands(text: str, line: int = 1) -> List[Command]:
    """Return the simple commands of *text* in order, those of substitutions and arrays of words too.

    Raises:
        NotUnderstood: *text* is not a script that this module can read.
    """
    reader = _Reader(text, line)
    reader.read("")
    return sorted(reader.found)


def functions(text: str) -> List[str]:
    """Return the names of the functions that *text* defines."""
    return re.findall(r"^\s*([A-Za-z_]\w*)\(\)", text, re.MULTILINE)


def unquoted(word: str) -> str:
    """Return *word* without its quotes and backslashes, as far as that changes no variable."""
    return re.sub(r"\\(.)", r"\1", word.replace('"', "").replace("'", ""))


class _Reader:
    def __init__(self, text: str, line: int) -> None:
        self._text, self._at, self._first = text, 0, line
        self.found: List[Command] = []

    def read(self, end: str) -> None:
        """Read commands up to the closing *end* of a substitution, or to the end of the text."""
        words: List[str] = []
        cases: List[bool] = []  # for each `case` that is open: whether a pattern is next
        while self._at < len(self._text):
            if cases and cases[-1] and not words:
                cases = self._pattern(cases)
                continue
            self._blanks()
            if self._special(words):
                continue
            separator = next((one for one in _SEPARATORS if self._text.startswith(one, self._at)), "")
            if separator:
                self._close(words)
                words = []
                self._at += len(separator)
                if separator == ";;":
                    cases[-1] = True
                elif separator == end and not cases:
                    return
            elif self._at < len(self._text):
                self._take(words)
                if words[:1] == ["case"] and words[-1:] == ["in"]:
                    cases, words = [*cases, True], []
        self._close(words)
        if end or cases:
            raise NotUnderstood(f"line {self._line()}: no {end or 'esac'}")

    def _special(self, words: List[str]) -> bool:
        """Read what is not a word: a condition, arithmetic, a redirection; tell whether there was one."""
        if words and words[0] == "[[":
            self._condition(words)
            return True
        if not words and self._text.startswith("((", self._at):
            self._skip("((", "))")
            return True
        return self._redirection(words)

    def _line(self, at: int = -1) -> int:
        return self._first + self._text.count("\n", 0, self._at if at < 0 else at)

    def _blanks(self) -> None:
        while self._at < len(self._text):
            if self._text[self._at] in " \t":
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif self._text[self._at] == "#":
                newline = self._text.find("\n", self._at)
                self._at = len(self._text) if newline < 0 else newline
            else:
                return

    def _pattern(self, cases: List[bool]) -> List[bool]:
        match = re.compile(r"(?:\s|#[^\n]*\n)*(esac\b|[^()\n]+\))").match(self._text, self._at)
        if not match:
            raise NotUnderstood(f"line {self._line()}: no pattern of case")
        self._at = match.end()
        return cases[:-1] if match[1] == "esac" else [*cases[:-1], False]

    def _condition(self, words: List[str]) -> None:
        """Read on inside ``[[``, where signs of the shell are words."""
        match = re.compile(r"(&&|\|\||[()]|[<>]=?|\n)").match(self._text, self._at)
        if match:
            self._at = match.end()
        else:
            words.append(self._word())
            if words[-1] == "]]":
                self.found.append(Command(self._line(), tuple(words)))
                words.clear()

    def _redirection(self, words: List[str]) -> bool:
        match = _REDIRECTION.match(self._text, self._at)
        if not match:
            return False
        if match[1] == "<" and self._text.startswith("<<", match.start(1)):
            raise NotUnderstood(f"line {self._line()}: a here document")
        self._at = match.end()
        self._blanks()
        self._word()
        return True

    def _take(self, words: List[str]) -> None:
        word = self._word()
        if self._text.startswith("()", self._at):
            self._at += 2  # the name of a function
        elif word.endswith("=") and _ASSIGNMENT.match(word) and self._text.startswith("(", self._at):
            self._array()
        elif not words and ((word in _RESERVED and word not in ("case", "for")) or _ASSIGNMENT.match(word)):
            return
        else:
            words.append(word)

    def _array(self) -> None:
        """Read ``NAME=(WORD...)``: a command, when it is one that is run as ``"${NAME[@]}"``."""
        self._at += 1
        words: List[str] = []
        line = self._line()
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            self._blanks()
            if self._text.startswith(")", self._at):
                self._at += 1
                break
            words.append(self._word())
        if words and re.match(r"[a-z]", words[0]):
            self.found.append(Command(line, tuple(words)))

    def _close(self, words: List[str]) -> None:
        if words and words[0] not in ("for", "case"):
            self.found.append(Command(self._line(), tuple(words)))

    def _word(self) -> str:
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] not in " \t\n;&|()<>":
            self._part()
            if self._text[self._at : self._at + 2] in ("<(", ">(") and self._at == begin:
                break
        if self._at == begin:
            if self._text[self._at : self._at + 2] in ("<(", ">("):
                self._at += 2
                self._inside(")")
            else:
                raise NotUnderstood(f"line {self._line()}: {self._text[self._at : self._at + 20]!r}")
        return self._text[begin : self._at].replace("\\\n", "")

    def _part(self) -> None:
        sign = self._text[self._at]
        if sign == "\\":
            self._at += 2
        elif sign == "'":
            self._at = self._text.index("'", self._at + 1) + 1
        elif sign == '"':
            self._at += 1
            while self._text[self._at] != '"':
                if self._text[self._at] in "\\$`":
                    self._part()
                else:
                    self._at += 1
            self._at += 1
        elif sign == "`":
            raise NotUnderstood(f"line {self._line()}: write $(...) for `...`")
        elif self._text.startswith("$((", self._at):
            self._skip("$((", "))")
        elif self._text.startswith("$(", self._at):
            self._at += 2
            self._inside(")")
        elif self._text.startswith("${", self._at):
            self._braces()
        else:
            self._at += 1

    def _inside(self, end: str) -> None:
        """Read the commands of a substitution, and remember them before the command that they are in."""
        self.read(end)

    def _braces(self) -> None:
        self._at += 2
        while self._text[self._at] != "}":
            if self._text[self._at] in "\\$\"'":
                self._part()
            else:
                self._at += 1
        self._at += 1

    def _skip(self, begin: str, end: str) -> None:
        self._at = self._text.index(end, self._at + len(begin)) + len(end)
