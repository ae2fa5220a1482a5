"""Tables for a terminal and for a pull request; whatever a name holds, it is shown and does nothing."""

from __future__ import annotations

import io
import re
from typing import List, Sequence

from ..definitions import NamedTuple, expression
from ..errors import masked, printable, shortened

MAX_CELL = 200  # characters
MAX_ROWS = 100  # of one kind; JSON has them all
# Everything that Markdown or HTML could take for markup; GitHub also links "www.".
_MARKUP = expression(r"[^\w\s.\-/]|_|(?<=www)\.", re.IGNORECASE)
# What GitHub replaces after it has rendered the text, however the characters are written: mentions, issues and emoji.
_REPLACED = expression(r"(?<=[@#])(?=\w)|(?<=\bGH)(?=-[0-9])|(?<=:)(?=[a-z0-9_+-]+:)", re.IGNORECASE)
# Characters that are drawn as nothing although their category says otherwise (Unicode, Default_Ignorable_Code_Point,
# and two blanks): a name could hide behind them.
_INVISIBLE = expression(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_BREAK = "&#8203;"  # keeps GitHub from replacing; drawn as nothing

Row = Sequence[object]


class Table(NamedTuple):
    """One table of a result."""

    head: Sequence[str]
    rows: Sequence[Row]


def shown(value: object, most: int = MAX_CELL) -> str:
    """Return *value* as one line of at most *most* characters in which nothing acts and nothing is invisible."""
    text = shortened(masked(str(value)), 4 * most)
    escaped = _INVISIBLE.sub(lambda one: one.group().encode("unicode_escape").decode("ascii"), printable(text))
    return shortened(escaped, most)


def lines(tables: Sequence[Table], markdown: bool) -> List[str]:
    """Return the lines of *tables*, those without rows left out, an empty line between them."""
    render = _markdown if markdown else _terminal
    found: List[str] = []
    for table in tables:
        if table.rows:
            found += ([""] if found else []) + render(table.head, table.rows)
    return found


def _terminal(head: Sequence[str], rows: Sequence[Row]) -> List[str]:
    from rich import box
    from rich.console import Console as Terminal
    from rich.table import Table as RichTable
    from rich.text import Text

    table = RichTable(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    out = io.StringIO()
    Terminal(file=out, width=160, color_system=None, highlight=False).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines() if line.strip()]


def _markdown(head: Sequence[str], rows: Sequence[Row]) -> List[str]:
    body = [[markdown_text(value) for value in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in [list(head), ["---"] * len(head), *body]]


def markdown_text(value: object) -> str:
    """Return *value* for a Markdown text: no markup, no link, no mention."""
    parts = _REPLACED.split(shown(value))
    return _BREAK.join(_MARKUP.sub(lambda one: f"&#{ord(one.group())};", part) for part in parts)
