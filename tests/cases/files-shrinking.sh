# SPDX-License-Identifier: Apache-2.0
# A cache that becomes shorter while it is trained on ends the program with a message and 1, not with a signal.
ends 0 "$FD" encode "$IN/data" c --size 16 --device cpu --quiet
"$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu --quiet --preview-every 0 \
    --data c --steps 2000000 --out run >out 2>err </dev/null &
job=$!
for _ in $(seq 100); do
    grep -q '"step"' run/log.jsonl 2>/dev/null && break
    sleep 0.1
done
for shard in c/*.fdc; do
    case $shard in */cache.fdc) ;; *) truncate -s 0 "$shard" ;; esac
done
code=0
wait $job || code=$?
holds test "$code" = 1
says "c/shard" "became shorter"
