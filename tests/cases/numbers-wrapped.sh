# SPDX-License-Identifier: Apache-2.0
# A size of 2^32 and more is refused, and not taken for what is left of it in 32 bits.
for model in DiT-S/4294967300 4294967328,1,2,4 32,4294967297,2,4 32,1,4294967298,4 32,1,2,4294967300; do
    ends 2 small_run --data "$IN/data" --model "$model" --steps 1 --out run
    says "model \"$model\" is not known"
    absent run
done
