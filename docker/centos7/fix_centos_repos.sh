#!/usr/bin/env bash
# CentOS 7 has left the mirrors: points its package repositories at the vault. A second run changes nothing.
#
#   fix_centos_repos.sh [DIRECTORY]     default: YUM_REPOS_DIR, else /etc/yum.repos.d
set -eo pipefail

directory=${1:-${YUM_REPOS_DIR:-/etc/yum.repos.d}}
shopt -s nullglob
files=("$directory"/CentOS-*.repo)
if ((${#files[@]} == 0)); then
    echo "error: $directory: holds no CentOS-*.repo file. Use a CentOS 7 base image" >&2
    exit 4
fi
# Processors other than x86_64 were "altarch" on the mirrors and are so in the vault. Signatures stay checked.
sed -i -E \
    -e 's|^([[:space:]]*)mirrorlist[[:space:]]*=|\1#mirrorlist=|' \
    -e 's|^[[:space:]]*#+[[:space:]]*(baseurl[[:space:]]*=[[:space:]]*https?://mirror\.centos\.org)|\1|' \
    -e 's|^([[:space:]]*baseurl[[:space:]]*=[[:space:]]*https?://)mirror\.centos\.org|\1vault.centos.org|' \
    "${files[@]}"
