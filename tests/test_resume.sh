#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A run that was killed, interrupted, or stopped by a full disk ends with the same bits as one that never
# was: delta, last checkpoint, and step, loss, mse, vb, lr of the log.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
mounted=
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; [ -z "$mounted" ] || umount "$mounted"; rm -rf "$work"' EXIT

check() { # check WHAT COMMAND...
    checks=$((checks + 1))
    what=$1
    shift
    "$@" >out 2>&1 || fail "$what" "$(cat out)"
}

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
steps=48
options="--from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --data data --val 0.1 \
    --batch 4 --accumulate 3 --lr 1e-3 --warmup 5 --lr-schedule cosine --seed 7 --steps $steps"
# Not every option of a run must stay: these may differ.
every="--checkpoint-every 7 --keep 2 --preview-every 0 --quiet"

# Step, loss, mse, vb and lr of a log, and its validations.
numbers() { sed -e 's/,"images_per_second.*//' "$1/log.jsonl"; }
same() { # same WHAT RUN
    checks=$((checks + 1))
    for file in delta.safetensors checkpoints/step-$steps.safetensors; do
        cmp "whole/$file" "$2/$file" || fail "$1: $file differs from the unbroken run"
    done
    numbers whole >a
    numbers "$2" >b
    cmp -s a b || fail "$1: the log differs from the unbroken run" "$(diff a b)"
    cmp -s whole/val-classes.tsv "$2/val-classes.tsv" || fail "$1: losses of each class differ"
    rest=$(find "$2" -type f ! -name 'events.out.tfevents.*' ! -name 'step-*.safetensors' \
        ! -name config.json ! -name log.jsonl ! -name delta.safetensors ! -name val-classes.tsv)
    [ -z "$rest" ] || fail "$1: files that do not belong to a run" "$rest"
}
run() { "$program" train $options $every "$@"; }

check "the unbroken run" run --out whole
[ "$(grep -c '"loss"' whole/log.jsonl)" = $steps ] || fail "the log has not $steps steps"
[ "$(ls whole/checkpoints | wc -l)" = 2 ] || fail "--keep 2 keeps" "$(ls whole/checkpoints)"

# ------------------------------------------------------------------ no interruption, other settings
check "a run with other threads, workers and intervals" \
    run --out other --threads 1 --workers 0 --checkpoint-every 11 --cache-memory 0
grep -v val_ whole/log.jsonl >x && mv x whole/steps
grep -v val_ other/log.jsonl >other/steps
sed 's/,"images.*//' whole/steps >a
sed 's/,"images.*//' other/steps >b
checks=$((checks + 1))
cmp -s a b || fail "threads, workers or intervals change the numbers" "$(diff a b)"
cmp whole/delta.safetensors other/delta.safetensors || fail "threads or workers change the delta"
rm -rf other whole/steps

# ------------------------------------------------------------------ killed at any moment
# Lines of the log tell how far a run is: it is killed at once when so many are there.
lines() { if [ -f "$1/log.jsonl" ]; then wc -l <"$1/log.jsonl"; else echo 0; fi; }
seed=${FDIT_TEST_SEED:-$$}
echo "moments of seed $seed: make check SEED=$seed repeats them"
random() { # a number below $1
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    drawn=$((seed / 65536 % $1))
}
stop_at() { # stop_at RUN LINES SIGNAL ARGUMENT...: status of the run in $code
    folder=$1 least=$2 signal=$3
    shift 3
    "$program" train $options $every --out "$folder" "$@" 2>message &
    child=$!
    while kill -0 $child 2>/dev/null && [ "$(lines "$folder")" -lt "$least" ]; do sleep 0.02; done
    kill -"$signal" $child 2>/dev/null
    wait $child
    code=$?
    child=
}
mkdir killed && rmdir killed
random 10
stop_at killed $((1 + drawn)) 9
[ $code = 137 ] || fail "the run was over before it was killed (exit $code)"
for most in 8 14; do
    random $most
    stop_at killed $(($(lines killed) + drawn)) 9 --resume
done
# what a kill in the middle of writing leaves: half a line, a half checkpoint under its temporary name
[ $code = 0 ] || printf '{"step":9999,"lo' >>killed/log.jsonl
check "resuming after kills" run --out killed --resume
same "killed $code" killed
check "resuming a run that is finished" run --out killed --resume
same "resumed when finished" killed

# ------------------------------------------------------------------ SIGINT and SIGTERM
# At 8 lines (validation and 7 steps) a checkpoint with its validation is under way.
for moment in INT:130:8 TERM:143:12; do
    name=${moment%%:*} want=${moment#*:}
    stop_at "on_$name" "${want#*:}" "$name"
    want=${want%:*}
    checks=$((checks + 1))
    [ $code = "$want" ] || fail "exit $code instead of $want after SIG$name" "$(cat message)"
    grep -q "^finediffusion: train: stopped after step [0-9]* of $steps; .*--resume" message &&
        [ "$(wc -l <message)" = 1 ] || fail "what SIG$name says" "$(cat message)"
    reached=$(sed -n 's/.*after step \([0-9]*\) of.*/\1/p' message)
    [ -f "on_$name/checkpoints/step-$reached.safetensors" ] || fail "no checkpoint after SIG$name"
    [ ! -e "on_$name/delta.safetensors" ] || fail "a delta of an unfinished run"
    check "resuming after SIG$name" run --out "on_$name" --resume
    same "SIG$name" "on_$name"
done

# A preview takes long: it is given up, the step is not.
stop_at in_preview 6 INT --preview-every 5
checks=$((checks + 1))
[ $code = 130 ] && grep -q 'stopped after step [0-9]* of' message ||
    fail "SIGINT during a preview (exit $code)" "$(cat message)"
check "resuming after a preview" run --out in_preview --resume
same "SIGINT during a preview" in_preview

# ------------------------------------------------------------------ a job that is queued again as it stands
# auto: the run begins, goes on from its newest whole checkpoint, and begins where none is whole
job() { stop_at queued "$@" --resume auto; }
requeued() { # requeued WHAT: the same line once more, to the end
    check "$1" run --out queued --resume auto
    same "$1" queued
}
job 4 9 # before its first checkpoint, for which it takes longer than for three lines of the log
requeued "killed in its first steps"
rm -rf queued
for moment in USR1:0:10 TERM:143:16; do # lines of the log, by which there is a checkpoint
    name=${moment%%:*} want=${moment#*:}
    job "${want#*:}" "$name"
    equal "exit code after SIG$name" $code "${want%:*}"
done
newest=queued/checkpoints/$(ls queued/checkpoints | sort -t- -k2n | tail -1)
dd if=/dev/zero of="$newest" bs=1 seek=5000 count=4 conv=notrunc 2>/dev/null
requeued "its newest checkpoint is damaged"
says out "step-[0-9]*.safetensors: .*going back to the checkpoint before it"
for file in queued/checkpoints/*; do head -c 5000 "$file" >cut && cp cut "$file"; done
requeued "no checkpoint is whole"
says out 'none of the 2 checkpoints of queued is whole (.*step-48.safetensors.*): starting at step 0'
rm queued/checkpoints/*
requeued "its checkpoints are lost"
says out 'queued has written checkpoints, but none is in queued/checkpoints: starting at step 0'
requeued "a job that is finished"
cp -R queued before
checks=$((checks + 1))
run --out queued --resume auto --lr 2e-3 2>message
[ $? = 2 ] && grep -q -e --lr message || fail "--resume auto with another rate" "$(cat message)"
# whole, but of a run with other options: nothing is begun in its place
sed 's/"lr":0.001/"lr":0.002/' queued/config.json >edited && cp edited queued/config.json && cp edited before/config.json
grep -q '"lr":0.002' edited || fail "config.json has no rate"
"$program" train --out queued --resume auto --quiet >message 2>&1
[ $? = 2 ] && grep -q 'lr.*put the old value back' message || fail "--resume auto with an edited rate" "$(cat message)"
diff -r before queued || fail "a refused --resume auto changed the run"
"$program" train $options --resume auto 2>message
[ $? = 2 ] && grep -q -e '--resume auto: of which run? .*--out' message || fail "--resume auto without --out" "$(cat message)"
checks=$((checks + 1))
"$program" train --out none-yet --resume auto 2>message
[ $? = 2 ] && grep -q -e '--data is missing' message || fail "--resume auto, nothing to begin with" "$(cat message)"
rm -rf queued before

# ------------------------------------------------------------------ two at once
"$program" train $options $every --out twice --steps 4000 2>message &
child=$!
while kill -0 $child 2>/dev/null && [ "$(lines twice)" -lt 9 ]; do sleep 0.02; done
checks=$((checks + 1))
run --out twice --resume --steps 4000 2>other
[ $? = 1 ] && grep -q "^finediffusion: train: twice: .*another process" other ||
    fail "a second process in the same run" "$(cat other)"
kill $child
wait $child
[ $? = 143 ] || fail "a second process disturbed the first" "$(cat message)"
child=

# ------------------------------------------------------------------ what may not change
checks=$((checks + 1))
cp -R killed before
for change in "--lr 2e-3" "--batch 2" "--seed 8" "--flip none" "--drop-prob 0.2" "--val 0.2" \
    "--model 32,2,4,4"; do
    run --out killed --resume $change 2>message
    [ $? = 2 ] || fail "--resume with $change is not refused with 2" "$(cat message)"
    grep -q -e "${change% *}" message || fail "the option of $change is not named" "$(cat message)"
done
diff -r before killed || fail "a refused --resume changed the run"

# ------------------------------------------------------------------ another optimiser
cp -R whole adamw
check "lion, unbroken" run --out lion --optimiser lion --weight-decay 0.1
mv whole adamw.whole
mv lion whole
random 10
stop_at lion $((20 + drawn)) 9 --optimiser lion --weight-decay 0.1
check "lion, resumed without its name" "$program" train --resume lion --quiet
same "lion, killed" lion
checks=$((checks + 4))
newest=checkpoints/step-$steps.safetensors
if grep -a -q '"v\.' lion/$newest; then fail "lion keeps second moments"; fi
grep -a -q '"m\.' lion/$newest || fail "lion keeps no moments"
grep -q '"optimiser":"lion"' lion/config.json && grep -q '"betas":\[0.9[0-9]*,0.9[89]' lion/config.json ||
    fail "config.json does not name the optimiser" "$(cat lion/config.json)"
"$program" inspect --json lion/$newest >out 2>&1 && grep -q '"optimiser": *"lion"' out ||
    fail "inspect does not name the optimiser" "$(cat out)"
run --out lion --resume --optimiser adamw 2>message
[ $? = 2 ] && grep -q -e '--optimiser was "*lion"* when' message ||
    fail "another optimiser is not refused" "$(cat message)"
# a checkpoint that another run wrote
cp adamw/$newest lion/$newest
check "a checkpoint of another optimiser" "$program" train --resume lion --quiet
grep -q 'was written with --optimiser "adamw"' out || fail "a checkpoint of another optimiser" "$(cat out)"
rm -rf lion adamw whole
mv adamw.whole whole

# ------------------------------------------------------------------ numbers that are not finite
checks=$((checks + 1))
"$program" train --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --data data \
    --batch 4 --lr 10 --steps 2000 --checkpoint-every 2 --keep 0 --preview-every 0 --quiet --out nan 2>message
[ $? = 1 ] || fail "a run with --lr 10 did not stop with 1" "$(cat message)"
grep -q '^finediffusion: train: step [0-9]*: .* is not finite (.*); .*nan/checkpoints/step-.*; .*--lr' message ||
    fail "what a run says that diverged" "$(cat message)"
newest=$(sed -n 's/.*\(nan\/checkpoints\/step-[0-9]*\.safetensors\).*/\1/p' message)
"$program" inspect "$newest" >/dev/null 2>out || fail "the last checkpoint before NaN is not sound" "$(cat out)"
[ ! -e nan/delta.safetensors ] || fail "a delta of a run that diverged"

# ------------------------------------------------------------------ a full disk
full=
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=2200k none disk 2>/dev/null; then
    mounted=$work/disk full=disk/run
    run --out $full --keep 0 2>message
    code=$?
else
    # files of more than 200 KiB: the log and the events fit, a checkpoint of 868 KiB does not
    full=limited
    stop_at $full 9 TERM
    (trap '' XFSZ; ulimit -f 400; run --out $full --resume 2>message)
    code=$?
fi
checks=$((checks + 1))
[ $code = 1 ] || fail "exit $code instead of 1 on a full disk" "$(cat message)"
[ "$(wc -l <message)" = 1 ] || fail "not one line on a full disk" "$(cat message)"
grep -q "^finediffusion: train: .*$full" message || fail "the file is not named" "$(cat message)"
for file in "$full"/checkpoints/*; do
    "$program" inspect "$file" >/dev/null 2>out || fail "$file is not whole" "$(cat out)"
done
[ -z "$mounted" ] || { mount -o remount,size=64m disk || fail "cannot enlarge the disk"; }
check "resuming after a full disk" run --out $full --resume --keep 2
same "full disk" $full

finish
