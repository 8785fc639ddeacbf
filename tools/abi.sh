#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The binary interface of libfinediffusion as libabigail sees it: what programs that were compiled earlier rely on.
#
#     tools/abi.sh record                        writes src/api/libfinediffusion.abi; for changes that are meant
#     tools/abi.sh compare [LIBRARY [DEBUG]]     compares LIBRARY, whose symbols for debugging are in it or in the folder
#                                                DEBUG, with it; without LIBRARY, one that is made of these sources as
#                                                `record` makes it
#
# Functions and types that are added are allowed, and told. Exit status 0, 1 when programs would break (what changed is
# printed), 77 when libabigail (abidw, abidiff) is not installed, 99 when the library cannot be made. $CC compiles. The last
# line says which.
#
# Only the sources that hold public functions are compiled, without optimisation and with the types described (-g): the
# interface does not depend on the rest, and a few seconds are enough.
set -u
top=$(cd "$(dirname "$0")/.." && pwd) || exit 99
record=$top/src/api/libfinediffusion.abi
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say() { echo "abi.sh: $*"; }

for tool in abidw abidiff; do
    command -v $tool >/dev/null || { say "left out: $tool is not installed (Debian: abigail-tools; Fedora: libabigail)"; exit 77; }
done

# $work/library/libfinediffusion.so.1 of these sources
make_library() {
    mkdir -p "$work/library"
    # where a public function stands
    sources=$(cd "$top" && for name in $(sed -n 's/^ *\(fdit_[a-z0-9_]*\);.*/\1/p' src/api/libfinediffusion.map); do
        grep -lE "^[a-z].*[ *]$name\(" src/api/*.c src/core/*.c
    done | sort -u) || return 1
    version=$(cat "$top/VERSION")
    objects=
    for source in $sources; do
        object=$work/library/$(echo "$source" | tr / _).o
        (cd "$top" && ${CC:-cc} -std=c11 -D_GNU_SOURCE -DPACKAGE_VERSION="\"$version\"" \
            -Iinclude -Isrc -Ihost -g -O0 "-fdebug-prefix-map=$top=." -fPIC -fvisibility=hidden -w -c -o "$object" "$source") || return 1
        objects="$objects $object"
    done
    # shellcheck disable=SC2086
    ${CC:-cc} -shared -Wl,-soname,libfinediffusion.so.1 -Wl,--version-script="$top/src/api/libfinediffusion.map" \
        -o "$work/library/libfinediffusion.so.1" $objects
}

case ${1-} in
record)
    make_library || { say "the library could not be made"; exit 99; }
    abidw --headers-dir "$top/include" --drop-private-types --exported-interfaces-only --no-corpus-path --no-comp-dir-path --no-show-locs \
        --type-id-style hash --out-file "$work/abi" "$work/library/libfinediffusion.so.1" || { say "abidw failed"; exit 99; }
    cp "$work/abi" "$record" && say "wrote src/api/libfinediffusion.abi"
    ;;
compare)
    library=${2-}
    if [ -z "$library" ]; then
        make_library || { say "the library could not be made"; exit 99; }
        library=$work/library/libfinediffusion.so.1
    fi
    # Types that the record has without their insides, the header's opaque ones, may change inside. (Told the folder of the
    # header, abidiff takes all types of the record, which has no places in files, for private.)
    abidiff ${3:+--debug-info-dir2 "$3"} --exported-interfaces-only "$record" "$library" >"$work/differences" 2>&1
    rc=$?
    cat "$work/differences"
    # bits: 1 error, 2 wrong use, 4 changed, 8 changed so that programs break
    if [ $((rc & 3)) != 0 ]; then
        say "abidiff could not compare (status $rc)"
        exit 99
    elif [ $((rc & 8)) != 0 ] ||
        grep -qE ' changes summary: ([1-9][0-9]* Removed|[0-9]+ Removed[^,]*, [1-9][0-9]* Changed)' "$work/differences"; then
        say "programs that were compiled with the recorded interface may break: undo it, or raise -version-info in Makefile.am;" \
            "a field at the end of a struct that states its size is allowed: tools/abi.sh record"
        exit 1
    fi
    say "$(grep -c "<elf-symbol .*type='func-type'" "$record") recorded functions are as they were"
    ;;
*)
    sed -n '3,17s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
