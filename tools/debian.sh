# SPDX-License-Identifier: Apache-2.0
# debian.sh: minimal systems of Debian, made by debootstrap and entered by chroot in namespaces of their own; read by
# fresh-machine.sh and package-check.sh, which set $top (the sources) first.
#
#     cannot TEXT               ends the script with 77, "left out"; a script whose job is another defines it afterwards
#     debian_needs              root, debootstrap, namespaces, and $mirror: the archive that this machine's apt uses
#     debian_base SUITE DIR     DIR/base-SUITE: no compiler, no git, no sudo; made once for a DIR that is kept
#     debian_copy FROM TO       a system of its own, as FROM is now
#     checkout DIR              what git tracks (or, from a tarball, what is there), without git's folder
#     inside COMMAND            in the system $root, in its folder $home, as $user; without network when $offline is yes,
#                               with $home mounted read-only when $readonly is; "NAME=VALUE" in the array $given go along
given=()

cannot() { echo "$(basename "$0"): left out: $*"; exit 77; }

debian_needs() {
    [ "$(id -u)" = 0 ] || cannot "not root"
    command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
    command -v apt-config >/dev/null || cannot "this machine has no apt whose archive could be used"
    unshare -m -p -f true 2>/dev/null || cannot "namespaces are not allowed here"
    mirror=$({ sed -n 's/^deb  *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources; } 2>/dev/null | grep -m 1 '/debian/*$' || true)
    [ -n "$mirror" ] || cannot "apt's sources name no Debian archive"
}

debian_base() {
    local suite=$1 dir=$2 base=$2/base-$1
    [ ! -e "$base.done" ] || return 0
    rm -rf --one-file-system "$base"
    echo "making a minimal $suite ..."
    $(command -v eatmydata || true) debootstrap --variant=minbase "$suite" "$base" "$mirror" >"$dir/debootstrap.log" 2>&1 ||
        { tail -n 3 "$dir/debootstrap.log"; cannot "debootstrap could not make a minimal $suite (is the archive reachable?)"; }
    echo "deb $mirror $suite main" >"$base/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries)' >"$base/etc/apt/apt.conf.d/90host" || true
    touch "$base.done"
}

debian_copy() {
    rm -rf --one-file-system "$2"
    cp -a --reflink=auto "$1" "$2"
}

checkout() {
    mkdir -p "$1"
    if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
        (cd "$top" && git ls-files -z | tar -c --null -T - -f -) | tar -x -C "$1" --no-same-owner -f -
    else
        tar -c -C "$top" --exclude=./build --exclude='./build-*' . | tar -x -C "$1" --no-same-owner -f -
    fi
}

inside() {
    local spaces=(--mount --pid --fork --kill-child)
    [ "${offline-no}" = no ] || spaces+=(--net)
    unshare "${spaces[@]}" bash -c '
        set -e
        root=$1 home=$2 user=$3 readonly=$4 command=$5
        shift 5
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
            LANG=C.UTF-8 TERM=dumb USER="$user" "$@" "${as[@]}" bash -c "cd \"\$1\" && eval \"\$2\"" - "$home" "$command"
    ' - "$root" "$home" "${user-root}" "${readonly-no}" "$1" "${given[@]}" </dev/null
}
