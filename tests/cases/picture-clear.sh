# SPDX-License-Identifier: Apache-2.0
# Transparent pixels come on white, or on the ground that --matte names: RGBA, palette, grey with alpha, WebP.
E="$FD encode --size 13 --flip none --device cpu --threads 1 --quiet"
for ground in white black '#104080'; do
    name=$ground
    [ "$ground" = '#104080' ] && name=blue
    ends 0 $E --matte "$ground" "$IN/pictures/clear" "clear-$name"
    ends 0 $E --matte "$ground" "$IN/pictures/clear-on-$name" "want-$name"
    holds cmp "clear-$name/shard-00000.fdc" "want-$name/shard-00000.fdc"
done
ends 0 $E "$IN/pictures/clear" usual
holds cmp usual/shard-00000.fdc clear-white/shard-00000.fdc
ends 2 $E --matte grey "$IN/pictures/clear" other
says '--matte grey' '#rrggbb'
absent other
