# SPDX-License-Identifier: Apache-2.0
# Pictures say how they were made, without time or place; sheets and previews of other programs show it.
mkdir -p d/vögel
cp -r "$IN/data/gulls/a" d/vögel/å
cp -r "$IN/data/gulls/b" d/vögel/b
small_run --data d --steps 2 --out run
S="small_sample --base run/delta.safetensors --seed 7"
holds $S --out a
sleep 1
holds $S --out b/c --batch 1
holds diff -r a b/c
f=a/vögel%2Fb/vögel%2Fb-7.png
holds grep -qa 'Steps: 2, Sampler: ddim, CFG scale: 2, Seed: 7, Size: 16x16, Model hash: [0-9a-f]*' $f
holds grep -qa '"seed":7' $f
holds grep -qa '"class":"vögel/å"' a/vögel%2Få/vögel%2Få-7.png
holds grep -qa "Software.finediffusion" $f
absent nothing
ends 1 grep -qa "$(hostname)" $f
# the archive holds the same file
holds $S --out t --tar
holds tar xf t/pictures-00000.tar
holds cmp $f 'vögel%2Fb/vögel%2Fb-7.png'
