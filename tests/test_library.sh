#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library as a stranger's program finds it once installed: the examples compile as C11 and as C++ without a
# warning, link by pkg-config, also statically, and run; it exports what the header declares and nothing else;
# nothing installed holds the path of the sources.
set -u
LC_ALL=C
export LC_ALL
sources=$(cd "${FDIT_SRCDIR:-$(dirname "$0")/..}" && pwd) || exit 99
build=$(dirname "${FDIT_PROGRAM:?run make check}")
checks=0 failures=0
fail() { failures=$((failures + 1)); echo "FAIL: $1"; }
ok() { # DESCRIPTION COMMAND...: the command succeeds
    checks=$((checks + 1))
    what=$1
    shift
    "$@" >"$tmp/out" 2>&1 || { fail "$what"; sed 's/^/    /' "$tmp/out" | head -n 20; return 1; }
}
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# ---------------------------------------------------------------- what is declared
# Names of functions in the header, outside comments and macros.
sed -e 's|//.*||' "$sources/include/finediffusion.h" | tr '\n' '\r' | sed -e 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/||g' |
    tr '\r' '\n' | grep -v '^ *#' | grep -o 'fdit_[a-z0-9_]* *(' | tr -d ' (' | sort -u >"$tmp/declared"
sed -n 's/^ *\(fdit_[a-z0-9_]*\);.*/\1/p' "$sources/src/api/libfinediffusion.map" | sort -u >"$tmp/mapped"
ok "the header declares functions" test "$(wc -l <"$tmp/declared")" -gt 20
ok "libfinediffusion.map lists the functions of the header" diff "$tmp/declared" "$tmp/mapped"

# ---------------------------------------------------------------- the examples where they are shown
sed -n '/^#include <finediffusion.h>/,$p' "$sources/doc/examples/draw.c" >"$tmp/draw.want"
sed -n '/^ \*     #include <finediffusion.h>/,/^ \* Rules\./p' "$sources/include/finediffusion.h" |
    sed -e '/^ \* Rules\./d' -e 's/^ \*     //' -e 's/^ \*$//' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$tmp/draw.shown"
ok "the header shows doc/examples/draw.c" diff "$tmp/draw.want" "$tmp/draw.shown"
sed -n '/^#include <finediffusion.h>/,$p' "$sources/doc/examples/finetune.c" >"$tmp/tune.want"
sed -n '/^#include <finediffusion.h>/,/^```$/p' "$sources/README.md" | sed '/^```$/d' >"$tmp/tune.shown"
ok "the README shows doc/examples/finetune.c" diff "$tmp/tune.want" "$tmp/tune.shown"

# ---------------------------------------------------------------- installed
unset MAKEFLAGS MAKELEVEL MFLAGS
root=$tmp/root
ok "make install" make -s -C "$build" install-libLTLIBRARIES install-includeHEADERS install-pkgconfigDATA \
    install-binPROGRAMS DESTDIR="$root" || exit 1
pc=$(find "$root" -name finediffusion.pc)
lib=$(dirname "$(dirname "$pc")")
prefix=$(sed -n 's/^prefix=//p' "$pc")
for file in $(find "$root" -type f \( -name 'libfinediffusion*' -o -name finediffusion \)); do
    checks=$((checks + 1))
    # a compiler cache may have written "../../the/path"; make distcheck installs into a folder of the sources
    strings -a "$file" | grep -F "$sources" | grep -v -F "$prefix" | grep -v '^\.\./' >"$tmp/out" &&
        { fail "$(basename "$file") holds the path of the sources"; head -n 3 "$tmp/out"; }
done
shared=$(find "$root" -name 'libfinediffusion.so' | head -n 1)
if [ -n "$shared" ]; then
    nm -D --defined-only "$shared" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$tmp/exported"
    ok "the library exports what the header declares, and nothing else" diff "$tmp/declared" "$tmp/exported"
fi

# ---------------------------------------------------------------- compiled and run
command -v pkg-config >/dev/null || { echo "no pkg-config: the examples are not compiled"; exit 77; }
mkdir "$tmp/dynamic" "$tmp/static" "$tmp/few" || exit 99
sed "s|^prefix=.*|prefix=$root$prefix|" "$pc" >"$tmp/dynamic/finediffusion.pc"
# all objects of the library in one archive, whichever kinds configure was told to make
archive=$lib/libfinediffusion.a
[ -f "$archive" ] || archive=$build/.libs/libfdit_all.a
cp "$archive" "$tmp/static/libfinediffusion.a" || exit 99
sed -e "s|^prefix=.*|prefix=$root$prefix|" -e "s|^libdir=.*|libdir=$tmp/static|" "$pc" >"$tmp/static/finediffusion.pc"

strict="-Wall -Wextra -pedantic -Werror"
sanitize=${FDIT_SANITIZE-}
# compile KIND COMPILER FLAGS: both examples to KIND-draw and KIND-finetune
compile() {
    kind=$1 how=$3
    for example in draw finetune; do
        source=$tmp/$example.${4-c}
        cp "$sources/doc/examples/$example.c" "$source"
        # shellcheck disable=SC2086
        ok "$example.c, $kind" $2 $how $strict $sanitize "$source" -o "$tmp/$kind-$example" $flags || return 1
    done
}
run() { # NAME COMMAND...: in a folder of its own
    mkdir -p "$tmp/$1.d"
    checks=$((checks + 1))
    (cd "$tmp/$1.d" && FINEDIFFUSION_DEVICE=cpu LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
        "$tmp/$@") >"$tmp/$1.out" 2>&1 || { fail "$1"; tail -n 5 "$tmp/$1.out"; return 1; }
}
cc=${FDIT_CC:-cc} cxx=${CXX:-c++}
kinds=
if [ -n "$shared" ]; then
    flags=$(PKG_CONFIG_PATH=$tmp/dynamic pkg-config --cflags --libs finediffusion)
    compile dynamic "$cc" -std=c11 && kinds=dynamic
    if command -v "$cxx" >/dev/null; then
        compile c++ "$cxx" -std=c++11 cpp && kinds="$kinds c++"
    fi
fi
flags=$(PKG_CONFIG_PATH=$tmp/static pkg-config --static --cflags --libs finediffusion)
# A distribution may have the libraries that ours needs without what those need for static linking.
echo 'int main(void) { return 0; }' >"$tmp/empty.c"
# shellcheck disable=SC2046
if "$cc" "$tmp/empty.c" -o "$tmp/empty" $(echo "$flags" | tr ' ' '\n' | grep '^-[lL]' | grep -v finediffusion) >"$tmp/out" 2>&1; then
    compile static "$cc" -std=c11 && kinds="$kinds static"
else
    echo "not linked statically: $(grep -o 'cannot find [^:]*' "$tmp/out" | head -n 1)"
fi
if [ -z "$shared" ] && command -v "$cxx" >/dev/null; then
    compile c++ "$cxx" -std=c++11 cpp && kinds="$kinds c++"
fi

# a folder of three classes in two groups
(cd "$tmp/few" && tar xzf "$sources/data/letters-test.tar.gz") || exit 99
find "$tmp/few" -name '*.png' | sed 's|/[^/]*$||' | sort -u | sed -e 1,3d -e 7q >"$tmp/folders"
mkdir "$tmp/data"
while read -r folder; do
    at=$tmp/data/$(basename "$(dirname "$folder")")
    mkdir -p "$at" && cp -R "$folder" "$at/"
done <"$tmp/folders"
classes=$(wc -l <"$tmp/folders")
base=$sources/data/base.safetensors
first=
for kind in $kinds; do
    run "$kind-finetune" "$base" "$tmp/data" run batch 4 steps 3 workers 0 preview-every 0 || continue
    ok "$kind-finetune draws each class" test "$(find "$tmp/$kind-finetune.d/run" -name 'class-*.png' | wc -l)" -eq "$classes"
    run "$kind-draw" "$base" "$tmp/$kind-finetune.d/run/delta.safetensors" || continue
    first=${first:-$kind}
    for i in 0 1 2 3; do
        ok "$kind-draw writes picture-$i.png as $first-draw does" cmp "$tmp/$kind-draw.d/picture-$i.png" "$tmp/$first-draw.d/picture-$i.png"
    done
    checks=$((checks + 1))
    cmp -s "$tmp/$kind-draw.d/picture-0.png" "$tmp/$kind-draw.d/picture-1.png" && fail "$kind-draw: two seeds, one picture"
done
ok "the examples ran" test -n "$first"
# what goes wrong is said, with a status that is not 0
checks=$((checks + 1))
for kind in $kinds; do
    (cd "$tmp" && LD_LIBRARY_PATH=$lib FINEDIFFUSION_DEVICE=cpu "$tmp/$kind-draw" absent.safetensors absent) >"$tmp/out" 2>&1 &&
        fail "$kind-draw succeeds without files"
    grep -q 'draw: .*absent.safetensors' "$tmp/out" || fail "$kind-draw does not say which file is missing"
done

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
