#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tries the README's commands on a machine that has nothing: tools/fresh-machine.sh [OPTION]... [STEP]...
#
#     bookworm | trixie   the Debian release (default bookworm)
#     --keep DIR          leave the systems in DIR (default: a temporary folder, removed at the end)
#     STEP                a shell command, run in a checkout of this source, in the order given; or
#     --again             what follows begins with a new system and checkout
#     --user              what follows has a new checkout of a user without sudo, in the same system
#     --offline           what follows has no network
#     --readonly          what follows has the source mounted read-only
#
# Without STEPs: demo and then check as root; both as a user; and on a second system check and then demo.
# The system is made by debootstrap (minbase: no compiler, no git, no sudo) and entered by chroot in namespaces of its own.
# Needs root, debootstrap, unshare and the archive that this machine's apt uses. Exit status 0, 1 when a step failed,
# 77 when such a system cannot be made here; the last line says which.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=bookworm keep=
steps=()
while [ $# -gt 0 ]; do
    case $1 in
    bookworm | trixie) suite=$1 ;;
    --keep) keep=${2:?--keep needs a folder}; shift ;;
    -h | --help) sed -n '3,17s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --again | --user | --offline | --readonly) steps+=("$1") ;;
    -*) echo "fresh-machine.sh: $1: unknown option; see --help" >&2; exit 2 ;;
    *) steps+=("$1") ;;
    esac
    shift
done
[ ${#steps[@]} -gt 0 ] || steps=('./quickstart demo' 'test -s demo.png' './quickstart check'
    --user './quickstart demo' './quickstart check' --again './quickstart check' './quickstart demo')

. "$top/tools/debian.sh"
debian_needs

work=${keep:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
remove() { [ -n "$keep" ] || rm -rf --one-file-system "$work"; }
trap remove EXIT
trap 'exit 130' INT TERM

debian_base "$suite" "$work"
base=$work/base-$suite
given=(${CI:+CI=$CI} ${FDIT_TEST_SEED:+FDIT_TEST_SEED=$FDIT_TEST_SEED})

systems=0 checkouts=0 failures=0 root= user=root offline=no readonly=no
new_system() {
    systems=$((systems + 1)) user=root offline=no readonly=no
    root=$work/$suite-$systems
    debian_copy "$base" "$root"
    new_checkout /root
}
new_checkout() {
    checkouts=$((checkouts + 1)) readonly=no
    home=$1/checkout-$checkouts
    checkout "$root$home"
    [ $user = root ] || chroot "$root" chown -R "$user" "$1"
}
new_system
for step in "${steps[@]}"; do
    case $step in
    --again) new_system; continue ;;
    --user)
        user=visitor
        chroot "$root" id -u visitor >/dev/null 2>&1 || chroot "$root" useradd -m -s /bin/bash visitor
        new_checkout /home/visitor
        continue ;;
    --offline) offline=yes; continue ;;
    --readonly) readonly=yes; continue ;;
    esac
    printf '\n-- %s, system %d, as %s%s%s: %s\n' "$suite" $systems $user "$([ $offline = no ] || echo ', no network')" \
        "$([ $readonly = no ] || echo ', source read-only')" "$step"
    begin=$SECONDS rc=0
    inside "$step" || rc=$?
    if [ $rc = 0 ]; then
        echo "-- done ($((SECONDS - begin)) s)"
    else
        echo "-- FAILED with $rc ($((SECONDS - begin)) s)"
        failures=$((failures + 1))
    fi
done
echo "fresh-machine.sh: $suite: ${#steps[@]} steps, $failures failed"
[ $failures = 0 ]
