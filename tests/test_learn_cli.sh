#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Guidance learnt in training, from the command line: resumed to the bit, with accumulation, both guides and
# objectives; drawn in one pass; bad input.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3"
for objective in ddpm flow-sit; do
    good train $run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --steps 4 \
        --objective $objective --out base-$objective
    for guide in superclass base; do
        learn="$run --base base-$objective/delta.safetensors --learn-guidance 2 --learn-guide $guide --steps 8"
        learn="$learn --checkpoint-every 3 --ema 0.9"
        good train $learn --out whole
        cp -r whole stopped
        rm stopped/delta.safetensors stopped/checkpoints/step-8.safetensors stopped/checkpoints/step-6.safetensors
        good train --resume stopped --quiet
        checks=$((checks + 2))
        cmp whole/delta.safetensors stopped/delta.safetensors || fail "$objective, $guide: resumed with other bits"
        good train $learn --out other --threads 1
        cmp whole/delta.safetensors other/delta.safetensors || fail "$objective, $guide: threads change bits"
        good train $run --base base-$objective/delta.safetensors --steps 8 --ema 0.9 --checkpoint-every 3 --out plain
        checks=$((checks + 1))
        cmp -s whole/delta.safetensors plain/delta.safetensors && fail "$objective, $guide: nothing was learnt"
        # before it begins: the plain run, to the bit of its weights
        good train $learn --learn-after 5 --out late
        good sample --base base-$objective/delta.safetensors --delta late/checkpoints/step-6.safetensors --guide none --quiet \
            --steps 3 --latents a.safetensors
        good sample --base base-$objective/delta.safetensors --delta plain/checkpoints/step-6.safetensors --guide none --quiet \
            --steps 3 --latents b.safetensors
        checks=$((checks + 1))
        cmp a.safetensors b.safetensors || fail "$objective, $guide: --learn-after 5 is not the plain run until step 6"
        rm -r whole stopped other plain late
    done
done
base="--base base-ddpm/delta.safetensors"
good train $run $base --learn-guidance 1.5 --learn-below 0.5 --tune lora:2 --steps 3 --learn-guide base --out lora
good train $run $base --learn-guidance 1.5 --steps 2 --accumulate 2 --label-drop empty --out learnt
# one pass: no guide unless one is named
good sample $base --delta learnt/delta.safetensors --steps 3 --out drawn
checks=$((checks + 1))
grep -q 'no guide' stderr || fail "a learnt model is drawn with a guide" "$(cat stderr)"
good sample $base --delta learnt/delta.safetensors --steps 3 --guide empty --guidance 2 --quiet \
    --latents c.safetensors
refused "--guidance~3,learnt~guidance~of~1.5" sample $base --delta learnt/delta.safetensors --guidance 3 \
    --steps 3 --latents d.safetensors
refused "--learn-guidance~1,above~1" train $run $base --learn-guidance 1 --steps 1 --out new
refused "--learn-guidance,0~to~100" train $run $base --learn-guidance -2 --steps 1 --out new
refused "--learn-after,--learn-guidance" train $run $base --learn-after 4 --steps 1 --out new
refused "--learn-guidance,step~3,1~step,--learn-after" train $run $base --learn-guidance 2 --learn-after 1 --steps 1 --out new
refused "--learn-guide,--learn-guidance" train $run $base --learn-guide base --steps 1 --out new
refused "--learn-below,--learn-guidance" train $run $base --learn-below 0.4 --steps 1 --out new
refused "--learn-below,0~to~1" train $run $base --learn-guidance 2 --learn-below 1.5 --steps 1 --out new
refused "--learn-guide,superclass|base" train $run $base --learn-guidance 2 --learn-guide x --steps 1 --out new
refused "--learn-guide~superclass,--drop-prob~0.1" train $run $base --learn-guidance 2 --drop-prob 0 --steps 1 --out new
refused "--learn-guide~base,--from-scratch" train $run --from-scratch --tune full --model 32,2,2,4 --size 24 \
    --channels 1 --learn-guidance 2 --learn-guide base --steps 1 --out new
[ ! -e new ] || fail "a refused run left a folder"

finish
