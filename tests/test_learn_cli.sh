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
# the scale as an input: resumed to the bit, any number of threads; each --guidance draws something else, 1 as no
# guide; no two passes
told="$run $base --learn-guidance 3 --learn-from 1 --steps 6 --checkpoint-every 4 --ema 0.9"
good train $told --out told
cp -r told stopped
rm stopped/delta.safetensors stopped/checkpoints/step-6.safetensors
good train --resume stopped --quiet
good train $told --threads 1 --out other
checks=$((checks + 2))
cmp told/delta.safetensors stopped/delta.safetensors || fail "--learn-from: resumed with other bits"
cmp told/delta.safetensors other/delta.safetensors || fail "--learn-from: threads change bits"
draw="sample $base --steps 3 --quiet"
for w in 1 1.7 3; do
    good $draw --delta told/delta.safetensors --guidance $w --latents w$w.safetensors
    good $draw --delta told/delta.safetensors --guidance $w --batch 1 --latents one.safetensors
    checks=$((checks + 1))
    cmp w$w.safetensors one.safetensors || fail "--guidance $w: a batch of one has other bits"
done
good $draw --delta told/delta.safetensors --guide none --latents none.safetensors
good $draw --delta told/delta.safetensors --guidance 3 --guidance-interval 200:201 --latents never.safetensors
good $draw --delta told/delta.safetensors --guide superclass --guidance 3 --latents two.safetensors
checks=$((checks + 5))
cmp w1.safetensors none.safetensors || fail "--guidance 1 is not --guide none"
cmp w1.safetensors never.safetensors || fail "a scale is told outside of --guidance-interval"
cmp -s w1.safetensors w1.7.safetensors && fail "--guidance 1.7 draws as 1 does"
cmp -s w1.7.safetensors w3.safetensors && fail "--guidance 3 draws as 1.7 does"
cmp -s w3.safetensors two.safetensors && fail "--guide superclass draws in one pass"
good sample $base --delta told/delta.safetensors --steps 3 --guidance 3 --out told/drawn
checks=$((checks + 1))
grep -q 'guide input, w = 3' stderr || fail "nothing says that the scale is told" "$(cat stderr)"
good sample $base --delta told/delta.safetensors --like "$(find told/drawn -name '*.png' | head -n 1)" --quiet --out again
good inspect told/delta.safetensors
checks=$((checks + 1))
grep -q 'scale is an input' stdout || fail "inspect does not say that the scale is an input" "$(cat stdout)"
# in the whole model, and as a delta of it again
good convert base-ddpm/delta.safetensors merged.safetensors --merge told/delta.safetensors --quiet
good convert merged.safetensors back.safetensors --delta $base --quiet
good sample --base merged.safetensors --steps 3 --quiet --guidance 1.7 --latents merged.st.safetensors
good $draw --delta back.safetensors --guidance 1.7 --latents back.st.safetensors
checks=$((checks + 2))
cmp w1.7.safetensors merged.st.safetensors || fail "a merged model draws something else"
cmp w1.7.safetensors back.st.safetensors || fail "a delta of the merged model draws something else"
refused "--names~torch,guidance~scale,w_embed" convert base-ddpm/delta.safetensors merged.pt --names torch \
    --merge told/delta.safetensors
# every mask trains it, and a run goes on from it
for tune in lora:2 difffit table; do
    good train $run $base --learn-guidance 2 --learn-from 1 --learn-guide base --tune $tune --steps 2 --out told-$tune
    good $draw --delta told-$tune/delta.safetensors --guidance 1.5 --latents x.safetensors
done
good train $run $base --delta told/delta.safetensors --learn-guidance 2 --learn-from 1 --steps 2 --out further
refused "--delta,takes~the~guidance~scale,--learn-from" train $run $base --delta told/delta.safetensors --steps 1 --out new
refused "--base,takes~the~guidance~scale,--learn-from" train $run --base merged.safetensors --steps 1 --out new
refused "--guidance~3.5,told,1~to~3" $draw --delta told/delta.safetensors --guidance 3.5 --latents x.safetensors
refused "--guide~input,learnt,--learn-from" $draw --delta learnt/delta.safetensors --guide input --latents x.safetensors
refused "--learn-from,--learn-guidance" train $run $base --learn-from 1 --steps 1 --out new
refused "--learn-from~2,1~or~more,--learn-guidance~2" train $run $base --learn-guidance 2 --learn-from 2 --steps 1 --out new
refused "--learn-from~0.5,1~or~more" train $run $base --learn-guidance 2 --learn-from 0.5 --steps 1 --out new
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
