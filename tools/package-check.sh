#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the packages on clean systems of Debian and does with them what happens to packages:
# tools/package-check.sh [OPTION]... [CHECK]...
#
#     bookworm | trixie   the Debian release (default bookworm)
#     --keep DIR          leave systems, packages and logs in DIR; the minimal system and the one that builds are then
#                         made once (default: a temporary folder, removed at the end)
#     --with-tests        the Debian build runs make check, as debian/rules does (without: nocheck)
#     --quick             compiled with -O1 in place of -O2
#     CHECK               one of the list below; without: all but rpm
#
#     tarball    make dist twice, in different folders, with another umask, time zone and language: the same bytes
#     debian     dpkg-buildpackage as a user without rights, sources and packages, with every warning of debhelper
#     again      the same in another folder: the same bytes
#     paths      nothing in a package, symbols for debugging included, names the folder where it was built
#     lintian    no error and no warning but those that debian/*lintian-overrides give a reason for
#     abi        the library in the package has the functions and types of src/api/libfinediffusion.abi
#     install    an older version is installed and upgraded; what dpkg has noted of each file is true; the program runs;
#                removed and purged, nothing is left
#     piuparts   Debian's own test of installing and purging
#     autopkgtest   debian/tests, the first of which is a demonstration of 20 seconds
#     moved      what make install put into DESTDIR, moved elsewhere on a system that has only the packages that
#                packaging/Containerfile names: it finds its data, libraries and LAPACKE
#     rpm        rpmbuild on Debian (without what it would ask of Fedora's database, at -O1) and rpmlint
#
# Needs root, debootstrap, unshare and the archive that this machine's apt uses. Exit status 0, 1 when a check failed, 77
# when such a system cannot be made here. The last line says how many of the checks failed.
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=bookworm keep= nocheck=nocheck quick=
all='tarball debian again paths lintian abi install piuparts autopkgtest moved'
wanted=
while [ $# -gt 0 ]; do
    case $1 in
    bookworm | trixie) suite=$1 ;;
    --keep) keep=${2:?--keep needs a folder}; shift ;;
    --with-tests) nocheck= ;;
    --quick) quick=-O1 ;;
    -h | --help) sed -n '3,32s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "package-check.sh: $1: unknown option; see --help" >&2; exit 2 ;;
    *)
        case " $all rpm " in
        *" $1 "*) wanted="$wanted $1" ;;
        *) echo "package-check.sh: $1: not a check; see --help" >&2; exit 2 ;;
        esac ;;
    esac
    shift
done
wanted=${wanted:-$all}

. "$top/tools/debian.sh"
debian_needs

work=${keep:-$(mktemp -d)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
logs=$work/logs-$suite
mkdir -p "$logs"
remove() { [ -n "$keep" ] || rm -rf --one-file-system "$work"; }
trap remove EXIT
trap 'exit 130' INT TERM

# The date of everything that is made: the commit's.
epoch=$(git -C "$top" log -1 --format=%ct 2>/dev/null || stat -c %Y "$top/VERSION")
version=$(cat "$top/VERSION")
debian=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$top/debian/changelog")
older=$version-0+older1
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
given=(${quick:+DEB_CFLAGS_APPEND=$quick} DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH="$epoch" DEB_BUILD_OPTIONS="${nocheck:+$nocheck }parallel=$jobs"
    VERSION="$version" DEBIAN="$debian" OLDER="$older" SUITE="$suite" MIRROR="$mirror" JOBS="$jobs")
get='apt-get -q -y -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io'
checks=0 failures=0

# within SYSTEM FOLDER COMMAND [USER]
within() { local root=$1 home=$2 user=${4-root}; inside "$3" >>"$log" 2>&1; }
# verdict NAME RC
verdict() {
    checks=$((checks + 1))
    if [ "$2" = 0 ]; then
        echo "PASS: $suite: $1 ($((SECONDS - begin)) s)"
    else
        failures=$((failures + 1))
        echo "FAIL: $suite: $1 ($((SECONDS - begin)) s); the end of $log:"
        tail -n "${lines-25}" "$log" | sed 's/^/    /'
    fi
}
chosen() { case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; begin=$SECONDS log=$logs/$1.log; : >"$log"; }
lost() { echo "package-check.sh: $suite: $1; the end of $log:"; tail -n 25 "$log"; exit 1; }

debian_base "$suite" "$work"
base=$work/base-$suite

# ------------------------------------------------------------------ the system that builds
# What is built there outlives a call for some checks only; the system itself is made anew when what it needs changes.
build=$work/build-$suite
tools='build-essential autoconf automake libtool pkg-config lintian abigail-tools piuparts debootstrap xz-utils'
rpm_tools='rpm rpmlint'
needs=$({ sed -n '/^Build-Depends:/,/^[^ ]/p' "$top/debian/control"; echo "$tools $rpm_tools"; } | cksum)
begin=$SECONDS log=$logs/system.log
if [ "$(cat "$build.done" 2>/dev/null)" != "$needs" ]; then
    echo "making the system that builds ..."
    : >"$log"
    debian_copy "$base" "$build"
    mkdir -p "$build/root/control"
    cp -R "$top/debian" "$build/root/control/"
    within "$build" /root/control "$get update && $get install --no-install-recommends $tools $rpm_tools &&
        $get build-dep --no-install-recommends . && useradd -m -s /bin/bash builder" || lost "the system that builds could not be made"
    echo "$needs" >"$build.done"
fi
packages=$build/home/builder/one
commit=$(git -C "$top" rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# ------------------------------------------------------------------ tarball
if chosen tarball; then
    rm -rf "$build/home/builder/source" "$build/home/builder/other"
    for folder in source other/folder; do
        checkout "$build/home/builder/$folder"
        # what git is not asked for there
        printf '#define FDIT_COMMIT "%s"\n' "$commit" >"$build/home/builder/$folder/commit.h"
    done
    chroot "$build" chown -R builder: /home/builder
    rc=0
    make_dist='./autogen.sh && mkdir b && cd b && ../configure -q && make -s dist && ls -l *.tar.xz'
    within "$build" /home/builder/source "$make_dist" builder &&
        within "$build" /home/builder/other/folder "umask 077; export TZ=Asia/Kathmandu LC_ALL=C LANGUAGE=de; $make_dist" builder &&
        within "$build" /home/builder "cmp source/b/finediffusion-$version.tar.xz other/folder/b/finediffusion-$version.tar.xz" builder || rc=1
    verdict "tarball: make dist twice, the same bytes" $rc
fi
tarball=$build/home/builder/source/b/finediffusion-$version.tar.xz

# ------------------------------------------------------------------ Debian packages
# build_in FOLDER SETTING: sources and packages there
build_in() {
    local at=$build/home/builder/$1
    [ -s "$tarball" ] || { echo "no $tarball: run the check tarball first" >>"$log"; return 1; }
    rm -rf "$at"
    mkdir -p "$at"
    cp "$tarball" "$at/finediffusion_$version.orig.tar.xz"
    tar -C "$at" -xJf "$tarball"
    cp -R "$top/debian" "$at/finediffusion-$version/"
    chroot "$build" chown -R builder: /home/builder
    within "$build" "/home/builder/$1/finediffusion-$version" "$2; dpkg-buildpackage -us -uc" builder
}
if chosen debian; then
    rc=0
    build_in one : || rc=1
    # debhelper's and dpkg's warnings are not of the compiler only
    grep -E '^(dh[a-z_]*|dpkg-[a-z]*): (warning|error)' "$log" >"$log.warnings" && { rc=1; cat "$log.warnings" >>"$log"; }
    # an older version to upgrade from, of the same objects
    at=/home/builder/one/finediffusion-$version
    [ $rc != 0 ] || { cp "$build$at/debian/changelog" "$log.changelog" &&
        sed -i "1s/(.*)/($older)/" "$build$at/debian/changelog" &&
        within "$build" "$at" "dpkg-buildpackage -us -uc -b -nc && ls -l .." builder || rc=1
        cp "$log.changelog" "$build$at/debian/changelog"; }
    verdict "debian: sources and packages" $rc
fi
if chosen again; then
    rc=0
    build_in second/folder/of/another/length "umask 002; export TZ=Asia/Kathmandu LANGUAGE=de" || rc=1
    n=0
    for file in "$build"/home/builder/second/folder/of/another/length/*.{deb,tar.xz,dsc}; do
        n=$((n + 1))
        cmp "$file" "$packages/$(basename "$file")" >>"$log" 2>&1 || rc=1
    done
    [ $n -ge 7 ] || { echo "only $n files were compared" >>"$log"; rc=1; }
    verdict "again: $n files, the same bytes" $rc
fi
if chosen paths; then
    rc=0
    # a control: the word that is looked for is found where it stands
    within "$build" /home/builder/one '
        rm -rf unpacked && mkdir unpacked && n=0
        for deb in *_"$DEBIAN"_*.deb; do dpkg-deb -x "$deb" unpacked; dpkg-deb -e "$deb" "unpacked/control-$deb"; n=$((n + 1)); done
        echo "$n packages, $(find unpacked -type f | wc -l) files"
        test $n -ge 4 && mkdir unpacked/probe && echo "$PWD/finediffusion" >unpacked/probe/file
        find unpacked -name "*.gz" -exec sh -c "gzip -dc \"\$1\" >\"\$1.plain\"" _ {} \;
        grep -rlaF -e /home/builder unpacked >found
        cat found; for file in $(grep -v "^unpacked/probe/file\$" found); do strings -a "$file" | grep -F /home/builder | head -n 3; done
        test "$(cat found)" = unpacked/probe/file' builder || rc=1
    verdict "paths: no package names the folder where it was built" $rc
fi
if chosen lintian; then
    rc=0
    within "$build" /home/builder/one 'lintian --version; lintian --fail-on error,warning --info --show-overrides \
        --display-info "finediffusion_${DEBIAN}_$(dpkg --print-architecture).changes"' builder || rc=1
    verdict "lintian: $(grep -c '^E: ' "$log" || true) errors, $(grep -c '^W: ' "$log" || true) warnings, \
$(grep -c '^O: ' "$log" || true) explained, $(grep -c '^I: ' "$log" || true) notes" $rc
fi
if chosen abi; then
    rc=0
    within "$build" /home/builder/one '
        rm -rf abi && mkdir abi && for deb in libfinediffusion1_"$DEBIAN"_*.deb libfinediffusion1-dbgsym_"$DEBIAN"_*.deb; do
            dpkg-deb -x "$deb" abi || exit 1; done
        finediffusion-"$VERSION"/tools/abi.sh compare "$(find abi -name "libfinediffusion.so.1.*" -type f)" abi/usr/lib/debug' builder || rc=1
    verdict "abi: $(tail -n 1 "$log")" $rc
fi

# ------------------------------------------------------------------ where they are installed
# installed NAME: a minimal system $system with the packages in /packages/new and /packages/older
installed() {
    system=$work/$suite-$1
    debian_copy "$base" "$system"
    mkdir -p "$system/packages/new" "$system/packages/older"
    cp "$packages"/*_"$debian"*.deb "$packages"/*_"$debian"{.dsc,.debian.tar.xz} "$packages"/*.orig.tar.xz "$system/packages/new/" &&
        cp "$packages"/*_"$older"*.deb "$system/packages/older/" || return 1
    within "$system" / "$get update"
}
gone() { [ -n "$keep" ] || rm -rf --one-file-system "$system"; }

# All files of a system but those that package management writes for itself.
snapshot='find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages -o -path /var/lib/apt \
    -o -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path "/etc/ld.so.cache" \) -prune -o -printf "%y %m %u:%g %p %l\n" | LC_ALL=C sort'
if chosen install; then
    rc=0
    installed install && within "$system" /root "set -ex
        export FINEDIFFUSION_CACHE=/packages/cache # a user's, which no package removes
        $snapshot >/packages/before
        $get install --no-install-recommends /packages/older/*.deb
        test \"\$(dpkg-query -W -f '\${Version}' finediffusion)\" = \$OLDER
        finediffusion --version
        mkdir /packages/kept && cd /packages/kept
        finediffusion demo --device cpu --seconds 3 --per-class 1 --quiet
        $get install --no-install-recommends /packages/new/*.deb
        for package in finediffusion finediffusion-data libfinediffusion1 libfinediffusion-dev; do
            test \"\$(dpkg-query -W -f '\${Version} \${db:Status-Status}' \$package)\" = \"\$DEBIAN installed\"
            dpkg --verify \$package
        done
        if ldd /usr/bin/finediffusion /usr/lib/*/libfinediffusion.so.1 | grep 'not found'; then exit 1; fi
        $get check
        finediffusion devices
        test -s demo.png && rm demo.png
        finediffusion demo --device cpu --seconds 3 --per-class 1 --quiet
        test -s demo.png
        cd /
        ours=\$(dpkg-query -W -f '\${Package} ' '*finediffusion*')
        $get remove \$ours
        if test -e /usr/bin/finediffusion; then exit 1; fi
        dpkg --purge \$ours
        $get autoremove --purge
        test -z \"\$(dpkg-query -W -f '\${Package} \${db:Status-Abbrev}\n' '*finediffusion*' 2>/dev/null | grep -v ' un *\$')\"
        $snapshot >/packages/after
        { set +x; } 2>/dev/null
        echo 'before and after, but for what package management writes for itself:'
        diff /packages/before /packages/after
        test \$(wc -l </packages/before) -gt 1000
        if find / -xdev -name '*finediffusion*' ! -path '/packages/*' ! -path '/proc/*' | grep .; then exit 1; fi" || rc=1
    verdict "install: older version, upgrade, run, remove, purge, nothing left" $rc
    gone
fi
if chosen piuparts; then
    rc=0
    debian_copy "$base" "$build/srv/base"
    within "$build" /home/builder/one 'piuparts --version; piuparts --existing-chroot=/srv/base -d "$SUITE" -m "$MIRROR main" --no-eatmydata \
        --warn-on-leftovers-after-purge --arch "$(dpkg --print-architecture)" finediffusion_"$DEBIAN"_*.deb finediffusion-data_"$DEBIAN"_*.deb \
        libfinediffusion1_"$DEBIAN"_*.deb libfinediffusion-dev_"$DEBIAN"_*.deb' || rc=1
    rm -rf --one-file-system "$build/srv/base"
    verdict "piuparts: installed and purged" $rc
fi
if chosen autopkgtest; then
    rc=0
    installed autopkgtest && within "$system" /root "$get install --no-install-recommends autopkgtest &&
        autopkgtest --output-dir /packages/out /packages/new/*.deb /packages/new/*.dsc -- null" || rc=1
    tests=$(sed -n 's/^Tests: *//p' "$top/debian/tests/control" | wc -w)
    passed=$(grep -cE '^[a-z]+ +PASS' "$system/packages/out/summary" 2>/dev/null || true)
    [ "$passed" = "$tests" ] || rc=1
    verdict "autopkgtest: $passed of $tests" $rc
    gone
fi
if chosen moved; then
    rc=0
    system=$work/$suite-moved
    debian_copy "$base" "$system"
    # the packages of the container; trixie has some by other names
    runtime=$(sed -n '/^FROM .*-slim/,/rm -rf/p' "$top/packaging/Containerfile" | tr -d '\\\n' |
        sed 's/.*--no-install-recommends//; s/&&.*//')
    [ "$suite" = bookworm ] || runtime=$(echo "$runtime" |
        sed 's/libdnnl2/libdnnl3.6/; s/libmicrohttpd12/libmicrohttpd12t64/; s/libpng16-16/libpng16-16t64/; s/libutf8proc2/libutf8proc3/')
    mkdir -p "$system/opt/elsewhere" "$system/opt/empty"
    cp -a "$packages/finediffusion-$version/debian/tmp/usr" "$system/opt/elsewhere/" &&
        within "$system" /opt/empty "set -ex
            $get update && $get install --no-install-recommends $runtime
            if ldd /opt/elsewhere/usr/bin/finediffusion | grep 'not found'; then exit 1; fi
            /opt/elsewhere/usr/bin/finediffusion demo --device cpu --seconds 5 --per-class 1 --quiet
            test -s demo.png
            ln -s /opt/elsewhere/usr/bin/finediffusion /usr/local/bin/ && finediffusion demo --device cpu --seconds 3 --per-class 1 --quiet" || rc=1
    verdict "moved: another folder, and only what packaging/Containerfile installs" $rc
    gone
fi

# ------------------------------------------------------------------ RPM
if chosen rpm; then
    rc=0
    rm -rf "$build/home/builder/rpm"
    mkdir -p "$build/home/builder/rpm/SOURCES"
    cp "$tarball" "$build/home/builder/rpm/SOURCES/" || rc=1
    chroot "$build" chown -R builder: /home/builder/rpm
    [ $rc != 0 ] || within "$build" /home/builder/rpm "set -e
        tar -xJf SOURCES/*.tar.xz --strip-components=2 --wildcards '*/packaging/finediffusion.spec' '*/packaging/rpmlintrc'
        rpmbuild -ba --nodeps --nocheck --define \"_topdir \$PWD\" --define 'optflags -O1 -g' --define '_smp_mflags -j$jobs' finediffusion.spec
        find RPMS SRPMS -name '*.rpm' -exec sh -c 'for f; do echo \"\$f\"; rpm -qlp \"\$f\"; done' _ {} +
        rpmlint --version; rpmlint -r rpmlintrc finediffusion.spec SRPMS/*.rpm \$(find RPMS -name '*.rpm')" builder || rc=1
    verdict "rpm: $(grep -E '[0-9]+ packages and [0-9]+ specfiles' "$log" | tail -n 1)" $rc
fi

echo "package-check.sh: $suite: $checks checks, $failures failed"
[ $failures = 0 ]
