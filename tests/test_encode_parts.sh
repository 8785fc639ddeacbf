#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Several processes make one cache: by --part, or as a launcher starts them; the files are those of one process.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
vae=$source/tests/fixtures/vae
mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
pixels='encode data --size 16 --channels 1 --quiet'
moments="encode data --vae $vae --size 32 --quiet"
good $pixels pixels
good $moments moments

# same WANTED GOT: every file of the one cache is in the other, and no other
same() {
    checks=$((checks + 1))
    diff -r "$1" "$2" >difference || fail "$2 is not $1" "$(cat difference)"
}
# together N COMMAND... : all parts at the same time
together() {
    n=$1 part=0 children=
    shift
    while [ $part -lt $n ]; do
        "$program" "$@" --part $part/$n 2>part$part &
        children="$children $!"
        part=$((part + 1))
    done
    for one in $children; do
        checks=$((checks + 1))
        wait $one || fail "exit $?: a part of $*" "$(cat part*)"
    done
}

for n in 1 3 24; do
    rm -rf shared
    together $n $pixels shared
    same pixels shared
done
rm -rf shared
together 3 $moments shared
same moments shared
together 2 $moments shared # nothing is left to do
same moments shared

# one after the other: whole with the last
good encode data --size 16 --channels 1 one-by-one --part 1/3
says stderr 'part 1/3.*pictures'
says stderr 'pictures of other parts are missing'
refused 'not~finished' inspect one-by-one
good $pixels one-by-one --part 0/3 --json
says stdout '"done":false'
good $pixels one-by-one --part 2/3 --json
says stdout '"done":true'
same pixels one-by-one

# lost: the others' work stays, and fewer go on
rm -rf shared
"$program" $moments shared --part 0/3 & child=$!
sleep 0.2
kill -9 $child 2>/dev/null
wait $child 2>/dev/null
child=
good $moments shared --part 2/3
together 2 $moments shared
same moments shared
rm -rf shared
good $moments shared --part 1/2
good $moments shared # one process does the rest
same moments shared

# a damaged record, and one that was cut off, are made again by the part whose they are
size=$(wc -c <shared/shard-00000.fdc)
printf '\377' | dd of=shared/shard-00000.fdc bs=1 seek=$((size / 3)) conv=notrunc 2>/dev/null
dd if=/dev/null of=shared/shard-00000.fdc bs=1 seek=$((size - 10)) 2>/dev/null
together 3 $moments shared
same moments shared

# pictures that are broken, and one that changes
cp -r data spoilt
cp -r pixels plain
first=$(find spoilt -name '*.png' | sort | head -n 1) last=$(find spoilt -name '*.png' | sort | tail -n 1)
: >"$first"
good encode spoilt --size 16 --channels 1 --quiet --skip-bad left-out
rm -rf shared
together 4 encode spoilt --size 16 --channels 1 --quiet --skip-bad shared
same left-out shared
cp "$last" "$first"
good encode spoilt --size 16 --channels 1 --quiet left-out
together 3 encode spoilt --size 16 --channels 1 --quiet shared
same left-out shared

# as srun starts them
rm -rf shared
for rank in 0 1; do
    SLURM_PROCID=$rank SLURM_STEP_NUM_TASKS=2 "$program" $pixels shared 2>part$rank &
    eval "child$rank=\$!"
done
checks=$((checks + 2))
wait $child0 || fail "rank 0" "$(cat part0)"
wait $child1 || fail "rank 1" "$(cat part1)"
same pixels shared

# a part waits for the process that writes alone; that one does not wait for parts
if command -v flock >/dev/null; then
    mkdir held
    flock -x held sleep 1 & child=$!
    until ! flock -n -s held true; do sleep 0.05; done
    good $pixels held --part 0/2
    wait $child
    child=
    good $pixels held --part 1/2
    same pixels held
    flock -s held sleep 30 & child=$!
    until ! flock -n -x held true; do sleep 0.05; done
    refused 'another~process~is~writing~there' $pixels held
    kill $child
    wait $child 2>/dev/null
    child=
fi
refused '--part,2/2' $pixels other --part 2/2
refused '--part' $pixels other --part all
refused 'begun~with~size' encode data --size 8 --channels 1 pixels --part 0/2
same plain pixels
finish
