"""``python -m deployable_zipfile VERB ...`` and the console script ``deployable-zipfile``."""

from __future__ import annotations

import os
import stat
import sys
from typing import List, Optional, Tuple

from . import __version__, signals

_BUILD_VERBS = ("create", "init", "environment", "sign")
_VIEWS = ("inspect", "diff", "report")
_HELP = """usage: deployable-zipfile VERB ...

Pack a Django, WSGI or ASGI project and all its dependencies into one self-extracting zip, and install it.

  create       pack a project
  init         inspect a project and write its settings
  environment  print an example of environment.json, or its schema
  sign         sign an artifact
  inspect      show what an artifact contains
  diff         show how two artifacts differ
  report       write an HTML page that shows what an artifact contains and what changed
{verbs}
The verbs in the last line are those of an artifact: deployable-zipfile verify ARTIFACT.zip is the same as
./ARTIFACT.zip verify. VERB --help explains each verb; --version prints the version.

  deployable-zipfile create mysite requirements.txt mysite_build
  ./mysite_build.zip -d /srv/mysite
"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one verb and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    is_build = words[:1] != [] and words[0] in _BUILD_VERBS
    if arguments is None:
        signals.end_quietly(signals.OF_A_BUILD if is_build else signals.OF_A_RUN)
    if is_build:
        return _build(words[0], words[1:])
    if words and words[0] in _VIEWS:
        from .views import commands

        return commands.main(words)
    from . import extract

    if words[:1] == ["--version"]:
        return _said(f"deployable-zipfile {__version__}")
    if words[:1] in (["-h"], ["--help"]):
        return _said(_HELP.format(verbs=_list_of_verbs(extract.VERBS)))
    from .console import Console
    from .errors import UsageError

    known = [*_BUILD_VERBS, *_VIEWS, *extract.VERBS]
    try:
        if not words:
            raise UsageError("the command line", "a verb is missing", f"Give one of {', '.join(known)}")
        if words[0] in extract.VERBS:
            archive, rest = _artifact_of(words[0], words[1:])
            return extract.main([words[0], *rest], archive)
        if "-d" in words or "--destination" in words or _is_artifact(words[0]):
            return extract.main(words)
        raise UsageError(f"the verb {words[0]!r}", "not known", f"Give one of {', '.join(known)}")
    except UsageError as error:
        Console(as_json="--json" in words).error(error)
        return error.exit_code


def _build(verb: str, words: List[str]) -> int:
    if verb == "create":
        from .builder import unchanged

        if unchanged.repeated(words):
            return 0
    from . import create

    if verb == "create":
        return create.main(words, prog="deployable-zipfile create")
    from .builder import commands

    if verb == "init":
        from .views import sources

        return commands.main_init(words, lambda *about: sources.of_files(*about).environment)
    return {"environment": commands.main_environment, "sign": commands.main_sign}[verb](words)


def _artifact_of(verb: str, words: List[str]) -> Tuple[str, List[str]]:
    """Take the artifact's path out of the words after *verb*: the first that looks like one, else the first word.

    The verbs that only look at a root need none.
    """
    from .errors import UsageError
    from .extract import OF_A_ROOT, verb_parsers

    places = verb_parsers("", [verb])[verb].positions(words)
    for looks in (_is_artifact, os.path.isfile, *(() if verb in OF_A_ROOT else (bool,))):
        for number in places:
            if looks(words[number]):
                return words[number], words[:number] + words[number + 1 :]
    if {"-h", "--help"} & set(words):
        return "ARTIFACT", words
    if verb in OF_A_ROOT:
        return "deployable-zipfile", words
    raise UsageError(
        f"deployable-zipfile {verb}", "an artifact is missing", f"Run: deployable-zipfile {verb} ARTIFACT.zip"
    )


def _is_artifact(path: str) -> bool:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # a FIFO has no end
            return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(2) == b"#!"
    except OSError:
        return path.endswith(".zip")


def _list_of_verbs(verbs: Tuple[str, ...]) -> str:
    return f"  {', '.join(verbs)}\n"


def _said(text: str) -> int:
    print(text.rstrip("\n"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
