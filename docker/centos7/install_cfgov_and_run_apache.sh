#!/usr/bin/env bash
# Installs the artifact of the checkout that is mounted at /cfgov as a server would, then serves it in the foreground.
#
#   docker run -it -v $(pwd):/cfgov:ro -p 8000:80 --env-file docker/centos7/test.env IMAGE
#
# Needs no network. Ends within seconds of SIGTERM, after the requests under way; ends at once when anything fails.
set -eo pipefail

# What the container was started with, before any script of the system adds to it; read below.
exec 8< <(env -0)

artifact=/cfgov/cfgov_current_build.zip
here=$(dirname -- "$(readlink -f -- "$0")")
grace=6 # seconds for requests under way when told to stop; engines kill after 10
# shellcheck source=docker/centos7/platform.sh
. "$here/platform.sh"

stop() { # CODE MESSAGE
    echo "error: $2" >&2
    exit "$1"
}

# A shell that waits for a program in the foreground hears no signal; for one in the background it does.
step() {
    "$@" &
    child=$!
    local code=0
    wait "$child" || code=$?
    child=
    return "$code"
}

# shellcheck disable=SC2329 # called by the trap
interrupted() {
    if [[ -n ${child:-} ]]; then kill -TERM "$child" 2>/dev/null || true; fi
    exit 143
}

# Only root can install, hand over to the site's user and listen on port 80.
check_container() {
    local folder
    ((EUID == 0)) || stop 4 "user $EUID: cannot install the site. Remove --user from docker run; the site itself runs as APACHE_USER"
    if [[ -e $CFGOV_PATH && ! -d $CFGOV_PATH ]]; then
        stop 2 "CFGOV_PATH: $CFGOV_PATH is not a folder. Name one, or a path that does not exist"
    fi
    for folder in "$CFGOV_PATH" "$(platform_get run_dir)" /tmp; do
        if ! mkdir -p "$folder" 2>/dev/null || ! touch "$folder/.probe" 2>/dev/null; then
            stop 5 "$folder: cannot be written. With --read-only add --tmpfs $folder:exec to docker run"
        fi
        rm -f "$folder/.probe"
    done
}

check_settings() {
    local name group
    for name in CFGOV_PATH CFGOV_CURRENT STATIC_PATH APACHE_SERVER_ROOT APACHE_PORT APACHE_PROCESS_COUNT \
        APACHE_USER APACHE_GROUP ERROR_LOG ACCESS_LOG LIMIT_REQUEST_BODY; do
        [[ -n ${!name} ]] || stop 2 "$name: is not set. Add --env-file docker/centos7/test.env to docker run"
    done
    for name in CFGOV_PATH CFGOV_CURRENT STATIC_PATH APACHE_SERVER_ROOT; do
        [[ ${!name} == /* ]] || stop 2 "$name: must be an absolute path. Correct it in the --env-file"
    done
    id "$APACHE_USER" >/dev/null 2>&1 || stop 2 "APACHE_USER: no user $APACHE_USER in this image. Name one that exists"
    group=$(getent group "$APACHE_GROUP") || stop 2 "APACHE_GROUP: no group $APACHE_GROUP in this image. Name one that exists"
    apache_gid=$(cut -d: -f3 <<<"$group")
    check_number APACHE_PORT 1 65535
    check_number APACHE_PROCESS_COUNT 1 1000
    check_number LIMIT_REQUEST_BODY 0 2147483647
    check_log ERROR_LOG
    check_log ACCESS_LOG
    if [[ $DATABASE_URL == sqlite:///"$CFGOV_CURRENT"/* || $MEDIA_ROOT == "$CFGOV_CURRENT"/* ]]; then
        stop 2 "DATABASE_URL, MEDIA_ROOT: in $CFGOV_CURRENT only root can write. Name a path below $data"
    fi
    # The web server drops directives whose value is empty with an error that names no variable.
    export APACHE_STATUS_ALLOW_FROM=${APACHE_STATUS_ALLOW_FROM:-127.0.0.1 ::1}
    export APACHE_HTTPS_FORWARDED_HOST APACHE_UPLOADS_F_ALIAS SCL_PYTHON_VERSION
}

# httpd says it only after the installation. It takes a command ("|...") and a path below ServerRoot too.
check_log() { # NAME
    local folder=${!1%/*}
    if [[ ${!1} == /* && ${!1} != "$CFGOV_PATH"/* && ! -d ${folder:-/} ]]; then
        stop 2 "$1: $folder is not a folder. Name a file in one that exists, or in $data"
    fi
}

check_number() { # NAME LEAST MOST
    local value=${!1} pattern='^(0|[1-9][0-9]{0,9})$'
    if ! [[ $value =~ $pattern ]] || ((value < $2 || value > $3)); then
        stop 2 "$1: must be an integer from $2 to $3. Correct it in the --env-file"
    fi
}

check_artifact() {
    [[ -e $artifact ]] || stop 3 "$artifact: is missing. Build it (nox -s build), and add -v \$(pwd):/cfgov:ro to docker run"
    [[ -f $artifact ]] || stop 3 "$artifact: is not a file. Remove it and build the artifact (nox -s build)"
}

# Python takes a file that has lost its end for a script, or for the last wheel that is whole in it.
check_zip() {
    "$python" -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).getinfo("__main__.py")' "$artifact" 2>/dev/null ||
        stop 3 "$artifact: is not a complete artifact. Build it again (nox -s build)"
}

# The artifact itself would advise another interpreter, which an image cannot have.
check_python() {
    local wanted found
    found=$(platform_get python_version)
    wanted=$("$python" -I "$artifact" info --json | "$python" -c '
import json, sys
print(*[target["python"] for target in json.load(sys.stdin)["targets"]])') || exit 3
    [[ " $wanted " == *" $found "* ]] || stop 4 \
        "$artifact: is built for Python ${wanted// /, }, this image has $found. Build it in the builder image of the same platform"
}

# Found out here, not after minutes of work: only a container that shares its network with others can have this.
check_port() {
    "$python" -c 'import socket, sys; socket.create_server(("", int(sys.argv[1])), reuse_port=False)' "$APACHE_PORT" \
        2>/dev/null || stop 1 "APACHE_PORT: port $APACHE_PORT cannot be listened on. Is another server there? Name a free one"
}

# The release stays root's: a user who may rename something in its folder decides what root runs after a restart. The site's
# user gets folders of its own for the database, uploads and static files.
install_release() {
    mkdir -p "$CFGOV_PATH" "$STATIC_PATH" "$data"
    # The container goes when it stops, so nothing waits for the disk.
    step "$python" "$artifact" -d "$CFGOV_CURRENT" --no-sync || exit
    "$python" "$here/write_environment.py" "$CFGOV_CURRENT/environment.json" <&8
    exec 8<&-
    chown "$APACHE_USER:$apache_gid" "$STATIC_PATH" "$data"
    chown "root:$apache_gid" "$CFGOV_CURRENT/environment.json"
}

prepare_site() {
    cd "$CFGOV_CURRENT"
    step "$python" "$here/run_as.py" "$APACHE_USER" "$CFGOV_CURRENT/venv/bin/python" "$here/prepare_site.py" || exit
}

configure_httpd() {
    local modules
    modules=$(platform_get modules_dir)
    ln -sfn "$modules" "$APACHE_SERVER_ROOT/modules"
    ln -sfn "$(platform_get run_dir)" "$APACHE_SERVER_ROOT/run"
    mkdir -p "$(readlink -f "$APACHE_SERVER_ROOT/run")"
    ln -sfn wsgi.conf.venv "$APACHE_SERVER_ROOT/conf.d/wsgi.conf"
    local found=()
    mapfile -t found < <(compgen -G "$modules/$(platform_get wsgi_module)")
    ((${#found[@]} == 1)) || stop 4 "$modules: holds ${#found[@]} files $(platform_get wsgi_module). Install one mod_wsgi"
    export WSGI_MODULE=${found[0]##*/}

    # shellcheck disable=SC2046 # scripts' paths are words
    platform_enable $(platform_get httpd_enable_scripts)
    local environment
    environment=$(platform_get httpd_environment)
    if [[ -n $environment && -r $environment ]]; then
        set -a
        platform_enable "$environment"
        set +a
    fi
    "$httpd" -t -f "$configuration" ||
        stop 2 "$configuration: was refused. The line above names the directive; correct the variable that it reads"
}

# In a session of its own: a terminal that changes its size sends SIGWINCH, which the web server takes for "stop".
serve() {
    setsid "$httpd" -f "$configuration" -DFOREGROUND &
    child=$!
    trap stop_serving TERM INT
    local code=0
    while kill -0 "$child" 2>/dev/null; do
        code=0
        wait "$child" || code=$?
    done
    if [[ -n ${stopping:-} ]]; then exit 0; fi
    stop 1 "httpd: ended with code $code. Its lines above say why; is port $APACHE_PORT taken?"
}

# shellcheck disable=SC2329 # called by the trap
stop_serving() {
    # A bare return would give the status of the wait that this signal interrupted, and end the script.
    if [[ -n ${stopping:-} ]]; then return 0; fi
    stopping=yes
    echo "tester: stopping when the requests under way are done, within $grace s"
    kill -WINCH "$child" 2>/dev/null || true
    { sleep "$grace" && kill -TERM "$child" 2>/dev/null; } &
}

trap interrupted TERM INT
data=$CFGOV_PATH/data
check_settings
check_container
check_artifact
# shellcheck disable=SC2046 # scripts' paths are words
platform_enable $(platform_get enable_scripts)
python=$(platform_get python)
httpd=$(platform_get httpd)
configuration=$APACHE_SERVER_ROOT/conf/httpd.conf
check_zip
check_python
check_port
install_release
configure_httpd
prepare_site
serve
