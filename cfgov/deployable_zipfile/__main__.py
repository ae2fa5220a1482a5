"""``python -m deployable_zipfile VERB ...`` and the console script ``deployable-zipfile``."""

from __future__ import annotations

import argparse
import sys
from typing import List, Optional

from . import __version__

_EPILOG = """
create packs a project; every other verb is one of the artifact's own (run it on an artifact: verify ARTIFACT.zip):

  deployable-zipfile create mysite requirements.txt mysite_build
  ./mysite_build.zip -d /srv/mysite
"""


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one verb and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["create"]:
        from . import create

        return create.main(arguments[1:], prog="deployable-zipfile create")
    if arguments and not arguments[0].startswith("-"):
        from . import extract

        return extract.main(arguments)
    parser = argparse.ArgumentParser(
        prog="deployable-zipfile",
        description="Pack a Django site and all its dependencies into one self-extracting zip, and unpack it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "verb", metavar="VERB", help="create, or a verb of the artifact: check, verify, info, list, ..."
    )
    parser.add_argument("--version", action="version", version=f"deployable-zipfile {__version__}")
    parser.parse_args(arguments)
    return 2


if __name__ == "__main__":
    sys.exit(main())
