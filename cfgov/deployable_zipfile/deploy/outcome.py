"""What a deployment or a rollback did: its steps, and what is live now."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ..definitions import NamedTuple
from .releases import build_id_of


class Step(NamedTuple):
    """One step that was done."""

    name: str
    seconds: float
    what: str  # was done, in a few words


class Outcome(NamedTuple):
    """What a verb did."""

    verb: str
    changed: bool
    release: str  # what `current` points to now
    previous: Optional[str]  # what it pointed to before
    steps: Tuple[Step, ...]
    pruned: Tuple[str, ...]

    def document(self) -> Dict[str, Any]:
        """Return it as JSON values."""
        return {
            "verb": self.verb,
            "changed": self.changed,
            "release": build_id_of(self.release) or self.release,
            "previous": self.previous and (build_id_of(self.previous) or self.previous),
            "steps": [{"name": one.name, "seconds": round(one.seconds, 3), "what": one.what} for one in self.steps],
            "seconds": round(sum(one.seconds for one in self.steps), 3),
            "pruned": [build_id_of(one) or one for one in self.pruned],
        }

    def text(self) -> str:
        """Return it as lines for people: each step's time and its share of the whole."""
        total = sum(one.seconds for one in self.steps) or 1.0
        lines = [f"{one.seconds:8.2f} s {one.seconds / total:5.0%}  {one.name:14} {one.what}" for one in self.steps]
        word = "live" if self.changed else "live already, nothing was changed"
        lines.append(f"{total:8.2f} s        {build_id_of(self.release) or self.release} is {word}")
        return "\n".join(lines)
