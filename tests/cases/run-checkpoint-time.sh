# SPDX-License-Identifier: Apache-2.0
# Checkpoints by time: they change nothing of what a run leaves, and go with the next regular one.
cp -R "$IN/data" d
ends 0 small_run --data d --val 0.2 --steps 40 --checkpoint-every 10 --keep 2 --out whole
ends 0 "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu --data d \
    --val 0.2 --steps 40 --checkpoint-every 10 --checkpoint-every 0.001s --keep 2 --verbose --out often
holds test "$(grep -c 'wrote often/checkpoints' err)" -gt 5
holds cmp whole/delta.safetensors often/delta.safetensors
ls whole/checkpoints >a
ls often/checkpoints >b
holds diff a b
sed 's/,"images_per_second.*//' whole/log.jsonl >a
sed 's/,"images_per_second.*//' often/log.jsonl >b
holds diff a b
# killed at any moment it goes on from the last one, to the same bits
"$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu --quiet \
    --data d --val 0.2 --steps 40 --keep 2 --checkpoint-every 10 --checkpoint-every 0.001s --out killed &
child=$!
while kill -0 $child 2>/dev/null && [ "$(cat killed/log.jsonl 2>/dev/null | wc -l)" -lt 15 ]; do :; done
kill -9 $child 2>/dev/null
wait $child
ends 0 "$FD" train --resume killed --quiet
holds cmp whole/delta.safetensors killed/delta.safetensors
for time in 10m 90s 1.5h 0.5m; do
    ends 0 small_run --data d --steps 2 --checkpoint-every $time --out "t$time"
done
holds grep -q '"checkpoint-every":5,"checkpoint-seconds":90' t90s/config.json
for time in 10x m 1e m10 -1m 0m '10 m' 1e16 99999999999999999999 1e16m; do
    ends 2 "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --data d --steps 2 \
        --device cpu --checkpoint-every "$time" --out no
    one_line
    says 'train: --checkpoint-every'
done
absent no
