#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Snapshots of a run: which are kept, as guides, and averages of any length that are made of them.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
scratch="--data data --batch 4 --seed 7 --preview-every 0 --lr 1e-3 --from-scratch --tune full --model 32,2,2,4 --size 24"
scratch="$scratch --channels 1 --checkpoint-every 6"
other() { # other WHAT FILE FILE
    checks=$((checks + 1))
    ! cmp -s "$2" "$3" || fail "$1: $2 and $3 are the same"
}

# ------------------------------------------------------------------ what is kept
good train $scratch --steps 10 --out plain --quiet
good train $scratch --steps 10 --out run --snapshots 4
says stderr 'run/snapshots: 2 snapshots, of steps 4 to 8, [0-9]'
equal "the snapshots" "$(ls run/snapshots | tr '\n' ' ')" "step-4.safetensors step-8.safetensors "
same "the result with snapshots" plain/delta.safetensors run/delta.safetensors
good train $scratch --steps 8 --out eight --quiet --json --snapshots 8
says stdout '"snapshots":1,"snapshot_bytes":'
good sample --base run/snapshots/step-8.safetensors --classes A/mono --steps 3 --out of-snapshot --quiet
good sample --base eight/delta.safetensors --classes A/mono --steps 3 --out of-end --quiet
same "a snapshot's picture" of-snapshot/A%2Fmono/A%2Fmono-0.png of-end/A%2Fmono/A%2Fmono-0.png

# ------------------------------------------------------------------ as a guide
fine="--data data --batch 4 --seed 3 --preview-every 0 --lr 1e-2 --base plain/delta.safetensors --table-init names --quiet"
good train $fine --steps 6 --out fine --snapshots 2
draw="sample --base plain/delta.safetensors --delta fine/delta.safetensors --steps 3 --quiet --guidance 3"
# frozen GUIDE: bytes of the weights that are not trained, in the plan; in so small a model vectors are a third
frozen() {
    "$program" $draw --out planned --guide "$1" --plan --json 2>/dev/null |
        sed -n 's/.*"kind":"frozen weights","buffers":[0-9]*,"bytes":\([0-9]*\).*/\1/p'
}
one=$(frozen none) two=$(frozen delta:fine/snapshots/step-2.safetensors)
checks=$((checks + 1))
[ -n "$one" ] && [ "$two" -lt $((one + one / 2)) ] || fail "a delta takes $one bytes, with another one of its base $two"
good $draw --out guided --guide delta:fine/snapshots/step-2.safetensors
refused "step-3.safetensors:~there~is~no~such~file;~fine/snapshots~has~step-2.safetensors,~step-4.safetensors" $draw --out new \
    --guide delta:fine/snapshots/step-3.safetensors
mkdir sorted && : >sorted/step-10.safetensors && : >sorted/step-2.safetensors
refused "sorted~has~step-2.safetensors,~step-10.safetensors" $draw --out new --guide delta:sorted/step-3.safetensors
refused "gone/step-3.safetensors:~there~is~no~such~file;~gone~does~not~exist" $draw --out new --guide delta:gone/step-3.safetensors
good $draw --out guided1 --guide delta:fine/snapshots/step-2.safetensors --batch 1 --threads 1
good $draw --out other --guide delta:fine/snapshots/step-4.safetensors
same "guided by a snapshot" guided/A%2Fmono/A%2Fmono-0.png guided1/A%2Fmono/A%2Fmono-0.png
other "another snapshot" guided/A%2Fmono/A%2Fmono-0.png other/A%2Fmono/A%2Fmono-0.png
good sample --base plain/delta.safetensors --delta fine/delta.safetensors --out again --quiet \
    --guide delta:fine/snapshots/step-2.safetensors --like guided/A%2Fmono/A%2Fmono-0.png
refused "--like,guided~by~another~delta,--guide~delta:FILE" sample --base plain/delta.safetensors \
    --delta fine/delta.safetensors --out new --quiet --like guided/A%2Fmono/A%2Fmono-0.png
same "drawn again" guided/A%2Fmono/A%2Fmono-0.png again/A%2Fmono/A%2Fmono-0.png
refused "step-3.safetensors,there~is~no~such~file,step-2.safetensors" \
    $draw --out new --guide delta:fine/snapshots/step-3.safetensors
refused "nowhere/step-3.safetensors,nowhere~does~not~exist" $draw --out new --guide delta:nowhere/step-3.safetensors
equal "one line" "$(messages stderr)" 1

# ------------------------------------------------------------------ averages of any length
good train $scratch --steps 24 --out whole --snapshots 4 --ema-profiles
says stderr 'averages for convert --ema-length'
good train $scratch --steps 24 --out without --quiet
for run in without whole; do
    good sample --base $run/delta.safetensors --classes A/mono --steps 3 --latents $run.safetensors --quiet
done
same "the result with averages" without.safetensors whole.safetensors
good train $scratch --steps 14 --out part --snapshots 4 --ema-profiles --threads 1 --workers 0 --quiet
rm part/snapshots/step-14* part/checkpoints/step-14.safetensors # back to the checkpoint of step 12
sed '/"step":1[34],/d' part/log.jsonl >log && mv log part/log.jsonl
good train --resume part --steps 24 --quiet
equal "the averages" "$(ls whole/snapshots)" "$(ls part/snapshots)"
for file in whole/snapshots/*; do same "an average after a resumed run" "$file" "part/snapshots/${file##*/}"; done
checks=$((checks + 1))
"$program" train $scratch --steps 24 --out killed --snapshots 4 --ema-profiles --quiet 2>/dev/null &
child=$!
tries=0
while [ ! -e killed/checkpoints/step-6.safetensors ] && kill -0 $child 2>/dev/null && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -9 $child 2>/dev/null
wait $child 2>/dev/null
child=
good train --resume killed --steps 24 --quiet
for file in whole/snapshots/*; do same "an average after kill -9" "$file" "killed/snapshots/${file##*/}"; done

good convert whole short.safetensors --ema-length 0.05
says stderr 'width 0.05 at step 24'
good convert whole middle.safetensors --ema-length 0.07 --json
says stdout '"averages":12'
good convert whole half.safetensors --ema-length 0.07 --type f16
other "lengths" short.safetensors middle.safetensors
good sample --base short.safetensors --classes A/mono --steps 3 --out short --quiet
good sample --base whole/snapshots/step-24.ema-0.05.safetensors --classes A/mono --steps 3 --out stored --quiet
same "a length that is stored" short/A%2Fmono/A%2Fmono-0.png stored/A%2Fmono/A%2Fmono-0.png
good sample --base middle.safetensors --classes A/mono --steps 3 --out middle --quiet
good inspect middle.safetensors
good train $fine --steps 6 --out tuned --snapshots 2 --ema-profiles
good convert tuned tuned.safetensors --ema-length 0.1
good sample --base plain/delta.safetensors --delta tuned.safetensors --classes A/mono --steps 3 --out tuned-out --quiet
good train $scratch --optimiser lion --steps 6 --out lion --snapshots 3 --ema-profiles --quiet

refused "--ema-profiles,--snapshots~N" train $scratch --steps 4 --out new --ema-profiles
refused "--ema-length,run/snapshots,only~snapshots,--ema-profiles" convert run new.safetensors --ema-length 0.1
refused "--ema-length,plain/snapshots,no~such~folder" convert plain new.safetensors --ema-length 0.1
refused "--ema-length,0.25" convert whole new.safetensors --ema-length 0.4
refused "--ema-length,--type~alone" convert whole new.safetensors --ema-length 0.1 --names torch
refused "one~safetensors~file" convert whole new.pt --ema-length 0.1
cp -r whole mixed
cp tuned/snapshots/step-4.ema-0.05.safetensors mixed/snapshots/
refused "not~of~one~run,step-4.ema-0.05" convert mixed new.safetensors --ema-length 0.1
cp whole/snapshots/step-8.ema-0.05.safetensors mixed/snapshots/step-4.ema-0.05.safetensors
refused "step-4.ema-0.05,renamed" convert mixed new.safetensors --ema-length 0.1
[ ! -e new.safetensors ] || fail "a refused conversion wrote a file"

# the plan and what was needed: as near as without the averages
good train $scratch --steps 2 --plan --out new
before=$(sed -n 's/^sum on the device *//p' stdout)
good train $scratch --steps 2 --plan --out new --snapshots 2 --ema-profiles
says stdout 'EMA  *15'
equal "the averages are in the plan" "$([ "$before" != "$(sed -n 's/^sum on the device *//p' stdout)" ] && echo yes)" yes

finish
