# SPDX-License-Identifier: Apache-2.0
# Folders that an older program began: with its own defaults, and pictures and archives without texts.
cp -r "$IN/old-samples" old
S="$FD sample --base old/base.safetensors --sampler ddim --steps 2 --device cpu --threads 1"
cp -r old/pictures before
ends 0 $S --out old/pictures
says 'begun with --guidance 4' 'begun without --clip-x0' '4 pictures of 4 classes: 0 sampled, 4 kept'
holds diff -r before old/pictures
ends 0 $S --out old/pictures --per-class 2
says '4 sampled, 4 kept'
ends 0 $S --out old/pictures --per-class 2
says '0 sampled, 8 kept'
ends 1 $S --out old/pictures --guidance 2
says '--guidance 4.0, now it is 2.0'
ends 0 $S --out old/archives --tar
says '0 sampled, 4 kept'
# the cache: taken as it is, and from now on with the pictures' contents
cp -r "$IN/data" d
ends 0 "$FD" encode d old/cache --size 16 --device cpu
says '0 encoded, 16 there before'
cp d/owls/b/1.png d/gulls/a/0.png
ends 0 "$FD" encode d old/cache --size 16 --device cpu
says '1 encoded, 15 there before'
# replaced by a job of now
holds $S --out old/pictures --overwrite --classes gulls/a --quiet
absent old/pictures/owls%2Fb/owls%2Fb-0.png old/pictures/owls%2Fb/owls%2Fb-1.png
holds grep -q '"guidance": 2.0' old/pictures/run.json
