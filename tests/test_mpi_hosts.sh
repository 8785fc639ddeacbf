#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Three hosts as network namespaces on a bridge, no ssh: training on 1 to 4 processes over them with Open MPI and MPICH,
# and what happens to hosts: one that dies, hangs, is cut off, far away (tests/slow_link.c), late, full, short of memory,
# computes NaN, or has another program or other data.
# Needs root and namespaces (and makes its own, so that nothing of it outlives the test).
# FDIT_TEST_MPI='openmpi mpich' says with which libraries; none: with none.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
here=${FDIT_PROGRAM%finediffusion}tests
skip() {
    echo "SKIP: $1"
    exit 77
}
[ "${FDIT_TEST_MPI-}" != none ] || skip "left out by FDIT_TEST_MPI"
[ -x "$here/finediffusion-mpi" ] || [ -x "$here/finediffusion-mpich" ] || skip "no MPI (libopenmpi-dev, libmpich-dev)"
[ "$(id -u)" = 0 ] || skip "hosts as network namespaces need root"
command -v ip >/dev/null || skip "hosts as network namespaces need the command ip (iproute2)"
if [ -z "${FDIT_INSIDE-}" ]; then
    mkdir -p /run/netns 2>/dev/null
    unshare -n -m -p --fork --mount-proc sh -c 'mount -t tmpfs none /run/netns && ip netns add probe &&
        ip link add type veth && ip link add type bridge' >/dev/null 2>&1 || skip "namespaces cannot be made here"
    cd / && FDIT_INSIDE=1 unshare -n -m -p --fork --kill-child --mount-proc sh "$source/tests/${0##*/}"
    exit
fi

# ------------------------------------------------------------------ three hosts
network=10.77.0
mount -t tmpfs none /run/netns && ip link set lo up && ip link add switch type bridge || exit 99
ip addr add $network.254/24 dev switch && ip link set switch up || exit 99
for n in 1 2 3; do
    { ip netns add host$n && ip link add port$n type veth peer name eth0 netns host$n &&
        ip link set port$n master switch up && ip netns exec host$n sh -c "ip link set lo up &&
        ip addr add $network.$n/24 dev eth0 && ip link set eth0 up"; } || exit 99
    mkdir "$work/tmp$n"
done
mkdir "$work/tmp"
# What launchers call instead of ssh. A host has its name and temporary folder; at_N, if there is one, is done there first.
cat >rsh <<END
#!/bin/sh
while :; do case \$1 in -x) shift ;; -*) shift ;; *) break ;; esac; done
n=\${1##*.}
shift
exec ip netns exec host\$n unshare -u -i -m sh -c "hostname host\$n; export TMPDIR='$work/tmp\$n'
    [ ! -e '$work/at_\$n' ] || . '$work/at_\$n'
    \$*"
END
chmod +x rsh

. "$source/tests/ranks.sh"
good $run --shards --accumulate 12 --steps 4 --checkpoint-every 2 --out alone --quiet
# More allocations than a rank makes before its first steps. Only reading pictures makes some later, and only of those that
# are not kept.
some=0
if [ -s "$here/faults/calls.so" ]; then
    env LD_PRELOAD="$here/faults/calls.so" FDIT_FAULT_OWN=1 FDIT_FAULT=malloc:0 FDIT_FAULT_COUNT="$work/count" \
        "$program" $run --cache-memory 0 --shards --steps 8 --out counted --quiet || fail "allocations cannot be counted"
    some=$(cat count)
fi

# launch HOSTS PROCESSES COMMAND...: in the background, as $child; what it says in `message`
launch() {
    hosts=
    for host in $1; do hosts=$hosts${hosts:+,}$network.$host; done
    number=$2
    shift 2
    case $library in
    openmpi)
        OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 TMPDIR=$work/tmp timeout -k 5 300 "$start" \
            --oversubscribe --mca plm rsh --mca plm_rsh_agent "$work/rsh" --mca oob_tcp_if_include $network.0/24 \
            --mca pml ob1 --mca btl tcp,self --mca btl_tcp_if_include $network.0/24 --mca btl_base_warn_component_unused 0 \
            --map-by node --host "$(echo "$hosts" | sed 's/,/:9,/g; s/$/:9/')" -n "$number" "$@" >stdout 2>message &
        ;;
    mpich)
        TMPDIR=$work/tmp UCX_TLS=tcp,self UCX_NET_DEVICES=eth0 timeout -k 5 300 "$start" -launcher rsh -launcher-exec "$work/rsh" \
            -localhost $network.254 -hosts "$hosts" -n "$number" "$@" >stdout 2>message &
        ;;
    esac
    child=$!
}
together() {
    launch "$@"
    wait $child
    code=$?
    child=
    return $code
}
# ends WHAT SECONDS [stays]: all processes of the job fail in that time, and leave a whole checkpoint; so does the launcher,
# unless it `stays`: then it is killed
ends() {
    checks=$((checks + 2))
    i=0
    while [ $i -lt $(($2 * 10)) ] && { [ -n "$(processes "$mpi" ended)" ] || { [ $# = 2 ] && kill -0 $child 2>/dev/null; }; }; do
        sleep 0.1
        i=$((i + 1))
    done
    left=$(processes "$mpi" ended)
    [ -z "$left" ] || { fail "$library, $1: processes are left after $2 s: $left" "$(cat message)" && kill -9 $left; }
    if kill -0 $child 2>/dev/null; then
        [ $# = 3 ] || fail "$library, $1: the launcher is still there after $2 s" "$(cat message)"
        kill -9 $child
    fi
    wait $child && fail "$library, $1: exit code 0"
    child=
    ended_whole "$library, $1"
}
# is_refused WHAT WORDS: no step is made, and one line says why
is_refused() {
    checks=$((checks + 1))
    [ -z "$(ls other/checkpoints 2>/dev/null)" ] || fail "$library, $1: steps were made"
    equal "$library, $1: lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
    says message "$2"
}

# mpiexec of MPICH does not end processes that are stopped, and waits for them; the others are gone in time.
gone_but_stopped() {
    checks=$((checks + 1))
    i=0
    while [ "$(processes "$mpi" ended | wc -l)" -gt 1 ] && [ $i -lt 900 ]; do sleep 0.1; i=$((i + 1)); done
    [ $i -lt 900 ] || fail "$library: the others are still there after 90 s"
    left=$(processes "$mpi" ended)
    [ -z "$left" ] || kill -s CONT $left
}

on_three_hosts() {
    for n in 1 2 3 4; do
        checks=$((checks + 1))
        together "1 2 3" $n "$mpi" $run --accumulate $((12 / n)) --steps 4 --checkpoint-every 2 --out $library$n ||
            fail "$library: $n processes" "$(cat message)"
        same "$library, $n processes" alone/delta.safetensors $library$n/delta.safetensors
        same "$library, $n processes" alone/checkpoints/step-2.safetensors $library$n/checkpoints/step-2.safetensors
    done

    # 3, then 2, then 1, the last of them without a launcher
    for n in 3 2; do
        checks=$((checks + 1))
        together "1 2 3" $n "$mpi" $run --accumulate $((12 / n)) --resume --steps $((4 - n)) --out $library-less || fail "$library: on with $n" "$(cat message)"
    done
    good $run --accumulate 12 --resume --steps 4 --out $library-less --quiet
    same "$library, 3, 2 and 1 processes" alone/delta.safetensors $library-less/delta.safetensors

    for way in KILL STOP down; do
        rm -rf ended
        launch "1 2 3" 3 "$mpi" $run --steps 1000000 --checkpoint-every 2 --rank-timeout 6 --out ended
        wait_for_checkpoint
        case $way in
        down) ip netns exec host3 ip link set eth0 down ;;
        *) signal $way 2 "$mpi" ended ;;
        esac
        [ $way:$library = STOP:mpich ] && gone_but_stopped
        # which notices a host that is cut off when its remote shell does
        ends "$way" 90 $([ $way = down ] && echo stays)
        [ $way = KILL ] || says message 'rank 2 (host3) has given no sign of life for .* s.*the last checkpoint is whole'
        ip netns exec host3 ip link set eth0 up
    done

    # a disk that is full on the host that writes
    rm -rf ended
    mkdir -p full
    size=$(wc -c <alone/checkpoints/step-2.safetensors)
    mount -t tmpfs -o size=$((size * 7 / 2)) none full || fail "no small disk"
    mkdir full/ended && ln -s full/ended ended
    launch "1 2 3" 3 "$mpi" $run --steps 1000000 --checkpoint-every 2 --keep 0 --rank-timeout 6 --out ended
    ends "a full disk" 90
    says message 'finediffusion: train: rank 0 (host1): .*No space left on device.*make room, then train --resume ended goes on from'
    equal "$library, a full disk: lines that say so" "$(grep -c 'No space left' message)" 1
    umount full
    rm -f ended

    # NaN on one host, and memory that ends on one in the middle of a run
    for fault in log:5000 "malloc:$some"; do
        [ -s "$here/faults/calls.so" ] || break
        rm -rf ended
        echo "export LD_PRELOAD='$here/faults/calls.so' FDIT_FAULT_OWN=1 FDIT_FAULT=$fault" >at_3
        launch "1 2 3" 3 "$mpi" $run --cache-memory 0 --steps 1000000 --checkpoint-every 2 --rank-timeout 6 --out ended
        ends "$fault" 90
        case $fault in
        log:*) says message 'rank 2 (host3): step [0-9]*: the loss is not finite.*good checkpoint is ended/checkpoints/' ;;
        *) says message 'rank 2 (host3): .*out of memory' ;;
        esac
        equal "$library, $fault: lines that say so" "$(grep -c 'finediffusion: train: ' message)" 1
        rm -f at_3
    done

    # late: the others wait, and the bits are the same
    echo 'sleep 4' >at_3
    checks=$((checks + 1))
    together "1 2 3" 3 "$mpi" $run --accumulate 4 --steps 4 --checkpoint-every 2 --out $library-late || fail "$library: a late host" "$(cat message)"
    same "$library, a late host" alone/delta.safetensors $library-late/delta.safetensors

    # A line of 100 Mbit/s that takes 20 ms, each way, to one host: a message takes longer than a step here, and is not taken
    # for a host that is lost. Not with MPICH, whose processes did not always find each other there within 30 s.
    if [ $library = openmpi ] && [ -x "$here/slow_link" ]; then
        ip link add near type veth peer name far && ip link set near master switch up && ip link set far up &&
            ip link set port3 nomaster || fail "no slow line"
        "$here/slow_link" port3 far 20 100 2>slow &
        slow=$!
        checks=$((checks + 1))
        together "1 2 3" 3 "$mpi" $run --accumulate 4 --steps 4 --checkpoint-every 2 --rank-timeout 6 --out $library-slow ||
            fail "$library: a slow line" "$(cat message slow)"
        same "$library, a slow line" alone/delta.safetensors $library-slow/delta.safetensors
        same "$library, a slow line" alone/checkpoints/step-2.safetensors $library-slow/checkpoints/step-2.safetensors
        checks=$((checks + 1)) # each of 4 micro-batches waits for rows, there and back
        sed -n 's/.* the time; \([0-9.]*\) s a step$/\1/p' message | awk '$1 >= 0.16 { slow = 1 } END { exit !slow }' ||
            fail "$library: the slow line is not slow" "$(cat message)"
        kill $slow && wait $slow 2>/dev/null
        ip link set port3 master switch && ip link del near
    fi

    # one that is started but never joins
    mkdir -p never && printf '#!/bin/sh\nexec sleep 40\n' >never/program && chmod +x never/program
    echo "mount --bind '$work/never/program' '$mpi'" >at_3
    checks=$((checks + 1))
    together "1 2 3" 3 "$mpi" $run --steps 4 --rank-timeout 4 --out other && fail "$library: one that never joins"
    says message 'rank 0 (host1) has waited 30 s for the others to start'

    # other pictures, another program
    echo "mount --bind '$work/data2' '$work/data'" >at_3
    checks=$((checks + 1))
    together "1 2 3" 3 "$mpi" $run --steps 4 --out other && fail "$library: other pictures"
    is_refused "other pictures" 'rank 2 (host3) has other pictures or base weights than rank 0 (host1)'
    echo "mount --bind '$work/$library-other' '$mpi'" >at_3
    checks=$((checks + 1))
    together "1 2 3" 3 "$mpi" $run --steps 4 --out other && fail "$library: another program"
    is_refused "another program" 'rank 2 (host3) is another build of the program than rank 0 (host1)'
    rm -f at_3
}

mkdir data2 && cp -r data/. data2 && rm "$(find data2 -name '*.png' | sort | head -1)"
tried=
for library in ${FDIT_TEST_MPI:-openmpi mpich}; do
    case $library in
    openmpi) mpi=$here/finediffusion-mpi start=$(command -v mpirun.openmpi || command -v mpirun) ;;
    mpich) mpi=$here/finediffusion-mpich start=$(command -v mpiexec.hydra) ;;
    esac
    [ -x "$mpi" ] && [ -n "$start" ] || continue
    case $library:$("$mpi" --version | grep '^processes') in
    openmpi:*'Open MPI'* | mpich:*MPICH*) ;;
    *) continue ;;
    esac
    # the same with another version in it, of the same length; a commit may have become a number when it was compiled
    version=$("$mpi" --version | sed -n 's/^finediffusion //p')
    LC_ALL=C sed "s/$(echo "$version" | sed 's/[.]/[.]/g')/$(echo "$version" | tr '0-9' '1-90')/g" "$mpi" >$library-other &&
        chmod +x $library-other
    tried="$tried $library"
    on_three_hosts
done
[ -n "$tried" ] || skip "neither library's launcher is here (mpirun.openmpi, mpiexec.hydra)"
echo "libraries:$tried"
finish
