#!/usr/bin/env python3
"""Run a command as another user, so that root makes as little as possible.

    run_as.py OWNER COMMAND [ARGUMENT]...

OWNER is a user's name, or a path whose owner is meant. Unless root runs this, the command runs as the caller.
"""

import os
import pwd
import sys


def owner(text):
    """Return (user id, group id) of a user's name or of the owner of an absolute path."""
    if text.startswith("/"):
        status = os.stat(text)
        return status.st_uid, status.st_gid
    entry = pwd.getpwnam(text)
    return entry.pw_uid, entry.pw_gid


def become(uid, gid):
    """Give up root for good: groups first, while that is still allowed (setgroups(2))."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(argv):
    """Become the owner and turn into the command."""
    if len(argv) < 3:
        sys.exit("error: run_as.py: needs an owner and a command. Give both")
    try:
        uid, gid = owner(argv[1])
    except (KeyError, OSError) as error:
        sys.exit(f"error: {argv[1]}: is neither a user nor a path here: {error}. Correct the name")
    if os.geteuid() == 0 and uid != 0:
        become(uid, gid)
    try:
        os.execvp(argv[2], argv[2:])
    except OSError as error:
        sys.exit(f"error: {argv[2]}: cannot be run: {error.strerror}. Install it")


if __name__ == "__main__":
    main(sys.argv)
