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
