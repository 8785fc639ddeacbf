#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# eval in several processes that a launcher started (src/eval/deal.h), here by the variables that launchers set: one of
# them prints what one process alone prints, to the bit, of pictures there are and of drawn ones, of one set and of a
# series; a process that is lost is made up for by fewer.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
gzip -dc "$source/data/letters-test.tar.gz" | tar xf - A/mono B/mono A/hand || exit 99
mkdir -p real generated
mv A/mono real/A && mv B/mono real/B && mkdir generated/A && mv A/hand/* generated/A && cp -r real/B generated/B || exit 99
for file in real/A/*.png generated/A/*.png; do # more than two pieces of 64
    for k in 1 2 3 4 5 6 7 8 9; do cp "$file" "${file%.png}-$k.png"; done
done
printf "is not a picture" >real/B/broken.png
base=$source/data/base.safetensors
common="--device cpu --threads 1 --draws 5 --skip-bad --workers 1"
pair="eval generated --real real $common --json"
drawn="eval --base $base --real real --per-class 3 --sampler ddim:0 --steps 2 --no-classes $common --json"

# what was measured, without how much memory it took
numbers() { sed 's/"memory":{[^}]*},*//' "$1"; }
# rank R N ARGUMENT...: process R of N, as srun starts it; its output in out.R
rank() {
    r=$1 of=$2
    shift 2
    SLURM_PROCID=$r SLURM_STEP_NUM_TASKS=$of SLURM_LOCALID=0 "$program" "$@" >out.$r 2>message.$r
}
# together N ARGUMENT...: all of them at once; what the one that measured has printed in `out`
together() {
    of=$1
    shift
    pids=
    k=0
    while [ $k -lt "$of" ]; do
        rank $k "$of" "$@" &
        pids="$pids $!"
        k=$((k + 1))
    done
    checks=$((checks + 1))
    for pid in $pids; do wait "$pid" || fail "a process of $of: $*" "$(cat message.*)"; done
    find out.* -size +0 >printed
    equal "processes of $of that print: $*" "$(wc -l <printed)" 1
    cp "$(head -1 printed)" out
}
same_numbers() { # same_numbers WHAT FILE
    checks=$((checks + 1))
    numbers "$2" >b
    cmp -s a b || fail "$1: other numbers than of one process" "$(cat a)" "$(cat b)" "$(cat message.*)"
}
alone() {
    good "$@"
    numbers stdout >a
    [ -s a ] || fail "nothing is measured: $*" "$(cat stderr)"
}

alone $pair --features-out one.safetensors
for n in 1 2 3; do
    rm -rf eval-features
    rm -f out.*
    together $n $pair --features-out many.safetensors
    same_numbers "$n processes" out
    same "features of $n processes" one.safetensors many.safetensors
done
pieces=$(find eval-features -name '*.safetensors' | wc -l)
checks=$((checks + 1))
[ "$pieces" -ge 5 ] || fail "$pieces pieces are too few for this test"

# one after the other: the last of them measures; once more: all is there, rank 0 measures
rm -rf eval-features out.*
for r in 2 0 1; do
    checks=$((checks + 1))
    rank $r 3 $pair || fail "rank $r of 3" "$(cat message.$r)"
    [ $r = 1 ] || says message.$r "warning: [0-9]* of $pieces parts are missing"
done
equal "what the others print" "$(cat out.2 out.0)" ""
same_numbers "the last of three" out.1
for r in 1 0; do rank $r 3 $pair; done
equal "what rank 1 prints when all is there" "$(cat out.1)" ""
same_numbers "rank 0 when all is there" out.0

# one of three is lost, two go on; one file is broken
rm -rf eval-features out.*
for r in 0 2; do rank $r 3 $pair; done
equal "what two of three print" "$(cat out.0 out.2)" ""
find eval-features -name '*.safetensors' -exec ls -i {} + | sort >before
together 2 $pair
same_numbers "two in the place of three" out
find eval-features -name '*.safetensors' -exec ls -i {} + | sort >after
equal "pieces that were computed again" "$(comm -23 before after)" ""
file=$(find eval-features -name '*.safetensors' | sort | head -1)
head -c 100 "$file" >cut && cp cut "$file"
together 2 $pair
same_numbers "a file that is cut off" out

# sums alone, without the features; statistics
alone $pair --metrics fd --stats-out one.npz
together 2 $pair --metrics fd --stats-out many.npz
same_numbers "statistics" out
same "statistics of two processes" one.npz many.npz

# other pictures in the place of some: their features are computed anew
cp real/A/"$(ls real/A | tail -1)" real/A/"$(ls real/A | head -1)"
alone $pair --metrics fd
together 2 $pair --metrics fd
same_numbers "pictures that were replaced" out

# drawn pictures, and a series of checkpoints
alone $drawn
together 3 $drawn
same_numbers "drawn pictures" out
mkdir checkpoints && cp "$base" checkpoints/step-1.safetensors && cp "$base" checkpoints/step-2.safetensors
series="eval checkpoints/step-1.safetensors checkpoints/step-2.safetensors --real real --per-class 2 --sampler ddim:0"
series="$series --steps 2 --no-classes $common --json"
alone $series
together 2 $series
same_numbers "a series" out

# what one process does
good eval one.safetensors --real one.safetensors --metrics fd,kid --json
numbers stdout >a
rm -f out.*
together 2 eval one.safetensors --real one.safetensors --metrics fd,kid --json
same_numbers "features" out
rank 1 2 $pair --plan && equal "the plan of rank 1" "$(cat out.1)" ""
rank 0 2 eval real --utility real real --out utility $common
equal "exit code of --utility in one of two" $? 2
says message.0 '--utility trains in one process, and this is one of 2 (SLURM_PROCID)'
finish
