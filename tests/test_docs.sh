#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What README, HACKING, doc and bench name is there: files of the sources, and functions, types and constants of ours.
set -u
cd "${FDIT_SRCDIR:-$(dirname "$0")/..}" || exit 99
checks=0 failures=0
fail() { failures=$((failures + 1)); echo "FAIL: $1"; }
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Words of the code in a document, whether alone or in a command: one a line.
words() { tr -s ' \t`"()[]{}<>,;:=' '\n' <"$1" | sed 's/[.!?]*$//' | LC_ALL=C sort -u; }
cat src/*/*.[ch] host/*.[ch] host/*/*.[ch] host/*/*.inc include/*.h cl/* tests/*.[ch] tests/*.sh >"$work/sources"
LC_ALL=C grep -oE '(fdit|FDIT|FINEDIFFUSION)_[A-Za-z0-9_]+' "$work/sources" | LC_ALL=C sort -u >"$work/names"

# check DOCUMENT
check() {
    words "$1" >"$work/words"
    # files, a pattern of them, or what make builds of NAME.c; NAME in capitals stands for any
    for path in $(grep -E '^(\.ci|bench|cl|data|doc|host|include|man|quickstart|src|tests|third_party|tools)/[A-Za-z0-9_./*-]+$' "$work/words" |
        grep -v NAME); do
        checks=$((checks + 1))
        for found in $path "src/$path" "$path".[ch] "src/$path".[ch]; do [ ! -e "$found" ] || break; done
        [ -e "$found" ] || grep -q -w -e "$path" tests/sources.mk || fail "$1 names $path, which is not there"
    done
    # names, or the beginning of some: fdit_case_
    for name in $(grep -E '^(fdit|FDIT|FINEDIFFUSION)_[A-Za-z0-9_]+$' "$work/words"); do
        checks=$((checks + 1))
        LC_ALL=C grep -q "^$name" "$work/names" || fail "$1 names $name, which is not there"
    done
}
for document in README.md HACKING.md doc/*.md bench/README.md tests/cases/README.md tests/fixtures/README.md; do
    check "$document"
done
# That it sees what is missing.
echo 'See `src/core/mem.c`, `src/core/nowhere.c`, tests/ops_*.c, tests/no_*.c, `fdit_alloc(ctx)` and FDIT_NO''WHERE.' >"$work/wrong.md"
seen=$(check "$work/wrong.md" | wc -l)
[ "$seen" -eq 3 ] || fail "of three names that are missing it sees $seen"

# Files that the guides name without their folder.
for name in $(words HACKING.md | grep -E '^[a-z_0-9]+\.(c|h|sh|cl|mk|md|inc|tsv)$'); do
    checks=$((checks + 1))
    [ -n "$(find src host cl tests tools doc -name "$name")" ] || fail "HACKING.md names $name, which is not there"
done
echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
