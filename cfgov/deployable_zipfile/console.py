"""What a command line says: progress and warnings to people on stderr, the result on stdout.

Only ``extract.py`` and ``create.py`` make a :class:`Console`; library code is handed one.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, Optional, TextIO

from .errors import DeployableZipfileError, printable


class Console:
    """Where messages go.

    Parameters:
        quiet: say nothing but warnings, errors and the result.
        as_json: print the result as one JSON object instead of text.
        out, err: streams; the process's own when left out.
    """

    def __init__(
        self, quiet: bool = False, as_json: bool = False, out: Optional[TextIO] = None, err: Optional[TextIO] = None
    ) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    def step(self, text: str) -> None:
        """Say what is being done now."""
        if not self.quiet:
            print(printable(text), file=self._err, flush=True)

    def warn(self, text: str) -> None:
        """Say what should be looked at, also when quiet."""
        print(f"warning: {printable(text)}", file=self._err, flush=True)

    def error(self, error: DeployableZipfileError) -> None:
        """Print the one line of *error*; as JSON on stdout too, when JSON was asked for."""
        if self.as_json:
            self._print(json.dumps({"ok": False, "exit_code": error.exit_code, "error": error_document(error)}))
        print(f"error: {error}", file=self._err, flush=True)

    def result(self, document: Dict[str, Any], text: str) -> None:
        """Print the outcome: *document* (with ``"ok": true`` unless it says otherwise) or *text*."""
        if self.as_json:
            self._print(json.dumps(dict({"ok": True}, **document), sort_keys=True))
        elif text:
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def error_document(error: DeployableZipfileError) -> Dict[str, str]:
    """Return the parts of *error* for JSON output."""
    return {"kind": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
