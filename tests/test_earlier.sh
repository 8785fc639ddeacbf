#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A run that an earlier version began goes on to the bits that it would have come to there; its base, delta and caches are
# read, and draw and hold what they did.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
unset FINEDIFFUSION_DEVICE

sum() { grep -a -o '"sum":"[0-9a-f]*"' "$1" | cut -d '"' -f 4; }
numbers() { sed -e 's/,"images_per_second.*//' "$1/log.jsonl"; }

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono B/mono) || exit 99
cp -R "$source/tests/fixtures/earlier/run" run || exit 99
chmod -R u+w run
good train --resume run --quiet
equal "steps" "$(tail -n 1 run/log.jsonl | cut -d , -f 1)" '{"step":6'

# Another C library rounds exp or cos otherwise: its own run says whether bits can be the same.
good train --from-scratch --tune full --model 8,1,1,6 --size 24 --channels 1 --data data --val 0.1 --batch 3 \
    --accumulate 2 --lr 1e-3 --warmup 3 --lr-schedule cosine --seed 7 --weight-decay 0.01 --clip 1 --ema 0.9 \
    --device ref --preview-every 0 --checkpoint-every 3 --steps 6 --out fresh --quiet
if [ "$(sum fresh/checkpoints/step-3.safetensors)" = "$(sum run/checkpoints/step-3.safetensors)" ]; then
    equal "sum of step 6" "$(sum run/checkpoints/step-6.safetensors)" b050a5e3fcbba5e6
    numbers "$source/tests/fixtures/earlier/run" >before
    numbers run >after
    checks=$((checks + 1))
    cmp -s before after || fail "the log differs" "$(diff before after)"
    checks=$((checks + 2))
    cmp fresh/delta.safetensors run/delta.safetensors || fail "the delta differs from an unbroken run's"
    cmp fresh/checkpoints/step-6.safetensors run/checkpoints/step-6.safetensors || fail "the checkpoint differs"
else
    echo "the C library of this machine rounds otherwise: bits are not compared"
fi

cp -R "$source/tests/fixtures/earlier/." files || exit 99
chmod -R u+w files
good inspect files/delta.safetensors --json
says stdout '"classes": 2'
good sample --base files/base.safetensors --delta files/delta.safetensors --classes '#0,#1' --sampler ddim --steps 3 \
    --device ref --guidance 2 --clip-x0 --latents drawn.safetensors --quiet
checks=$((checks + 1))
if [ "$(sum fresh/checkpoints/step-3.safetensors)" = "$(sum "$source/tests/fixtures/earlier/run/checkpoints/step-3.safetensors")" ]; then
    cmp drawn.safetensors files/drawn.safetensors || fail "an earlier version's delta draws other pictures"
fi
good train --base files/base.safetensors --delta files/delta.safetensors --data files/pixels --batch 3 --steps 1 --device ref \
    --preview-every 0 --out more --quiet

for class in A B; do
    (cd data/$class/mono && for picture in $(ls | tail -n +5); do rm "$picture"; done)
done
for cache in pixels moments; do
    good inspect files/$cache
    says stdout 'every sample has the right checksum'
done
good encode data files/pixels --size 24 --channels 1
says stderr '0 encoded, 8 there before'
good encode data files/moments --vae "$source/tests/fixtures/vae" --size 32 --device ref
says stderr '0 encoded, 8 there before'
for shard in pixels/shard-00000.fdc moments/shard-00000.fdc; do
    checks=$((checks + 1))
    cmp files/$shard "$source/tests/fixtures/earlier/$shard" || fail "$shard was written anew"
done

finish
