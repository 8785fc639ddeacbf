# SPDX-License-Identifier: Apache-2.0
# A copy of the disk right after a job, as a power cut leaves it: what the manifest names is there, whole.
needs_root
needs mkfs.ext4 mount losetup
dd if=/dev/zero of=img bs=1M count=64 2>/dev/null
holds mkfs.ext4 -q img
mkdir m c
mount -o loop img m 2>err || leave "no loop devices"
small_run --data "$IN/data" --steps 2 --out run
S="small_sample --base run/delta.safetensors --per-class 50"
holds $S --out m/p
holds $S --out m/t --tar
holds "$FD" encode "$IN/data" m/cache --size 16 --device cpu --quiet
cp img cut.img
umount m
mount -o loop cut.img c || leave "no loop devices"
holds test "$(wc -l <c/p/manifest.jsonl)" -eq 200
holds test "$(find c/p -name '*.png' -size +0 | wc -l)" -eq 200
ends 0 $S --out c/p --json
prints '"sampled":0,"kept":200'
ends 0 $S --out c/t --tar --json
prints '"sampled":0,"kept":200'
holds "$FD" inspect c/cache
umount c
