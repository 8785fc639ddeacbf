# SPDX-License-Identifier: Apache-2.0
# Files of pictures are part of what reading takes: where --memory has no room for one in every worker, they are read
# one after the other, and the peak stays near the plan.
mkdir -p d/a
i=0
while [ $i -lt 8 ]; do
    { cat "$IN/data/gulls/a/0.png" && head -c 16000000 /dev/zero; } >d/a/$i.png
    i=$((i + 1))
done
train() {
    "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --data d --label-drop empty --steps 4 \
        --batch 8 --threads 1 --workers 4 --cache-memory 0 --device cpu "$@"
}
# MiB that were reached, and planned
peak() { sed -n 's/^peak memory \([0-9]*\)[0-9.]* MiB; planned were \([0-9]*\).*/\1 \2/p' err; }
ends 0 train --out free
peak >free.peak && read -r reached planned <free.peak
holds test "$planned" -ge 64
ends 0 train --memory 34M --out bound
peak >bound.peak && read -r reached planned <bound.peak
holds test "$planned" -le 36
holds test "$reached" -le 52
holds cmp free/delta.safetensors bound/delta.safetensors
