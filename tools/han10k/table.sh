#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The paper's comparison on 10,000 classes: ways to fine-tune and to guide, from one base, over the same data in the same
# order, at equal steps and at equal time.
#
#   tools/han10k/table.sh OUT [OPTION]...
#
# The classes are Chinese characters, the superclasses their radicals, a coarser rank their numbers of strokes; the base
# has learned other characters (han10k.c). OUT gets the data, the base, a judge (a classifier, whose features are
# compared), a run for each way, a result for each row (rows/), results.tsv, table.md, the charts curves.svg and
# sweep.svg, and rare.png, a sheet of the classes with the fewest pictures. What is there is kept and runs that were
# interrupted go on, so the same command finishes what it began. The whole takes days on two cores.
#
#   --classes N       of the 10,000 characters, evenly spread (default 10000)
#   --others N        characters that the base learns (default 1000)
#   --size N          pixels of a picture's side (default 32)
#   --data DIR        another data set: train.tar, test.tar and taxonomy.tsv in DIR
#   --ranks A,B       its ranks whose groups guide: the superclass, and a coarser one or none (default radical,strokes)
#   --base FILE       a base that is there, instead of training one
#   --judge FILE      a classifier of the classes that is there, instead of training one
#   --base-steps N    steps of the base (default 60000)
#   --model D,L,H,P   size of the base and the judge (default 128,6,4,4)
#   --judge-steps N   steps of the judge (default 20000)
#   --steps N         steps of each run (default 10000)
#   --batch N         pictures of a step (default 64)
#   --methods LIST    masks of train --tune, with blanks between; guidance is finediffusion with --learn-guidance 1.5
#                     (default: full bitfit difffit lora:8 lora:32 norm table finediffusion finediffusion+lora:16 guidance)
#   --rates LIST      learning rates, as "full=5e-4 norm=1e-2", in place of those below
#   --seeds LIST      (default "0 1")
#   --scales LIST     guidance scales besides 1 (default "2 3 4 5 6")
#   --sweep LIST      the same for finediffusion, whose sweep is drawn as a chart (default: those of --scales)
#   --per-class N     pictures drawn of a class for each row (default 1)
#   --watch N         pictures drawn eight times during each run, for curves.svg (default 512; 0: none)
#   --train OPTIONS   further options of every train, as '--precision bf16'
#   --draw OPTIONS    sampler (default '--sampler unipc --steps 12')
#   --times           only time the steps of each way, in turn, three times over: before the rest, on a machine that
#                     does nothing else; without this they are timed when a run at equal time needs it
#   --list            only print what is to be done, and what of it is done
#
#   FINEDIFFUSION=program    which program (default: build/finediffusion of these sources)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
program=${FINEDIFFUSION:-$here/../../build/finediffusion}

usage() {
    sed -n '3,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
    exit "$1"
}
case ${1-} in
'') usage 2 >&2 ;;
-h | --help) usage 0 ;;
-*) echo "table.sh: the first argument is the folder OUT" >&2 && exit 2 ;;
esac
out=$1
shift
classes=10000 others=1000 data='' ranks=radical,strokes base='' judge='' base_steps=60000 judge_steps=20000
model=128,6,4,4 steps=10000 batch=64 per_class=1 watch_pictures=512
methods='full bitfit difffit lora:8 lora:32 norm table finediffusion finediffusion+lora:16 guidance'
rates='' seeds='0 1' scales='2 3 4 5 6' train='' draw='--sampler unipc --steps 12' list=no
size=32 sweep='' times=no
while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
    --list) list=yes && continue ;;
    --times) times=yes && continue ;;
    --help) usage 0 ;;
    esac
    [ $# -gt 0 ] || { echo "table.sh: $option: a value is missing, or the option does not exist; see --help" >&2; exit 2; }
    case $option in
    --classes) classes=$1 ;;
    --others) others=$1 ;;
    --size) size=$1 ;;
    --sweep) sweep=$1 ;;
    --data) data=$1 ;;
    --ranks) ranks=$1 ;;
    --base) base=$1 ;;
    --judge) judge=$1 ;;
    --base-steps) base_steps=$1 ;;
    --model) model=$1 ;;
    --judge-steps) judge_steps=$1 ;;
    --steps) steps=$1 ;;
    --batch) batch=$1 ;;
    --methods) methods=$1 ;;
    --rates) rates=$1 ;;
    --seeds) seeds=$1 ;;
    --scales) scales=$1 ;;
    --per-class) per_class=$1 ;;
    --watch) watch_pictures=$1 ;;
    --train) train=$1 ;;
    --draw) draw=$1 ;;
    *) echo "table.sh: $option does not exist; see --help" >&2 && exit 2 ;;
    esac
    shift
done
mkdir -p "$out/rows"
data=${data:-$out/data} base=${base:-$out/base.safetensors} judge=${judge:-$out/judge.safetensors}
taxonomy=$data/taxonomy.tsv real=$out/real.safetensors rank=${ranks%%,*} guides=$(echo "$ranks" | tr ',' ' ')
printf '%s\n' "$rank" >"$out/superclass"

# What is to be done is walked through twice: first it is counted, then done.
pass=count total=0 number=0 began=$(date +%s)

# Whether the piece of work that FILE says the end of is to be done now; says so.
due() { # due FILE WORDS...
    file=$1
    shift
    if [ $pass = count ]; then
        state=there
        [ -s "$file" ] || { state='     ' && total=$((total + 1)); }
        [ $list = no ] || echo "$state  $*"
        return 1
    fi
    [ ! -s "$file" ] || return 1
    number=$((number + 1))
    echo "han10k: $number of $total after $((($(date +%s) - began) / 60)) minutes: $*" >&2
}

# Starts a training or goes on with it; RUN/summary.json is its last line of --json.
run_training() { # run_training RUN ARGUMENT...
    run=$1
    shift
    if [ -e "$run/config.json" ]; then
        "$program" train --resume "$run" --json >"$run.json"
    else
        mkdir -p "$(dirname "$run")"
        # shellcheck disable=SC2086
        "$program" train "$@" --flip none --batch "$batch" --betas 0.9,0.99 --clip 1 --preview-every 0 $train \
            --out "$run" --json >"$run.json"
    fi
    grep '"done":true' "$run.json" >"$run/summary.part"
    mv "$run/summary.part" "$run/summary.json"
    rm "$run.json"
}

rate() { # rate METHOD
    for pair in $rates full=5e-4 lora:8=3e-3 lora:32=3e-3 finediffusion+lora:16=3e-3 norm=1e-2 table=1e-2; do
        [ "${pair%=*}" != "$1" ] || { echo "${pair##*=}" && return; }
    done
    echo 5e-3
}

run_of() { # run_of METHOD SEED DROP BUDGET: the folder
    echo "$out/runs/$(echo "$1" | tr ':+' '--')-$2-$3-$4"
}

# DROP is what replaces a dropped label: groups of all ranks that guide, or one empty row.
tune() { # tune METHOD SEED DROP BUDGET STEPS
    folder=$(run_of "$1" "$2" "$3" "$4")
    due "$folder/summary.json" "train $1, seed $2, dropped labels become $3, $5 steps (equal $4)" || return 0
    mask=$1 drop='--label-drop empty'
    [ "$3" = empty ] || drop="--superclass $rank --superclass-train all"
    [ "$1" != guidance ] || mask='finediffusion --learn-guidance 1.5'
    watch=
    if [ "$4-$3" = steps-superclass ] && [ "$watch_pictures" != 0 ]; then
        watch="--eval-every $((steps / 8 > 0 ? steps / 8 : 1)) --eval-pictures $watch_pictures --eval-real $real"
        watch="$watch --eval-features judge:$judge --eval-metrics fd,accuracy"
    fi
    # shellcheck disable=SC2086
    run_training "$folder" --base "$base" --data "$data/train.tar" --taxonomy "$taxonomy" --ranks "$ranks" \
        --tune $mask $drop $watch --table-init base --lr "$(rate "$1")" --lr-schedule linear --warmup 100 \
        --ema 0.999 --seed "$2" --steps "$5"
}

measure() { # measure METHOD SEED DROP BUDGET GUIDE W
    row=$out/rows/$(basename "$(run_of "$1" "$2" "$3" "$4")")-$5-$6.json
    due "$row" "draw and measure $1, seed $2, equal $4, guide $5, w = $6" || return 0
    case $5 in
    none) guide='--guidance 1' ;;
    cfg) guide="--guide empty --guidance $6" ;;
    *) guide="--guide superclass:$5 --guidance $6" ;;
    esac
    # shellcheck disable=SC2086
    "$program" eval --base "$base" --delta "$(run_of "$1" "$2" "$3" "$4")/delta.safetensors" $guide $draw \
        --per-class "$per_class" --real "$real" --features "judge:$judge" --by tail \
        --metrics fd,kid,precision,recall,accuracy --json >"$row.part"
    mv "$row.part" "$row"
}

value() { # value FILE KEY: a number of a line of JSON
    sed -n "s/.*\"$2\":\([-0-9.e+]*\).*/\1/p" "$1"
}

# The seconds a step of each way, the least of three rounds of short runs in turn: times.tsv. The runs of the table may
# have had other company.
time_steps() {
    due "$out/times.tsv" "time the steps of each way, in turn" || return 0
    rm -rf "$out/times"
    for method in $methods $methods $methods; do
        mask=$method
        [ "$method" != guidance ] || mask='finediffusion --learn-guidance 1.5'
        # shellcheck disable=SC2086
        run_training "$out/times/run" --base "$base" --data "$data/train.tar" --taxonomy "$taxonomy" \
            --ranks "$ranks" --tune $mask --superclass "$rank" --superclass-train all --table-init base \
            --ema 0.999 --steps 100
        printf '%s\t' "$method" >>"$out/times.part"
        value "$out/times/run/summary.json" seconds | awk '{ print $1 / 100 }' >>"$out/times.part"
        rm -rf "$out/times"
    done
    awk -F'\t' -v OFS='\t' '!($1 in least) || $2 < least[$1] { least[$1] = $2 } END { for (m in least) print m, least[m] }' \
        "$out/times.part" | sort >"$out/times.new"
    rm "$out/times.part"
    mv "$out/times.new" "$out/times.tsv"
}

# How many steps METHOD makes in the time that FineDiffusion takes for all of its own.
steps_in_equal_time() { # steps_in_equal_time METHOD
    [ -s "$out/times.tsv" ] || { echo "$steps" && return; }
    awk -F'\t' -v steps="$steps" -v method="$1" '{ seconds[$1] = $2 }
        END { n = int(steps * seconds["finediffusion"] / seconds[method]); print (n > 0 ? n : steps) }' "$out/times.tsv"
}

prepare() {
    ! due "$taxonomy" "draw the characters" ||
        "$here/make.sh" "$data" --size "$size" --classes "$classes" --others "$others" >&2
    if due "$base" "train the base of $others other characters, $base_steps steps"; then
        run_training "$out/base" --from-scratch --tune full --model "$model" --size "$size" --channels 1 \
            --data "$data/base.tar" --val "$data/base-test.tar" --label-drop empty --lr 1e-3 --warmup 200 \
            --lr-schedule linear --ema 0.9995 --loss-weight min-snr --seed 1 --steps "$base_steps"
        cp "$out/base/delta.safetensors" "$base.part"
        mv "$base.part" "$base"
    fi
    if due "$judge" "train the judge, $judge_steps steps"; then
        run_training "$out/judge" --from-scratch --classifier --tune full --model "$model" --size "$size" --channels 1 \
            --data "$data/train.tar" --val "$data/test.tar" --taxonomy "$taxonomy" --ranks "$ranks" --shift $((size / 16)) \
            --lr 1.5e-3 --lr-schedule cosine --warmup 200 --weight-decay 0.1 --ema 0.999 --seed 1 \
            --steps "$judge_steps"
        cp "$out/judge/delta.safetensors" "$judge.part"
        mv "$judge.part" "$judge"
    fi
    ! due "$real" "features of the real pictures, from typefaces that were not trained on" ||
        "$program" eval "$data/test.tar" --taxonomy "$taxonomy" --metrics none --features "judge:$judge" \
            --features-out "$real"
}

rows_of() { # rows_of METHOD SEED
    tune "$1" "$2" superclass steps "$steps"
    measure "$1" "$2" superclass steps none 1
    [ "$1" != guidance ] || return 0 # it draws guided pictures in one pass
    all=$scales
    [ "$1" != finediffusion ] || all=${sweep:-$scales}
    for w in $all; do
        for guide in $guides; do measure "$1" "$2" superclass steps "$guide" "$w"; done
    done
    tune "$1" "$2" empty steps "$steps"
    measure "$1" "$2" empty steps none 1
    for w in $all; do measure "$1" "$2" empty steps cfg "$w"; done
}

wanted() { # wanted METHOD
    case " $methods " in *" $1 "*) ;; *) return 1 ;; esac
}

at_equal_time() { # at_equal_time METHOD SEED
    wanted finediffusion || return 0
    case $1 in finediffusion | guidance) return 0 ;; esac
    tune "$1" "$2" superclass time "$(steps_in_equal_time "$1")"
    measure "$1" "$2" superclass time none 1
    measure "$1" "$2" superclass time "$rank" "${scales%% *}"
}

rare_sheet() {
    due "$out/rare.png" "a sheet of the 12 classes with the fewest pictures" || return 0
    tar tf "$data/train.tar" | sed -n 's,/[^/]*[^/]$,,p' | uniq -c | sort -n | awk 'NR <= 12 { sub(/^ *[0-9]+ /, ""); print }' \
        >"$out/rare.txt"
    # shellcheck disable=SC2086
    "$program" sample --base "$base" --delta "$(run_of finediffusion "${seeds%% *}" superclass steps)/delta.safetensors" \
        --guide "superclass:$rank" --guidance "${scales%% *}" $draw --classes "@$out/rare.txt" --per-class 8 \
        --grid "$out/rare.png" --grid-real "$data/train.tar" --out "$out/rare"
}

walk() {
    prepare
    [ $times = no ] || { time_steps && return; }
    for seed in $seeds; do
        for method in $methods; do rows_of "$method" "$seed"; done
        ! wanted finediffusion || time_steps
        for method in $methods; do at_equal_time "$method" "$seed"; done
    done
    ! wanted finediffusion || rare_sheet
}

walk
[ $list = no ] || exit 0
pass=work
walk
[ $times = no ] || exit 0
"$here/report.sh" "$out"
