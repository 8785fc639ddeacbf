# SPDX-License-Identifier: Apache-2.0
# A file is what its ending says.
small_run --data "$IN/data" --steps 2 --out run
S="small_sample --base run/delta.safetensors"
for name in x.jpg x.JPEG x.webp x.gif sheet x.png.bak .png; do
    ends 2 $S --grid $name
    one_line
    says '--grid' '\.png'
    absent $name
done
for name in l.pt l.npy latents; do
    ends 2 $S --latents $name
    says '\.safetensors'
    absent $name
done
holds $S --grid x.PNG --latents l.safetensors
holds $S --grid /dev/null
