#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Flow matching from the command line: trained, killed, resumed to the bit, fine-tuned, drawn with every sampler, told
# apart from ddpm; files of SiT and REPA.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3"
scratch="$run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --steps 20 --checkpoint-every 5"

# ------------------------------------------------------------------ training
for objective in flow flow-sit; do
    good train $scratch --objective $objective --val 0.2 --out whole
    "$program" train $scratch --objective $objective --val 0.2 --out broken --threads 1 2>message &
    child=$!
    while kill -0 $child 2>/dev/null && ! [ -e broken/checkpoints/step-5.safetensors ]; do sleep 0.02; done
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
    child=
    name=flow-repa
    [ $objective = flow ] || name=$objective
    good train --resume broken --quiet
    checks=$((checks + 1))
    cmp whole/delta.safetensors broken/delta.safetensors || fail "$objective: resumed with other bits"
    has "$objective: config.json" whole/config.json "\"objective\":\"$name\""
    has "$objective: the model" whole/delta.safetensors "\\\"parameterisation\\\":\\\"$name\\\""
    refused "--objective,ddpm" train $scratch --objective ddpm --val 0.2 --out broken --resume
    mv whole $name
    rm -rf broken
done
good train $scratch --out ddpm

# fine-tuned: the base says its objective, every mask trains
for tune in finediffusion bitfit norm table full; do
    good train $run --base flow-repa/delta.safetensors --tune $tune --steps 2 --out tuned-$tune --preview-every 2
    has "--tune $tune" tuned-$tune/config.json '"objective":"flow-repa"'
done
refused "flow-repa/delta.safetensors,is~of~the~objective~flow-repa,not~of~ddpm" \
    train $run --base flow-repa/delta.safetensors --objective ddpm --steps 1 --out new
refused "--objective,nothing,ddpm|flow" train $run --base ddpm/delta.safetensors --objective nothing --steps 1 --out new
refused "--objective,classifier" train $scratch --classifier --objective flow --out new
good train $run --base ddpm/delta.safetensors --tune table --steps 1 --out tuned-ddpm
refused "objective~ddpm,flow-repa" \
    sample --base flow-repa/delta.safetensors --delta tuned-ddpm/delta.safetensors --latents x.safetensors
refused "objective~ddpm,flow-repa" \
    train $run --base flow-repa/delta.safetensors --delta tuned-ddpm/delta.safetensors --tune table --steps 1 --out new

# ------------------------------------------------------------------ drawing
draw="sample --per-class 2 --quiet --seed 3"
for base in flow-repa flow-sit; do
    for sampler in euler heun sde sde:euler sde:none unipc unipc:3; do
        good $draw --base $base/delta.safetensors --sampler $sampler --steps 6 --latents a.safetensors --batch 1
        good $draw --base $base/delta.safetensors --sampler $sampler --steps 6 --latents b.safetensors --batch 3 \
            --threads 1
        checks=$((checks + 1))
        cmp a.safetensors b.safetensors || fail "$base, $sampler: the batch or threads change the bits"
    done
    good $draw --base $base/delta.safetensors --out $base.drawn --guidance-interval 0.1:0.7
    has "$base: run.json" $base.drawn/run.json '"sampler": "euler"'
    has "$base: run.json" $base.drawn/run.json '"steps": 50'
    has "$base: run.json" $base.drawn/run.json '"guidance-interval": "0.1:0.7"'
    refused "dpm++,$base,euler" $draw --base $base/delta.safetensors --sampler dpm++ --latents c.safetensors
    refused "100:500,from~0" $draw --base $base/delta.safetensors --guidance-interval 100:500 --latents c.safetensors
done
for base in flow-repa flow-sit; do
    zero="$draw --base $base/delta.safetensors --guidance-rule zero-star --sampler heun --steps 4"
    good $zero --latents a.safetensors --batch 1
    good $zero --latents b.safetensors --batch 3 --threads 1
    checks=$((checks + 1))
    cmp a.safetensors b.safetensors || fail "$base, zero-star: the batch or threads change the bits"
    good $draw --base $base/delta.safetensors --sampler heun --steps 4 --latents a.safetensors
    checks=$((checks + 1))
    cmp -s a.safetensors b.safetensors && fail "$base: zero-star changes nothing"
done
# shards in one folder are what one command draws
for shard in 1/2 0/2; do
    good $draw --base flow-sit/delta.safetensors --sampler sde --steps 4 --out shards --shard $shard
done
good $draw --base flow-sit/delta.safetensors --sampler sde --steps 4 --out one
rm shards/manifest* one/manifest*
checks=$((checks + 1))
diff -r one shards >difference || fail "shards make other pictures" "$(cat difference)"
refused "zero-star,sde,euler" $draw --base flow-sit/delta.safetensors --sampler sde --guidance-rule zero-star \
    --latents c.safetensors
refused "zero-star,ddpm" $draw --base ddpm/delta.safetensors --guidance-rule zero-star --latents c.safetensors
refused "unipc:3,ddpm" $draw --base ddpm/delta.safetensors --sampler unipc:3 --latents c.safetensors
good $draw --base flow-repa/delta.safetensors --delta tuned-table/delta.safetensors --latents c.safetensors
refused "heun,--clip-x0" $draw --base flow-sit/delta.safetensors --sampler heun --clip-x0 --latents c.safetensors
refused "euler,ddpm" $draw --base ddpm/delta.safetensors --sampler euler --latents c.safetensors
refused "0.5:0.7,whole~numbers" $draw --base ddpm/delta.safetensors --guidance-interval 0.5:0.7 --latents c.safetensors
refused "sde:last,tweedie" $draw --base flow-sit/delta.safetensors --sampler sde:last --latents c.safetensors
refused "objective~ddpm,flow-repa" $draw --base flow-repa/delta.safetensors \
    --guide delta:tuned-ddpm/delta.safetensors --latents c.safetensors

# ------------------------------------------------------------------ files of others
files="$source/tests/fixtures/flow"
draw="$draw --model 32,2,2,2 --per-class 1 --classes #0,#1 --steps 5 --guide none"
good $draw --base "$files/sit.pt" --latents a.safetensors
good $draw --base "$files/sit_flat.pt" --objective flow-sit --latents b.safetensors
checks=$((checks + 1))
cmp a.safetensors b.safetensors || fail "the same SiT in two layouts gives two pictures"
good convert "$files/sit_flat.pt" sit.safetensors --objective flow-sit --model 32,2,2,2 --quiet
good $draw --base sit.safetensors --latents b.safetensors
checks=$((checks + 1))
cmp a.safetensors b.safetensors || fail "a converted SiT gives another picture"
"$program" sample --verbose --model 32,2,2,2 --base "$files/repa.pt" --classes '#0' --guide none --steps 2 \
    --latents a.safetensors 2>stderr || fail "REPA is not drawn" "$(cat stderr)"
has "REPA" stderr "projectors"
good convert sit.safetensors sit.pt --quiet --model 32,2,2,2
good $draw --base "$files/sit.pt" --latents a.safetensors
good $draw --base sit.pt --latents b.safetensors
checks=$((checks + 1))
cmp a.safetensors b.safetensors || fail "a SiT written as a torch file gives another picture"
if command -v python3 >/dev/null && python3 -c 'import torch' 2>torch.err; then
    checks=$((checks + 1))
    python3 - <<'EOF' || fail "torch does not read what convert wrote"
import torch
got = torch.load("sit.pt", weights_only=True)
assert got["args"]["path_type"] == "Linear" and "blocks.0.attn.qkv.weight" in got["ema"]
EOF
fi

# normalised queries and keys: drawn, converted both ways
good $draw --base "$files/repa_qknorm.pt" --latents a.safetensors
for file in qk.safetensors qk.pt; do
    good convert "$files/repa_qknorm.pt" $file --model 32,2,2,2 --quiet
    good $draw --base $file --latents b.safetensors
    checks=$((checks + 1))
    cmp a.safetensors b.safetensors || fail "$file gives another picture"
done
refused "sit.pt,flow-sit,ddpm" $draw --base "$files/sit.pt" --objective ddpm --latents c.safetensors
[ ! -e c.safetensors ] || rm c.safetensors

finish
