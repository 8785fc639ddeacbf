# SPDX-License-Identifier: Apache-2.0
# Photographs that EXIF turns and mirrors are taken upright, all eight ways; --orient none takes them as stored.
E="$FD encode --size 8 --flip none --device cpu --threads 1 --quiet"
ends 0 $E "$IN/pictures/turned" turned
ends 0 $E "$IN/pictures/upright" upright
holds cmp turned/shard-00000.fdc upright/shard-00000.fdc
ends 0 $E --orient none "$IN/pictures/turned" stored
holds test "$(cmp -s stored/shard-00000.fdc upright/shard-00000.fdc; echo $?)" = 1
ends 0 "$FD" inspect --json turned
prints '"orient": *"exif"' '"matte": *"white"'
ends 0 "$FD" inspect --json stored
prints '"orient": *"none"'
# a job goes on with what it had
ends 0 $E "$IN/pictures/turned" stored
ends 2 $E --orient exif "$IN/pictures/turned" stored
says orient
ends 2 $E --orient up "$IN/pictures/turned" other
says '--orient up' 'exif'
# of several EXIF segments the first counts, as elsewhere: "turned right" (6), then "upside down" (3)
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
