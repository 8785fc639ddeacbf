#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The best of several drawings: which one is taken, what the manifest says, and the same bits however it is done.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono) || exit 99
good train --data data --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --batch 4 --lr 1e-2 --quiet \
    --preview-every 0 --steps 12 --out run
draw="sample --base run/delta.safetensors --steps 4 --guidance 3 --quiet"
pictures() { (cd "$1" && find . -name '*.png' | LC_ALL=C sort | xargs sha256sum); }

good $draw --per-class 2 --candidates 3 --seed 7 --out best
equal "pictures" "$(find best -name '*.png' | wc -l | tr -d ' ')" 6
equal "no file of scores is left" "$(find best -name '.candidates*')" ""
# the least score of each line is that of its seed, and the seeds of picture k are 7 + 3 k and the two behind it
awk '{
    line = $0; sub(/.*"candidates":\[/, "", line); n = split(line, part, "},"); least = "";
    for (i = 1; i <= n; i++) {
        seed = part[i]; sub(/.*"seed":/, "", seed); seed += 0;
        score = part[i]; sub(/.*"score":/, "", score); score += 0;
        if (i == 1) first = seed;
        if (seed != first + i - 1 || score <= 0) print "wrong", $0;
        if (least == "" || score < least) { least = score; best = seed }
    }
    taken = $0; sub(/.*"id":[0-9]*,"seed":/, "", taken); taken += 0;
    if (n != 3 || taken != best || (first - 7) % 3) print "wrong", $0;
    file = $0; sub(/.*"file":"/, "", file); sub(/".*/, "", file);
    if (file !~ ("-" taken "[.]png$")) print "wrong file", $0
}' best/manifest.jsonl >wrong
equal "the manifest" "$(cat wrong)" ""
pictures best >a
for way in "--batch 1 --threads 1" "--batch 5"; do
    rm -rf again
    good $draw --per-class 2 --candidates 3 --seed 7 --out again $way
    pictures again >b
    same "$way" a b
    same "the manifest with $way" best/manifest.jsonl again/manifest.jsonl
done
for shard in 0/2 1/2; do good $draw --per-class 2 --candidates 3 --seed 7 --out shards --shard $shard; done
pictures shards >b
same "shards" a b
cat shards/manifest.*-of-2.jsonl | LC_ALL=C sort >b
LC_ALL=C sort best/manifest.jsonl >c
same "the manifests of shards" b c
file=$(cd best && find . -name '*.png' | LC_ALL=C sort | head -n 1)
good sample --base run/delta.safetensors --like "best/$file" --out like --quiet
same "drawn again" "best/$file" "like/$file"
good $draw --per-class 2 --candidates 3 --seed 7 --out best # nothing is left to do
pictures best >b
same "a second time" a b

# stopped while candidates are scored, and going on
checks=$((checks + 1))
"$program" sample --base run/delta.safetensors --steps 100 --guidance 3 --quiet --per-class 2 --candidates 9 --batch 1 \
    --out part 2>stderr &
child=$!
tries=0
while [ ! -e part/.candidates.jsonl ] && kill -0 $child 2>/dev/null && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -INT $child 2>/dev/null
wait $child 2>/dev/null
child=
good sample --base run/delta.safetensors --steps 100 --guidance 3 --quiet --per-class 2 --candidates 9 --out part
good sample --base run/delta.safetensors --steps 100 --guidance 3 --quiet --per-class 2 --candidates 9 --out whole
pictures part >a
pictures whole >b
same "after a stop" a b
same "the manifest after a stop" part/manifest.jsonl whole/manifest.jsonl

good $draw --top-up 30 --counts-of data --candidates 2 --classes B/mono --out full
good $draw --per-class 2 --candidates 2 --out archive --tar
says archive/manifest.jsonl '"tar":"pictures-00000.tar","candidates":\[{"seed":0,"score":'
good $draw --candidates 2 --latents x.safetensors
good $draw --candidates 1 --out one
good $draw --out none
pictures one >a
pictures none >b
same "one candidate" a b
refused "--candidates~3,guide" $draw --guide none --candidates 3 --out new
refused "--candidates~3,--guidance" sample --base run/delta.safetensors --guidance 1 --candidates 3 --out new --quiet
refused "--candidates~0,from~1" $draw --candidates 0 --out new
refused "--candidates,--like" sample --base run/delta.safetensors --like "best/$file" --candidates 2 --out new --quiet
refused "best,--candidates~3,4" $draw --per-class 2 --candidates 4 --seed 7 --out best
good $draw --per-class 2 --candidates 4 --seed 7 --out best --overwrite
equal "pictures of both jobs" "$(find best -name '*.png' | wc -l | tr -d ' ')" 6
[ ! -e new ] || fail "a refused job made a folder"

finish
