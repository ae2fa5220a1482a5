"""The parts of every command line: the parser, the types of its arguments, and the handling of errors."""

from __future__ import annotations

import argparse
import errno
import functools
import os
import re
import signal
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NoReturn, Sequence, cast

from . import inherited, signals
from .console import Console, columns_of
from .errors import ArtifactError, DeployableZipfileError, Interrupted, UsageError, printable

if TYPE_CHECKING:
    from pathlib import Path

_MAX_DIGITS = 20  # Python refuses to convert very long ones
MAX_SECONDS = 86_400  # one day
MAX_DAYS = 3650
_UNITS = {"d": 86_400, "": 86_400, "h": 3600, "m": 60, "s": 1}


class Formatter(argparse.HelpFormatter):
    """Finds the width of the terminal itself: argparse imports shutil to do so, for every option that is added."""

    def __init__(self, prog: str, *options: Any, **more: Any) -> None:
        if not options:
            more["width"] = more.get("width") or _columns() - 2
        super().__init__(prog, *options, **more)


@functools.lru_cache(maxsize=None)
def _columns() -> int:
    """Return what ``shutil.get_terminal_size`` does: COLUMNS, else the width of the terminal of stdout, else 80."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isascii() and wanted.isdigit() and len(wanted) <= _MAX_DIGITS and int(wanted) > 0:
        return int(wanted)
    return columns_of(sys.__stdout__)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in the one line that every error has."""

    def __init__(self, prog: str = "", **options: Any) -> None:
        options.setdefault("formatter_class", Formatter)
        super().__init__(prog=printable(prog), allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's *message*."""
        raise UsageError("the command line", message, f"{self._meant(message)}Run: {self.prog} --help")

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, which up to Python 3.11 first formats a usage for errors; ours have none."""
        words = sys.argv[1:] if args is None else list(args)
        before = self.usage
        if before is None and not any(_may_be_help(word) for word in words):
            self.usage = ""
        try:
            return super().parse_intermixed_args(words, namespace)
        finally:
            self.usage = before

    def positions(self, words: Sequence[str]) -> List[int]:
        """Return where in *words* is one that is neither an option nor the value of one."""
        options = self._option_string_actions
        values = {number + 1 for number, word in enumerate(words) if word in options and options[word].nargs is None}
        return [number for number, word in enumerate(words) if not word.startswith("-") and number not in values]

    def _meant(self, message: str) -> str:
        """Return which options are like those that *message* does not know, as a question, "" for none."""
        start, _, unknown = message.partition(": ")
        if start != "unrecognized arguments":
            return ""
        import difflib

        options = [option for option in self._option_string_actions if option.startswith("--")]
        words = [word.partition("=")[0] for word in unknown.split() if word.startswith("--")]
        meant = [near for word in words for near in difflib.get_close_matches(word, options, 1, 0.75)]
        return f"Did you mean {' '.join(meant)}? " if meant else ""


def _may_be_help(word: str) -> bool:
    return word == "--help" or (word[:1] == "-" and word[:2] != "--" and "h" in word)


class VerbParser(Parser):
    """The parser of a verb. It refuses what it does not know, where argparse leaves that to the parser above."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does; raise UsageError for what is left."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def add_verb(verbs: Any, name: str, about: str, parents: Sequence[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the verb *name* to *verbs*, which ``add_subparsers`` returned, and return its parser.

    Parameters:
        about: what the verb does, for the list of verbs and for its own help.
        parents: parsers of the options that it shares with others.
    """
    description = f"{about[0].upper()}{about[1:]}."
    return cast(argparse.ArgumentParser, verbs.add_parser(name, parents=parents, help=about, description=description))


def add_base_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names what a delta is completed from."""
    about = "complete a delta from this installation, store or artifact of the old build"
    parser.add_argument("--base", action="append", type=named, default=[], metavar="PATH", help=about)


def add_signature_options(parser: Any) -> None:
    """Add the options that say how an artifact must be signed to a parser or a group of one."""
    parser.add_argument(
        "--signature", type=named, metavar="FILE", help="signature of the artifact (default: ARTIFACT.sig)"
    )
    parser.add_argument(
        "--allowed-signers",
        type=named,
        metavar="FILE",
        help="require a signature by one of these: an allowed signers file of SSH, or PEM public keys",
    )
    parser.add_argument("--revoked-keys", type=named, metavar="FILE", help="revoked SSH keys (a KRL)")


def signature_options(arguments: argparse.Namespace) -> List[str]:
    """Return the values of these options: signature, allowed signers and revoked keys, "" for each not given."""
    return [getattr(arguments, name, None) or "" for name in ("signature", "allowed_signers", "revoked_keys")]


def integer(least: int, most: int) -> Callable[[str], int]:
    """Return the type of an argument that is an integer from *least* to *most*, written in digits."""

    def parsed(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
        if not digits or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be an integer from {least} to {most}")
        return int(text)

    return parsed


workers = integer(0, 64)  # processes, 0: one per core
count = integer(1, 1_000_000)


def named(text: str) -> str:
    """Return the path or name *text*; an empty one is a variable that was not set, and means nothing."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def path(text: str) -> "Path":
    """Return *text* as a path; an empty one would be the current folder."""
    from pathlib import Path

    return Path(named(text))


def seconds(text: str) -> float:
    """Return a time in seconds, at most one day."""
    return _number(text, MAX_SECONDS, "seconds")


def timeout(text: str) -> float:
    """Return a time in seconds after which something is given up: more than none, at most one day."""
    value = _number(text, MAX_SECONDS, "seconds")
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds greater than 0")
    return value


def days(text: str) -> float:
    """Return a number of days, at most ten years."""
    return _number(text, MAX_DAYS, "days")


def _number(text: str, most: int, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of {unit} from 0 to {most}")
    return value


def age(text: str) -> float:
    """Return an age such as 30d, 12h, 90m or 60s in seconds; a bare number is in days."""
    match = re.match(r"([0-9]{1,6})([dhms]?)\Z", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} must be an age such as 30d, 12h, 90m or 60s")
    return float(match.group(1)) * _UNITS[match.group(2)]


def guarded(words: Sequence[str], run: Callable[[], int]) -> int:
    """Run a command line and return its exit code, whatever happens in it.

    The state of the process is made its own first (:func:`process.claim`). Signals that ask it to end become an
    exception, so that nothing is left behind; every exception becomes one line and the exit code of its kind.

    Parameters:
        words: its arguments; ``--json`` among them makes errors JSON, ``--debug`` shows their traceback.
        run: does the work and returns the exit code.
    """
    inherited.claim()
    before = _catch_signals()
    try:
        return _ended(words, run)
    except Interrupted as error:  # in the moment before the run began or after it ended
        Console().error(error)
        return error.exit_code
    finally:
        signals.restore(before)


def _ended(words: Sequence[str], run: Callable[[], int]) -> int:
    try:
        return run()
    except BrokenPipeError:
        return 1  # whatever read the result has closed it
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words:
            import traceback

            traceback.print_exc()
        found = failure(error)
        Console(as_json="--json" in words).error(found)
        return found.exit_code
    finally:
        drop_output()


def failure(error: BaseException) -> DeployableZipfileError:
    """Return the error to print for an exception of any kind."""
    if isinstance(error, DeployableZipfileError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("this run", "was interrupted", "Run it again")
    if isinstance(error, OSError):
        return _unforeseen(error)
    if isinstance(error, MemoryError):
        return DeployableZipfileError("this run", "there is not enough memory", "Use --workers 1")
    damaged = isinstance(error, (ImportError, EOFError, SyntaxError)) or type(error).__module__ == "zlib"
    if damaged or _is_loading(error):
        why = f"cannot load its own code ({type(error).__name__}: {error})"
        return ArtifactError("this artifact", why, "Copy it again")
    what = f"met a defect ({type(error).__name__}: {error})"
    return DeployableZipfileError("this run", what, "Run it with --debug and report it")


def _is_loading(error: BaseException) -> bool:
    """Tell whether a module was being loaded: from a file that nobody has verified, or that changed since the start."""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "<module>" or code.co_filename.startswith(("<frozen importlib", "<frozen zipimport")):
            return True
        trace = trace.tb_next
    return False


def _catch_signals() -> Dict[int, Any]:
    """Turn the signals that ask a process to end into an exception, so that nothing is left behind.

    Returns the handlers that were replaced.
    """

    def stop(number: int, _: object) -> None:
        signals.ignore()
        raise Interrupted("this run", f"was stopped by {signal.Signals(number).name}", "Run it again")

    return signals.replace(stop)


def _unforeseen(error: OSError) -> DeployableZipfileError:
    what = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "the system"
    if error.errno == errno.EMFILE:
        return DeployableZipfileError(what, "too many files are open", "Raise the limit (ulimit -n)")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DeployableZipfileError(what, str(error.strerror), "Free space or inodes, or raise the quota")
    if error.errno == errno.EIO:
        return ArtifactError(what, "the disk could not be read", "Check the disk")
    return DeployableZipfileError(what, f"{error.strerror or error}", "Check the system's limits and permissions")


def drop_output() -> None:
    """Throw away what a stream did not take: the interpreter would complain of it once more, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
