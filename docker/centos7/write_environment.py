#!/usr/bin/env python3
"""Write environment.json from the variables that the container was started with.

    write_environment.py DESTINATION <NUL-SEPARATED-VARIABLES      (as `env -0` prints them)

Left out is what the system, the shell and the package tools set for themselves: the site gets what its operator named.
"""

import json
import os
import re
import sys

STANDARD = re.compile(
    r"(_|PATH|HOME|HOSTNAME|PWD|OLDPWD|SHLVL|SHELL|TERM|USER|LOGNAME|MAIL|TZ|LANG|LANGUAGE|container|DEBIAN_FRONTEND"
    r"|LC_.*|LD_.*|BASH_.*|PIP_.*|PYTHON.*|X_SCLS|MANPATH|INFOPATH|PKG_CONFIG_PATH|XDG_.*|DOCKER_.*"
    r"|SSL_CERT_FILE|SSL_CERT_DIR|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|(?i:(https?|ftp|all|no)_proxy))\Z"
)


def parse(block):
    """Return the variables of an `env -0` block: names end at the first "=", values may hold anything but NUL."""
    pairs = (entry.partition("=") for entry in block.split("\0") if entry)
    return {name: value for name, _, value in pairs}


def selected(variables):
    """Return the variables that are the site's, with escaped JSON values unescaped."""
    return {name: unescaped(value) for name, value in variables.items() if not STANDARD.match(name)}


def unescaped(value):
    r"""Return *value*, where a JSON list or object had every quote escaped, without these backslashes.

    Engines pass the lines of an --env-file on as they stand, and files written for programs that paste values between
    quotes hold [\"*\"]. Nothing else is touched: only text that is not JSON before and a JSON list or object after.
    """
    if '\\"' not in value or is_document(value):
        return value
    candidate = value.replace('\\"', '"')
    return candidate if is_document(candidate) else value


def is_document(value):
    """Tell whether *value* is the JSON text of a list or an object."""
    try:
        return isinstance(json.loads(value), (list, dict))
    except ValueError:
        return False


def write(path, variables):
    """Write them at *path* at once; only its owner and group can read it."""
    text = json.dumps(variables, indent=4, sort_keys=True, ensure_ascii=True) + "\n"
    scratch = path + ".partial"
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        os.fchmod(stream.fileno(), 0o640)
        stream.write(text)
    os.replace(scratch, path)


def main(argv):
    """Read standard input, write the file."""
    if len(argv) != 2:
        sys.exit("error: write_environment.py: needs one destination. Give its path")
    block = sys.stdin.buffer.read()
    try:
        variables = selected(parse(block.decode("utf-8")))
    except UnicodeDecodeError:
        sys.exit("error: environment: holds bytes that are not UTF-8. Correct the --env-file")
    write(argv[1], variables)


if __name__ == "__main__":
    main(sys.argv)
