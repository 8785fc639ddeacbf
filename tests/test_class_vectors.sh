#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Vectors of classes from outside: the identity is today's table to the bit, every file that holds them is read,
# runs with them go on to the bit, and what cannot be is told.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="--data data --batch 4 --seed 7 --preview-every 0 --quiet --lr 1e-3"
scratch="$run --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --steps 8 --checkpoint-every 4"

# numbers WORD...: little-endian float32
numbers() {
    for number; do
        case $number in
        0) printf '\000\000\000\000' ;;
        1) printf '\000\000\200\077' ;;
        2) printf '\000\000\000\100' ;;
        nan) printf '\000\000\300\177' ;;
        esac
    done
}
# npy FILE ROWS COLUMNS NUMBER...
npy() {
    file=$1 header="{'descr': '<f4', 'fortran_order': False, 'shape': ($2, $3), }"
    shift 3
    { printf '\223NUMPY\001\000\166\000%-117s\n' "$header" && numbers "$@"; } >"$file"
}
# tensors FILE HEADER NUMBER...: safetensors; the header has fewer than 248 bytes
tensors() {
    file=$1 header=$2
    shift 2
    { printf '\370\000\000\000\000\000\000\000%-248s' "$header" && numbers "$@"; } >"$file"
}
# same_numbers WHAT DELTA DELTA: all that is behind the headers, which tell the options
same_numbers() {
    for delta in "$2" "$3"; do
        length=$(od -An -N8 -tu8 "$delta" | tr -d ' ')
        tail -c "+$((length + 9))" "$delta" >"numbers.${delta%%/*}"
    done
    same "$1" "numbers.${2%%/*}" "numbers.${3%%/*}"
}
# losses RUN: of its steps, to three digits
losses() { sed -n 's/.*"step":\([0-9]*\),.*"mse":\([0-9.e-]*\).*/\1 \2/p' "$1/log.jsonl" | awk '{ printf "%d %.3g ", $1, $2 }'; }
classes() { printf '%s\n' "$@"; }
vector() { printf '"%s":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}' "$1" "$2" "$3" $(($3 + 4 * $2)); }

identity="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
npy identity.npy 4 4 $identity
classes A/hand A/mono B/hand B/mono >identity.txt

# ------------------------------------------------------------------ where the table starts
good train $scratch --out plain
good train $scratch --class-vectors identity.npy --out whole
same_numbers "the identity is today's table" plain/delta.safetensors whole/delta.safetensors
has "the file" whole/config.json '"class-vectors":"identity.npy"'
npy turned.npy 4 4 0 0 0 1 0 0 1 0 0 1 0 0 1 0 0 0
classes B/mono B/hand A/mono A/hand >turned.txt
good train $scratch --class-vectors turned.npy --out turned
same_numbers "vectors go by their names" plain/delta.safetensors turned/delta.safetensors
npy long.npy 4 4 2 0 0 0 0 1 0 0 0 0 2 0 0 0 0 1
cp identity.txt long.txt
good train $scratch --class-vectors long.npy --out long
same_numbers "only directions count" plain/delta.safetensors long/delta.safetensors
npy near.npy 4 3 1 0 0 1 1 0 0 1 1 0 0 1
cp identity.txt near.txt
good train $scratch --class-vectors near.npy --out near
good train $scratch --class-vectors near.npy --out part --steps 4 --threads 1 --workers 0
good train --resume part --steps 8 --quiet
same "a run goes on" near/delta.safetensors part/delta.safetensors
same_numbers "a run goes on" near/delta.safetensors part/delta.safetensors
checks=$((checks + 1))
! cmp -s numbers.near numbers.plain || fail "other vectors change nothing"

# ------------------------------------------------------------------ files
tensors each.safetensors "{$(vector A/hand 3 0),$(vector A/mono 3 12),$(vector B/hand 3 24),$(vector B/mono 3 36)}" \
    1 0 0 1 1 0 0 1 1 0 0 1
good train $scratch --class-vectors each.safetensors --out each
same_numbers "a tensor for each class" near/delta.safetensors each/delta.safetensors
matrix='"m":{"dtype":"F32","shape":[4,3],"data_offsets":[0,48]}'
tensors named.safetensors \
    "{\"__metadata__\":{\"names\":\"[\\\"A/hand\\\",\\\"A/mono\\\",\\\"B/hand\\\",\\\"B/mono\\\"]\"},$matrix}" 1 0 0 1 1 0 0 1 1 0 0 1
good train $scratch --class-vectors named.safetensors --out named
same_numbers "names in the metadata" near/delta.safetensors named/delta.safetensors
tensors beside.safetensors "{$matrix}" 1 0 0 1 1 0 0 1 1 0 0 1
refused "not~known,beside.txt" train $scratch --class-vectors beside.safetensors --out new
cp identity.txt beside.txt
good train $scratch --class-vectors beside.safetensors --out beside
same_numbers "names beside a tensor" near/delta.safetensors beside/delta.safetensors

# ------------------------------------------------------------------ over a base
good train $run --base plain/delta.safetensors --steps 2 --out tuned
good train $run --base plain/delta.safetensors --steps 2 --class-vectors identity.npy --out same
same_numbers "the identity over a base" tuned/delta.safetensors same/delta.safetensors
good train $run --base plain/delta.safetensors --steps 2 --table-init base --out tuned2
good train $run --base plain/delta.safetensors --steps 2 --table-init base --class-vectors identity.npy --out same2
same_numbers "the identity with the base's spread" tuned2/delta.safetensors same2/delta.safetensors
# at the width of the model rows are the vectors; a learning rate of 0 leaves them
{
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 32), }"
    for i in 1 2 3 4; do numbers 2 0 0 0 0 0 0 1 0 0 0 0 0 0 1 0 0 0 0 0 1 0 0 0 0 0 0 0 0 0 0 "$((i % 3))"; done
} >wide.npy
cp identity.txt wide.txt
tail -c 512 wide.npy >wanted
good train $run --base plain/delta.safetensors --lr 0 --steps 1 --tune table --class-vectors wide.npy --out wide
checks=$((checks + 1))
tail -c 768 wide/delta.safetensors | head -c 512 | cmp -s - wanted || fail "the rows are not the vectors"
good train $run --base plain/delta.safetensors --lr 0 --steps 1 --tune table --class-vectors wide.npy \
    --class-vectors-as projection --out wide2
checks=$((checks + 1))
! cmp -s wide/delta.safetensors wide2/delta.safetensors || fail "projection takes the vectors as they are"

# ------------------------------------------------------------------ a learnt map
map="--class-vectors near.npy --class-vectors-as map"
for mask in finediffusion bitfit table norm lora:4 difffit full; do
    good train $run --base plain/delta.safetensors --tune $mask --steps 2 $map --out "masks/$mask"
    has "--tune $mask" "masks/$mask/delta.safetensors" '"y_embedder.class_map.weight"'
done
tune="$run --base plain/delta.safetensors --tune finediffusion --steps 6 --checkpoint-every 3 --snapshots 3 --ema-profiles"
for as in map map+row; do
    rm -rf mapped part two shards shards-part
    good train $tune --class-vectors near.npy --class-vectors-as $as --out mapped
    good train $tune --class-vectors near.npy --class-vectors-as $as --out part --steps 3 --threads 1 --workers 0
    good train --resume part --steps 6 --quiet
    same "$as goes on" mapped/delta.safetensors part/delta.safetensors
    same "snapshots of $as" mapped/snapshots/step-6.safetensors part/snapshots/step-6.safetensors
    good train $tune --class-vectors near.npy --class-vectors-as $as --batch 2 --device cpu,ref --out two
    equal "$as on two devices" "$(losses two)" "$(losses mapped)"
    good train $tune --class-vectors near.npy --class-vectors-as $as --shards --accumulate 2 --batch 2 --out shards
    good train $tune --class-vectors near.npy --class-vectors-as $as --shards --accumulate 2 --batch 2 --threads 1 \
        --steps 3 --out shards-part
    good train --resume shards-part --steps 6 --quiet
    same "$as with shards" shards/delta.safetensors shards-part/delta.safetensors
    equal "$as with shards" "$(losses shards)" "$(losses mapped)"
done
# an adapter for PEFT has the rows, and no map
good convert masks/lora:4/delta.safetensors mapped-peft --names peft
says stderr 'mapped-peft: the class table has the rows that the map of class vectors gives, and the map itself is not'
checks=$((checks + 1))
! grep -aq class_map mapped-peft/adapter_model.safetensors || fail "PEFT's file has a map"
good convert mapped-peft from-peft.safetensors --delta --base plain/delta.safetensors --quiet
for delta in from-peft.safetensors masks/lora:4/delta.safetensors; do
    good sample --base plain/delta.safetensors --delta "$delta" --classes '#0,#1' --guide none --sampler ddim --steps 3 \
        --quiet --latents "peft-$(basename "$delta")"
done
same_numbers "to PEFT and back" peft-from-peft.safetensors peft-delta.safetensors
draw="--sampler ddim --steps 3 --per-class 1 --quiet"
good sample --base plain/delta.safetensors --delta mapped/delta.safetensors $draw --out drawn --latents x.safetensors
good convert plain/delta.safetensors merged.safetensors --merge mapped/delta.safetensors --quiet
good sample --base merged.safetensors $draw --out drawn-merged --latents xm.safetensors
same_numbers "a merged delta" x.safetensors xm.safetensors
good convert mapped/delta.safetensors copy.safetensors --quiet
good sample --base plain/delta.safetensors --delta copy.safetensors $draw --out drawn-copy --latents xc.safetensors
same_numbers "a copied delta" x.safetensors xc.safetensors
good convert mapped longer.safetensors --ema-length 0.1 --quiet
good sample --base plain/delta.safetensors --delta longer.safetensors $draw --out drawn-longer
refused "step-6.safetensors,map,snapshots" sample --base plain/delta.safetensors \
    --delta mapped/checkpoints/step-6.safetensors $draw --out drawn-state
# ------------------------------------------------------------------ classes that were not trained
good train $run --base plain/delta.safetensors --steps 2 $map --drop-prob 0.5 --out zero
from="--base plain/delta.safetensors --delta zero/delta.safetensors --seed 3"
npy serif.npy 2 3 1 0 0 1 1 1
classes A/serif B/serif >serif.txt
good sample $from --class-vector serif.npy $draw --out serif --latents serif.safetensors
equal "classes of a file of vectors" "$(sed -n 's/.*"class": *"\([^"]*\)".*/\1/p' serif/manifest.jsonl | tr '\n' ' ')" "A/serif B/serif "
good sample $from --class-vector serif.npy $draw --threads 1 --batch 1 --out serif1 --latents serif1.safetensors
same_numbers "one thread and picture" serif.safetensors serif1.safetensors
good sample $from --class-vector serif.npy $draw --classes B/serif,A/hand --out serif2
equal "old and new classes" "$(wc -l <serif2/manifest.jsonl | tr -d ' ')" 2
good sample $from --classes A/hand $draw --out hand --latents hand.safetensors
good sample $from --class-vector serif.npy --classes A/hand $draw --out hand2 --latents hand2.safetensors
same_numbers "an old class beside new ones" hand.safetensors hand2.safetensors
good sample $from --class-vector serif.npy --like "$(find serif -name '*.png' | sort | head -n 1)" --quiet --out alike
same "--like" "$(find serif -name '*.png' | sort | head -n 1)" "$(find alike -name '*.png')"
printf 'class\tlevel1\nB/serif\tA\nA/serif\tB\n' >serif.tsv
good sample $from --class-vector serif.npy --taxonomy serif.tsv $draw --out serif3 --latents serif3.safetensors
checks=$((checks + 1))
same_numbers "" serif3.safetensors serif3.safetensors
! cmp -s numbers.serif3.safetensors numbers.serif.safetensors || fail "the groups of --taxonomy guide as those of the names"
npy far.npy 1 3 1 0 1
classes C/serif >far.txt
refused "C,cannot~guide,none" sample $from --class-vector far.npy $draw --out new
good sample $from --class-vector far.npy --guide none $draw --out far
classes A/hand >far.txt
refused "A/hand,was~trained" sample $from --class-vector far.npy $draw --out new
classes odd >far.txt
refused "odd,--taxonomy" sample $from --class-vector far.npy $draw --out new
refused "far.txt,not~vectors" sample $from --class-vector far.txt $draw --out new
npy thin.npy 1 2 1 0
classes A/serif >thin.txt
refused "2~numbers,3" sample $from --class-vector thin.npy $draw --out new
refused "no~map,--class-vectors-as~map" sample --base plain/delta.safetensors --delta tuned/delta.safetensors \
    --class-vector serif.npy $draw --out new

# more classes: the map and the groups' rows go on
cp -r data more
mkdir -p more/C && cp -r data/A/mono more/C/mono
npy grown.npy 5 3 1 0 0 1 1 0 0 1 1 0 0 1 1 1 1
classes A/hand A/mono B/hand B/mono C/mono >grown.txt
grow="--base plain/delta.safetensors --data more --batch 4 --preview-every 0 --quiet --lr 0 --steps 1 --class-vectors grown.npy"
good train $grow --delta masks/finediffusion/delta.safetensors --class-vectors-as map --out grown
good train $grow --delta mapped/delta.safetensors --class-vectors-as map+row --out grown-row
good train $grow --delta tuned/delta.safetensors --class-vectors-as map+row --out grown-plain
refused "no~map,map+row" train $grow --delta tuned/delta.safetensors --class-vectors-as map --out new

# ------------------------------------------------------------------ what cannot be
bad() { # bad WORDS FILE [OPTION]...: one line, and nothing is left behind
    words=$1 file=$2
    shift 2
    refused "$words" train $scratch --class-vectors "$file" "$@" --out new
    equal "lines about $file" "$(wc -l <stderr)" 1
    [ ! -e new ] || { fail "$file leaves a folder"; rm -rf new; }
}
bad "nowhere.npy" nowhere.npy
bad "identity.txt,not~vectors~of~classes" identity.txt
npy short.npy 3 4 1 0 0 0 0 1 0 0 0 0 1 0
classes A/hand A/mono B/hand >short.txt
bad "short.npy,no~vector~for~1~of~the~4,B/mono" short.npy
classes A/hand A/mono >short.txt
bad "short.npy,3~vectors~and~2~names" short.npy
classes A/hand A/mono A/mono >short.txt
bad "short.npy,A/mono,twice" short.npy
npy more.npy 5 2 1 0 0 1 1 1 1 0 0 1
classes A/hand A/mono B/hand B/mono C/none >more.txt
bad "more.npy,1~of~its~5,do~not~belong,C/none" more.npy
npy nan.npy 4 2 1 0 nan 1 1 1 1 0
cp identity.txt nan.txt
bad "nan.npy,A/mono,not~finite" nan.npy
npy zero.npy 4 2 1 0 0 0 1 1 1 0
cp identity.txt zero.txt
bad "zero.npy,A/mono,is~zero" zero.npy
head -c 150 identity.npy >cut.npy
cp identity.txt cut.txt
bad "cut.npy" cut.npy
tensors uneven.safetensors "{$(vector A/hand 3 0),$(vector A/mono 2 12),$(vector B/hand 3 20),$(vector B/mono 3 32)}" \
    1 0 0 1 1 0 1 1 0 0 1
bad "A/mono,2,same~width" uneven.safetensors
bad "--class-vectors-as~most,rows" identity.npy --class-vectors-as most
refused "--class-vectors-as,give~that" train $scratch --class-vectors-as projection --out new
refused "classifier" train $scratch --classifier --class-vectors identity.npy --out new
refused "--table-init~names,give~one" train $run --base plain/delta.safetensors --steps 2 --table-init names \
    --class-vectors identity.npy --out new
refused "--class-vectors,other~numbers" train $scratch --class-vectors identity.npy --out near --resume

finish
