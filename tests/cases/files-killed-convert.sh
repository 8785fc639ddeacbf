# SPDX-License-Identifier: Apache-2.0
# A convert that is killed while it writes leaves nothing that the next one does not take away.
small_run --data "$IN/data" --steps 1 --out run --model 384,4,6,2 --size 32 --tune full
mkdir o
for out in o/x.safetensors o/x.pt o/x.safetensors.index.json; do
    "$FD" convert run/delta.safetensors $out --shard-size 1M >first 2>&1 || fail "convert $out" "$(cat first)"
    rm -f o/*
    killed=0
    for delay in 0.005 0.01 0.02 0.03 0.04 0.06 0.08 0.1 0.15 0.2; do
        "$FD" convert run/delta.safetensors $out --shard-size 1M >first 2>&1 &
        pid=$!
        sleep $delay
        kill -9 $pid 2>/dev/null && killed=$((killed + 1))
        wait $pid 2>/dev/null
        holds sh -c '[ -z "$(find o -name ".fdit-*" -size +0)" ] || [ "$(find o -name ".fdit-*" | wc -l)" -le 1 ]'
    done
    holds test $killed -gt 0
    ends 0 "$FD" convert run/delta.safetensors $out --shard-size 1M
    holds sh -c '[ -z "$(find o -name ".fdit-*")$(find o -name "*.v0-*")" ]'
    case $out in
    *.json)
        named=$(grep -o '"x[^"]*\.safetensors"' $out | sort -u | wc -l)
        holds test "$named" -gt 3
        holds test "$(ls -A o | wc -l)" = $((named + 1))
        ;;
    *) holds test "$(ls -A o | wc -l)" = 1 ;;
    esac
    rm -f o/*
done
# killed between the shards and their index: the next one takes those away, and nothing of others
ends 0 "$FD" convert run/delta.safetensors o/x.safetensors.index.json --shard-size 1M
rm o/x.safetensors.index.json
echo other >o/x-00001-of-00002.safetensors
ends 0 "$FD" convert run/delta.safetensors o/x.safetensors.index.json --shard-size 1M
named=$(grep -o '"x[^"]*\.safetensors"' o/x.safetensors.index.json | sort -u | wc -l)
holds test "$(ls -A o | wc -l)" = $((named + 2))
holds grep -q other o/x-00001-of-00002.safetensors
rm -f o/*
# an old set of shards stays whole until the new one is
ends 0 "$FD" convert run/delta.safetensors o/x.safetensors.index.json --shard-size 1M
ends 0 "$FD" convert o/x.safetensors.index.json whole.safetensors
for delay in 0.02 0.05 0.1; do
    "$FD" convert run/delta.safetensors o/x.safetensors.index.json --shard-size 1M >first 2>&1 &
    pid=$!
    sleep $delay
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    ends 0 "$FD" convert o/x.safetensors.index.json again.safetensors
    holds cmp whole.safetensors again.safetensors
done
