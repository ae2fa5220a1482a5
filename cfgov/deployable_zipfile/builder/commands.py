"""The verbs of the build side beside ``create``, and how each command line is run."""

from __future__ import annotations

import argparse
import os
from typing import Any, Callable, Dict, Iterable, Sequence

from .. import cli, inherited, signals
from ..artifact import manifests
from ..console import Console
from ..errors import BuildInputError, DeployableZipfileError, Interrupted
from . import naming, parsers, settings

# Returns the variables that a project's files read: name of the project, how it is run, files.
Variables = Callable[[str, manifests.Site, Dict[str, str]], Iterable[str]]


def run(
    command: argparse.ArgumentParser,
    arguments: Sequence[str],
    run: Callable[[argparse.Namespace, Console], None],
) -> int:
    """Parse and run one command line and return its exit code; whatever fails is one line on stderr."""
    inherited.claim()
    words = list(arguments)
    console = Console(as_json="--json" in words)
    before = signals.replace(_stop)
    try:
        parsed = command.parse_intermixed_args(words)  # options may be between the arguments
        console = Console(quiet=parsed.quiet, as_json=parsed.json)
        run(parsed, console)
        return 0
    except KeyboardInterrupt:
        error: DeployableZipfileError = Interrupted("build", "was interrupted, nothing was written", "Build again")
    except DeployableZipfileError as raised:
        error = raised
        if "--debug" in words:
            raise
    except BrokenPipeError:
        return 1  # whatever read the result has closed it
    except OSError as raised:
        error = _system_error(raised)
        if "--debug" in words:
            raise
    finally:
        cli.drop_output()
        signals.restore(before)
    console.error(error)
    return error.exit_code


def _stop(_number: int, _frame: object) -> None:
    signals.ignore()
    raise KeyboardInterrupt


def _system_error(error: OSError) -> BuildInputError:
    """Return what to say of an error of the system that no step has explained."""
    why = error.strerror or str(error)
    if not error.filename and isinstance(error, FileNotFoundError):  # os.getcwd names none
        return BuildInputError("the current folder", f"cannot be read ({why})", "Change to a folder that exists")
    return BuildInputError(error.filename or "build", why, "Free space, or look at the path")


def main_init(arguments: Sequence[str], variables: Variables) -> int:
    """Run the command line of ``deployable-zipfile init`` and return its exit code.

    Parameters:
        variables: finds those that a project's files read.
    """
    return run(parsers.init(), arguments, lambda parsed, console: _init(parsed, console, variables))


def _init(parsed: argparse.Namespace, console: Console, variables: Variables) -> None:
    from . import init

    found = init.look(parsed.folder)
    found = found._replace(variables=tuple(sorted(variables(found.name, found.site, found.files))))
    texts = {"pyproject.toml": init.section(found)}
    if parsed.workflow:
        texts[init.WORKFLOW] = init.workflow(found)
    if parsed.print:
        document: Dict[str, Any] = {"files": texts}
        console.result(document, "\n".join(texts.values()).rstrip("\n"))
        return
    for line in init.described(found):
        console.step(line)
    written = init.write(found, parsed.workflow)
    lines = [f"Wrote {path}" for path in written]
    if found.requirements:
        lines.append("Next: read it, commit it, and run deployable-zipfile create")
    else:
        lines.append("Next: set requirements in it, commit it, and run deployable-zipfile create")
    console.outcome({"written": written}, "\n".join(lines))


def main_environment(arguments: Sequence[str]) -> int:
    """Run the command line of ``deployable-zipfile environment`` and return its exit code."""
    return run(parsers.environment(), arguments, _environment)


def _environment(parsed: argparse.Namespace, console: Console) -> None:
    found = settings.read(parsed.folder)
    contract = settings.environment(found.path)
    if contract is None:
        what = found.path or os.path.join(parsed.folder, "pyproject.toml")
        raise BuildInputError(what, "declares no variables", "See docs/build.md; init --print proposes them")
    if parsed.schema:
        name = naming.project_name(found.values.get("project") or found.folder, found.values.get("name", ""))
        text = contract.to_json(name).decode("ascii")
    else:
        text = contract.example(parsed.example)
    console.result({"schema" if parsed.schema else "environment_example": text}, text.rstrip("\n"))


def main_sign(arguments: Sequence[str]) -> int:
    """Run the command line of ``deployable-zipfile sign`` and return its exit code."""
    return run(parsers.sign(), arguments, _sign)


def _sign(parsed: argparse.Namespace, console: Console) -> None:
    from . import sign

    done = sign.sign(parsed.artifact, parsed.key, parsed.format)
    console.result(done._asdict(), f"Wrote {done.path}: {done.size} bytes, for {done.form}")
