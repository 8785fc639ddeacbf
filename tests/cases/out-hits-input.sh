# SPDX-License-Identifier: Apache-2.0
# What is written is never what is read, however the two are called.
small_run --data "$IN/data" --steps 2 --out run
cp run/delta.safetensors base.safetensors
ln -s base.safetensors link.safetensors
ln base.safetensors hard.safetensors
ln -s base.safetensors base.png
cp -r "$IN/data" d
ln -s d way
cksum base.safetensors >before
find d -type f | sort >files
S="small_sample --base base.safetensors"
for out in base.safetensors ./base.safetensors link.safetensors hard.safetensors "$PWD/run/../base.safetensors"; do
    ends 2 $S --latents "$out"
    one_line
    says 'base.safetensors' 'is read'
done
ends 2 $S --grid base.png
ends 2 $S --guide delta:base.safetensors --base run/delta.safetensors --latents hard.safetensors
ends 2 $S --grid sheet.png --grid-real d --out d/new
ends 2 $S --grid way/a.png --grid-real d/
for out in d d/cache way "$PWD/way/gulls/cache"; do
    ends 2 "$FD" encode d "$out" --size 16 --device cpu
    one_line
done
cksum base.safetensors | holds cmp - before
find d -type f | sort | holds cmp - files
holds "$FD" encode d d-16 --size 16 --device cpu --quiet
