"""What pip says becomes one line, and a number of files."""

from __future__ import annotations

from typing import List

import pytest

from deployable_zipfile.builder import pip_output

HASHES = """Collecting asgiref==3.8.1 (from -r 1.txt (line 1))
ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the versions, ...
    asgiref==3.8.1 from https://index.example.org/asgiref-3.8.1-py3-none-any.whl (from -r 1.txt (line 1)):
        Expected sha256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
             Got        3e1e3ecc849832fe52ccf2cb6686b7a55f82bb1d6aee72a58826471390335e47
"""


CONFLICT = """ERROR: Cannot install asgiref==3.0 and django==4.2 because these versions have conflicting dependencies.

The conflict is caused by:
    The user requested asgiref==3.0
    django 4.2 depends on asgiref<4 and >=3.6.0

To fix this you could try to:
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io
"""


ABSENT = """ERROR: Could not find a version that satisfies the requirement asgiref==999 (from versions: 3.7, 3.8)
ERROR: No matching distribution found for asgiref==999
"""


# Of pip, for an index that answers with 401, 403, 404, 500 or 503, or that cannot be reached with PIP_RETRIES=0.
UNKNOWN = ABSENT.replace("3.7, 3.8", "none")


INVALID = (
    """WARNING: Ignoring version 1.0 of n8 since it has invalid metadata:
Requested n8==1.0 from file:///w/n8-1.0-py3-none-any.whl has invalid metadata: .* suffix can only be used with `==`
    bp>=1.*
      ~~~~^
Please use pip<24.1 if you need to use this version.
"""
    + ABSENT
)


METADATA = """Collecting a==1
  Downloading a-1.whl.metadata (5 kB)
Collecting b==1
  Using cached b-1.whl.metadata
"""


SILENT = "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError'\n" + ABSENT


COMPILER = """Building wheels for collected packages: badc
  badc.c:1:10: fatal error: nothere.h: No such file or directory
  error: command '/usr/bin/gcc' failed with exit code 1
  ERROR: Failed building wheel for badc
Failed to build badc
error: failed-wheel-build-for-install
"""


SETUP = """  error: subprocess-exited-with-error
      RuntimeError: no way
ERROR: Failed to build 'file:///tmp/sd/bad-1.0.tar.gz' when getting requirements to build wheel
"""


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("", 0),
        ("Looking in links: /w\nCollecting a==1\n  Downloading a-1-py3-none-any.whl (5 kB)\nCollecting b==1\n", 1),
        (METADATA, 1),
        (METADATA + "Using cached a-1.whl (5 kB)\nDownloading b-1.whl (5 kB)\n", 2),
        ("Processing /w/a-1-py3-none-any.whl (from -r 1.txt)\nProcessing ./b-1.tar.gz\n", 2),
    ],
)
def test_the_output_of_a_download_tells_how_far_it_is(text: str, files: int) -> None:
    for size in (1, 7, len(text) or 1):  # of the pieces in which it arrives
        found: List[int] = []
        progress = pip_output.Progress(found.append)
        for start in range(0, len(text), size):
            progress.feed(text[start : start + size])
        assert sum(found) == files
        assert all(found)


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        (HASHES, "asgiref==3.8.1", "does not match the locked hash: expected 2d711642b726..., found 3e1e3ecc8498..."),
        (
            CONFLICT,
            "requirements",
            "contradict each other: The user requested asgiref==3.0; django 4.2 depends on asgiref<4 and >=3.6.0",
        ),
        (ABSENT, "asgiref==999", "no version of it fits this Python and platform on the package index"),
        (
            UNKNOWN,
            "asgiref==999",
            "the package index has no version of it that fits this Python and platform, or refuses access",
        ),
        (
            f"Looking in indexes: https://a.corp/simple, https://b.corp/simple\n{UNKNOWN}",
            "asgiref==999",
            "the package index (https://a.corp/simple, https://b.corp/simple) has no version of it that",
        ),
        (INVALID, "asgiref==999", "pip ignores its file, whose metadata is invalid (.* suffix can only be used with"),
        (SILENT, "asgiref==999", "cannot be fetched: the package index does not answer"),
        (COMPILER, "badc", "cannot be built from its sdist (badc.c:1:10: fatal error: nothere.h: No such file"),
        (SETUP, "bad-1.0.tar.gz", "cannot be built from its sdist (RuntimeError: no way)"),
        ("ERROR: Something new\n", "pip download", "Something new"),
        (
            "ERROR: a.whl is not a supported wheel on this platform.\n",
            "a.whl",
            "does not run on this Python and platform",
        ),
        (
            "ERROR: gp @ git+x from git+x#subdirectory=n does not appear to be a Python project: neither 'setup.py'\n",
            "gp",
            "has neither pyproject.toml nor setup.py",
        ),
        (
            "Configuration file could not be loaded.\nFile contains no section headers.\nfile: 'a.conf', line: 1\n",
            "pip's configuration",
            "cannot be read (File contains no section headers. file: 'a.conf', line: 1)",
        ),
        ("ERROR: Exception:\nTraceback ...\n  File\nOSError: [Errno 5] x\n", "pip download", "OSError: [Errno 5] x"),
        (
            "Discarding x: Requested pj from x has inconsistent name: expected 'other', but metadata has 'pj'\nERROR",
            "other",
            "is not the name of what is there, which is pj",
        ),
        ("", "pip download", "no output"),
    ],
)
def test_what_pip_says_becomes_one_line_with_the_cause(text: str, what: str, why: str) -> None:
    failure = pip_output.explained(text, ["download"])
    assert failure.what == what
    assert why in failure.why


@pytest.mark.parametrize("said_by", ["PIP_NO_INDEX", "--wheelhouse", "no-index in /etc/pip.conf"])
def test_where_no_index_may_be_used_that_is_the_reason(said_by: str) -> None:
    failure = pip_output.explained(ABSENT, ["download"], said_by)
    assert failure.why == f"cannot be found: the package index is not used ({said_by}), and nothing names another place"
    failure = pip_output.explained("Looking in links: /w, /x\n" + ABSENT, ["download"], said_by)
    assert failure.why.startswith("no file for this Python and platform in /w, /x, and the package index is not used")
    assert failure.not_found
    assert pip_output.explained(HASHES, ["download"], said_by) == pip_output.explained(HASHES, ["download"])
