"""Which commands and options there are on the platforms: ``tests/lookalike/commands.ini``, with bash and git."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Sequence, Tuple

from tests.support import shell

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/lookalike/commands.ini"
GIT = ROOT / "tests/lookalike/bin/git-1.8.3.1"

# Built into bash 4.2, with the options that it has there (wait -n is of 4.3, mapfile -d of 4.4).
BUILTINS: Dict[str, str] = {
    ".": "",
    ":": "",
    "[[": "-a -b -c -d -e -f -g -h -k -p -r -s -t -u -v -w -x -L -N -O -S -n -z -nt -ot -ef -eq -ne -lt -le -gt -ge",
    "cd": "-L -P -e",
    "command": "-p -v -V",
    "compgen": "-a -A: -b -c -d -e -f -g -G: -k -o: -u -v -W: -P: -S: -X:",
    "declare": "-a -A -f -F -g -i -l -p -r -t -u -x",
    "echo": "-n -e -E",
    "exec": "-a: -c -l",
    "exit": "",
    "export": "-f -n -p",
    "kill": "-0 -s: -n: -l -TERM -INT -HUP -KILL -USR1 -USR2 -WINCH -QUIT",
    "local": "-a -A -i -r -u -l",
    "mapfile": "-n: -O: -s: -t -u: -C: -c:",
    "printf": "-v:",
    "read": "-a: -d: -e -i: -n: -N: -p: -r -s -t: -u:",
    "return": "",
    "set": "-a -b -e -f -h -k -m -n -p -t -u -v -x -B -C -E -H -P -T -eo -euo -o:",
    "shift": "",
    "shopt": "-s -u -q -o -p",
    "source": "",
    "trap": "-l -p",
    "true": "",
    "false": "",
    "type": "-a -f -p -P -t",
    "ulimit": "-H -S -a -b -c -d -e -f -i -l -m -n -p -q -r -s -t -u -v -x -T",
    "umask": "-p -S",
    "unset": "-f -v",
    "wait": "",
}
_RUNNING_ANOTHER = frozenset(["command", "exec"])

# What bash 4.2 does not know, and the release that brought it.
NEW_IN_BASH = (
    (r"\$\{[^}]*@[QEPAaKULu]\}", "4.4: ${name@operator}"),
    (r"\b(local|declare|typeset) -[a-zA-Z]*n\b", "4.3: references to names"),
    (r"\blocal -(\s|$)", "4.4: local -"),
    (r"\bwait -n\b", "4.3: wait -n"),
    (r"\b(mapfile|readarray)( -\w+)* -d\b", "4.4: mapfile -d"),
    (r"\bread( -\w+)* -\w*d ''.*\[-\d", "4.3: negative subscripts"),
    (r"\$\{\w+\[-\d+\]\}", "4.3: negative subscripts"),
    (r"\[\[ -v \w+\[", "4.3: -v of an element"),
    (r"\b(EPOCHSECONDS|EPOCHREALTIME|SRANDOM|BASH_ARGV0)\b", "5.0: variables"),
    (r"\b(inherit_errexit|localvar_inherit|assoc_expand_once|globskipdots|patsub_replacement)\b", "4.4: options"),
    (r"\bset -[a-zA-Z]*u", "before 4.4 an empty array is an unset variable under set -u"),
    (r"\$\{\s", "5.3: ${ command; }"),
)


class Rule(NamedTuple):
    """What one command may be given."""

    options: FrozenSet[str]
    valued: FrozenSet[str]  # those of them that take a value
    platforms: FrozenSet[str]
    takes_command: bool


class Refused(ValueError):
    """A command or an option does not exist on a platform; the message names it."""


def rule(options: str, platforms: Sequence[str] = (), takes_command: bool = False) -> Rule:
    """Return the rule of a line of options, where a colon marks those that take a value."""
    words = options.split()
    valued = {word[:-1] for word in words if word.endswith(":")}
    return Rule(frozenset(word.rstrip(":") for word in words), frozenset(valued), frozenset(platforms), takes_command)


def rules() -> Dict[str, Rule]:
    """Return the rules of all commands by name; those of git by ``git SUBCOMMAND``."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(TABLE.read_text(encoding="utf-8"))
    found = {name: rule(text, takes_command=name in _RUNNING_ANOTHER) for name, text in BUILTINS.items()}
    for name in parser.sections():
        section = parser[name]
        takes = section.get("takes_command") == "yes"
        found[name] = rule(section["options"], section["platforms"].split(), takes)
    for name, text in re.findall(r"^ +\[([a-z-]+)\]='([^']*)'", GIT.read_text(encoding="utf-8"), re.MULTILINE):
        found[f"git {name}"] = rule(re.sub(r"=?\*", "", text))
    return found


def check(words: Sequence[str], known: Dict[str, Rule]) -> FrozenSet[str]:
    """Refuse a command or option that the oldest platform does not have; return the platforms, all when empty.

    Raises:
        Refused: it is not in *known*.
    """
    name, rest = words[0].rsplit("/", 1)[-1], list(words[1:])
    if name == "git":
        while rest and rest[0] == "-c":
            rest = rest[2:]
        if rest[:1] == ["--version"]:
            return frozenset()
        if rest and rest[0].startswith("-"):
            raise Refused(f"git {rest[0]}")
        name, rest = f"git {rest[0]}", rest[1:]
    if name not in known:
        raise Refused(f"{name}: unknown command")
    chosen = known[name]
    rest = _after_options(name, rest, chosen)
    if chosen.takes_command and rest and name != "python":
        check(rest, known)
    return chosen.platforms


def _after_options(name: str, words: List[str], chosen: Rule) -> List[str]:
    """Check the options of *words*, and return what is behind them for a command that runs another."""
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            break
        if word not in chosen.options and not re.match(r"-[^$\d]", word):  # a number: a signal, a count of lines
            if chosen.takes_command:
                return words[position - 1 :]
            continue
        for option, attached in _options(word, chosen):
            if option not in chosen.options and option not in ("--help", "--version"):
                raise Refused(f"{name} {word}")
            if option in chosen.valued and not attached:
                position += 1
    return words[position:]


def _options(word: str, chosen: Rule) -> List[Tuple[str, bool]]:
    """Return the options that *word* means, each with whether it carries its value."""
    if word in chosen.options:
        return [(word, False)]
    if word.startswith("--"):
        return [(word.partition("=")[0], True)]
    found = []
    for index, letter in enumerate(word[1:], start=2):
        found.append((f"-{letter}", bool(word[index:])))
        if f"-{letter}" in chosen.valued:
            break
    return found


class Scripts(NamedTuple):
    """The shell scripts that run on platforms, read together: each may call the functions of the others."""

    functions: FrozenSet[str]
    heads: Dict[str, str]  # what means a command -> the command; nothing for any command

    def check(self, text: str, known: Dict[str, Rule], managers: Dict[str, FrozenSet[str]]) -> None:
        """Check every command of *text*; *managers* maps names of functions to the platforms that they run on.

        Raises:
            Refused: a command, an option or a construct does not exist; the message begins with the line.
        """
        for number, line in enumerate(text.splitlines(), start=1):
            for pattern, why in NEW_IN_BASH:
                if not line.lstrip().startswith("#") and re.search(pattern, line):
                    raise Refused(f"line {number}: {why}")
        for command in shell.commands(text):
            try:
                platforms = self._command([shell.unquoted(word) for word in command.words], known)
            except Refused as refused:
                raise Refused(f"line {command.line}: {refused}") from None
            here = managers.get(_function(text, command.line))
            if platforms and len(platforms) < 5 and (here is None or not here <= platforms):
                raise Refused(f"line {command.line}: {command.words[0]}: not on every platform that runs this")

    def _command(self, words: List[str], known: Dict[str, Rule]) -> FrozenSet[str]:
        name = words[0]
        if name in self.functions:
            # Functions may be given a command to run.
            if name in ("as_owner", "step"):
                return self._command(words[1:], known)
            return frozenset()
        if name in self.heads:
            if not self.heads[name]:
                return frozenset()
            words = [*self.heads[name].split(), *words[1:]]
        if words[0] in ("exec", "setsid", "command") and len(words) > 1 and not words[1].startswith("-"):
            return self._command(words[1:], known)
        return check(words, known)


def _function(text: str, line: int) -> str:
    """Return the name of the function that *line* of *text* is in, nothing outside all."""
    found = ""
    for number, content in enumerate(text.splitlines(), start=1):
        if number > line:
            break
        match = re.match(r"(\w+)\(\)", content)
        found = match[1] if match else "" if content.startswith("}") and number < line else found
    return found
