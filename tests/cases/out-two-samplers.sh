# SPDX-License-Identifier: Apache-2.0
# Two processes and one folder: the second is refused by name, shards of one job work side by side.
small_run --data "$IN/data" --steps 2 --out run
S="$FD sample --base run/delta.safetensors --device cpu --threads 1 --sampler ddpm --steps 50 --batch 1 --quiet"
$S --per-class 20000 --out one & pid=$!
until [ -f one/gulls%2Fa/gulls%2Fa-0.png ] || ! kill -0 $pid; do sleep 0.1; done
ends 1 $S --out one
says 'one: another process'
ends 1 $S --out one --overwrite --guidance 3
ends 1 $S --out one --shard 0/2
kill -INT $pid
wait $pid
# free again
ends 0 $S --out one --per-class 1
$S --per-class 20000 --out two --shard 0/3 & pid=$!
until [ -f two/run.json ] || ! kill -0 $pid; do sleep 0.1; done
ends 0 $S --per-class 1 --out two --shard 1/3
ends 1 $S --out two --shard 0/3
says 'this shard'
ends 1 $S --out two
ends 1 $S --out two --shard 1/3 --guidance 3 --overwrite
says 'another process'
kill -INT $pid
wait $pid
holds test -z "$(find two one -name '.*' ! -name '.' -type f)"
