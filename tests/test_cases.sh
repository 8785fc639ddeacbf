#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The inputs of tests/cases, each with its right outcome. FDIT_CASES='PATTERN...' runs some of them.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
LC_ALL=C
export LC_ALL
unset FINEDIFFUSION_DEVICE
FD=$program IN=$source/tests/cases/in CASES=$source/tests/cases
export FD IN CASES
work=$(mktemp -d) || exit 99
trap 'chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
all_checks=0 all_failures=0 left=0
cd "$CASES" || exit 99
for file in ${FDIT_CASES:-*}; do
    file=${file%.sh}.sh
    [ "$file" != lib.sh ] && [ -f "$CASES/$file" ] || continue
    case_name=${file%.sh}
    mkdir "$work/$case_name" || exit 99
    (
        cd "$work/$case_name" || exit 99
        checks=0 failures=0 last=
        . "$CASES/lib.sh"
        trap 'echo "$checks $failures" >"$work/count"' EXIT
        . "$CASES/$file"
    )
    rc=$?
    read -r checks failures <"$work/count" || { checks=0 failures=0; }
    rm -f "$work/count"
    case $rc in
    0) ;;
    77) left=$((left + 1)) ;;
    *) failures=$((failures + 1)); echo "FAIL: $case_name: the script ended with $rc" ;;
    esac
    if [ $rc != 77 ] && [ "$checks" = 0 ]; then
        failures=$((failures + 1))
        echo "FAIL: $case_name: nothing was checked"
    fi
    all_checks=$((all_checks + checks)) all_failures=$((all_failures + failures))
    chmod -R u+rwx "$work/$case_name"
    rm -rf "${work:?}/$case_name"
done
[ $left = 0 ] || echo "$left cases left out"
echo "100%: Checks: $all_checks, Failures: $all_failures, Errors: 0"
[ $all_failures = 0 ]
