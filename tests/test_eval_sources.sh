#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `eval`: pictures that are drawn when they are measured, parts of sets and their merging, what a run kept apart.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
. "$source/tests/eval.sh"

# numbers: the metrics of the last command, without memory and the names of sets
numbers() { sed 's/^{"memory":{[^}]*},"generated":{[^}]*},"real":{[^}]*},//; s/,"closest":.*//' stdout; }

mkdir real
gzip -dc "$source/data/letters-train.tar.gz" | (cd real && tar xf - A/mono A/hand B/mono) || exit 99
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --val 0.25 --batch 4 \
    --steps 3 --out run --quiet --preview-every 0
draw="--base run/delta.safetensors --sampler ddim --steps 2 --per-class 5 --guidance 3 --seed 4"

# drawn and measured at once, or drawn, written and measured: the same numbers, to the bit
good sample $draw --classes all --out drawn --quiet
good eval drawn --real real --seed 4 --draws 5 --json --quiet --features-out drawn.npz
numbers >written
good eval $draw --real real --draws 5 --json --quiet --features-out direct.npz
numbers >direct
checks=$((checks + 1))
cmp -s written direct || fail "drawn pictures have other numbers" "$(diff written direct)"
checks=$((checks + 1))
cmp -s drawn.npz direct.npz || fail "drawn pictures have other features"
checks=$((checks + 1))
grep -q 'precision:judge' direct || fail "no metrics" "$(cat direct)"
# a manifest is the pictures that it names, though others lie beside them; in archives too
good sample $draw --classes all --out packed --tar --quiet
good eval packed/manifest.jsonl --metrics none --quiet --features-out packed.npz
checks=$((checks + 1))
cmp -s drawn.npz packed.npz || fail "pictures of a manifest in archives have other features"
cp real/A/mono/"$(ls real/A/mono | head -n 1)" drawn/A%2Fmono/other.png
good eval drawn/manifest.jsonl --real real --seed 4 --draws 5 --json --quiet --features-out named.npz
numbers >named
checks=$((checks + 1))
cmp -s written named && cmp -s drawn.npz named.npz || fail "a manifest's pictures have other numbers" "$(diff written named)"
rm drawn/A%2Fmono/other.png
head -n 3 drawn/manifest.jsonl >drawn/manifest-some.jsonl
good eval drawn/manifest-some.jsonl --metrics none --json --quiet
says stdout '"pictures":3,'
sed '2s/"file":"/&no/' drawn/manifest.jsonl >drawn/manifest-some.jsonl
bad 2 'which is not among the pictures of drawn' eval drawn/manifest-some.jsonl --metrics none
echo '{"class":"A"}' >drawn/manifest-some.jsonl
bad 1 'in line 1 no picture is named' eval drawn/manifest-some.jsonl --metrics none
bad 2 'a manifest is not the data of run' eval drawn --run run --real drawn/manifest.jsonl --metrics nearest
rm drawn/manifest-some.jsonl
# a classifier of its own beside the features: one pass, the same words
judge=$source/data/judge.safetensors
good eval drawn --real real --draws 0 --json --quiet --metrics accuracy --classifier "$judge" --seed 4
numbers >written
good eval $draw --real real --draws 0 --json --quiet --metrics accuracy --classifier "$judge"
numbers >direct
checks=$((checks + 1))
cmp -s written direct || fail "a classifier says something else of drawn pictures" "$(diff written direct)"
# the report draws again what it shows
good eval $draw --real real --draws 0 --metrics kid,nearest --report drawn.html --quiet
says drawn.html 'alt="A/hand, seed 4"'
# progress says how far the drawing is
good eval $draw --real real --draws 0 --metrics kid
says stderr 'drawing  *15 pictures, ddim in 2 steps, guide superclass:level1, w = 3'

# on several devices: each draws its share, and the result names them
good eval $draw --device cpu,ref --real real --draws 0 --metrics kid --json
says stderr '^ *device  *.* + reference loops'
says stderr '^ *memory  *[0-9.]* .*B planned on another device'
two=$(value kid:judge)
good eval $draw --real real --draws 0 --metrics kid --json --quiet
checks=$((checks + 1)) # bytes of a pixel may round otherwise
awk -v a="$two" -v b="$(value kid:judge)" 'BEGIN { d = a - b; exit !(a != "" && d < 1e-2 * b && d > -1e-2 * b) }' ||
    fail "on two devices kid is $two, on one $(value kid:judge)"

# asked to stop: the exit code of the signal, how far it was, and nothing half-written
for signal in INT:130 TERM:143; do
    : >stderr # what the last command said is not what is waited for
    "$program" eval --base run/delta.safetensors --sampler ddim --steps 1000 --per-class 9000 --real real \
        --features-out stopped.npz --report stopped.html >stdout 2>stderr &
    child=$!
    until grep -q 'pictures .*run/delta.safetensors: 27000' stderr || ! kill -0 $child 2>/dev/null; do sleep 0.1; done
    kill -${signal%:*} $child
    wait $child
    equal "exit code of SIG${signal%:*}" $? ${signal#*:}
    child=
    says stderr 'stopped after [0-9]* of 27000 pictures of run/delta.safetensors; .*--part I/N'
    checks=$((checks + 1))
    [ ! -s stdout ] && [ ! -e stopped.npz ] && [ ! -e stopped.html ] || fail "SIG${signal%:*} leaves something" "$(ls)"
done

# features of parts, merged: the bits of the whole; in any order
for i in 0 1 2; do
    good eval $draw --metrics none --quiet --part $i/3 --features-out part.$i.safetensors
    good eval real --metrics none --quiet --part $i/3 --stats-out stats.$i.npz
done
good eval part.2.safetensors part.0.safetensors part.1.safetensors --metrics none --quiet --features-out merged.npz \
    --no-classes
checks=$((checks + 1))
cmp -s merged.npz direct.npz && fail "labels were to be left out"
good eval part.2.safetensors part.0.safetensors part.1.safetensors --metrics none --quiet --features-out merged.npz
checks=$((checks + 1))
cmp -s merged.npz direct.npz || fail "merged features are not those of the whole"
good eval part.?.safetensors --real real --draws 5 --seed 4 --json --quiet
numbers >merged
good eval $draw --real real --draws 5 --json --quiet
numbers >direct
checks=$((checks + 1))
cmp -s merged direct || fail "merged parts have other numbers" "$(diff merged direct)"
# statistics: pooled, right to rounding
good eval real --metrics none --quiet --stats-out whole.npz
good eval stats.1.npz stats.0.npz stats.2.npz --metrics none --quiet --stats-out pooled.npz
if "$program" eval whole.npz --stats pooled.npz --metrics fd --json --quiet >stdout 2>stderr; then
    checks=$((checks + 1))
    sed -n 's/.*"value":\([^,]*\),.*/\1/p' stdout | awk '{ exit !($1 < 1e-6 && $1 > -1e-6) }' ||
        fail "pooled statistics differ" "$(cat stdout)"
fi
checks=$((checks + 1))
cmp -s whole.npz stats.0.npz && fail "a part is the whole"
bad 2 'part 1/3 is missing' eval part.0.safetensors part.2.safetensors --metrics none
bad 2 'part 2/3 is missing' eval part.0.safetensors part.1.safetensors --metrics none
bad 2 'are both part 0/3' eval part.0.safetensors part.0.safetensors part.1.safetensors --metrics none
bad 2 'features and' eval part.0.safetensors stats.0.npz --metrics none
bad 2 'give one set of pictures' eval drawn real --metrics none
bad 2 'give I/N with 0 <= I < N' eval drawn --part 3/3 --metrics none
bad 2 'give fewer parts' eval drawn --part 90/100 --metrics none
bad 2 'is for pictures' eval part.0.safetensors --part 0/2 --metrics none

# the pictures that a run has not seen, and those that it has: together all, none twice
good eval real --run run --metrics nearest --draws 0 --json --quiet
says stdout '"real":{"path":"[^"]*real","features":"judge","pictures":36,'
says stdout '"note":"36 generated pictures are a copy'
good eval real --run run --split train --metrics nearest --draws 0 --json --quiet
says stdout '"real":{"path":"[^"]*real","features":"judge","pictures":108,'
says stdout '"note":"108 generated pictures are a copy'
good eval real --run run --metrics none --json --quiet
good eval --run run --per-class 2 --sampler ddim --steps 2 --draws 0 --quiet --json
says stdout '"generated":{"path":"run/delta.safetensors","features":"judge","pictures":6'
says stdout '"pictures":36'
mv real moved
bad 2 'data' eval --run run --metrics none
good eval --run run --real moved --per-class 2 --sampler ddim --steps 2 --draws 0 --quiet --json
says stdout '"real":{"path":"moved","features":"judge","pictures":36'
rm "$(ls moved/A/mono/*.png | head -n 1)"
bad 2 'and the data of run had 144' eval --run run --real moved --metrics nearest
mv moved real
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --batch 4 --steps 1 \
    --out blind --quiet --preview-every 0
bad 2 'was trained without --val' eval --run blind --metrics none
good eval --run blind --split train --draws 0 --metrics nearest --sampler ddim --steps 2 --per-class 2 --quiet
# checkpoints one after the other: each as it is alone, in the order of the steps
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --val 0.25 --batch 4 \
    --steps 12 --checkpoint-every 4 --keep 0 --out steps --quiet --preview-every 0
way="--per-class 4 --sampler ddim --steps 2 --draws 5 --metrics kid,recall"
good eval steps/checkpoints/* $way --json --quiet --report series.html
equal "steps of the series" "$(sed 's/{"step":\([0-9]*\),.*/\1/' stdout | tr '\n' ' ')" "4 8 12 "
sed -n 's/{"step":8,.*"kid:judge":{"value":\([^,]*\),"error":\([^,]*\),.*/\1 \2/p' stdout >series
good eval --base steps/checkpoints/step-8.safetensors --run steps $way --json --quiet
sed 's/.*{"name":"kid:judge","metric":"kid","value":\([^,]*\),"error":\([^,]*\),.*/\1 \2/' stdout >alone
equal "a checkpoint in the series" "$(cat series)" "$(cat alone)"
checks=$((checks + 1))
[ -s series ] || fail "no kid of step 8"
says series.html '<svg '
says series.html 'steps/checkpoints/step-12.safetensors'
good eval steps/checkpoints/*  $way
says stdout '^ *step  *kid:judge recall:judge'
says stdout '^ *12 '
# what a run fine-tuned is drawn with the run's base, also beside other pictures than the run kept apart
good train --base steps/delta.safetensors --data real --batch 4 --steps 2 --checkpoint-every 1 --keep 0 --out tuned \
    --quiet --preview-every 0
good eval tuned/checkpoints/* --real real $way --json --quiet
equal "steps of the series" "$(sed 's/{"step":\([0-9]*\),.*/\1/' stdout | tr '\n' ' ')" "1 2 "
bad 2 'operands are checkpoints' eval steps/checkpoints/step-4.safetensors drawn.npz
bad 2 'give one of the two' eval steps/checkpoints/* --base run/delta.safetensors --delta run/delta.safetensors --real real
bad 2 '--by-class is of one set' eval steps/checkpoints/* --by-class x.tsv
bad 2 'holds no run' eval --run nowhere --metrics none
bad 2 'give --run' eval real --split train --metrics none
bad 2 'give pictures, or what draws them' eval real --base run/delta.safetensors
bad 2 'give --base FILE' eval --delta run/delta.safetensors --real real
finish
