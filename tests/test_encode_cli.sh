#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The way of latents at small size: pictures -> encode (killed and gone on with) -> train -> sample --vae.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
vae=$source/tests/fixtures/vae

bad() { # bad CODE WORDS COMMAND...
    checks=$((checks + 1))
    code=$1 words=$2
    shift 2
    "$program" "$@" >stdout 2>stderr
    got=$?
    [ $got = "$code" ] && grep -qFe "$words" stderr && [ "$(messages stderr)" -eq 1 ] ||
        fail "exit $got, not $code with '$words': $*" "$(cat stderr)"
}

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
encode="encode data --vae $vae --size 32 --workers 1"

good $encode whole
says stderr 'pictures of 4 classes as moments of 4 x 4 x 4'
good $encode whole --plan
# sizes stand under each other: all rows end the third column where the head does
awk 'NR == 1 { end = index($0, "size") + 3 } /iB$|bytes$/ && length($0) != end { exit 1 } END { exit !end }' stdout ||
    fail "a row of the plan is out of its column" "$(cat stdout)"
says stdout 'cache on disk'
# killed again and again, at whatever moment it is
n=0
while [ $n -lt 6 ]; do
    n=$((n + 1))
    "$program" $encode killed --quiet & child=$!
    sleep 0.$((n * 3 % 10))
    kill -9 $child 2>/dev/null
    wait $child 2>/dev/null
done
good $encode killed
for file in whole/*.fdc whole/encode.json; do
    checks=$((checks + 1))
    cmp "$file" "killed/${file#whole/}" || fail "$file differs after kills"
done
good inspect killed
says stdout 'moments'
good inspect killed --json
says stdout '"checksums": "right"'
bad 2 'begun with size 32' encode data --vae "$vae" --size 64 whole
bad 2 'give one of the two' encode data --vae "$vae" --pixels other
bad 2 'DATA OUT' encode data
good encode data pixels --size 16 --channels 1 --flip none --json
says stdout '"done":true'

train="train --from-scratch --tune full --model 16,2,2,2 --size 4 --channels 4 --batch 4 --seed 3 --quiet
    --preview-every 0"
good $train --data whole --val 0.2 --steps 4 --out base
good train --base base/delta.safetensors --data whole --batch 4 --steps 3 --out run --preview-every 0 --quiet
good train --base base/delta.safetensors --data data --vae "$vae" --batch 4 --steps 1 --out live --quiet
good train --base base/delta.safetensors --data whole --vae "$vae" --vae-scale 0.5 --batch 4 --steps 2 \
    --preview-every 2 --out seen
says stderr 'is not what whole was encoded with'
checks=$((checks + 1))
[ -s seen/previews/step-2.png ] || fail "no preview" "$(find seen)"
good train --base base/delta.safetensors --data whole --vae "$vae" --preview-every 0 --batch 4 --steps 1 --out no-previews
says stderr 'encoded already.*--vae is not used'
bad 2 'finediffusion encode' train --base base/delta.safetensors --data data --batch 4 --steps 1 --out no
bad 2 'model works on 1 x 16 x 16' train --from-scratch --tune full --model 16,2,2,4 --size 16 --channels 1 \
    --data whole --batch 4 --steps 1 --out no
good $train --model 16,2,2,4 --size 16 --channels 1 --data pixels --steps 2 --out grey

sample="sample --base base/delta.safetensors --delta run/delta.safetensors --sampler ddim --steps 3"
good $sample --vae "$vae" --per-class 2 --out pictures --grid sheet.png
says stderr '8 sampled'
checks=$((checks + 1))
[ "$(find pictures -name '*.png' | wc -l)" -eq 8 ] || fail "not 8 pictures" "$(find pictures)"
good $sample --vae "$vae" --per-class 2 --out pictures
says stderr '0 sampled, 8 kept'
bad 2 '--vae FILE' $sample --out none
good $sample --latents latents.safetensors

# a flipped bit
size=$(wc -c <killed/shard-00000.fdc)
printf '\377' | dd of=killed/shard-00000.fdc bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
bad 1 'damaged' inspect killed
finish
