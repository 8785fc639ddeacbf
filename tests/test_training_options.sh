#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Options of training from the command line: kept, resumed to the bit, and refused where they cannot be.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3"
scratch="$run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --steps 8 --checkpoint-every 4"
other() { # other WHAT FILE FILE
    checks=$((checks + 1))
    ! cmp -s "$2" "$3" || fail "$1: $2 and $3 are the same"
}
# stopped WHAT OPTION...: the same bits after a run of 4 steps that goes on to 8, and with one thread
stopped() {
    what=$1
    shift
    rm -rf whole part
    good train $scratch "$@" --out whole
    good train $scratch "$@" --out part --steps 4 --threads 1 --workers 0
    good train --resume part --steps 8 --quiet
    same "$what" whole/delta.safetensors part/delta.safetensors
}

# ------------------------------------------------------------------ loss weights and noise times
good train $scratch --out plain
good train $scratch --loss-weight uniform --time-density uniform --out uniform
same "the usual weight and density" plain/delta.safetensors uniform/delta.safetensors
stopped "min-snr" --loss-weight min-snr --time-density logit-normal:0.5,0.9
has "min-snr" whole/config.json '"loss-weight":"min-snr:5"'
has "the density" whole/config.json '"time-density":"logit-normal:0.5,0.9"'
other "min-snr" plain/delta.safetensors whole/delta.safetensors
refused "--loss-weight,was,min-snr:5,uniform" train $scratch --loss-weight uniform --time-density logit-normal:0.5,0.9 --out whole --resume
refused "--time-density,was,shift:3" train $scratch --loss-weight min-snr:5 --time-density shift:3 --out whole --resume
stopped "flow with a shift" --objective flow --time-density shift:3 --loss-weight min-snr:2
refused "--loss-weight~cube,uniform|min-snr" train $scratch --loss-weight cube --out new
refused "--time-density~shift:0,0.001" train $scratch --time-density shift:0 --out new
refused "--time-density,classifier" train $scratch --classifier --time-density shift:2 --out new

# ------------------------------------------------------------------ how often classes and pictures are drawn
mkdir -p tail/g/many tail/g/few tail/h/one
find data -name '*.png' | LC_ALL=C sort | head -n 12 | while read -r file; do cp "$file" tail/g/many; done
find data -name '*.png' | LC_ALL=C sort | tail -n 2 | while read -r file; do cp "$file" tail/g/few; done
find data -name '*.png' | LC_ALL=C sort | sed -n 20p | while read -r file; do cp "$file" tail/h/one; done
tail="--data tail --batch 5 --seed 7 --preview-every 0 --quiet --from-scratch --tune full --model 32,2,2,4 --size 24"
tail="$tail --channels 1 --steps 8 --checkpoint-every 4"
for balance in sqrt uniform; do
    rm -rf whole part
    good train $tail --balance $balance --out whole
    good train $tail --balance $balance --out part --steps 4 --threads 1 --workers 0
    good train --resume part --steps 8 --quiet
    same "--balance $balance" whole/delta.safetensors part/delta.safetensors
    has "--balance $balance" whole/config.json "\"balance\":\"$balance\""
    mv whole $balance
done
good train $tail --out none
other "--balance" none/delta.safetensors sqrt/delta.safetensors
other "--balance" uniform/delta.safetensors sqrt/delta.safetensors
refused "--balance,was,uniform" train --resume part --balance sqrt --quiet
refused "--batch~20,15~pictures,tail" train $tail --batch 20 --out new
good train $tail --batch 20 --repeats 2 --out repeated
good train --config repeated/config.json --batch 5 --repeats 3 --epochs 1 --quiet --out passes
says passes/log.jsonl '"step":9,'
refused "--repeats~0,from~1" train $tail --repeats 0 --out new
refused "--balance~most,none|sqrt|uniform" train $tail --balance most --out new

# ------------------------------------------------------------------ losses of each class
good train $scratch --val 0.3 --out val
says val/val-classes.tsv '^step	class	pictures	val_loss	val_mse	val_vb$'
checks=$((checks + 1)) # the mean over all pictures is the log's
awk -F '\t' 'NR > 1 { n += $3; s += $3 * $5; if ($1 != 8) exit 2 } END { printf "%d %.5f\n", n, s / n }' val/val-classes.tsv >mean
sed -n 's/.*"step":8,.*"val_mse":\([0-9.e-]*\).*"val_pictures":\([0-9]*\).*/\2 \1/p' val/log.jsonl |
    awk '{ printf "%d %.5f\n", $1, $2 }' >logged
cmp -s mean logged || fail "the classes' mean is $(cat mean), the log says $(cat logged)"
cp val/val-classes.tsv before
good inspect val
says stdout '^  highest .*: loss [0-9.]* of [0-9]* validation picture'
says stdout '^  lowest .*: loss [0-9.]* of [0-9]* validation picture'
good inspect val --json
says stdout '"validation_by_class"'
good train $scratch --val 0.3 --out part2 --steps 4 --threads 1
good train --resume part2 --steps 8 --quiet
same "losses of each class" before part2/val-classes.tsv
echo "step" >val/val-classes.tsv
refused "val-classes.tsv,columns" inspect val

# ------------------------------------------------------------------ many groups
# The plan has what the names of many rows take: 1000 classes, each in 250 groups of its own.
k=0
picture=$(find data -name '*.png' | sort | head -n 1)
while [ $k -lt 1000 ]; do
    mkdir -p "many/c$k" && cp "$picture" "many/c$k/" || exit 99
    k=$((k + 1))
done
awk 'BEGIN { OFS = "\t"
    printf "class"; for (r = 0; r < 250; r++) printf "\tr%d", r; print ""
    for (c = 0; c < 1000; c++) { printf "c%d", c; for (r = 0; r < 250; r++) printf "\tg%dx%d", r, c; print "" } }' >many.tsv
good train --data many --taxonomy many.tsv --from-scratch --tune full --model 4,1,1,2 --size 8 --channels 1 --batch 2 \
    --steps 1 --preview-every 0 --workers 1 --threads 1 --out many-run --json
if [ -z "${FDIT_SANITIZE-}" ]; then
    checks=$((checks + 1))
    planned=$(sed -n 's/.*"process_plan_bytes":\([0-9]*\).*/\1/p' stdout)
    peak=$(sed -n 's/.*"done":true.*"peak_bytes":\([0-9]*\).*/\1/p' stdout)
    [ "$peak" -lt $((planned + 12000000)) ] || fail "250,000 groups: $peak bytes at the peak, $planned planned"
fi

finish
