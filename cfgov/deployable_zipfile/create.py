#!/usr/bin/env python3
"""Command line of the build side: pack a Django site and all its dependencies into one self-extracting zip.

    create.py PROJECT_PATH REQUIREMENTS_FILE ZIPFILE_BASENAME [--extra-static DIR]... [--extra-python PY]...

The story of a build is told in ``builder/build.py``. This script holds no more than its start: Python compiles a script
every time it is run.
"""

from __future__ import annotations

import gc
import os
import sys

if __name__ == "__main__" and not __package__:
    # Run as a script: become part of the package without putting its folder on sys.path, where modules named as
    # ours (wheel, errors) would hide others.
    # As importlib.util would, which takes longer to load.
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import SourceFileLoader

    _FOLDER = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.realpath(path or os.curdir) != _FOLDER]
    _LOADER = SourceFileLoader("deployable_zipfile", os.path.join(_FOLDER, "__init__.py"))
    _SPEC = ModuleSpec("deployable_zipfile", _LOADER, origin=_LOADER.path, is_package=True)
    _SPEC.submodule_search_locations = [_FOLDER]
    _PACKAGE = type(sys)("deployable_zipfile")
    _PACKAGE.__file__, _PACKAGE.__path__, _PACKAGE.__spec__ = _LOADER.path, [_FOLDER], _SPEC
    _PACKAGE.__package__ = "deployable_zipfile"
    sys.modules["deployable_zipfile"] = _PACKAGE
    _LOADER.exec_module(_PACKAGE)
    __package__ = "deployable_zipfile"

if __name__ == "__main__":
    gc.disable()  # what modules make is no garbage, and looking for it takes a tenth of a start
    from deployable_zipfile import signals as early
    from deployable_zipfile.builder import unchanged as record

    early.end_quietly(early.OF_A_BUILD)
    if record.repeated(sys.argv[1:]):
        sys.exit(0)

import importlib.util

from .errors import BuildInputError

try:
    for _needed in ("cyclonedx", "elftools", "packaging", "rich"):  # imported when they are needed
        if importlib.util.find_spec(_needed) is None:
            raise ModuleNotFoundError(name=_needed)
    from .builder.build import again, build, create_zipfile, main
except ModuleNotFoundError as _error:
    if (_error.name or "").startswith("deployable_zipfile"):
        raise
    print(
        f"error: {_error.name}: needed to build and not installed. Run pip install -r requirements/build.txt.",
        file=sys.stderr,
    )
    sys.exit(BuildInputError.exit_code)

__all__ = ["again", "build", "create_zipfile", "main"]

if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    sys.exit(main())
