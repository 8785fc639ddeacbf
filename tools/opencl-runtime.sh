#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# OpenCL drivers for machines without a GPU, each alone or several at once:
#
#     tools/opencl-runtime.sh setup NAME...          installs them into a cache folder
#     tools/opencl-runtime.sh env NAME[,NAME...]     prints "export ..." lines: eval "$(... env intel)"
#     tools/opencl-runtime.sh run NAME[,NAME...] COMMAND [ARGUMENT]...
#
#     pocl      PoCL, from the distribution (pocl-opencl-icd)
#     intel     Intel's runtime for CPUs, from PyPI into a Python environment (proprietary: to test with)
#     rusticl   Mesa's rusticl on llvmpipe, from the distribution, unpacked (its .icd would stay off)
#     oclgrind  a simulator of a small device: races, barriers, bounds; only with `run` and alone
#
# `run oclgrind` simulates 256 work-items a group and 32 KiB of local memory, looks for data races, and
# ends with 1 when the simulator has found anything; OCLGRIND_FLAGS replaces these checks. With several
# names the platforms appear in the order of the loader. The cache folder is $FINEDIFFUSION_RUNTIMES,
# else $XDG_CACHE_HOME/finediffusion/runtimes. Exit status 77: this runtime cannot be had here.
set -euo pipefail

cache=${FINEDIFFUSION_RUNTIMES:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/finediffusion/runtimes}
usage() { sed -n '3,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
die() { echo "opencl-runtime.sh: $*" >&2; exit 1; }
absent() { echo "opencl-runtime.sh: $*" >&2; exit 77; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi
}
apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -q -y --no-install-recommends "$@" >&2
}

# The shared object that an .icd file of the distribution names, by a part of its name.
library() {
    local found
    found=$( { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | sed -n "s/^.*=> \(.*$1.*\)\$/\1/p" | head -n 1)
    [ -n "$found" ] || found=$(cat /etc/OpenCL/vendors/*"$2"*.icd 2>/dev/null | head -n 1)
    echo "$found"
}

setup() {
    case $1 in
    pocl)
        [ -n "$(library libpocl.so pocl)" ] || apt_install pocl-opencl-icd || absent "pocl: install pocl-opencl-icd"
        mkdir -p "$cache/pocl"
        library libpocl.so pocl | replace "$cache/pocl/pocl.icd" ;;
    intel)
        if [ ! -e "$cache/intel/intel.icd" ]; then
            rm -rf "$cache/intel" && mkdir -p "$cache/intel"
            python3 -m venv "$cache/intel/venv" >&2 || absent "intel: python3 with venv is needed"
            "$cache/intel/venv/bin/pip" install -q intel-opencl-rt intel-cmplr-lib-rt >&2 ||
                absent "intel: pip could not install intel-opencl-rt and intel-cmplr-lib-rt"
            [ -e "$cache/intel/venv/lib/libintelocl.so" ] || absent "intel: the package has no libintelocl.so"
            rm -f "$cache/intel/venv/lib"/libOpenCL.so* # the loader is the system's
            echo "$cache/intel/venv/lib/libintelocl.so" >"$cache/intel/intel.icd"
        fi ;;
    rusticl)
        local found=$cache/rusticl/root/usr/lib
        if [ ! -e "$cache/rusticl/rusticl.icd" ]; then
            command -v apt-get >/dev/null || absent "rusticl: only Debian's package is known here"
            rm -rf "$cache/rusticl" && mkdir -p "$cache/rusticl/root"
            # All that it depends on may be installed; itself it is only unpacked.
            local needs
            needs=$(apt-cache depends --no-recommends --no-suggests mesa-opencl-icd 2>/dev/null |
                sed -n 's/^  Depends: \([^<]*\)$/\1/p')
            [ -n "$needs" ] || absent "rusticl: there is no package mesa-opencl-icd"
            # shellcheck disable=SC2086
            apt_install $needs || absent "rusticl: could not install what mesa-opencl-icd depends on"
            (cd "$cache/rusticl" && apt-get download -q mesa-opencl-icd >&2 && dpkg -x mesa-opencl-icd_*.deb root) ||
                absent "rusticl: could not download mesa-opencl-icd"
            found=$(find "$found" -name 'libRusticlOpenCL.so.1' | head -n 1)
            [ -n "$found" ] || absent "rusticl: mesa-opencl-icd has no rusticl here"
            echo "$found" >"$cache/rusticl/rusticl.icd"
        fi ;;
    oclgrind)
        command -v oclgrind >/dev/null || apt_install oclgrind || absent "oclgrind: install oclgrind" ;;
    *) die "$1: unknown; there are pocl, intel, rusticl, oclgrind" ;;
    esac
}

# replace FILE: by what is read. Several of this script may run at a time, and others' drivers be reading it.
replace() {
    cat >"$1.$$"
    mv -f "$1.$$" "$1"
}

# One folder of .icd files for the names, and the variables.
environment() {
    local vendors=$cache/vendors/$1 name libraries=
    for name in ${1//,/ }; do
        case $name in
        oclgrind) die "oclgrind: use run oclgrind COMMAND" ;;
        pocl | intel | rusticl) ;;
        *) die "$name: unknown; there are pocl, intel, rusticl" ;;
        esac
        [ -s "$cache/$name/$name.icd" ] || setup "$name"
        mkdir -p "$vendors"
        replace "$vendors/$name.icd" <"$cache/$name/$name.icd"
        case $name in
        intel) libraries=$cache/intel/venv/lib ;;
        rusticl)
            echo "export RUSTICL_ENABLE='llvmpipe'"
            echo "export GALLIUM_PIPE_SEARCH_DIR='$(dirname "$(cat "$cache/rusticl/rusticl.icd")")/gallium-pipe'" ;;
        esac
    done
    echo "export OCL_ICD_VENDORS='$vendors'"
    [ -z "$libraries" ] || echo "export LD_LIBRARY_PATH='$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}'"
}

# The simulator reports on stderr and ends with the program's own status.
run_oclgrind() {
    local log rc=0
    log=$(mktemp)
    # shellcheck disable=SC2064
    trap "rm -f '$log'" EXIT
    # shellcheck disable=SC2086
    oclgrind ${OCLGRIND_FLAGS---data-races} --max-wgsize 256 --local-mem-size 32768 --max-errors 20 \
        --log "$log" "$@" || rc=$?
    if [ -s "$log" ]; then
        cat "$log" >&2
        [ "$rc" != 0 ] || rc=1
    fi
    return $rc
}

[ $# -ge 2 ] || { usage >&2; exit 2; }
job=$1
shift
case $job in
setup) for name; do setup "$name"; done ;;
env) environment "$1" ;;
run)
    name=$1
    shift
    [ $# -ge 1 ] || { usage >&2; exit 2; }
    if [ "$name" = oclgrind ]; then
        setup oclgrind
        run_oclgrind "$@"
    else
        lines=$(environment "$name")
        eval "$lines"
        exec "$@"
    fi ;;
*) usage >&2; exit 2 ;;
esac
