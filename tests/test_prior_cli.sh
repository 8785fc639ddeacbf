#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prior preservation from the command line: pictures drawn by the model that a run begins from, or given; the
# same bits for threads, shards and a run in parts, also one that was killed while it drew; bad input.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data old
letters() { gzip -dc "$source/data/letters-test.tar.gz" | (cd "$1" && shift && tar xf - "$@") || exit 99; }
letters data A/mono A/hand B/mono B/hand
letters old A/serif "A/sans bold" B/serif
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3 --ema 0.9"
good train --data old --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3 --from-scratch --tune full --model 32,2,2,4 \
    --size 24 --channels 1 --steps 4 --out base
prior="$run --base base/delta.safetensors --prior-per-class 3 --prior-weight 0.5 --steps 8 --checkpoint-every 3"
losses() { sed -e 's/"images_per_second":[^,]*,"seconds":[^,}]*,*//' -e 's/,"resident_bytes":.*//' "$1/log.jsonl"; }

# ---- the same bits
good train $prior --out whole
equal "pictures that the base drew" "$(find whole/prior -name '*.png' | wc -l | tr -d ' ')" 9
says whole/log.jsonl '"prior_mse":0\.[0-9]*,"prior_vb":'
says whole/config.json '"prior-per-class":3,"prior-weight":0.5'
says whole/config.json '"prior":{"pictures":9,"mark":'
cp -r whole stopped
rm stopped/delta.safetensors stopped/checkpoints/step-8.safetensors stopped/checkpoints/step-6.safetensors
good train --resume stopped --quiet
same "resumed" whole/delta.safetensors stopped/delta.safetensors
equal "the log of a resumed run" "$(losses stopped)" "$(losses whole)"
good train $prior --threads 1 --workers 0 --out one
same "threads and workers" whole/delta.safetensors one/delta.safetensors
# a run that was killed while it drew is begun again and draws what is missing
mkdir -p killed && cp -r whole/prior killed/prior
rm "killed/prior/A%2Fserif/A%2Fserif-8.png"
good train $prior --out killed
same "begun again" whole/delta.safetensors killed/delta.safetensors
# pictures that are given: those that were drawn, by their classes' names
good train $run --base base/delta.safetensors --prior whole/prior --prior-weight 0.5 --steps 8 --checkpoint-every 3 --out given
equal "the log with given pictures" "$(losses given)" "$(losses whole)"
good train $run --base base/delta.safetensors --steps 8 --out plain
checks=$((checks + 1))
[ "$(losses plain)" != "$(losses whole)" ] || fail "the prior changes nothing"
# shards, two devices; tests/test_mpi.sh has processes
good train $prior --shards --batch 2 --accumulate 2 --out shards
good train $prior --batch 2 --device cpu,ref --out apart
good train $prior --shards --batch 2 --accumulate 2 --steps 3 --threads 1 --out part
good train --resume part --steps 8 --quiet
same "shards in parts" shards/delta.safetensors part/delta.safetensors
# beside learnt guidance, whose targets are of the run's own pictures; adapters; a class map's run
good train $prior --learn-guidance 2 --learn-guide base --out learnt
good train $prior --tune lora:2 --balance uniform --accumulate 2 --out lora
good train $prior --delta whole/delta.safetensors --prior-classes A/mono --out again
equal "classes of the delta" "$(ls again/prior | grep -v json)" "A%2Fmono"
good train $prior --plan --json --out planned
[ ! -e planned ] || fail "--plan left a folder"

# ---- a base without names: rows are numbers
good convert --names torch base/delta.safetensors base.pt
good train $run --base base.pt --model 32,2,2,4 --prior-per-class 2 --prior-classes '#0,#4' --steps 2 --out numbers
equal "rows by number" "$(ls numbers/prior | grep -v json | tr '\n' ' ')" "0 4 "

# ---- bad input
refused "--prior-per-class,3,2" train --resume whole --prior-per-class 2
refused "--prior-weight,0~to~1000" train $prior --prior-weight -1 --out new
refused "--prior-weight~0,above~0" train $prior --prior-weight 0 --out new
refused "--prior-weight,--prior~DATA" train $run --base base/delta.safetensors --prior-weight 2 --steps 1 --out new
refused "--prior-classes,--prior~DATA" train $run --base base/delta.safetensors --prior-classes A/serif --steps 1 --out new
refused "--prior,--prior-per-class" train $prior --prior old --out new
refused "--prior-classes:,unknown" train $prior --prior-classes unknown --out new
refused "A/hand,base/delta.safetensors,does~not~know" train $run --base base/delta.safetensors --prior data --steps 1 --out new
mkdir -p torn/A%2Fserif && echo x >torn/A%2Fserif/x.png
refused "torn/A%2Fserif/x.png" train $run --base base/delta.safetensors --prior torn --steps 1 --out new
refused "--prior:,stdout,data~set" train $run --base base/delta.safetensors --prior stdout --steps 1 --out new
refused "--prior:,none-there" train $run --base base/delta.safetensors --prior none-there --steps 1 --out new
refused "--prior,--from-scratch" train $run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --prior old \
    --steps 1 --out new
rm -rf new
cp -r whole moved
rm "moved/prior/B%2Fserif/B%2Fserif-9.png" moved/checkpoints/step-8.safetensors
good train --resume moved --quiet
same "a picture that was lost is drawn again" whole/delta.safetensors moved/delta.safetensors
rm given/checkpoints/step-8.safetensors given/delta.safetensors
mkdir other && cp -r whole/prior/A%2Fserif other/
refused "--prior,has~other~pictures,9~then,3~now" train --resume given --prior other
# on latents: drawn through the autoencoder, and encoded by it in every step
latent="train --base $source/tests/fixtures/dit.safetensors --vae $source/tests/fixtures/vae --data data --batch 2 --steps 3"
latent="$latent --preview-every 0 --quiet --prior-per-class 2 --prior-classes #0,#2 --checkpoint-every 2"
good $latent --out latents
equal "pictures that a model on latents draws" "$(find latents/prior -name '*.png' | wc -l)" 4
cp -r latents stopped-latents
rm stopped-latents/delta.safetensors stopped-latents/checkpoints/step-3.safetensors
good train --resume stopped-latents --quiet
same "a prior on latents, resumed" latents/delta.safetensors stopped-latents/delta.safetensors
finish
