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

cannot() { echo "fresh-machine.sh: left out: $*"; exit 77; }
[ "$(id -u)" = 0 ] || cannot "not root"
command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
command -v apt-config >/dev/null || cannot "this machine has no apt whose archive could be used"
unshare -m -p -f true 2>/dev/null || cannot "namespaces are not allowed here"

# The archive that this machine itself uses for Debian.
mirror=$({ sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
    sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources; } 2>/dev/null | grep -m 1 '/debian/*$' || true)
[ -n "$mirror" ] || cannot "apt's sources name no Debian archive"

work=${keep:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
remove() { [ -n "$keep" ] || rm -rf --one-file-system "$work"; }
trap remove EXIT
trap 'exit 130' INT TERM

base=$work/base-$suite
if [ ! -e "$base.done" ]; then
    rm -rf "$base"
    echo "making a minimal $suite ..."
    debootstrap --variant=minbase "$suite" "$base" "$mirror" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 3 "$work/debootstrap.log"; cannot "debootstrap could not make a minimal $suite (is the archive reachable?)"; }
    echo "deb $mirror $suite main" >"$base/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries)' >"$base/etc/apt/apt.conf.d/90host" || true
    touch "$base.done"
fi

# A checkout: what git tracks (or, from a tarball, what is there), without git's folder.
checkout() {
    mkdir -p "$1"
    if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$top" && git ls-files -z | tar -c --null -T - -f -) | tar -x -C "$1" --no-same-owner -f -
    else
        tar -c -C "$top" --exclude=./build --exclude='./build-*' . | tar -x -C "$1" --no-same-owner -f -
    fi
}
# inside COMMAND: in the system $root, in the folder /$home, as $user
inside() {
    local spaces=(--mount --pid --fork --kill-child)
    [ $offline = no ] || spaces+=(--net)
    unshare "${spaces[@]}" bash -c '
        set -e
        root=$1 home=$2 user=$3 readonly=$4
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/run"
        cat /etc/resolv.conf >"$root/etc/resolv.conf" 2>/dev/null || true
        cat /etc/hosts >"$root/etc/hosts" 2>/dev/null || true
        if [ "$readonly" = yes ]; then
            mount --bind "$root$home" "$root$home"
            mount -o remount,bind,ro "$root$home"
        fi
        as=()
        [ "$user" = root ] || as=(setpriv --reuid "$user" --regid "$user" --clear-groups)
        exec chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME="$home/.." \
            LANG=C.UTF-8 TERM=dumb USER="$user" ${CI:+CI=$CI} ${FDIT_TEST_SEED:+FDIT_TEST_SEED=$FDIT_TEST_SEED} "${as[@]}" bash -c "cd \"\$1\" && eval \"\$2\"" - "$home" "$5"
    ' - "$root" "$home" "$user" $readonly "$1" </dev/null
}

systems=0 checkouts=0 failures=0 root= user=root offline=no readonly=no
new_system() {
    systems=$((systems + 1)) user=root offline=no readonly=no
    root=$work/$suite-$systems
    rm -rf --one-file-system "$root"
    cp -a --reflink=auto "$base" "$root"
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
