#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What table.sh found, as tables and charts: tools/han10k/report.sh OUT
#
# Writes into OUT results.tsv (a line for each row that is there), table.md (also printed), curves.svg (quality over
# training time for each way) and sweep.svg (quality over the guidance scale). May be called while table.sh works.
set -eu
[ $# = 1 ] || { echo "usage: tools/han10k/report.sh OUT" >&2; exit 2; }
out=$1
rank=$(cat "$out/superclass")
here=$(cd "$(dirname "$0")" && pwd)

field() { # field FILE KEY
    sed -n "s/.*\"$2\":\([-0-9.e+]*\).*/\1/p" "$1"
}

# The columns of a row that its own file has: metrics and their deviations, then top-1 of head, middle and tail.
row_numbers() { # row_numbers FILE
    tr '{' '\n' <"$1" | awk -v rank="$rank" '
    function number(key,    s) {
        if (!match($0, "\"" key "\":[-0-9.e+]+"))
            return "-"
        s = substr($0, RSTART, RLENGTH)
        sub(/.*:/, "", s)
        return s
    }
    /"name":"fd/ { v["fd"] = number("value") "\t" number("error"); pictures = number("n") }
    /"name":"kid/ { v["kid"] = number("value") "\t" number("error") }
    /"name":"precision/ { v["precision"] = number("value") }
    /"name":"recall/ { v["recall"] = number("value") }
    /"name":"accuracy top-1 class"/ { v["c1"] = number("value") }
    /"name":"accuracy top-5 class"/ { v["c5"] = number("value") }
    index($0, "\"name\":\"accuracy top-1 " rank "\"") { v["r1"] = number("value") }
    index($0, "\"name\":\"accuracy top-5 " rank "\"") { v["r5"] = number("value") }
    /"rank":"tail","group":"/ { third = $0; sub(/.*"group":"/, "", third); sub(/".*/, "", third) }
    third != "" && /"top-1":/ { v[third] = number("top-1"); third = "" }
    END {
        n = split("fd kid precision recall c1 c5 r1 r5 head middle tail", order, " ")
        printf "%s", pictures
        for (i = 1; i <= n; i++)
            printf "\t%s", order[i] in v ? v[order[i]] : "-"
    }'
}

# Of the training: steps, trained numbers, seconds a step (as table.sh timed them, else of the run), most memory.
run_numbers() { # run_numbers RUN
    way=$(basename "$1" | sed 's/-[0-9]*-[a-z]*-[a-z]*$//')
    timed=
    [ ! -s "$out/times.tsv" ] ||
        timed=$(tr ':+' '--' <"$out/times.tsv" | awk -F'\t' -v way="$way" '$1 == way { print $2 }')
    for key in step trained seconds peak_bytes; do field "$1/summary.json" $key; done |
        awk -v timed="$timed" '{ v[NR] = $1 }
            END { printf "%s\t%s\t%.4g\t%s", v[1], v[2], timed == "" ? v[3] / v[1] : timed, v[4] }'
    printf '\t%s' "$(wc -c <"$1/delta.safetensors" | tr -d ' ')"
}

{
    printf 'method\tseed\tdropped\tequal\tguide\tw\tpictures\tfd\tfd_error\tkid\tkid_error\tprecision\trecall\t'
    printf 'class_1\tclass_5\tgroup_1\tgroup_5\thead\tmiddle\ttail\tsteps\ttrained\tseconds_a_step\tbytes_of_memory\t'
    printf 'bytes_of_delta\n'
    for row in "$out"/rows/*.json; do
        [ -s "$row" ] || continue
        name=$(basename "$row" .json) # METHOD-SEED-DROP-BUDGET-GUIDE-W
        run=${name%-*-*}
        printf '%s\t' "$(echo "$name" | sed 's/\(.*\)-\([0-9]*\)-\([a-z]*\)-\([a-z]*\)-\([a-z]*\)-\([0-9.]*\)$/\1\t\2\t\3\t\4\t\5\t\6/')"
        row_numbers "$row"
        printf '\t'
        run_numbers "$out/runs/$run"
        echo
    done
} >"$out/results.tsv"
[ "$(wc -l <"$out/results.tsv")" -gt 1 ] || { echo "report.sh: $out has no rows yet" >&2; exit 1; }

awk -v rank="$rank" -f "$here/report.awk" "$out/results.tsv" | tee "$out/table.md"

# Over time: what train --eval-every logged, of the first seed of each way.
for log in "$out"/runs/*-superclass-steps/log.jsonl; do
    name=$(basename "$(dirname "$log")" -superclass-steps)
    case $name in *-"${seed:=${name##*-}}") ;; *) continue ;; esac
    awk -v method="${name%-*}" -v rank="$rank" '
    /"seconds":/ { seconds = $0; sub(/.*"seconds":/, "", seconds); sub(/[,}].*/, "", seconds) }
    /"eval":/ {
        fd = $0; sub(/.*"fd:[^"]*":/, "", fd); sub(/[,}].*/, "", fd)
        top = $0; sub(/.*"accuracy top-1 class":/, "", top); sub(/[,}].*/, "", top)
        group = $0; sub(".*\"accuracy top-1 " rank "\":", "", group); sub(/[,}].*/, "", group)
        minutes = seconds / 60
        print "Frechet distance (lower is better)\t" method "\t" minutes "\t" fd
        print "right class, top-1\t" method "\t" minutes "\t" top
        print "right " rank ", top-1\t" method "\t" minutes "\t" group
    }' "$log"
done >"$out/curves.tsv"
[ ! -s "$out/curves.tsv" ] ||
    awk -v xlabel='minutes of training' -f "$here/../chart.awk" "$out/curves.tsv" >"$out/curves.svg"

# The guides of FineDiffusion; w = 1 belongs to each guide of the run that it comes from.
awk -F'\t' -v OFS='\t' '
$1 == "finediffusion" && $4 == "steps" && (seed == "" || $2 == seed) {
    seed = $2
    if ($5 != "none")
        show($5 == "cfg" ? "CFG, empty row" : "SCG, " $5, $0)
    else if ($3 == "empty")
        show("CFG, empty row", $0)
    else
        plain = $0
    if ($5 != "none" && $5 != "cfg")
        guides[$5] = 1
}
END {
    for (guide in guides)
        show("SCG, " guide, plain)
}
function show(name, row,    v) {
    if (split(row, v, "\t") < 14)
        return
    print "Frechet distance (lower is better)", name, v[6], v[8], v[9]
    print "precision", name, v[6], v[12]
    print "recall", name, v[6], v[13]
    print "right class, top-1", name, v[6], v[14]
}' "$out/results.tsv" | sort -t "$(printf '\t')" -k1,1 -k2,2 -k3,3n >"$out/sweep.tsv"
[ ! -s "$out/sweep.tsv" ] ||
    awk -v xlabel='guidance scale w' -f "$here/../chart.awk" "$out/sweep.tsv" >"$out/sweep.svg"
