#!/usr/bin/env bash
# What the system under the image is, from platforms.ini, and how packages are installed on it.
#
#   platform.sh name              the platform's section
#   platform.sh get KEY           one value of it
#   platform.sh install PART      the packages of a part: base, builder or tester
#   . platform.sh                 the functions, for the entry points
#
# OS_RELEASE names another file than /etc/os-release.

platform_table=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/platforms.ini
platform_os_release=${OS_RELEASE:-/etc/os-release}

# Prints "SECTION KEY VALUE" lines.
platform_lines() {
    awk '/^\[/ { section = substr($0, 2, index($0, "]") - 2); next }
         /^[a-z]/ { key = $1; sub(/^[^=]*=[ ]*/, ""); print section, key, $0 }' "$platform_table"
}

platform_name() {
    # shellcheck disable=SC1090 # the system's own description of itself
    platform_lines | awk -v id="$(. "$platform_os_release" && echo "${ID:-}")" \
        -v version="$(. "$platform_os_release" && echo "${VERSION_ID%%.*}")" '
        $2 == "os_ids" { fits = index(" " substr($0, length($1 $2) + 3) " ", " " id " ") }
        $2 == "os_version" && fits && $3 == version { print $1; found = 1; exit }
        END { exit !found }' || {
        echo "error: $platform_os_release: names a system that platforms.ini does not know. Add a section for it" >&2
        return 4
    }
}

platform_get() { # KEY
    local name
    name=$(platform_name) || return
    platform_lines | awk -v section="$name" -v key="$1" '
        $1 == section && $2 == key { print substr($0, length(section key) + 3); found = 1 }
        END { exit !found }' || {
        echo "error: platforms.ini: section $name has no $1. Add it" >&2
        return 4
    }
}

# Sources scripts that read variables which are not set.
platform_enable() { # SCRIPT...
    local script unset_is_error=+u
    case $- in *u*) unset_is_error=-u ;; esac
    set +u
    for script in "$@"; do
        # shellcheck disable=SC1090 # comes with the system's packages
        . "$script"
    done
    set "$unset_is_error"
}

# Tells pip and other clients to trust what the system trusts, unless the caller chose otherwise.
platform_trust() {
    local bundle
    bundle=$(platform_get ca_bundle) || return
    if [[ -r $bundle ]]; then
        export PIP_CERT=${PIP_CERT:-$bundle} SSL_CERT_FILE=${SSL_CERT_FILE:-$bundle}
    fi
}

platform_install() { # PART
    local packages manager
    packages=$(platform_get "$1_packages") || return
    manager=$(platform_get package_manager) || return
    # EL7's yum and rpm visit every possible file descriptor, and container engines allow a thousand million of them.
    ulimit -n 1024
    # shellcheck disable=SC2086 # package names are words
    "platform_install_$manager" "$1" $packages
}

platform_install_yum() { # PART PACKAGE...
    local here part=$1 repositories
    here=$(dirname -- "$platform_table")
    shift
    # EL7's yum says 0 when one of several packages does not exist.
    local yum=(yum -y --setopt=skip_missing_names_on_install=False)
    if [[ $part == base ]]; then
        repositories=$(platform_get repository_packages) || return
        "$here/fix_centos_repos.sh" || return
        "${yum[@]}" update || return
        # shellcheck disable=SC2086 # package names are words
        "${yum[@]}" install $repositories || return
        # The package just installed brought repository files of its own.
        "$here/fix_centos_repos.sh" || return
    fi
    "${yum[@]}" install "$@" || return
    yum clean all || return
    rm -rf /var/cache/yum
    rpm -q "$@"
}

platform_install_dnf() { # PART PACKAGE...
    local part=$1
    shift
    if [[ $part == base ]]; then dnf -y upgrade || return; fi
    dnf -y --setopt=install_weak_deps=False install "$@" || return
    dnf clean all || return
    rm -rf /var/cache/dnf /var/cache/yum
    rpm -q "$@"
}

platform_install_apt() { # PART PACKAGE...
    local part=$1
    shift
    export DEBIAN_FRONTEND=noninteractive
    apt-get update || return
    apt-get install -y --no-install-recommends "$@" || return
    apt-get clean || return
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
    dpkg-query --show "$@" || return
    if [[ $part == base ]]; then localedef -i en_US -f UTF-8 en_US.UTF-8 || return; fi
    # Debian calls Apache's user www-data; the same test.env and httpd.conf serve every platform.
    if [[ $part == tester ]] && ! id apache >/dev/null 2>&1; then
        useradd --system --user-group --no-create-home --home-dir /usr/share/httpd --shell /usr/sbin/nologin apache
    fi
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -eo pipefail
    case ${1:-} in
        name) platform_name ;;
        get) platform_get "${2:?KEY}" ;;
        install) platform_install "${2:?PART}" ;;
        *)
            echo "error: ${1:-no verb}: is none of name, get KEY, install PART. Give one of them" >&2
            exit 2
            ;;
    esac
fi
