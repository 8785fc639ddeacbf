#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Is a build slower or larger than an earlier one? Both in turn, in one run:
#
#     bench/versions.sh [--rounds N] [--device SPEC] OLD [NEW] [PROBLEM PRECISION]...
#
# OLD and NEW (build/finediffusion) are two builds of the program. Every round runs each problem once with either, in
# alternating order; without a PROBLEM a list of training and sampling steps, the autoencoder, products and attention,
# in f32 and bf16. The first line gives the time to start (`--version`) and the size of the program. Then, for each
# problem, milliseconds of either, how many times as fast NEW is (by the least of all repetitions, and the median
# over the rounds of the ratio of the least: a slow minute of the host falls on both sides of a round), and the most
# memory of either. Exit status 1 when both figures of a problem are below 0.99. Stop other programs first.
set -u
rounds=5 device=cpu
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    -*) sed -n '3,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) break ;;
    esac
done
old=${1:?versions.sh: the program of the earlier version is missing}
shift
new=${1:-build/finediffusion}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 'train DiT-S/2 b4' f32 'train DiT-S/2 b4' bf16 'sample DiT-S/2 b4' f32 'sample DiT-S/2 b4' bf16 \
    'vae encode 256' f32 'vae decode 256' f32 'train DiT-B/2 b1' f32 'train DiT-B/2 b1' bf16 'sample DiT-B/2 b1' f32 \
    'sample DiT-B/2 b1' bf16 'train DiT-XL/2 b1' f32 'train DiT-XL/2 b1' bf16 'sample DiT-XL/2 b1' f32 \
    'sample DiT-XL/2 b1' bf16 'linear 512x4608x1152' f32 'linear 512x4608x1152' bf16 'attention b2 n256 h16 d72' f32
unset OMP_WAIT_POLICY OMP_NUM_THREADS OPENBLAS_NUM_THREADS OPENBLAS_CORETYPE
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# least PROGRAM PROBLEM PRECISION: "SECONDS BYTES"
least() {
    "$1" bench "$2" --precision "$3" --device "$device" --no-verify --repetitions "$repetitions" --json --quiet \
        2>"$work/message" | sed -n 's/.*"seconds_min": *\([0-9.e+-]*\).*/\1/p; s/.*"peak_memory_bytes": *\([0-9]*\).*/\1/p' |
        paste -sd ' ' >"$work/result"
    [ "$(wc -w <"$work/result")" = 2 ] || { echo "$1 bench '$2' --precision $3:" >&2; cat "$work/message" >&2; exit 99; }
    cat "$work/result"
}
start() { # milliseconds to start, the least of 20
    i=0
    while [ $i -lt 20 ]; do
        begin=$(date +%s%N)
        "$1" --version >/dev/null
        echo $(($(date +%s%N) - begin))
        i=$((i + 1))
    done | sort -n | awk 'NR == 1 { printf "%.1f", $1 / 1e6 }'
}

echo "start: $(start "$old") and $(start "$new") ms; program: $(wc -c <"$old") and $(wc -c <"$new") bytes"
printf '%-28s %-5s %10s %10s %7s %8s %9s %9s\n' problem '' 'old ms' 'new ms' least rounds 'old MB' 'new MB'
failed=0
while [ $# -gt 1 ]; do
    case $1 in
    *XL/2* | vae*) repetitions=1 ;;
    *B/2*) repetitions=2 ;;
    *S/2*) repetitions=3 ;;
    *) repetitions=15 ;;
    esac
    : >"$work/rounds"
    round=0
    while [ $round -lt "$rounds" ]; do
        if [ $((round % 2)) = 0 ]; then
            a=$(least "$old" "$1" "$2") && b=$(least "$new" "$1" "$2") || exit 99
        else
            b=$(least "$new" "$1" "$2") && a=$(least "$old" "$1" "$2") || exit 99
        fi
        echo "$a $b" >>"$work/rounds"
        round=$((round + 1))
    done
    awk '{ print $1 / $3 }' "$work/rounds" | sort -g >"$work/ratios"
    awk -v problem="$1" -v precision="$2" '
        FILENAME == ARGV[1] { ratio[++n] = $1; next }
        { if (!a || $1 < a) a = $1; if (!b || $3 < b) b = $3; if ($2 > am) am = $2; if ($4 > bm) bm = $4 }
        END {
            median = n % 2 ? ratio[(n + 1) / 2] : (ratio[n / 2] + ratio[n / 2 + 1]) / 2
            bad = a / b < 0.99 && median < 0.99
            printf "%-28s %-5s %10.2f %10.2f %7.3f %8.3f %9.1f %9.1f%s\n", problem, precision, 1e3 * a, 1e3 * b,
                a / b, median, am / 1e6, bm / 1e6, bad ? "  slower" : ""
            exit bad
        }' "$work/ratios" "$work/rounds" || failed=1
    shift 2
done
exit $failed
