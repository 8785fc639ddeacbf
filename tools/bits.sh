#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Hashes of what the program computes, one a line: before and after a change that must not alter a bit.
#
#     tools/bits.sh [PROGRAM]                  prints them (default build/finediffusion)
#     tools/bits.sh --against FILE [PROGRAM]   compares with what an earlier program printed; fails when they differ
#
# Short runs on the data of this folder: every mask, objective and optimiser with checkpoints and logs; every
# sampler and guide; caches, autoencoder, conversions; the CPU in f32, bf16 and int8, and the first OpenCL device
# where there is one; 1 and 2 threads. A new mask, objective, optimiser, sampler or guide joins `later`, behind
# what is there.
# Hashes hold for one kind of processor: make both on the same machine. 2 to 3 minutes on two cores.
set -u
against=
case ${1-} in
--against) against=$(realpath "$2"); shift 2 ;;
-*) sed -n '3,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
top=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath "${1:-$top/build/finediffusion}") || exit 2
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
export LC_ALL=C
unset FINEDIFFUSION_DEVICE OMP_NUM_THREADS
base=$top/data/base.safetensors
dit=$top/tests/fixtures/dit.safetensors
vae=$top/tests/fixtures/vae
tar xzf "$top/data/letters-test.tar.gz" || exit 99
tar xzf "$top/data/letters-train.tar.gz" || exit 99
mkdir few
i=0
find . -mindepth 3 -name '*.png' | LC_ALL=C sort | sed 's|/[^/]*$||' | uniq | head -n 12 >folders
while read -r folder; do
    i=$((i + 1))
    mkdir -p "few/group$((i % 3))/class$i"
    find "$folder" -name '*.png' | LC_ALL=C sort | head -n 4 | while read -r picture; do
        cp "$picture" "few/group$((i % 3))/class$i/"
    done
done <folders

# run NAME ARGUMENT...: the program; its failure becomes a line of its own, so that it is compared as well.
run() {
    name=$1
    shift
    "$program" "$@" --quiet >out.txt 2>err.txt || echo "failed $name: $(tail -n 1 err.txt | cut -c 1-120)"
}
# The data of all tensors: not the header, which names the version.
tensors() {
    for file in "$@"; do
        [ -f "$file" ] || { echo "missing $file"; continue; }
        header=$(od -A n -t u8 -N 8 "$file" | tr -d ' ')
        printf '%s %s\n' "$(tail -c +$((header + 9)) "$file" | sha256sum | cut -c 1-16)" "$file"
    done
}
# values FILE WORDS: what a log computed under these keys: neither times nor rates.
values() {
    [ -s "$1" ] || { echo "missing $1"; return; }
    printf '%s\n' "$(grep -o -E "\"($2)\": *[-0-9.e+]*" "$1" | sha256sum | cut -c 1-16)"
}
logged() {
    printf '%s %s\n' "$(values "$1/log.jsonl" 'step|loss|mse|lr|val[a-z_]*')" "$1/log.jsonl"
}
pictures() {
    for folder in "$@"; do
        printf '%s %s\n' "$(find "$folder" -name '*.png' | LC_ALL=C sort |
            while read -r file; do image_data "$file"; done |
            sha256sum | cut -c 1-16)" "$folder"
    done
}
# A PNG file from its first IDAT on: its text, which says the version, comes before.
image_data() {
    at=$(grep -a -b -o IDAT "$1" | head -n 1 | cut -d : -f 1)
    tail -c +$((at + 1)) "$1"
}
train() { # NAME OPTION...
    name=$1
    shift
    run "$name" train --base "$base" --data few --val 0.25 --steps 4 --batch 6 --seed 3 --checkpoint-every 2 \
        --preview-every 0 --warmup 2 --ema 0.9 --out "$name" "$@"
    tensors "$name/delta.safetensors"
    for file in $(find "$name/checkpoints" -type f -name '*.safetensors' | LC_ALL=C sort); do tensors "$file"; done
    logged "$name"
}
sample() { # NAME OPTION...
    name=$1
    shift
    draw "$name" --base "$base" --delta "$delta" "$@"
}
draw() { # NAME OPTION...
    name=$1
    shift
    run "$name" sample --out "$name" --latents "$name.safetensors" --per-class 1 --classes "#0,#1,#4,#7,#9" \
        --steps 6 --seed 5 "$@"
    tensors "$name.safetensors"
    pictures "$name"
}

all() {
    delta=train/delta.safetensors
    train train --device cpu
    train threads1 --device cpu --threads 1
    for mask in bitfit norm table full; do train "train-$mask" --device cpu --tune "$mask"; done
    train train-bf16 --device cpu --precision bf16
    train train-int8 --device cpu --weights int8
    train train-recompute --device cpu --recompute block --accumulate 2
    train train-branches --device cpu --recompute branches
    train train-activations --device cpu --activations bf16
    train train-options --device cpu --clip 0.5 --weight-decay 0.1 --betas 0.8,0.99 --lr-schedule cosine \
        --label-drop empty --drop-prob 0.3 --table-init base --flip none --ema 0.9:exact
    run scratch train --from-scratch --model 48,2,3,4 --size 24 --channels 1 --tune full --data few --steps 3 --batch 4 \
        --out scratch --device cpu --preview-every 2
    tensors scratch/delta.safetensors
    run classifier train --from-scratch --classifier --model 48,2,3,3 --size 24 --channels 1 --tune full --data few \
        --shift 1 --steps 3 --batch 4 --out classifier --device cpu
    tensors classifier/delta.safetensors
    run resumed train --resume train --steps 6
    tensors train/delta.safetensors

    for sampler in ddpm ddim ddim:0.5 dpm++; do sample "sample-$sampler" --device cpu --sampler "$sampler"; done
    for guide in superclass random base none; do
        sample "guide-$guide" --device cpu --guide "$guide" --guidance 3
    done
    delta=train-options/delta.safetensors
    sample guide-empty --device cpu --guide empty --guidance 3
    sample guide-delta --device cpu --guide delta:train/delta.safetensors
    delta=train/delta.safetensors
    sample threads-1 --device cpu --threads 1 --batch 2
    sample sample-bf16 --device cpu --precision bf16
    sample sample-int8 --device cpu --weights int8
    sample sample-interval --device cpu --guidance-interval 100:800 --no-clip-x0 --rng torch-cpu
    sample sample-cuda --device cpu --rng torch-cuda

    run encode encode few cache --size 24 --device cpu
    run latents encode few latents --vae "$vae" --size 16 --device cpu
    run latents2 encode few latents2 --vae "$vae" --size 16 --device cpu --precision bf16
    for folder in cache latents latents2; do
        (cd "$folder" && find . -name 'shard*.fdc' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-16 | sed "s|$| $folder|")
    done
    run train-latents train --from-scratch --model 48,2,3,2 --tune full --data latents --steps 3 --batch 4 --out on-latents \
        --device cpu --preview-every 0
    tensors on-latents/delta.safetensors
    run vae sample --base "$dit" --vae "$vae" --out vae --steps 4 --classes '#1,#2,#5' --guide none --device cpu
    pictures vae
    for type in f32 f16 bf16; do
        run "to-$type" convert "$base" "to-$type.safetensors" --type "$type"
        tensors "to-$type.safetensors"
    done
    run merge convert "$base" merged.safetensors --merge train/delta.safetensors
    [ ! -f merged.safetensors ] || tensors merged.safetensors

    if "$program" devices --json 2>/dev/null | grep -q opencl; then
        train cl-train --device opencl:0:0
        train cl-full --device opencl:0:0 --tune full
        train cl-int8 --device opencl:0:0 --weights int8
        sample cl-sample --device opencl:0:0
        sample cl-ddim --device opencl:0:0 --sampler ddim --guide base
        run cl-vae sample --base "$dit" --vae "$vae" --out cl-vae --steps 3 --classes '#1,#2' --guide none \
            --device opencl:0:0
        pictures cl-vae
    fi
}
# What joined after the lines above: those keep their places, so that older outputs can be compared.
later() {
    for mask in lora:4 rslora:4:8 difffit difffit-linear bias+lora:4 finediffusion+lora:4; do
        train "train-$mask" --device cpu --tune "$mask"
    done
    train train-lion --device cpu --optimiser lion
    train train-balanced --device cpu --balance sqrt --loss-weight min-snr:5 --time-density logit-normal
    for guide in base superclass; do
        train "learn-$guide" --device cpu --learn-guide "$guide" --learn-guidance 2 --learn-below 0.6
    done
    for delta in train-lora:4 train-rslora:4:8 train-difffit train-difffit-linear; do
        delta=$delta/delta.safetensors
        sample "of-${delta%/*}" --device cpu
    done
    delta=train/delta.safetensors
    sample sample-unipc --device cpu --sampler unipc

    for objective in flow-repa flow-sit; do
        flow=$objective/delta.safetensors
        run "$objective" train --from-scratch --objective "$objective" --model 48,2,3,4 --size 24 --channels 1 \
            --tune full --data few --val 0.25 --steps 4 --batch 4 --seed 3 --ema 0.9 --preview-every 0 \
            --out "$objective" --device cpu
        tensors "$flow"
        logged "$objective"
        for sampler in euler heun sde sde:none unipc unipc:3; do
            draw "$objective-$sampler" --base "$flow" --device cpu --sampler "$sampler" --guidance 2
        done
        draw "$objective-zero-star" --base "$flow" --device cpu --guidance 2 --guidance-rule zero-star
        draw "$objective-interval" --base "$flow" --device cpu --guidance 2 --guidance-interval 0.2:0.7
        run "$objective-learn" train --base "$flow" --data few --steps 3 --batch 4 --seed 3 --learn-guide base \
            --learn-guidance 2 --learn-below 0.6 --loss-weight min-snr:5 --preview-every 0 \
            --out "$objective-learn" --device cpu
        tensors "$objective-learn/delta.safetensors"
        logged "$objective-learn"
    done
    flow=flow-repa/delta.safetensors
    if "$program" devices --json 2>/dev/null | grep -q opencl; then
        train cl-lora --device opencl:0:0 --tune lora:4
        train cl-difffit --device opencl:0:0 --tune difffit
        train cl-lion --device opencl:0:0 --optimiser lion
        for sampler in heun unipc; do
            draw "cl-$sampler" --base "$flow" --device opencl:0:0 --sampler "$sampler"
        done
    fi
    # The variational bound of every run, and what it still writes when it is resumed.
    for log in */log.jsonl; do printf '%s %s vb\n' "$(values "$log" 'vb|prior_mse|prior_vb|val[a-z_]*')" "$log"; done
}
if [ -z "$against" ]; then
    all
    later
    exit 0
fi
{ all; later; } >now
diff "$against" now && echo "$(grep -c . now) hashes are as they were"
