#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Ways to fine-tune, compared by `eval` on the built-in letters: the base as it is, FineDiffusion, BitFit and all
# weights, drawn with and without guidance by the superclass, and FineDiffusion over guidance scales 1 to 6.
#
#   tools/demo-table.sh OUT [STEPS [PER_CLASS]]      (default: 1500 steps of 32 pictures, 3 pictures a class)
#
# OUT gets the runs, a report of each row, results.jsonl and sweep.svg, a chart of the guidance scales; rows that are
# there are kept and a run that was interrupted goes on, so the same command finishes what it began. Prints two tables in
# Markdown.
#   FINEDIFFUSION=program     which program (default: build/finediffusion of these sources)
#   TRAIN='--precision bf16'  further options of train
set -eu
[ $# -ge 1 ] || { echo "usage: tools/demo-table.sh OUT [STEPS [PER_CLASS]]" >&2; exit 2; }
out=$1 steps=${2:-1500} per_class=${3:-3}
source=$(cd "$(dirname "$0")/.." && pwd)
program=${FINEDIFFUSION:-$source/build/finediffusion} base=$source/data/base.safetensors
mkdir -p "$out/reports"
for set in train test; do
    [ -d "$out/$set" ] || { mkdir "$out/$set" && gzip -dc "$source/data/letters-$set.tar.gz" | (cd "$out/$set" && tar xf -); }
done
taxonomy=$source/data/letters/taxonomy.tsv

tune() { # tune MASK RATE
    [ ! -e "$out/$1/delta.safetensors" ] || return 0
    if [ -e "$out/$1/config.json" ]; then
        "$program" train --resume "$out/$1"
        return
    fi
    "$program" train --base "$base" --data "$out/train" --taxonomy "$taxonomy" \
        --ranks letter --tune "$1" --flip none --batch 32 --lr "$2" --lr-schedule linear --betas 0.9,0.99 --clip 1 \
        --warmup 50 --ema 0.995 --table-init names --steps "$steps" --preview-every 0 ${TRAIN:-} --out "$out/$1"
}
tune finediffusion 1e-2
tune bitfit 1e-2
tune full 6.25e-4

measure() { # measure NAME ARGUMENT...
    name=$1
    shift
    [ -s "$out/$name.json" ] || "$program" eval "$@" --per-class "$per_class" --sampler unipc --steps 12 \
        --real "$out/test" --report "$out/reports/$name.html" --json >"$out/$name.part"
    [ -s "$out/$name.json" ] || mv "$out/$name.part" "$out/$name.json"
}
number() { # number NAME METRIC
    sed 's/"metrics":{"[a-z]*":null.*//' "$out/$1.json" | grep -o "\"name\":\"$2\",[^}]*" | head -n 1 |
        sed -n 's/.*"value":\([-0-9.e]*\),"error":\([-0-9.en]*\).*/\1 \2/p' |
        awk '{ printf $2 ~ /^[0-9]/ ? "%.3g ± %.2g" : "%.3g", $1, $2 }'
}
row() { # row TITLE NAME
    echo "| $1 | $(number "$2" fd:judge) | $(number "$2" kid:judge) | $(number "$2" precision:judge) |" \
        "$(number "$2" recall:judge) | $(number "$2" 'accuracy top-1 class') |"
}
head_line="| %s | FD | KID | precision | recall | right class |\n|---|---|---|---|---|---|\n"

measure base-plain --base "$base" --guidance 1 --no-classes
measure base-guided --base "$base" --guidance 2 --no-classes
for mask in finediffusion bitfit full; do
    measure $mask-plain --base "$base" --delta "$out/$mask/delta.safetensors" --guidance 1
    measure $mask-guided --base "$base" --delta "$out/$mask/delta.safetensors" --guidance 2
done
for w in 3 4 5 6; do # 1 and 2 are rows of the table above
    measure w-$w --base "$base" --delta "$out/finediffusion/delta.safetensors" --guidance $w
done
cp "$out/finediffusion-plain.json" "$out/w-1.json"
cp "$out/finediffusion-guided.json" "$out/w-2.json"
for name in base-plain base-guided finediffusion-plain finediffusion-guided bitfit-plain bitfit-guided full-plain \
    full-guided w-3 w-4 w-5 w-6; do
    cat "$out/$name.json"
done >"$out/results.jsonl"

# The sweep as a chart of two panels: FD, and precision and recall.
for w in 1 2 3 4 5 6; do
    for metric in fd precision recall; do
        panel='precision and recall'
        [ $metric != fd ] || panel='Frechet distance (lower is better)'
        printf '%s\t%s\t%s\t%s\n' "$panel" $metric $w "$(number w-$w $metric:judge | sed 's/ ± /\t/')"
    done
done >"$out/sweep.tsv"
awk -v xlabel='guidance scale w' -f "$source/tools/chart.awk" "$out/sweep.tsv" >"$out/sweep.svg"
# shellcheck disable=SC2059
printf "$head_line" "$steps steps, $per_class pictures a class"
row "base, w = 1" base-plain
row "base, w = 2" base-guided
for mask in finediffusion bitfit full; do
    row "$mask, without SCG" $mask-plain
    row "$mask, SCG, w = 2" $mask-guided
done
echo
# shellcheck disable=SC2059
printf "$head_line" "FineDiffusion, SCG"
for w in 1 2 3 4 5 6; do row "w = $w" w-$w; done
