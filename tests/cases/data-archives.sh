# SPDX-License-Identifier: Apache-2.0
# Archives as they come: joined, without an end mark, cut off, of other kinds.
T=$IN/tars
ends 0 "$FD" inspect "$T/concatenated.tar"
prints 'pictures +3'
ends 0 "$FD" inspect "$T/no-end-mark.tar"
prints 'pictures +2'
says 'no end mark; what it has is whole'
head -c 3900 "$T/no-end-mark.tar" >cut.tar
ends 1 "$FD" inspect cut.tar
says 'cut off at byte [0-9]+ of its contents, inside of the member "g/b/1.png"'
{ cat "$T/plain.tar"; printf 'something else'; } >tail.tar
ends 0 "$FD" inspect tail.tar
says '14 bytes follow the archive.s end mark'
gzip -c "$T/plain.tar" >a.tar.gz
cat a.tar.gz a.tar.gz >twice.tar.gz
ends 0 "$FD" inspect twice.tar.gz
size=$(wc -c <a.tar.gz)
{ head -c $((size - 8)) a.tar.gz; printf 'abcd'; tail -c 4 a.tar.gz; } >crc.tar.gz
ends 1 "$FD" inspect crc.tar.gz
says 'damaged .*incorrect data check'
head -c $((size - 3)) a.tar.gz >short.tar.gz
ends 1 "$FD" inspect short.tar.gz
says 'cut off'
ends 1 "$FD" inspect "$T/data.tar.bz2"
says 'is a bzip2-compressed file.*bzip2 -d'
ends 1 "$FD" train --data "$T/data.zip" --from-scratch --tune full --model 32,1,2,4 --channels 3 --size 16 --steps 1 --out run
says 'is a zip archive, not a data set; unpack it with "unzip"'
ends 1 "$FD" inspect "$T/xz-named.tar"
says 'is an xz-compressed file, not .*; unpack it with'
ends 1 "$FD" inspect "$T/nested-shards"
says 'sub-folder with archives and no pictures: "part0"; give such a folder itself, or a list'
ends 0 "$FD" inspect "$T/nested-shards/*/*.tar"
# unpacking is bounded
FINEDIFFUSION_UNPACK_LIMIT=600
export FINEDIFFUSION_UNPACK_LIMIT
ends 1 "$FD" inspect a.tar.gz
says 'more than the 600 that may be'
unset FINEDIFFUSION_UNPACK_LIMIT
