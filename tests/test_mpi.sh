#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes that train together, started by mpirun: the same bits for 1 to 4 of them, going on with another number, and
# what ends a job: a process that is killed or stopped, a signal, files that one lacks. Without MPI: the refusal.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

# ------------------------------------------------------------------ without MPI, or without a launcher
if "$program" --version | grep -q 'one (built without MPI)'; then
    checks=$((checks + 1))
    OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4 "$program" train --base b --data d --steps 1 --out o 2>stderr &&
        fail "one of 4 processes of a program without MPI trains"
    says stderr 'one of 4 processes (OMPI_COMM_WORLD_RANK).*built without MPI: configure it with --with-mpi'
    PMI_RANK=2 PMI_SIZE=4 "$program" train --base b --data d --steps 1 --out o 2>stderr
    equal "what other ranks say" "$(cat stderr)" ""
    SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=0 "$program" train --base b --data d --steps 1 --out o 2>stderr
    says stderr 'one of 2 processes (SLURM_PROCID).*built without MPI'
    program=${FDIT_PROGRAM%finediffusion}tests/finediffusion-mpi
fi
faults=${FDIT_PROGRAM%finediffusion}tests/faults/calls.so
. "$source/tests/ranks.sh"
sample="sample --base $base --classes A,B --per-class 3 --sampler ddim:0 --steps 3 --quiet"
good $sample --out drawn
for rank in 1 0 2; do # as MPICH, srun and srun with PMIx start them
    case $rank in
    1) set -- PMI_RANK=1 PMI_SIZE=3 ;;
    0) set -- SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=3 SLURM_NTASKS=8 SLURM_LOCALID=0 ;;
    2) set -- PMIX_RANK=2 SLURM_PROCID=2 SLURM_STEP_NUM_TASKS=3 SLURM_LOCALID=1 ;;
    esac
    checks=$((checks + 1))
    env "$@" "$program" $sample --out dealt >stdout 2>stderr || fail "rank $rank of three" "$(cat stderr)"
    equal "pictures after rank $rank" "$(find dealt -name '*.png' | wc -l)" "$(case $rank in 1) echo 2 ;; 0) echo 4 ;; 2) echo 6 ;; esac)"
done
checks=$((checks + 1))
for picture in $(cd drawn && find . -name '*.png'); do
    cmp -s "drawn/$picture" "dealt/$picture" || fail "$picture of three processes differs"
done

SLURM_PROCID=0 SLURM_NTASKS=3 good $sample --out script # the script of a job, which is one process
equal "pictures of a job's script" "$(find script -name '*.png' | wc -l)" 6

if ! [ -x "$program" ] || ! command -v mpirun >/dev/null; then
    echo "$checks checks, $failures failures"
    [ "$failures" -eq 0 ] || exit 1
    echo "SKIP: no MPI (libopenmpi-dev): what processes do together is not tested"
    exit 77
fi

# ------------------------------------------------------------------ with MPI
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM OMPI_MCA_btl_base_warn_component_unused
mpirun --version 2>/dev/null | grep -q 'Open MPI' && more=--oversubscribe || more=
if ! timeout 60 mpirun $more -n 2 true >stdout 2>message; then
    echo "$checks checks, $failures failures"
    [ "$failures" -eq 0 ] || exit 1
    echo "SKIP: mpirun starts nothing here: $(grep -v '^[- ]*$' message | head -1)"
    exit 77
fi
# together N ARGUMENT...: N processes; what they say in `message`
together() {
    n=$1
    shift
    timeout 300 mpirun $more -n "$n" "$program" "$@" >stdout 2>message
}
# loss of every step of a run
losses() { sed -n 's/.*"step": *\([0-9]*\).*"loss": *\([^,]*\),.*/\1 \2/p' "$1/log.jsonl"; }
same_as() { # same_as RUN OTHER
    checks=$((checks + 2))
    cmp "$1/delta.safetensors" "$2/delta.safetensors" || fail "$1 and $2 have other deltas"
    [ "$(losses "$1")" = "$(losses "$2")" ] && [ -n "$(losses "$1")" ] || fail "$1 and $2 have other losses"
}

for n in 1 2 3 4; do
    checks=$((checks + 1))
    together $n $run --accumulate $((12 / n)) --steps 4 --checkpoint-every 2 --out on$n || fail "$n processes" "$(cat message)"
    same_as on1 on$n
    checks=$((checks + 1))
    cmp on1/checkpoints/step-2.safetensors on$n/checkpoints/step-2.safetensors || fail "$n processes: another checkpoint"
done
says message '4 processes: rank 0 sent .* a step, and waited .* for the others'
says on4/log.jsonl '"sent_bytes":[1-9].*"waiting":0'
grep -q sent_bytes on1/log.jsonl && fail "one process sends something"
equal "lines of the log" "$(wc -l <on4/log.jsonl)" "$(wc -l <on1/log.jsonl)"

# what is more than one message goes in pieces, whose size is small here
checks=$((checks + 1))
timeout 300 mpirun $more -n 3 "${FDIT_PROGRAM%finediffusion}tests/mpi_pieces" >stdout 2>message || fail 'pieces' "$(cat message)"
says stdout '3 processes.*all arrived'

# the plan is rank 0's to print
for how in '' --json; do
    checks=$((checks + 1))
    together 2 $run --steps 1 --plan $how --out planned || fail "--plan $how of two processes" "$(cat message)"
    equal "plans of two processes $how" "$(grep -cE '"plan":true|^sum of the process' stdout)" 1
    checks=$((checks + 1))
    together 2 $sample --plan $how --out planned || fail "sample --plan $how of two processes" "$(cat message)"
    equal "plans of two processes that draw $how" "$(grep -cE '"plan":true|^sum of the process' stdout)" 1
done

# six, of a cheap network with fewer rows in its table than processes: some keep none; and on with another number
small="train --from-scratch --tune=full --model 16,2,2,4 --size 24 --channels 1 --data data --flip none --label-drop empty
    --batch 2 --seed 7 --preview-every 0 --threads 1 --val 0.2 --checkpoint-every 2"
for n in 1 6; do
    checks=$((checks + 1))
    together $n $small --accumulate $((12 / n)) --steps 4 --out small$n || fail "$n processes" "$(cat message)"
    same_as small1 small$n
    same "six processes" small1/checkpoints/step-4.safetensors small$n/checkpoints/step-4.safetensors
    same "six processes" small1/val-classes.tsv small$n/val-classes.tsv
done
checks=$((checks + 2))
together 6 $small --accumulate 2 --steps 3 --out small-on || fail "six processes that stop" "$(cat message)"
together 2 $small --accumulate 6 --steps 4 --resume --out small-on || fail "two after six" "$(cat message)"
same "two after six processes" small1/delta.safetensors small-on/delta.safetensors

# pictures of a cache, and of shards of WebDataset, of which each process reads those of its micro-batches
good encode data cache --size 24 --channels 1 --flip none --quiet
mkdir flat shards
i=10
for picture in $(find data -name '*.png' | sort); do
    cp "$picture" flat/$i.png
    echo $((i % 3)) >flat/$i.cls
    i=$((i + 1))
done
(cd flat && tar cf ../shards/s-0.tar [1-4]*.* && tar cf ../shards/s-1.tar [5-9]*.*)
for n in 1 2 3; do
    checks=$((checks + 2))
    together $n $run --data cache --accumulate $((6 / n)) --steps 2 --out cache$n || fail "$n processes on a cache" "$(cat message)"
    same_as cache1 cache$n
    together $n train --from-scratch --tune full --model 16,2,2,4 --size 24 --channels 1 --data shards --flip none \
        --label-drop empty --batch 2 --seed 7 --preview-every 0 --accumulate $((6 / n)) --steps 2 --out shards$n ||
        fail "$n processes on shards" "$(cat message)"
    same_as shards1 shards$n
done

# with pictures of their own for validation, which one process reads and all have looked at
for n in 1 2; do
    checks=$((checks + 1))
    together $n ${run%% --val*} --val data --accumulate $((2 / n)) --steps 2 --out apart$n ||
        fail "$n processes with validation data" "$(cat message)"
    same_as apart1 apart$n
done
checks=$((checks + 1))
together 2 ${run%% --val*} --val data --accumulate 1 --steps 3 --resume --out apart1 || fail "two on after one, with validation data" "$(cat message)"

# with a prior, whose micro-batches have no rows of the table to fetch
good sample --base $base --classes C,D --per-class 4 --guide none --sampler ddim --steps 3 --quiet --out prior
for n in 1 2; do
    checks=$((checks + 1))
    together $n $run --accumulate $((4 / n)) --steps 3 --prior prior --prior-weight 0.5 --out prior$n ||
        fail "$n processes with a prior" "$(cat message)"
    same_as prior1 prior$n
done
says prior2/log.jsonl '"prior_mse":.*"sent_bytes":[1-9]'
# one that the first process draws while the others wait; a failure of one, before it or in it, ends all
for n in 1 2 3; do
    checks=$((checks + 2))
    together $n $run --accumulate $((6 / n)) --steps 3 --prior-per-class 2 --prior-classes C,D --out drew$n ||
        fail "$n processes that draw a prior" "$(cat message)"
    same_as drew1 drew$n
    equal "pictures drawn by $n processes" "$(find drew$n/prior -name '*.png' | wc -l)" 4
done
checks=$((checks + 2))
together 2 $run --steps 3 --prior-per-class 2 --prior-classes nobody --out new && fail "a prior of no class is drawn"
says message '--prior-classes.*nobody'
# rank 1 has no data
cat >one-fails.sh <<'EOF'
#!/bin/sh
[ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}" = 1 ] && exec "$@" --data gone
exec "$@"
EOF
chmod +x one-fails.sh
timeout 120 mpirun $more -n 2 ./one-fails.sh "$program" $run --steps 3 --prior-per-class 2 --prior-classes C --out new \
    >stdout 2>message
equal "exit of a job of which one process fails before the prior" "$(($? != 0 && $? != 124))" 1
says message 'rank 1.*gone'

# a job of a batch system: the same line is queued again after each warning, whatever process gets it, with fewer processes
queued="$run --resume auto --checkpoint-every 3 --steps 40 --out queued"
for warning in 3:TERM:2 2:USR1:0; do
    n=${warning%%:*}
    timeout 300 mpirun $more -n $n "$program" $queued --steps 100000 --accumulate $((12 / n)) >stdout 2>message &
    child=$!
    at=$(ls queued/checkpoints 2>/dev/null | sed 's/[^0-9]//g' | sort -n | tail -1)
    while kill -0 $child 2>/dev/null &&
        ! [ "$(ls queued/checkpoints 2>/dev/null | sed 's/[^0-9]//g' | sort -n | tail -1)" -gt "${at:-0}" ] 2>/dev/null; do sleep 0.05; done
    warned=${warning#*:}
    signal "${warned%:*}" "${warned#*:}" "$program" queued
    wait $child
    equal "exit code of $n processes after SIG${warned%:*} to rank ${warned#*:}" $? 0
    child=
    says message "stopped after step .*; train --resume queued continues"
done
step=$(ls queued/checkpoints | sed 's/[^0-9]//g' | sort -n | tail -1)
checks=$((checks + 1))
together 1 $queued --accumulate 12 --steps $((step + 2)) || fail "a job that was queued three times" "$(cat message)"
good $run --shards --accumulate 12 --steps $((step + 2)) --out at-once --quiet
same "a job that was queued three times" queued/delta.safetensors at-once/delta.safetensors
rm -rf queued at-once

# 3, then 2, then 1: the last checkpoint's step is the next one's first
long="$run --steps 600 --checkpoint-every 3 --out changing"
for n in 3 2; do
    timeout 300 mpirun $more -n $n "$program" $long $([ $n = 3 ] || echo --resume) --accumulate $((12 / n)) >stdout 2>message &
    child=$!
    at=$(ls changing/checkpoints 2>/dev/null | wc -l)
    while kill -0 $child 2>/dev/null && ! [ "$(ls changing/checkpoints 2>/dev/null | wc -l)" -gt "$at" ]; do sleep 0.05; done
    # the last one started is not the first rank
    signal USR1 $((n - 1)) "$program" changing
    wait $child
    equal "exit code after a signal to one of $n" $? 0
    child=
    says message "stopped after step .*; train --resume changing continues"
done
step=$(ls changing/checkpoints | sed 's/[^0-9]//g' | sort -n | tail -1)
good train --resume changing --quiet --accumulate 12 --steps $((step + 2)) # without mpirun: config.json says how
good $run --shards --accumulate 12 --steps $((step + 2)) --out unbroken --quiet
checks=$((checks + 1))
cmp changing/delta.safetensors unbroken/delta.safetensors || fail "3, 2 and 1 processes: another delta than one"

# ------------------------------------------------------------------ what ends a job
ends() { # ends WHAT SECONDS: the job `child` ends in that time, and nobody is left
    checks=$((checks + 1))
    i=0
    while kill -0 $child 2>/dev/null && [ $i -lt $(($2 * 10)) ]; do sleep 0.1; i=$((i + 1)); done
    kill -0 $child 2>/dev/null && fail "$1: still there after $2 s"
    wait $child && fail "$1: exit code 0"
    child=
    i=0 # the launcher may go before the processes that it ends
    while [ -n "$(processes "$program" ended)" ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
    left=$(processes "$program" ended)
    [ -z "$left" ] || { fail "$1: processes are left: $left" && kill -9 $left; }
    ended_whole "$1"
}
for way in KILL STOP; do
    rm -rf ended
    timeout 300 mpirun $more -n 3 "$program" $run --steps 100000 --checkpoint-every 2 --rank-timeout 4 --out ended >stdout 2>message &
    child=$!
    wait_for_checkpoint
    signal $way 2 "$program" ended
    ends "a process with SIG$way" 60
done
says message 'rank 2 (.*) has given no sign of life for .* s.*the last checkpoint is whole'

checks=$((checks + 1))
together 3 $run --steps 4 --data nowhere --out lacking && fail "data that is not there"
equal "lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
says message 'finediffusion: train: nowhere: no such file'
if [ -s "$faults" ]; then # memory that one has no more of while it sets itself up
    checks=$((checks + 1))
    timeout 300 mpirun $more -n 1 "$program" $run --steps 4 --out lacking : \
        -n 1 env LD_PRELOAD="$faults" FDIT_FAULT_OWN=1 FDIT_FAULT=malloc:500 "$program" $run --steps 4 --out lacking 2>message &&
        fail "memory that is not there on one"
    equal "lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
    says message 'finediffusion: train: rank 1 (.*): .*out of memory'
    [ ! -e lacking/log.jsonl ] || fail "steps without the memory of one"
fi
# numbers that are not finite: of one rank, rank 0 too, and of all
for rank in 0 1; do
    [ -s "$faults" ] || break
    checks=$((checks + 1))
    nan="env LD_PRELOAD=$faults FDIT_FAULT_OWN=1 FDIT_FAULT=log:5000"
    timeout 300 mpirun $more -n 1 $([ $rank = 0 ] && echo "$nan") "$program" ${run% --val*} --steps 200 --out nan$rank : \
        -n 1 $([ $rank = 1 ] && echo "$nan") "$program" ${run% --val*} --steps 200 --out nan$rank 2>message && fail "NaN on rank $rank"
    equal "lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
    says message "finediffusion: train: rank $rank (.*): step [0-9]*: the loss is not finite"
done
checks=$((checks + 1))
together 3 $run --steps 4 --lr 77 --out lacking && fail "a rate of 77"
equal "lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
checks=$((checks + 1))
together 2 train --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --data data --batch 4 --lr 10 \
    --steps 2000 --preview-every 0 --out diverged && fail "a rate that is too high"
equal "lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
says message 'finediffusion: train: step [0-9]*: .* is not finite'
checks=$((checks + 1))
timeout 300 mpirun $more -n 1 "$program" $run --steps 4 --out other : -n 1 "$program" $run --steps 4 --lr 2e-3 --out other 2>message &&
    fail "two rates in one job"
says message 'rank 1 (.*) has other options'
mkdir data2 && cp -r data/. data2 && rm "$(find data2 -name '*.png' | sort | head -1)"
checks=$((checks + 1))
timeout 300 mpirun $more -n 1 "$program" $run --steps 4 --out other : -n 1 "$program" $run --steps 4 --data data2 --out other 2>message &&
    fail "two sets of pictures in one job"
says message 'rank 1 (.*) has other '
finish
