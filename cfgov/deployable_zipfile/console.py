"""What a command line says: progress and warnings to people on stderr, the result on stdout.

Only ``extract.py`` and ``create.py`` make a :class:`Console`; library code is handed one.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any, Dict, Optional, Sequence, TextIO, Union

from .errors import DeployableZipfileError, masked, printable


class Console:
    """Where messages go.

    Parameters:
        quiet: say nothing but warnings, errors and the result.
        as_json: print the result as one JSON object instead of text.
        out, err: streams; the process's own when left out.

    A message that stderr does not take is dropped: nobody is left to be told. A result that stdout does not take is
    an error, for whoever asked believes to have it.
    """

    def __init__(
        self, quiet: bool = False, as_json: bool = False, out: Optional[TextIO] = None, err: Optional[TextIO] = None
    ) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self._out: Optional[TextIO] = out or sys.stdout  # None when the process was started without
        self._err: Optional[TextIO] = err or sys.stderr

    def step(self, text: str) -> None:
        """Say what is being done now."""
        if not self.quiet:
            self._say(printable(text))

    def warn(self, text: str) -> None:
        """Say what should be looked at, also when quiet."""
        self._say(f"warning: {printable(text)}")

    def error(self, error: DeployableZipfileError) -> None:
        """Print the one line of *error*; as JSON on stdout too, when JSON was asked for."""
        if self.as_json:
            document = {"ok": False, "exit_code": error.exit_code, "error": error_document(error)}
            with contextlib.suppress(OSError, DeployableZipfileError):  # the line on stderr follows in any case
                self._print(json.dumps(document))
        self._say(f"error: {error}")

    def result(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> None:
        """Print the outcome: *document* (with ``"ok": true`` unless it says otherwise) or *text*.

        Parameters:
            document: for ``--json``.
            text: for people. Its lines are escaped as errors are; given as a sequence, so are newlines inside them.

        Raises:
            BrokenPipeError: the reader is gone.
            DeployableZipfileError: stdout is closed or does not take it.
        """
        if self.as_json:
            # DEL is the one character that acts and that JSON in ASCII does not escape.
            self._print(json.dumps(dict({"ok": True}, **document), sort_keys=True).replace("\x7f", "\\u007f"))
            return
        lines = text.split("\n") if isinstance(text, str) else text
        if text:
            self._print("\n".join(printable(line) for line in lines))

    def outcome(self, document: Dict[str, Any], text: Union[str, Sequence[str]]) -> None:
        """Print what was done. That nobody takes it is a warning: it is done all the same."""
        try:
            self.result(document, text)
        except (OSError, DeployableZipfileError) as error:
            why = error.strerror if isinstance(error, OSError) else error.why
            self.warn(f"everything is done, but the result could not be written ({why})")

    def _say(self, text: str) -> None:
        if self._err is not None:
            with contextlib.suppress(OSError):
                print(_encodable(masked(text), self._err), file=self._err, flush=True)

    def _print(self, text: str) -> None:
        reason = "it is closed"
        try:
            if self._out is not None:
                print(_encodable(masked(text), self._out), file=self._out, flush=True)
                return
        except BrokenPipeError:
            raise
        except OSError as error:
            reason = error.strerror or str(error)
        raise DeployableZipfileError("the result", f"cannot be written to stdout ({reason})", "Give it another place")


def _encodable(text: str, stream: TextIO) -> str:
    """Return *text* with escapes for what the encoding of *stream* lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def error_document(error: DeployableZipfileError) -> Dict[str, str]:
    """Return the parts of *error* for JSON output."""
    return {"kind": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}
