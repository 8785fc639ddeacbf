#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What other programs on the machine cost, by number of threads and by how threads wait:
#
#     bench/busy.sh [--rounds N] [--repetitions N] [--peer PROGRAM] [PROGRAM [PROBLEM]]
#
# PROGRAM (build/finediffusion) runs PROBLEM (a small training step) with nothing beside it, beside one busy
# loop on the first processor, and beside one on each of the first two; each time with --threads 1, as it is
# by default, and with OMP_WAIT_POLICY=passive, in turn, N rounds. --peer adds another build (of an earlier
# version) as it is by default. Printed is the median of the rounds' medians in milliseconds (with nothing
# beside it the least of their least: what else the machine does only adds) and the speed by default as a
# part of the best of the others: idle it should be 0.98 or more (of passive waiting and the peer), beside
# loops 0.9 or more (of --threads 1 and passive waiting).
set -u
rounds=7 repetitions=20 peer=
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --repetitions) repetitions=$2; shift 2 ;;
    --peer) peer=$2; shift 2 ;;
    -*) sed -n '3,15s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) break ;;
    esac
done
program=${1:-build/finediffusion}
problem=${2:-train 128,5,4,3 b32 size=24 channels=1 classes=110}
unset OMP_WAIT_POLICY OMP_NUM_THREADS
command -v taskset >/dev/null || { echo "busy.sh: needs taskset" >&2; exit 77; }
work=$(mktemp -d) || exit 99
loops=
stop() {
    for pid in $loops; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
    loops=
}
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# A loop ends by itself when this script is killed: at most an hour.
start_loop() {
    timeout 3600 taskset -c "$1" sh -c 'while :; do :; done' &
    loops="$loops $!"
}
measure() { # NAME PROGRAM [OPTION]...
    name=$1 which=$2
    shift 2
    "$which" bench "$problem" --device cpu --no-verify --repetitions "$repetitions" --json "$@" 2>"$work/message" |
        sed -n 's/.*"seconds_'$figure'": *\([0-9.e-]*\).*/\1/p' >>"$work/$name"
    [ -s "$work/$name" ] || { cat "$work/message" >&2; exit 1; }
}
of_rounds() { sort -g "$1" | awk -v figure=$figure '{ x[NR] = $1 }
    END { print 1000 * x[figure == "min" ? 1 : int((NR + 1) / 2)] }'; }

failed=0
echo "beside        --threads 1   default   passive${peer:+      peer}   default is"
for busy in 0 1 2; do
    rm -f "$work"/*
    figure=min
    [ "$busy" = 0 ] || figure=median
    [ "$busy" -lt 1 ] || start_loop 0
    [ "$busy" -lt 2 ] || start_loop 1
    i=0
    while [ $i -lt "$rounds" ]; do
        measure one "$program" --threads 1
        measure default "$program"
        OMP_WAIT_POLICY=passive measure passive "$program"
        [ -z "$peer" ] || measure peer "$peer"
        i=$((i + 1))
    done
    stop
    one=$(of_rounds "$work/one") default=$(of_rounds "$work/default") passive=$(of_rounds "$work/passive")
    other=$([ -z "$peer" ] || of_rounds "$work/peer")
    echo "$busy $one $default $passive ${other:-0}" | awk '{
        best = $2 < $4 ? $2 : $4
        if ($1 == 0 && $5 > 0 && $5 < best) best = $5
        ratio = best / $3; wanted = $1 ? 0.9 : 0.98
        printf "%-12s %9.2f ms %6.2f ms %6.2f ms", $1 " loops", $2, $3, $4
        if ($5 > 0) printf " %6.2f ms", $5
        bad = (ratio < wanted)
        printf "   %.2f of the best %s\n", ratio, (bad ? "(less than " wanted ")" : "(good)")
        exit bad }' || failed=1
done
exit $failed
