# SPDX-License-Identifier: Apache-2.0
# A cache holds what the pictures are, not what they are called.
cp -r "$IN/data" d
E="$FD encode d c --size 16 --device cpu"
holds $E --quiet
cp d/owls/b/1.png d/gulls/a/0.png
ends 0 $E
says '1 picture is not what the cache holds.*gulls/a/0.png' '1 encoded, 15 there before'
holds "$FD" encode d fresh --size 16 --device cpu --quiet
holds cmp c/shard-00000.fdc fresh/shard-00000.fdc
holds "$FD" inspect c
ends 0 $E
says '0 encoded, 16 there before'
# only touched, copied, called otherwise: the same pictures
touch d/*/*/*.png
ends 0 "$FD" encode ./d/ c --size 16 --device cpu
says '0 encoded, 16 there before'
cp -r d moved
ends 0 "$FD" encode "$PWD/moved" c/ --size 16 --device cpu
says '0 encoded, 16 there before'
# several, the last one and the first one among them; one that is now broken
cp d/owls/a/0.png d/owls/b/3.png
cp d/owls/a/1.png d/gulls/b/2.png
ends 0 $E
says '2 pictures are not' '2 encoded, 14 there before'
head -c 40 d/owls/a/1.png >d/gulls/b/2.png
ends 1 $E
says 'gulls/b/2.png'
ends 0 $E --skip-bad
says '0 encoded, 15 there before, 1 broken'
cp d/owls/a/1.png d/gulls/b/2.png
ends 0 $E --skip-bad
says '1 encoded, 15 there before, 0 broken'
# other names are another data set
mv d/gulls/a/0.png d/gulls/a/9.png
ends 2 $E
says 'other pictures'
