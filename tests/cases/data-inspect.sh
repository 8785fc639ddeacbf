# SPDX-License-Identifier: Apache-2.0
# inspect says all that it finds, at once, and ends with 1 when the data could not be used.
ends 1 "$FD" inspect "$IN/pictures/only-bmp"
says '"b" \(1 BMP\); convert the pictures to PNG or JPEG'
prints '1 BMP'
ends 0 "$FD" inspect "$IN/pictures/mixed" --list
says '1 TIFF, 1 GIF, 1 HEIC cannot be read; convert them to PNG or JPEG'
prints 'a/2.tif' 'a/4.heic'
ends 1 "$FD" inspect "$IN/pictures/uneven"
says '"a" lies higher; move such into a group folder'
mkdir -p bad/empty bad/g/x bad/g/y bad/full
cp "$IN"/data/owls/a/*.png bad/full
cp "$IN/data/owls/a/0.png" bad/full/copy.png
cp "$IN/data/owls/a/0.png" bad/g/beside.png
cp "$IN/data/owls/b/0.png" bad/g/x
cp "$IN/data/owls/b/0.png" bad/g/y
head -c 20 "$IN/data/owls/b/1.png" >bad/full/broken.png
ends 1 "$FD" inspect bad
prints 'class folder without a picture: "empty"' 'beside class folders: "g/beside.png"' 'broken.png' \
    'duplicates +3, 2 of them in another class' 'bad/full/copy.png = bad/full/0.png'
ends 1 "$FD" inspect bad --json --quick
prints '"problems": \['
ends 1 "$FD" inspect bad --pictures --json
prints '"broken": \['
# folders that sample wrote: names are decoded
mkdir -p 'album/Elfus%2Fscout' 'album/Elfus%2Farcher'
cp "$IN/data/owls/a/0.png" 'album/Elfus%2Fscout'
cp "$IN/data/owls/b/0.png" 'album/Elfus%2Farcher'
echo '{}' >album/run.json
ends 0 "$FD" inspect album --classes
prints '^Elfus/scout.Elfus'
silent warning
# what never ends, or waits
braces=$(printf '{,}%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30)
ends 2 "$FD" inspect "x$braces"
says 'the braces give more than'
mkfifo pipe.tar
ends 1 "$FD" inspect pipe.tar
says 'pipe'
