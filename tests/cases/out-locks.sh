# SPDX-License-Identifier: Apache-2.0
# Files that say "somebody is writing here" go with who wrote, whether that ended well, without room, or by a signal; so
# does a folder that was made and got nothing.
B="$FDIT_SRCDIR/data/base.safetensors"
left() { find "$@" -name '*.lock' -o -name '.fdit-*' -o -name '.*.lock' 2>/dev/null; }
none_left() { holds sh -c '[ -z "$1" ]' sh "$(left "$@")"; }
encode() { "$FD" encode "$IN/data" "$1" --size 16 --device cpu --threads 1 --quiet; }
draw() { "$FD" sample --base "$B" --classes A,B --sampler ddim --steps 2 --device cpu --threads 1 --quiet --out "$@"; }
small() { # BLOCKS COMMAND...: with files of at most so many blocks; with 0 nothing can be said in err either
    (ulimit -f "$1" && shift && "$@")
}
ends 0 encode c
none_left c
ends 1 small 0 encode c2
absent c2
mkdir c3
ends 1 small 8 encode c3
says 'c3/shard-00000.fdc: .*File too large'
none_left c3
ends 0 encode c3
for file in cache.fdc shard-00000.fdc; do holds cmp c/$file c3/$file; done
for more in '' '--tar' '--shard 0/2' '--latents l.safetensors'; do
    rm -rf p
    ends 1 small 0 draw p $more
    absent p
    ends 1 small 1 draw p $more
    none_left .
done
# stopped in the middle
i=0
mkdir -p many/a
while [ $i -lt 3000 ]; do
    ln -s "$IN/data/gulls/a/0.png" "many/a/$i.png"
    i=$((i + 1))
done
"$FD" encode many c4 --size 64 --device cpu --threads 1 --quiet 2>err &
pid=$!
waited=0
while [ ! -e c4/shard-00000.fdc ] && [ $waited -lt 300 ]; do sleep 0.05; waited=$((waited + 1)); done
kill -TERM $pid
wait $pid
got=$?
holds sh -c '[ $1 = 143 ] || [ $1 = 0 ]' sh $got
none_left c4
# killed: what is left is taken over
"$FD" encode many c5 --size 64 --device cpu --threads 1 --quiet 2>err &
pid=$!
waited=0
while [ ! -e c5/shard-00000.fdc ] && [ $waited -lt 300 ]; do sleep 0.05; waited=$((waited + 1)); done
kill -KILL $pid
wait $pid 2>/dev/null
ends 0 "$FD" encode many c5 --size 64 --device cpu --threads 1 --quiet
none_left c5
