#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A run goes on when things around it change: on another device and back; with more classes than its delta
# knows. Files of a newer version are refused by name, everywhere.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

says() { # says EXPRESSION: on stderr
    checks=$((checks + 1))
    grep -qe "$1" stderr || fail "no '$1' on stderr:" "$(cat stderr)"
}
refused() { # refused EXPRESSION COMMAND...
    checks=$((checks + 1))
    words=$1
    shift
    "$program" "$@" >stdout 2>stderr
    [ $? = 1 ] && [ "$(messages stderr)" -eq 1 ] || fail "not refused with one line: $*" "$(cat stderr)"
    grep -qe "$words" stderr || fail "no '$words' from: $*" "$(cat stderr)"
}

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" |
    (cd data && tar xf - A/hand A/mono A/serif B/mono B/serif) || exit 99
common="--flip none --preview-every 0 --batch 4 --quiet"
good train --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --data data --steps 20 --lr 1e-3 \
    $common --out base
base="--base base/delta.safetensors"

# ------------------------------------------------------------------ another device in between
# The same pictures, noise and optimiser: the losses are those of a run on one device, to rounding.
steps=24
tune="$base --data data $common --lr 1e-2 --seed 3 --steps $steps --checkpoint-every 6 --keep 0"
losses() { sed -n 's/^{"step":\([0-9]*\),"loss":\([0-9.eE+-]*\),.*/\1 \2/p' "$1/log.jsonl"; }
part() { # part STEP ARGUMENT...: a run killed after the checkpoint of STEP
    step=$1
    shift
    "$program" train $tune --out moving "$@" 2>stderr &
    child=$!
    while kill -0 $child 2>/dev/null && [ ! -e moving/checkpoints/step-$step.safetensors ]; do sleep 0.02; done
    kill -9 $child 2>/dev/null
    wait $child
    code=$?
    child=
    [ -e moving/checkpoints/step-$step.safetensors ] || fail "no checkpoint of step $step (exit $code)" "$(cat stderr)"
    # steps of a millisecond: it may have gone further, which is left to the next part and its device
    for later in moving/checkpoints/step-*.safetensors; do
        number=${later##*/step-}
        [ "${number%.safetensors}" -le "$step" ] || rm "$later"
    done
}
opencl=$(FINEDIFFUSION_DEVICE= "$program" devices 2>/dev/null |
    sed -n '/^opencl:/{s/ .*//p;q;}')
if [ -n "$opencl" ] && "$program" bench "linear 3x4x5" --device "$opencl" --repetitions 1 >stdout 2>stderr; then
    good train $tune --out whole
    part 6
    part 18 --resume --device "$opencl"
    good train $tune --out moving --resume --verbose --device cpu
    losses whole >a
    losses moving >b
    checks=$((checks + 1))
    [ "$(wc -l <b)" = $steps ] || fail "the log of a run that moved has not $steps steps" "$(cat b)"
    paste a b | awk '{ d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || d > 1e-3 * $2) exit 1 }' ||
        fail "the losses of a run that moved to $opencl and back" "$(paste a b)"
    # moved it has: the bits of another device's sums are others
    [ "$(cksum <whole/delta.safetensors)" != "$(cksum <moving/delta.safetensors)" ] ||
        fail "the run on $opencl gave the bits of the cpu: was it there at all?"
else
    echo "no usable OpenCL device: a run cannot move"
fi

# ------------------------------------------------------------------ what may not change says why
checks=$((checks + 1))
good train $tune --out kept --steps 6
refused_change() {
    "$program" train $tune --out kept --resume "$@" 2>stderr
    [ $? = 2 ] || fail "--resume with $* is not refused with 2" "$(cat stderr)"
}
refused_change --lr 3e-2
says '^finediffusion: train: --resume: --lr was 0.01 .* 0.03 now'
refused_change --tune bitfit
says '^finediffusion: train: --resume: --tune was "finediffusion" .* "bitfit" now'

# ------------------------------------------------------------------ more classes
# An optimiser step of 1e-30 changes no number, so what is taken over can be compared bit for bit.
mkdir old more
cp -R data/A old/A
rm -r old/A/serif
mkdir -p more/B && cp -R data/A/serif more/B/bold && cp -R data/A more/A && cp -R data/B/mono more/B/mono
rm -r more/A/mono more/A/hand && cp -R data/A/mono data/A/hand more/A
good train $base --data old $common --steps 30 --lr 1e-2 --out first
grow="$base --delta first/delta.safetensors --data more --steps 1 --lr 1e-30 --flip none --preview-every 0 \
    --batch 4"
good train $grow --out second --verbose
says 'first/delta.safetensors: 3 of 7 rows taken over, 4 are new' # A/hand, A/mono and the group A
draw() { # draw DELTA CLASSES OUT: guided by the superclass, so its row counts as well
    good sample $base --delta "$1" --classes "$2" --per-class 2 --sampler ddim --steps 4 --out "$3" --quiet \
        --guidance 3 --latents "$3.safetensors"
}
# same A B PICTURES WHAT [BYTES]: the numbers of the last PICTURES (24 x 24, float32), of which BYTES (0) may
# differ; the pictures' files also say which delta drew them.
same() {
    checks=$((checks + 1))
    tail -c $((4 * 24 * 24 * $3)) "$1.safetensors" >one
    tail -c $((4 * 24 * 24 * $3)) "$2.safetensors" >two
    cmp -l one two >out
    [ "$(wc -l <out)" -le "${5:-0}" ] || fail "$4" "$(wc -l <out) bytes differ"
}
# Noise depends on the class id, and the ids of old classes stay here: the pictures must be the same.
draw first/delta.safetensors A/hand,A/mono pictures.first
draw second/delta.safetensors A/hand,A/mono pictures.second
checks=$((checks + 1))
for class in A%2Fhand A%2Fmono; do
    [ -s pictures.first/$class/$class-1.png ] || fail "no picture of $class"
done
same pictures.first pictures.second 4 "a class draws another picture after new classes came"
draw second/delta.safetensors B/bold,A/serif pictures.new
[ "$(find pictures.new -name '*.png' | wc -l | tr -d ' ')" = 4 ] || fail "no pictures of the new classes"

# New pictures alone: the old classes would go, so somebody has to say what shall become of them.
rm -r more/A/mono more/A/hand
checks=$((checks + 1))
"$program" train $grow --out lost 2>stderr
[ $? = 2 ] && [ ! -e lost ] || fail "a run that loses the delta's classes is not refused with 2" "$(cat stderr)"
says '--delta first/delta.safetensors: 2 of its 2 classes (A/hand, ...) are not among.*--old-classes keep.*--taxonomy.*--old-classes drop'
good train $grow --out lost --old-classes drop
says 'first/delta.safetensors: 2 of its 2 classes (A/hand, ...) are not among'
good train $grow --out joined --old-classes keep --verbose
says '3 of 7 rows taken over, 4 are new'
checks=$((checks + 1))
grep -q 'left out' stderr && fail "classes that are kept are called lost" "$(cat stderr)"
draw joined/delta.safetensors A/hand,A/mono pictures.joined
same pictures.first pictures.joined 4 "a class draws another picture after classes were joined"
good train --resume joined --steps 2 --lr 1e-30
printf 'class\tletter\nA/hand\tA\nA/mono\tA\nA/serif\tA\nB/bold\tB\nB/mono\tB\n' >all.tsv
checks=$((checks + 1))
"$program" train $grow --out renamed --taxonomy all.tsv 2>stderr
[ $? = 2 ] || fail "a run that loses the delta's rank is not refused with 2" "$(cat stderr)"
says 'first/delta.safetensors: rank "level1" does not exist in this run.*--old-classes drop'
good train $grow --out renamed --taxonomy all.tsv --old-classes drop
says 'first/delta.safetensors: rank "level1" does not exist in this run, and its groups (1) are left out'
sed '1s/letter/level1/' all.tsv >x && mv x all.tsv
good train $grow --out third --verbose --taxonomy all.tsv
says '3 of 7 rows taken over, 4 are new'
checks=$((checks + 1))
grep -q 'are left out' stderr && fail "classes of the taxonomy are called lost" "$(cat stderr)"
draw third/delta.safetensors A/hand,A/mono pictures.third
same pictures.first pictures.third 4 "a class draws another picture after training on new classes"
# Real steps on new pictures leave rows alone that no picture has. Only the table is trained, so nothing else
# can change what the old classes draw.
good train $base --data old $common --steps 30 --lr 1e-2 --tune table --out rows
good train $base --delta rows/delta.safetensors --data more --taxonomy all.tsv $common --steps 8 \
    --lr 1e-2 --tune table --out more_rows
for run in rows more_rows; do
    good sample $base --delta $run/delta.safetensors --classes A/hand,A/mono --sampler ddim --steps 4 \
        --out alone.$run --quiet --guide none --latents alone.$run.safetensors
done
# (the average of a number that does not change is rounded at each step)
same alone.rows alone.more_rows 2 "a class draws another picture after steps on new classes" 100
# a result that would lack what the delta had
checks=$((checks + 1))
"$program" train $base --delta first/delta.safetensors --data old $common --steps 1 --tune table --out new 2>stderr
[ $? = 2 ] || fail "a mask smaller than the delta's is not refused with 2" "$(cat stderr)"
says '--delta first/delta.safetensors holds .*bias.*--tune table does not train.*convert --merge'

# ------------------------------------------------------------------ the size of a delta
# The trained numbers and a header, nothing else.
size() { # size FILE BYTES-PER-NUMBER
    checks=$((checks + 1))
    header=$(od -An -tu8 -N8 "$1" | tr -d ' ')
    [ "$(wc -c <"$1")" -eq $((8 + header + $2 * trained)) ] ||
        fail "$1 has $(wc -c <"$1") bytes: a header of $header and $trained numbers of $2"
}
good train $base --data old $common --steps 1 --json --out sized
trained=$(sed -n '$s/.*"trained":\([0-9]*\).*/\1/p' stdout)
# 2 blocks of 19 widths; the head's norm, adaLN bias and bias of 2 x 4 x 4; patch and timestep biases; 3 rows
checks=$((checks + 1))
[ "$trained" = $((2 * 19 * 32 + (2 + 2) * 32 + 2 * 16 + 3 * 32 + 3 * 32)) ] || fail "$trained parameters are trained"
size sized/delta.safetensors 4
good convert sized/delta.safetensors sized/half.safetensors --type f16 --quiet
size sized/half.safetensors 2

# ------------------------------------------------------------------ a newer version
newer() { sed 's/"version":"1"/"version":"2"/' "$1" >"$2"; }
newer first/delta.safetensors newer.delta.safetensors
newer base/delta.safetensors newer.base.safetensors
cmp -s first/delta.safetensors newer.delta.safetensors && fail "a file of version 2 could not be made"
said='is a finediffusion-[a-z]* of version 2; this program reads version 1'
refused "newer.delta.safetensors: $said" sample $base --delta newer.delta.safetensors --out new
refused "newer.delta.safetensors: $said" train $base --delta newer.delta.safetensors --data data --steps 1 --out new
refused "newer.delta.safetensors: $said" inspect newer.delta.safetensors
refused "newer.delta.safetensors: $said" convert base/delta.safetensors out.safetensors --merge newer.delta.safetensors
refused "newer.base.safetensors: $said" sample --base newer.base.safetensors --out new
refused "newer.base.safetensors: $said" train --base newer.base.safetensors --data data --steps 1 --out new
newest=kept/checkpoints/step-6.safetensors
newer $newest newer && mv newer $newest
cp -R kept kept.before
refused "$newest: $said" train $tune --out kept --resume
checks=$((checks + 1))
diff -r kept kept.before >out || fail "a refused --resume changed the run" "$(cat out)"
# ... and those of an objective that this version does not have; four letters, as the file has no room for more
other() { sed 's/\\"objective\\":\\"ddpm\\"/\\"objective\\":\\"edm2\\"/' "$1" >"$2"; }
other first/delta.safetensors other.delta.safetensors
other base/delta.safetensors other.base.safetensors
said='was trained with the objective edm2, which this version does not know'
refused "other.delta.safetensors: $said" sample $base --delta other.delta.safetensors --out new
refused "other.delta.safetensors: $said" train $base --delta other.delta.safetensors --data data --steps 1 --out new
refused "other.delta.safetensors: $said" inspect other.delta.safetensors
refused "other.base.safetensors: $said" sample --base other.base.safetensors --out new
refused "other.base.safetensors: $said" train --base other.base.safetensors --data data --steps 1 --out new
[ ! -e new ] && [ ! -e out.safetensors ] || fail "something was written in spite of a newer version"

finish
