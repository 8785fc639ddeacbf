#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what finediffusion needs and what is missing: third_party/install.sh [--tests] [--print]
#
#     --tests   also what make check and .ci/run use
#     --print   only print the commands
#
# Debian, Ubuntu and their relatives (apt-get), Fedora and its relatives (dnf). As root or with sudo.
# Exit status 1 when something that is required is missing and could not be installed (the last line names it), 4 when
# the package manager is not known here; what is optional and not in the archive is left out with a note.
set -eu

tests=no
print=no
for arg; do
    case $arg in
    --tests) tests=yes ;;
    --print) print=yes ;;
    -h | --help) sed -n '3,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install.sh: $arg: unknown option; see --help" >&2; exit 2 ;;
    esac
done

if command -v apt-get >/dev/null 2>&1; then
    required="gcc libc6-dev make autoconf automake libtool pkg-config zlib1g-dev libpng-dev libjansson-dev"
    optional="libdnnl-dev ocl-icd-opencl-dev opencl-headers libclblast-dev libjpeg-dev libwebp-dev liblapacke-dev libutf8proc-dev libmicrohttpd-dev"
    testing="check pocl-opencl-icd oclgrind clang xz-utils libopenmpi-dev openmpi-bin iproute2 curl abigail-tools"
    installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed'; }
    available() { apt-cache show "$1" >/dev/null 2>&1; }
    # Without a network this has to end soon; beside another apt it may wait a while.
    quick="-o Acquire::Retries=1 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10 -o DPkg::Lock::Timeout=120"
    by_hand="apt-get install"
    refresh="apt-get update -q $quick"
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $quick --no-install-recommends"
elif command -v dnf >/dev/null 2>&1; then
    required="gcc make autoconf automake libtool pkgconf-pkg-config zlib-devel libpng-devel jansson-devel"
    optional="onednn-devel ocl-icd-devel opencl-headers clblast-devel libjpeg-turbo-devel libwebp-devel lapack-devel utf8proc-devel libmicrohttpd-devel"
    testing="check-devel pocl clang xz diffutils curl libabigail"
    installed() { rpm -q --whatprovides "$1" >/dev/null 2>&1; }
    available() { dnf -q list --available "$1" >/dev/null 2>&1; }
    by_hand="dnf install"
    refresh=true
    install="dnf install -y --setopt=install_weak_deps=False"
else
    echo "install.sh: neither apt-get nor dnf here; third_party/README.md lists what is needed" >&2
    exit 4
fi
[ $tests = no ] || optional="$optional $testing"

missing=
for package in $required; do
    installed "$package" || missing="$missing $package"
done
wanted=
for package in $optional; do
    installed "$package" || wanted="$wanted $package"
done
if [ -z "$missing$wanted" ]; then
    echo "install.sh: everything is there"
    exit 0
fi
if [ $print = yes ]; then
    [ "$refresh" = true ] || echo "$refresh"
    echo "$install$missing$wanted"
    exit 0
fi

lacking() {
    echo "install.sh: $1; what is required and missing:$missing; as root: $by_hand$missing" >&2
    exit 1
}
sudo=
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || { : >/dev/tty; } 2>/dev/null; }; then
        sudo=sudo
    else
        [ -z "$missing" ] || lacking "you are not root, and sudo is not there or cannot ask for a password"
        echo "install.sh: not root and no sudo: going on without it (optional:$wanted)" >&2
        exit 0
    fi
fi
# shellcheck disable=SC2086
$sudo $refresh || echo "install.sh: the package lists could not be refreshed; going on with the old ones" >&2
if [ -n "$missing" ]; then
    echo "install.sh: required:$missing"
    # shellcheck disable=SC2086
    $sudo $install $missing || lacking "they could not be installed (no network, or no such package?)"
fi
for package in $wanted; do
    if ! available "$package"; then
        echo "install.sh: $package is not in the archive: going on without it" >&2
        continue
    fi
    echo "install.sh: optional: $package"
    # shellcheck disable=SC2086
    $sudo $install "$package" || echo "install.sh: $package could not be installed: going on without it" >&2
done
exit 0
