# SPDX-License-Identifier: Apache-2.0
# Several processes write the shards of one model, or one adapter: whoever is first has the folder, and what an index
# names is there when they have all ended.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 2 --out base
for round in 1 2 3; do
    rm -f codes m*
    for i in 1 2 3 4; do
        (
            "$FD" convert base/delta.safetensors m.safetensors.index.json --shard-size 50K >"words.$i" 2>&1
            echo "$?" >>codes
        ) &
    done
    wait
    holds test "$(grep -c . codes)" -eq 4
    holds test "$(grep -c '^0$' codes)" -ge 1
    for i in 1 2 3 4; do
        holds grep -Eq '^wrote m.safetensors.index.json|: another process is writing there; wait for its end' "words.$i"
    done
    ends 0 "$FD" inspect m.safetensors.index.json
    ends 0 small_sample --base m.safetensors.index.json --out pictures$round
done
