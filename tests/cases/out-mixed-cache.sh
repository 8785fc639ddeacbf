# SPDX-License-Identifier: Apache-2.0
# A killed job and a data set of the same names: nothing of the first stays.
for set in one two; do
    for c in a b; do
        mkdir -p $set/$c
        for i in 0 1 2 3 4 5 6 7 8 9; do cp "$IN"/data/gulls/a/0.png $set/$c/$i.png; done
    done
done
for i in 0 1 2 3 4 5 6 7 8 9; do cp "$IN"/data/owls/b/1.png two/a/$i.png; done
holds "$FD" encode one cache --size 16 --device cpu --quiet
# as a kill leaves it: half of the records, no index
size=$(wc -c <cache/shard-00000.fdc)
truncate -s $((size * 6 / 10)) cache/shard-00000.fdc
rm cache/cache.fdc
ends 0 "$FD" encode two cache --size 16 --device cpu
says '10 pictures are not what the cache holds'
holds "$FD" encode two fresh --size 16 --device cpu --quiet
holds cmp cache/shard-00000.fdc fresh/shard-00000.fdc
# pipes in the place of a cache's files are refused at once
rm fresh/shard-00000.fdc
mkfifo fresh/shard-00000.fdc
ends 1 "$FD" inspect fresh
ends 1 "$FD" encode two fresh --size 16 --device cpu
rm fresh/cache.fdc fresh/encode.json
mkfifo fresh/cache.fdc
ends 1 "$FD" inspect fresh
mkfifo fresh/encode.json
ends 1 "$FD" encode two fresh --size 16 --device cpu
