# SPDX-License-Identifier: Apache-2.0
# The number of heads is in no tensor: it is taken from a published model of the same width and depth only.
for size in 384,1,8,4 384,2,12,4 768,1,8,4; do
    small_run --data "$IN/data" --steps 1 --out run --tune full --model $size
    holds "$FD" convert run/delta.safetensors h.pt
    ends 2 "$FD" inspect h.pt
    says "number of heads" "--model ${size%,*,*},HEADS,4"
    one_line
    ends 2 "$FD" convert h.pt o.safetensors
    says "number of heads" "--model ${size%,*,*},HEADS,4"
    ends 2 small_sample --base h.pt --out p
    says "number of heads"
    absent o.safetensors p
    ends 0 "$FD" inspect h.pt --model $size
    prints "model +$size:"
    rm -rf run h.pt
done
