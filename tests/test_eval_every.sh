#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `train --eval-every`: the numbers in log and TensorBoard, training to the same bits without it, and resumed runs.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
mkdir real
gzip -dc "$source/data/letters-train.tar.gz" | (cd real && tar xf - A/mono A/hand B/mono) || exit 99
train="train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --val 0.25 --batch 4
    --steps 12 --checkpoint-every 6 --quiet"
every="--eval-every 4 --eval-pictures 12 --eval-metrics kid,recall,accuracy"
numbers() { grep '"eval"' "$1/log.jsonl"; }

good $train --preview-every 0 --out plain
good $train --preview-every 5 $every --out seen
for file in delta.safetensors checkpoints/step-6.safetensors checkpoints/step-12.safetensors; do
    checks=$((checks + 1))
    cmp -s plain/$file seen/$file || fail "--eval-every changes $file"
done
sed -e '/"eval"/d' -e 's/,"images_per_second.*//' seen/log.jsonl >a
sed -e 's/,"images_per_second.*//' plain/log.jsonl >b
checks=$((checks + 1))
cmp -s a b || fail "--eval-every changes the losses" "$(diff a b)"
equal "steps that were measured" "$(numbers seen | sed 's/{"step":\([0-9]*\),.*/\1/' | tr '\n' ' ')" "0 4 8 12 "
says seen/log.jsonl '"eval":{"kid:judge":[0-9.e-]*,"recall:judge":[0-9.e-]*,"accuracy top-1 class":'
checks=$((checks + 1))
grep -aq 'eval/kid:judge' seen/events.out.tfevents.* || fail "TensorBoard does not have it"
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --val 0.25 --batch 4 \
    --steps 4 --preview-every 0 --json $every --out json
says stdout '{"step":4,"eval":{"kid:judge":'
says stderr 'step 4: kid:judge '

# eval of the delta with the same way of drawing compares with the same pictures
good eval --run seen --per-class 4 --sampler ddim --steps 25 --guidance 4 --clip-x0 --draws 0 --metrics kid --json --quiet
got=$(sed 's/.*"metric":"kid","value":\([^,]*\),.*/\1/' stdout)
want=$(numbers seen | sed -n 's/{"step":12,"eval":{"kid:judge":\([^,]*\),.*/\1/p')
checks=$((checks + 1))
awk -v a="$got" -v b="$want" 'BEGIN { d = a - b; exit !(a != "" && d < 1e-6 * b && d > -1e-6 * b) }' ||
    fail "eval says $got of the pictures that the run found to be $want"

# a run that was stopped in between says the same
good $train $every --preview-every 0 --out parts
rm parts/delta.safetensors parts/checkpoints/step-12.safetensors
good train --resume parts --quiet
numbers seen >a
numbers parts >b
checks=$((checks + 1))
cmp -s a b || fail "a resumed run has other numbers" "$(diff a b)"
checks=$((checks + 1))
cmp -s plain/delta.safetensors parts/delta.safetensors || fail "a resumed run is another one"

# a judge of one's own is called by its run, wherever that lies
good train --classifier --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --batch 4 --steps 1 \
    --preview-every 0 --quiet --out judges/letters
good $train $every --eval-features judge:judges/letters/delta.safetensors --preview-every 0 --out judged
says judged/log.jsonl '"eval":{"kid:judge:letters":[0-9.e-]*,"recall:judge:letters":'

# features out of a file, and bad input
good eval real --metrics none --quiet --features-out real.safetensors
good $train $every --eval-real real.safetensors --preview-every 0 --out files
equal "measured" "$(numbers files | wc -l | tr -d ' ')" 4
bad() { # bad CODE WORDS ARGUMENT...
    checks=$((checks + 1))
    code=$1 words=$2
    shift 2
    "$program" $train --preview-every 0 "$@" --out failed >stdout 2>stderr
    got=$?
    [ $got = "$code" ] && grep -qFe "$words" stderr || fail "exit $got, not $code with '$words': $*" "$(cat stderr)"
    [ ! -e failed ] || fail "a failed start leaves its folder: $*"
}
bad 2 'is not a metric' --eval-every 4 --eval-metrics fidd
bad 2 'not a feature network' --eval-every 4 --eval-features nothing
bad 1 'missing' --eval-every 4 --eval-real missing
bad 2 'draws no pictures' --eval-every 4 --classifier
bad 2 'too few' --eval-every 4 --eval-pictures 4 --eval-metrics coverage
finish
