#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Are drawn pictures of use? Classifiers are trained on real pictures, on drawn ones, and on real ones with drawn ones
# added to the classes that have the fewest, and are tested on real pictures that none of them has seen.
#
#   tools/utility.sh REAL DRAWN TEST OUT [OPTION OF TRAIN]...
#
# REAL, DRAWN, TEST: folders with the same class folders; DRAWN as `finediffusion sample` writes it. OUT gets the
# classifiers; those that are there are kept, so the same command goes on after an interruption. Prints a table: right
# classes among the test pictures, mean and deviation over the seeds, for all classes and for the third of them that
# has the fewest pictures in REAL.
#
#   SEEDS="1 2 3"          seeds, a classifier of each for each of the three
#   FINEDIFFUSION=program  which program (default: finediffusion)
#
#   tools/utility.sh birds pictures birds-test utility --model DiT-S/4 --size 64 --channels 3 --steps 5000 --batch 64
set -eu
usage() { sed -n 's/^#   tools/usage: tools/p' "$0" | head -n 1 >&2; exit 2; }
[ $# -ge 4 ] || usage
real=$1 drawn=$2 test=$3 out=$4
shift 4
program=${FINEDIFFUSION:-finediffusion} seeds=${SEEDS:-1 2 3}
for folder in "$real" "$drawn" "$test"; do
    [ -d "$folder" ] || { echo "utility: $folder is not a folder" >&2; exit 2; }
done
mkdir -p "$out"
pictures() { find -L "$1" -type f \( -iname '*.png' -o -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.webp' \); }
# `sample` writes a class in a folder as one folder, A%2Fhand
classes() { pictures "$1" | sed "s|^$1/||; s|/[^/]*\$||; s|%2F|/|g" | LC_ALL=C sort | uniq -c | awk '{ n = $1; $1 = ""; print n "\t" substr($0, 2) }'; }

# a picture that a classifier has seen says nothing about it
for set in "$real" "$drawn"; do pictures "$set"; done | tr '\n' '\0' | xargs -0 cksum | awk '{ print $1, $2 }' | sort -u >"$out/seen"
pictures "$test" | tr '\n' '\0' | xargs -0 cksum | awk 'NR == FNR { seen[$0] = 1; next }
    ($1 " " $2) in seen { print substr($0, index($0, $3)); exit }' "$out/seen" - >"$out/both"
if [ -s "$out/both" ]; then
    echo "utility: $(cat "$out/both") of $test is also a picture to train on; take it out of one of them" >&2
    exit 2
fi
classes "$real" >"$out/classes"
classes "$drawn" | cut -f 2 | sort >"$out/names"
if ! cut -f 2 "$out/classes" | sort | cmp -s - "$out/names"; then
    echo "utility: $real and $drawn have other classes; draw pictures of every class of $real" >&2
    exit 2
fi

# the third of the classes with the fewest pictures, floor(n / 3), gets the drawn ones in addition
n=$(wc -l <"$out/classes")
sort -s -k 1,1nr "$out/classes" | tail -n $((n / 3)) | cut -f 2 >"$out/tail"
full() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
if [ ! -e "$out/both-sets.done" ]; then
    rm -rf "$out/real+drawn"
    cut -f 2 "$out/classes" | while read -r class; do
        mkdir -p "$out/real+drawn/$class"
        for file in "$(full "$real")/$class"/*; do ln -s "$file" "$out/real+drawn/$class/"; done
    done
    while read -r class; do
        folder=$(full "$drawn")/$class
        [ -d "$folder" ] || folder=$(full "$drawn")/$(echo "$class" | sed 's|/|%2F|g')
        for file in "$folder"/*; do ln -s "$file" "$out/real+drawn/$class/drawn-${file##*/}"; done
    done <"$out/tail"
    : >"$out/both-sets.done"
fi

: >"$out/numbers"
for seed in $seeds; do
    for set in real drawn real+drawn; do
        case $set in real) data=$real ;; drawn) data=$drawn ;; *) data=$out/real+drawn ;; esac
        run=$out/$set-$seed
        if [ ! -e "$run/delta.safetensors" ]; then
            rm -rf "$run"
            "$program" train --classifier --from-scratch --tune full --data "$data" --seed "$seed" --out "$run" \
                --preview-every 0 "$@"
        fi
        "$program" eval "$test" --real "$real" --features "judge:$run/delta.safetensors" --metrics accuracy \
            --draws 0 --by tail --json --quiet >"$run/eval.json"
        all=$(sed 's/.*"accuracy top-1 class":{[^}]*"value":\([^,]*\),.*/\1/' "$run/eval.json")
        tail=$(sed 's/.*"group":"tail","metrics":{[^}]*"top-1":\([^,}]*\).*/\1/' "$run/eval.json")
        echo "$set $all $tail" >>"$out/numbers"
    done
done
echo "| trained on | right class, all | right class, tail |"
echo "|---|---|---|"
for set in real drawn real+drawn; do
    awk -v set="$set" '$1 == set { n++; a += $2; aa += $2 * $2; t += $3; tt += $3 * $3 }
        function bar(s, ss) { return n > 1 ? sqrt((ss - s * s / n) / (n - 1) < 0 ? 0 : (ss - s * s / n) / (n - 1)) : 0 }
        END { name = set == "real" ? "real" : set == "drawn" ? "drawn" : "real, and drawn ones for the tail"
            printf "| %s | %.1f +- %.1f %% | %.1f +- %.1f %% |\n", name, 100 * a / n, 100 * bar(a, aa), 100 * t / n, 100 * bar(t, tt) }' \
        "$out/numbers"
done
