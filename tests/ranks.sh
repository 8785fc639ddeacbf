# SPDX-License-Identifier: Apache-2.0
# ranks.sh: what the suites of processes that train together share, after tests/lib.sh: pictures in `data`, $run, the
# arguments of a short training on them, and the processes of a job. From /proc: a small machine has no pgrep.
mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
base="$source/data/base.safetensors"
run="train --base $base --data data --flip none --batch 2 --seed 7 --preview-every 0 --lr 1e-3 --threads 1 --val 0.2"

# processes PROGRAM OUT: the numbers of its processes with --out OUT, of this suite: another may run beside it and call
# a run the same
processes() {
    for process in /proc/[0-9]*; do
        [ "$process/cwd" -ef . ] || continue
        { tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null | grep -q "^$1 .*--out $2 " && echo "${process#/proc/}"
    done
}
# signal NAME RANK PROGRAM OUT: sends it to that one of them
signal() {
    tries=0
    while [ $tries -lt 50 ]; do
        for process in $(processes "$3" "$4"); do
            { tr '\0' '\n' <"/proc/$process/environ"; } 2>/dev/null | grep -qE "^(OMPI_COMM_WORLD_RANK|PMI_RANK)=$2\$" &&
                kill -s "$1" "$process" && return
        done
        tries=$((tries + 1))
        sleep 0.1
    done
    fail "$3: no process is rank $2 of $4"
}
# Until the job `child` has left a checkpoint in `ended`, or is gone.
wait_for_checkpoint() {
    while kill -0 $child 2>/dev/null && ! ls ended/checkpoints/step-*.safetensors >/dev/null 2>&1; do sleep 0.05; done
}
# The last checkpoint in `ended` can be read.
ended_whole() {
    checks=$((checks + 1))
    "$program" inspect "ended/checkpoints/$(ls ended/checkpoints | tail -1)" >/dev/null 2>&1 ||
        fail "$1: no whole checkpoint" "$(cat message)"
}
