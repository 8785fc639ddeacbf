#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Adapters from the command line: trained, killed, resumed to the bit, grown by classes, on two devices, drawn apart
# and merged, told by inspect; what does not go together is refused with one line.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data more
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
gzip -dc "$source/data/letters-test.tar.gz" | (cd more && tar xf - A/mono A/hand B/mono B/hand B/serif) || exit 99
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-2 --ema 0.5"
refused() { # refused WORDS ARGUMENT...: one line with every one of WORDS (~ is a space) in it
    words=$1
    shift
    checks=$((checks + 1))
    "$program" "$@" >stdout 2>stderr
    code=$?
    [ $code = 1 ] || [ $code = 2 ] || fail "not refused: $*" "$(cat stderr)"
    [ "$(messages stderr)" -eq 1 ] || fail "not one line: $*" "$(cat stderr)"
    each_word "$words" stderr "$*"
}
differ() { # differ WHAT A B
    checks=$((checks + 1))
    ! cmp -s "$2" "$3" || fail "$1: $2 and $3 are the same"
}

good train $run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --steps 20 --out base
base="--base base/delta.safetensors"

# ------------------------------------------------------------------ training, broken and whole
for tune in lora:4:8 finediffusion+lora:4 rslora:3+norm difffit difffit-linear; do
    tuned="$run $base --tune $tune --val 0.2 --steps 20 --checkpoint-every 5"
    good train $tuned --out whole
    "$program" train $tuned --out broken --threads 1 2>message &
    child=$!
    while kill -0 $child 2>/dev/null && ! [ -e broken/checkpoints/step-5.safetensors ]; do sleep 0.02; done
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
    child=
    good train --resume broken --quiet
    same "$tune resumed" whole/delta.safetensors broken/delta.safetensors
    same "$tune resumed" whole/checkpoints/step-20.safetensors broken/checkpoints/step-20.safetensors
    refused "--tune,$tune,table" train $run $base --tune table --val 0.2 --steps 20 --out broken --resume
    rm -rf broken
    for more in "--recompute block" "--recompute branches" "--activations bf16" "--accumulate 2" "--weights bf16" \
        "--optimiser lion"; do
        good train $run $base --tune $tune --steps 2 --out other $more
        rm -rf other
    done
    mv whole "run-$tune"
done
lora=run-lora:4:8/delta.safetensors
size=$(wc -c <$lora)
checks=$((checks + 1))
[ "$size" -lt 40000 ] || fail "a delta of lora:4 has $size bytes"

# ------------------------------------------------------------------ inspect
good inspect $lora
says stdout 'adapter *lora of rank 4, alpha 8'
good inspect run-rslora:3+norm/delta.safetensors --json
says stdout 'rslora of rank 3, alpha 3'
good inspect run-difffit/delta.safetensors
says stdout 'adapter *difffit$'
good inspect run-lora:4:8/checkpoints/step-20.safetensors
says stdout 'lora of rank 4'

# ------------------------------------------------------------------ drawing: apart, merged at load, merged before
draw="sample --per-class 1 --quiet --seed 3 --steps 5"
for tune in lora:4:8 finediffusion+lora:4 rslora:3+norm difffit difffit-linear; do
    delta="run-$tune/delta.safetensors"
    good $draw $base --delta "$delta" --latents apart.safetensors --batch 3
    good $draw $base --delta "$delta" --latents alone.safetensors --batch 1 --threads 1
    same "$tune, batch and threads" apart.safetensors alone.safetensors
    good $draw $base --delta "$delta" --merge --latents loaded.safetensors
    good convert base/delta.safetensors merged.safetensors --merge "$delta" --quiet
    good $draw --base merged.safetensors --latents before.safetensors
    same "$tune merged" loaded.safetensors before.safetensors
    good $draw $base --latents plain.safetensors
    differ "$tune" plain.safetensors apart.safetensors
    good inspect merged.safetensors
    checks=$((checks + 1))
    ! grep -q adapter stdout || fail "the merged model has an adapter" "$(cat stdout)"
done
good $draw $base --delta $lora --out drawn
says drawn/run.json '"weights"'
refused "other~options" $draw $base --delta $lora --out drawn --merge
good $draw $base --delta $lora --guide delta:run-finediffusion+lora:4/delta.safetensors --latents guided.safetensors
good convert $lora small.safetensors --type bf16 --quiet
good $draw $base --delta small.safetensors --latents rounded.safetensors
for type in bf16 int8; do
    good $draw $base --delta $lora --weights $type --latents stored.safetensors
    differ "--weights $type" apart.safetensors stored.safetensors
done

# ------------------------------------------------------------------ more classes
good train $run --data more $base --delta $lora --tune lora:4:8 --steps 4 --out grown
good inspect grown/delta.safetensors
says stdout 'lora of rank 4, alpha 8'
good train $run --data more $base --delta $lora --tune finediffusion+lora:4:8 --steps 2 --out wider
good train $run $base --tune finediffusion --steps 2 --out plain
good train $run $base --delta plain/delta.safetensors --tune finediffusion+lora:4 --steps 2 --out added

good train $run --data more $base --delta run-difffit/delta.safetensors --tune difffit --steps 2 --out grown-difffit
good train $run $base --delta plain/delta.safetensors --tune difffit-linear --steps 2 --out added-difffit

# ------------------------------------------------------------------ two devices
good train $run $base --tune difffit-linear --steps 4 --device cpu,ref --batch 2 --out two-difffit
good train $run $base --tune lora:4:8 --steps 4 --device cpu,ref --batch 2 --out two
good train $run $base --tune lora:4:8 --steps 4 --out one
good $draw $base --delta two/delta.safetensors --latents two.safetensors
good $draw $base --delta $lora --device cpu,ref --latents both.safetensors

# ------------------------------------------------------------------ PEFT's folders, to and fro
files="$source/tests/fixtures/adapters"
student="$files/student.safetensors"
for tag in lora rslora finediffusion+lora; do
    good convert "$files/peft_$tag" peft.safetensors --delta --base "$student" --model 48,2,3,2 --quiet
    good inspect peft.safetensors
    says stdout 'lora of rank 3, alpha 5'
    good convert peft.safetensors "back-$tag" --names peft --quiet
    good convert "back-$tag" again.safetensors --delta --base "$student" --model 48,2,3,2 --quiet
    same "$tag to PEFT and back" peft.safetensors again.safetensors
    good sample --base "$student" --model 48,2,3,2 --delta peft.safetensors --classes '#0' --guide none --steps 2 \
        --quiet --latents x.safetensors
done
says back-finediffusion+lora/adapter_config.json '"bias": "all"'
says back-lora/adapter_config.json '"bias": "none"'
says back-lora/adapter_config.json '"attn.proj"'
says back-rslora/adapter_config.json '"use_rslora": true'
grep -aq 'base_model.model.blocks.0.attn.qkv.base_layer.bias' back-finediffusion+lora/adapter_model.safetensors ||
    fail "PEFT's name of the bias under an adapter is missing"
good convert "run-finediffusion+lora:4/delta.safetensors" ours --names peft --quiet
good convert ours again.safetensors --delta $base --quiet
good $draw $base --delta again.safetensors --classes '#0,#1' --guide none --latents a.safetensors
refused "does~not~say~the~sizes,--base" convert back-lora x.safetensors
refused "leave~it~out" convert back-lora x.safetensors --delta --base "$student" --model 48,2,3,2 --tune norm
refused "is~a~PEFT~adapter,convert" $draw --base "$student" --model 48,2,3,2 --delta back-lora --latents x.safetensors
refused "does~not~hold~an~adapter" convert plain/delta.safetensors x --names peft
refused "of~another~model~size" convert "$files/peft_lora" x.safetensors --delta $base
cp -r back-lora half
sed 's/"alpha_pattern": {}/"alpha_pattern": {"attn.qkv": 2}/' back-lora/adapter_config.json >half/adapter_config.json
refused "alpha_pattern,merge_and_unload" convert half x.safetensors --delta --base "$student" --model 48,2,3,2
for rank in 0 4 200; do
    sed "s/\"r\": [0-9]*/\"r\": $rank/" back-lora/adapter_config.json >half/adapter_config.json
    refused "half/adapter_,\"r\",$rank" convert half x.safetensors --delta --base "$student" --model 48,2,3,2
done
rm half/adapter_config.json
refused "half/adapter_model.safetensors,adapter_config.json,is~not~beside~it" convert half x.safetensors --delta \
    --base "$student" --model 48,2,3,2

# ------------------------------------------------------------------ what is refused
new="train $run $base --steps 1 --out new"
refused "lora:0,rank,1~to~the~width" $new --tune lora:0
refused "rank~33,width~32,1~to~32" $new --tune lora:33
refused "lora:4:nan,alpha" $new --tune lora:4:nan
refused "lora,give~the~rank" $new --tune lora
refused "adapter,full" $new --tune full+lora:4
refused "lora:4,is~not~known" $new --tune dream+lora:4
refused "lora~of~rank~4,lora~of~rank~8,--tune" $new --delta $lora --tune lora:8
refused "lora~of~rank~4,no~adapter,convert~--merge" $new --delta $lora --tune finediffusion
refused "does~not~hold~an~adapter" convert run-difffit/delta.safetensors x --names peft
refused "difffit,difffit-linear" $new --delta run-difffit/delta.safetensors --tune difffit-linear
refused "lora~of~rank~4,difffit" $new --delta $lora --tune difffit
refused "rslora~of~rank~4,lora~of~rank~4" $new --delta $lora --tune rslora:4:8
good train $run --from-scratch --tune full --model 64,2,2,4 --size 24 --channels 1 --steps 1 --out wide
refused "different~models,width~32~and~64" $draw --base wide/delta.safetensors --delta $lora --latents x.safetensors
refused "different~models,width~32~and~64" train $run --base wide/delta.safetensors --delta $lora --tune lora:4:8 --steps 1 --out new
refused "another~base" $draw --base merged.safetensors --delta $lora --latents x.safetensors
refused "holds~only~what~fine-tuning~trained" $draw --base $lora --latents x.safetensors
refused "cannot~be~told" convert merged.safetensors x.safetensors $base --delta --tune lora:4
refused "from-scratch,full" train $run --from-scratch --tune lora:4 --model 32,2,2,4 --size 24 --channels 1 --steps 1 --out new
[ ! -e new ] || fail "a refused run leaves a folder"
finish
