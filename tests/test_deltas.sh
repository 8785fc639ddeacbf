#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Several deltas over one base in one sampling job: the files of a job for each, the base's matrices in memory once;
# what was drawn stays; bad input.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data more
letters() { gzip -dc "$source/data/letters-test.tar.gz" | (cd "$1" && shift && tar xf - "$@") || exit 99; }
letters data A/mono A/hand B/mono B/hand
letters more A/serif B/serif B/mono
run="--batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-2 --ema 0.5 --steps 3"
good train --data data $run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --out base
base="--base base/delta.safetensors"
good train --data data $run $base --out fine
good train --data more $run $base --tune finediffusion+lora:4 --out "an adapter"
good train --data data $run $base --tune difffit-linear --out scales
good train --data data $run $base --tune full --out full
how="$base --per-class 2 --sampler ddim --steps 3 --batch 3"

set -- --delta fine/delta.safetensors --delta "an adapter/delta.safetensors" --delta scales/delta.safetensors \
    --delta full/delta.safetensors
for more in "" "--merge" "--guide base --guidance 3" "--weights bf16"; do
    rm -rf drawn alone
    good sample $how $more "$@" --out drawn --grid sheet.png
    equal "folders" "$(ls drawn | tr '\n' ',')" "an adapter,fine,full,scales,"
    for name in fine "an adapter" scales full; do
        good sample $how $more --delta "$name/delta.safetensors" --out "alone/$name" --grid "alone-$name.png" --quiet
        checks=$((checks + 1))
        diff -r "alone/$name" "drawn/$name" >message || fail "$more $name: other files than alone" "$(cat message)"
    done
    same "$more sheet" "sheet-an adapter.png" "alone-an adapter.png"
done
# the first is known to be whole: nothing of it is loaded unless another needs its matrices
rm -r drawn/scales
good sample $how --weights bf16 "$@" --out drawn
says stderr '4 classes: 0 sampled, 8 kept'
says stderr '4 classes: 8 sampled, 0 kept'
checks=$((checks + 1))
diff -r alone/scales drawn/scales >message || fail "drawn again: other files" "$(cat message)"
# two files of one name
mkdir x y
cp fine/delta.safetensors x/step.safetensors
cp scales/delta.safetensors y/step.safetensors
good sample $how --delta x/step.safetensors --delta y/step.safetensors --out names
equal "names" "$(ls names | tr '\n' ',')" "step,step-2,"
# the second holds no matrix of its own
good sample $how --delta fine/delta.safetensors --delta scales/delta.safetensors --plan --json
sed -n 's/.*"\(device_bytes\|plan_bytes\)": *\([0-9]*\).*/\2/p' stdout >sizes
checks=$((checks + 1))
[ "$(wc -l <sizes)" = 2 ] && [ "$(sed -n 2p sizes)" -lt "$(sed -n 1p sizes)" ] ||
    fail "the second delta takes as much as the first" "$(cat sizes stdout)"

# ---- bad input: before anything is drawn
refused "several~--delta,--out~DIR" sample $how "$@" --grid sheet.png
refused "fine/delta.safetensors~is~given~twice" sample $how "$@" --delta fine/delta.safetensors --out new
refused "--latents,one~--delta" sample $how "$@" --latents x.safetensors --out new
refused "none/delta.safetensors" sample $how "$@" --delta none/delta.safetensors --out new
good train --data data $run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --seed 8 --out "another base"
good train --data data $run --base "another base/delta.safetensors" --out other
refused "other/delta.safetensors,base/delta.safetensors" sample $how "$@" --delta other/delta.safetensors --out new
refused "one~model~is~measured,an~adapter" eval $how "$@" --real data
[ ! -e new ] || fail "a refused job left a folder"
finish
