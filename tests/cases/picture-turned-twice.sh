# SPDX-License-Identifier: Apache-2.0
# Of several EXIF segments the first counts, as elsewhere: "turned right" (6), then "upside down" (3)
needs_pictures JPEG
E="$FD encode --size 8 --flip none --device cpu --threads 1 --quiet"
mkdir -p twice/a once/a
jpeg=$FDIT_SRCDIR/tests/fixtures/image/rgb_300x200.jpg
exif() {
    printf '\377\341\000\042Exif\000\000II\052\000\010\000\000\000\001\000\022\001\003\000\001\000\000\000'
    printf "\\$(printf %03o "$1")\000\000\000\000\000\000\000"
}
rest() { tail -c +3 "$jpeg"; }
{ head -c 2 "$jpeg"; exif 6; rest; } >once/a/a.jpg
{ head -c 2 "$jpeg"; exif 6; exif 3; rest; } >twice/a/a.jpg
for set in once twice; do
    ends 0 $E $set $set.c
    ends 0 "$FD" inspect $set --json
    prints '"rotated": 1' '"width": 200' '"height": 300'
done
holds cmp once.c/shard-00000.fdc twice.c/shard-00000.fdc
