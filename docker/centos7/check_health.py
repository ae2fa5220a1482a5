#!/usr/bin/env python3
"""Request the first page of the site in this container, on its port and by a host name that it accepts.

check_health.py ENVIRONMENT_FILE
"""

import http.client
import json
import os
import sys

TIMEOUT = 20  # seconds; engines give up after 30


def read(path):
    """Return what the site was told, from its environment file, or from the container's own variables without one."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return os.environ


def host_of(allowed):
    """Return a host name that Django's ALLOWED_HOSTS, as JSON text, accepts; localhost where it accepts every name."""
    try:
        names = json.loads(allowed.replace('\\"', '"')) if allowed else []
    except ValueError:
        names = allowed.split(",")
    known = [str(name).strip().lstrip(".") for name in names if str(name).strip() not in ("", "*")]
    return "localhost" if not known or "localhost" in known else known[0]


def main(argv):
    """Send one request; a status below 400 is healthy."""
    try:
        environment = read(argv[1])
        port = int(environment.get("APACHE_PORT", "80"))
        host = host_of(environment.get("ALLOWED_HOSTS", ""))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", "/", headers={"Host": host, "User-Agent": "healthcheck"})
        answer = connection.getresponse()
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        sys.exit(f"error: the site: does not answer: {error or type(error).__name__}. Look at the container's log")
    if answer.status >= 400:
        why = f"answers {answer.status} for host {host} on port {port}"
        sys.exit(f"error: the site: {why}. Look at the container's log")
    print(f"{answer.status} for host {host} on port {port}")


if __name__ == "__main__":
    main(sys.argv)
