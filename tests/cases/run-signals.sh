# SPDX-License-Identifier: Apache-2.0
# Whatever ends a run by a signal leaves a checkpoint of the last whole step, and the exit code tells which.
cp -R "$IN/data" d
train() {
    "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
        --device cpu --quiet --data d --steps 3000000 --checkpoint-every 1000000 --preview-every 0 "$@"
}
lines() { if [ -f "$1/log.jsonl" ]; then wc -l <"$1/log.jsonl"; else echo 0; fi; }
# ended RUN CODE WANTED: with a message, a checkpoint where the message says, and the whole log before it
ended() {
    holds test "$2" -eq "$3"
    holds grep -q 'stopped after step [0-9]* of 3000000; .*--resume' "$1.err"
    step=$(sed -n 's/.*after step \([0-9]*\) of.*/\1/p' "$1.err")
    holds test -s "$1/checkpoints/step-$step.safetensors"
    holds test "$(lines "$1")" -eq "${step:-0}"
}
for signal in HUP:129 XCPU:152 INT:130 TERM:143; do
    run=on-${signal%:*}
    (exec "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
        --device cpu --quiet --data d --steps 3000000 --checkpoint-every 1000000 --preview-every 0 --out $run) 2>$run.err &
    program=$!
    while kill -0 $program && [ "$(lines $run)" -lt 3 ]; do sleep 0.02; done
    # twice, as a terminal that closes sends it
    holds kill -"${signal%:*}" $program
    [ ${signal%:*} != HUP ] || kill -HUP $program 2>/dev/null
    wait $program
    ended $run $? ${signal#*:}
done
# nobody reads the results any more
{
    train --json --out pipe 2>pipe.err
    echo $? >pipe.code
} | head -n 2 >/dev/null
ended pipe "$(cat pipe.code)" 141
{
    train --json --out pipe --resume --steps 3000001 2>pipe.err
    echo $? >pipe.code
} | head -n 1 >/dev/null
holds test "$(cat pipe.code)" -eq 141
# a command that only prints: no word about it
{
    "$FD" help train 2>head.err
    echo $? >head.code
} | head -n 1 >/dev/null
holds test ! -s head.err
# what is ignored when the program starts stays ignored
(trap '' HUP; exec "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
    --device cpu --quiet --data d --steps 3000000 --checkpoint-every 1000000 --preview-every 0 --out nohup) 2>nohup.err &
child=$!
while kill -0 $child && [ "$(lines nohup)" -lt 3 ]; do sleep 0.02; done
kill -HUP $child
before=$(lines nohup)
sleep 0.3
holds kill -0 $child
holds test "$(lines nohup)" -gt "$before"
kill -TERM $child
wait $child
holds test $? -eq 143
# the warning of a batch system: a checkpoint, and no failure, as below mpirun
(exec "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu \
    --data d --steps 3000000 --checkpoint-every 1000000 --preview-every 0 --out warned) 2>warned.err &
program=$!
while kill -0 $program && [ "$(lines warned)" -lt 3 ]; do sleep 0.02; done
holds kill -USR1 $program
wait $program
ended warned $? 0
ends 0 "$FD" train --resume warned --steps $((step + 2)) --quiet
ends 0 small_run --data d --preview-every 0 --checkpoint-every 1000000 --steps $((step + 2)) --out unbroken
holds cmp warned/delta.safetensors unbroken/delta.safetensors
B="$FDIT_SRCDIR/data/base.safetensors"
"$FD" sample --base "$B" --per-class 400 --device cpu --threads 1 --batch 4 --quiet --out drawn 2>drawn.err &
program=$!
while kill -0 $program && [ ! -e drawn/run.json ]; do sleep 0.02; done
holds kill -USR1 $program
wait $program
holds test $? -eq 138
holds grep -q 'stopped after [0-9]* of .* pictures; the same command goes on' drawn.err
