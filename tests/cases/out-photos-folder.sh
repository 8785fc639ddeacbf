# SPDX-License-Identifier: Apache-2.0
# A folder full of somebody's files is not a place for pictures or caches.
small_run --data "$IN/data" --steps 2 --out run
S="small_sample --base run/delta.safetensors"
cp -r "$IN/data" photos
cp -r photos before
for more in '' --overwrite --tar; do
    ends 1 $S --out photos $more
    one_line
    says 'photos is not empty' 'another folder'
done
ends 1 $S --out photos --shard 0/2
ends 2 "$FD" encode "$IN/data" photos --size 16 --device cpu
holds diff -r photos before
mkdir notes
echo text >notes/run.json
ends 1 $S --out notes --overwrite
says 'not written by this program'
# empty, or with hidden files of the system only: taken
mkdir empty
: >empty/.DS_Store
holds $S --out empty
