#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs that were compiled with an earlier version go on working: no public function is missing, none takes other
# arguments, no struct of the header has another layout than src/api/libfinediffusion.abi and the symbols file of the Debian
# package say. Where libabigail is not installed only names are compared.
set -u
LC_ALL=C
export LC_ALL
sources=$(cd "${FDIT_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 99
CC=${FDIT_CC:-cc}
export CC
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
checks=0 failures=0
fail() { failures=$((failures + 1)); echo "FAIL: $1"; }
# same WHAT WANTED GOT: two lists of names
same() {
    checks=$((checks + 1))
    diff "$2" "$3" >"$tmp/out" || { fail "$1"; sed 's/^/    /' "$tmp/out"; }
}

# ---------------------------------------------------------------- names
record=$sources/src/api/libfinediffusion.abi map=$sources/src/api/libfinediffusion.map
sed -n 's/^ *\(fdit_[a-z0-9_]*\);.*/\1/p' "$map" | sort >"$tmp/mapped"
sed -n "s/.*<elf-symbol name='\(fdit_[a-z0-9_]*\)'.*type='func-type'.*/\1/p" "$record" | sort >"$tmp/recorded"
same "src/api/libfinediffusion.abi lists the functions of the map (tools/abi.sh record, when one was added)" \
    "$tmp/mapped" "$tmp/recorded"
checks=$((checks + 1))
[ "$(wc -l <"$tmp/recorded")" -ge 48 ] || fail "functions are missing that the first version had"
symbols=$sources/debian/libfinediffusion1.symbols # not in a tarball
if [ -f "$symbols" ]; then
    sed -n 's/^ \(fdit_[a-z0-9_]*\)@.*/\1/p' "$symbols" | sort >"$tmp/packaged"
    same "debian/libfinediffusion1.symbols lists the functions of the map" "$tmp/mapped" "$tmp/packaged"
fi

# ---------------------------------------------------------------- arguments and layouts
# compare NAME: tools/abi.sh compare in the sources there; its status in $rc, what it says in NAME.out
compare() {
    rc=0
    "$1/tools/abi.sh" compare >"$tmp/$(basename "$1").out" 2>&1 || rc=$?
}
if ! command -v abidiff >/dev/null || ! command -v abidw >/dev/null; then
    echo "no libabigail (package abigail-tools): names are compared, arguments and layouts are not"
else
    checks=$((checks + 1))
    compare "$sources"
    [ "$rc" = 0 ] || { fail "the interface is not the recorded one"; cat "$tmp/$(basename "$sources").out"; }
    # That it sees what breaks programs, and only that. Each: a name, the status wanted, a file and what sed does to it.
    while read -r name wanted file edit; do
        mkdir -p "$tmp/$name"
        (cd "$sources" && tar -cf - VERSION include src host/*.h tools/abi.sh) | (cd "$tmp/$name" && tar -xf -) || exit 99
        chmod -R u+w "$tmp/$name"
        for one in $(echo "$file" | tr , ' '); do
            sed -i -e "$edit" "$tmp/$name/$one" || exit 99
            checks=$((checks + 1))
            cmp -s "$sources/$one" "$tmp/$name/$one" && fail "$name: the edit of $one changes nothing"
        done
        compare "$tmp/$name"
        checks=$((checks + 1))
        [ "$rc" = "$wanted" ] || { fail "$name: status $rc, not $wanted"; head -n 20 "$tmp/$name.out"; }
        rm -rf "${tmp:?}/$name"
    done <<'END'
removed 1 src/api/libfinediffusion.map /^ *fdit_session_n_ranks;/d
argument 1 include/finediffusion.h,src/api/session.c s/int32_t fdit_session_n_classes/int64_t fdit_session_n_classes/
front 1 include/finediffusion.h s/^struct fdit_draw_options {/&double in_front;/
numbers 1 include/finediffusion.h s/^ *FDIT_ERROR_MEMORY,/FDIT_ERROR_OTHER,&/
opaque 0 src/api/session.h s/^struct fdit_session {/&double more;/
END
fi

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
