#!/usr/bin/env bash
# Builds the artifact of the checkout that is mounted at /cfgov and leaves it there, owned by the checkout's owner.
#
#   docker run -v $(pwd):/cfgov IMAGE [OPTION OF create.py]...
#
# Settings of pip and proxies come with `docker run -e`. What was downloaded and compiled is kept in
# /var/cache/cfgov-artifact: mount a volume there and the next build needs no network.
set -eo pipefail

mount=/cfgov
cache=/var/cache/cfgov-artifact
here=$(dirname -- "$(readlink -f -- "$0")")
# shellcheck source=docker/centos7/platform.sh
. "$here/platform.sh"

stop() { # CODE MESSAGE
    echo "error: $2" >&2
    exit "$1"
}

check_mount() {
    [[ -d $mount ]] ||
        stop 7 "$mount: is missing. Did you forget to mount the Docker volume? Add -v \$(pwd):$mount to docker run"
    local file
    for file in cfgov/deployable_zipfile/create.py requirements/build.txt requirements/deployment.txt; do
        [[ -f $mount/$file ]] ||
            stop 7 "$mount/$file: is missing. Did you forget to mount the Docker volume? Run docker from the checkout's root"
    done
}

# The owner of the checkout builds, not root: git trusts the checkout, and the result belongs to its owner.
as_owner() { "$python" "$here/run_as.py" "$mount" "$@"; }

make_folders() {
    home=$(mktemp -d 2>/dev/null) ||
        stop 7 "/tmp: cannot be written. With --read-only add --tmpfs /tmp:exec to docker run"
    # A container that was started as a user of its own may not write there, and then keeps nothing.
    if ! mkdir -p "$cache" 2>/dev/null || ! [[ -w $cache ]]; then cache=$home/cache; fi
    mkdir -p "$cache"
    local user=$EUID fix="Mount it without :ro"
    if ((EUID == 0)); then
        user=$(stat -c %u "$mount")
        chown "$(stat -c %u:%g "$mount")" "$home" "$cache"
    elif ((EUID != $(stat -c %u "$mount"))); then
        fix="It belongs to user $(stat -c %u "$mount"); remove --user from docker run"
    fi
    as_owner test -w "$mount" ||
        stop 7 "$mount: cannot be written by user $user. $fix"
    as_owner test -w "$cache" ||
        stop 7 "$cache: cannot be written by user $user. Mount an empty volume there"
    export HOME=$home XDG_CACHE_HOME=$cache PIP_CACHE_DIR=$cache/pip PYTHONDONTWRITEBYTECODE=1
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
    # The owner has no entry in this image's list of users, and EL7's git refuses to clone for a user without a name.
    export GIT_COMMITTER_NAME=${GIT_COMMITTER_NAME:-cfgov} GIT_COMMITTER_EMAIL=${GIT_COMMITTER_EMAIL:-cfgov@localhost}
}

# One virtualenv for each content of the two locks and each Python, kept in the cache.
make_tools() {
    local locks=("$here/tools.txt" "$mount/requirements/build.txt") digest
    digest=$({ "$python" -VV && cat "${locks[@]}"; } | sha256sum)
    tools=$cache/tools-${digest:0:16}
    as_owner touch "$cache/lock"
    exec 9<"$cache/lock"
    flock 9
    if [[ ! -f $tools/complete ]]; then
        echo "builder: installing the build tools"
        rm -rf "$tools"
        as_owner "$python" -m venv "$tools"
        local lock
        for lock in "${locks[@]}"; do
            as_owner "$tools/bin/python" -m pip install --quiet --require-hashes -r "$lock" ||
                stop 7 "build tools: pip could not install $lock. Look above; behind a proxy pass its settings with docker run -e"
        done
        as_owner touch "$tools/complete"
    fi
    exec 9<&-
}

check_mount
# shellcheck disable=SC2046 # scripts' paths are words
platform_enable $(platform_get enable_scripts)
platform_trust
python=$(platform_get python)
make_folders
# Engines that map users may show the checkout as another's; git refuses that unless told.
as_owner git config --global --add safe.directory "$mount"
make_tools
cd "$mount"
exec "$python" "$here/run_as.py" "$mount" "$tools/bin/python" cfgov/deployable_zipfile/create.py \
    "$mount/cfgov" "$mount/requirements/deployment.txt" "$mount/cfgov_current_build" \
    --extra-static "$mount/static.in/cfgov-fonts" --shebang "$(platform_get shebang)" "$@"
