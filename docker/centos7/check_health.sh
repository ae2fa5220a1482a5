#!/usr/bin/env bash
# Succeeds when the site answers on the port and for a host that it is configured for: the container's HEALTHCHECK.
set -eo pipefail
# shellcheck source=docker/centos7/platform.sh
. "$(dirname -- "$(readlink -f -- "$0")")/platform.sh"
# shellcheck disable=SC2046 # scripts' paths are words
platform_enable $(platform_get enable_scripts)
python=$(platform_get python)
here=$(dirname -- "$(readlink -f -- "$0")")
exec "$python" -I "$here/check_health.py" "${CFGOV_CURRENT:?}/environment.json"
