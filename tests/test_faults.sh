#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A driver that fails: calls of every kind, one in each run of every command that computes on a device
# (tests/faults/opencl_faults.c). The program ends with 1 and one line that names the call, the program or the driver, or
# has the result that it has without the fault; never a crash, never a file that looks whole.
#
# FDIT_FAULTS_EACH=N tries N calls of a kind and command, evenly spread (0: all of them). Without it `train` has one of
# every kind, each of the other commands of every third.
# FDIT_FAULTS='train/clFinish bench/*' tries those.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
faults=$PWD/tests/faults/opencl_faults.so
[ -e "$faults" ] || { echo "built without OpenCL"; exit 77; }
nm -D "$program" 2>/dev/null | grep -q __asan_init && { echo "a sanitizer wants to be first"; exit 77; }
LC_ALL=C
export LC_ALL
unset FINEDIFFUSION_DEVICE FINEDIFFUSION_OPENCL_GEMM
each=${FDIT_FAULTS_EACH-}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
FINEDIFFUSION_CACHE=$work/cache FINEDIFFUSION_DATA=$work/data
export FINEDIFFUSION_CACHE FINEDIFFUSION_DATA
"$program" devices --all 2>/dev/null | grep -q '^opencl:' || { echo "no OpenCL device"; exit 77; }
checks=0 failures=0 refused=0 command=make fault= count= gemm=

fail() {
    failures=$((failures + 1))
    echo "FAIL: $command, $fault: $1"
    shift
    for part; do echo "    $part"; done
}

common='--device opencl --quiet'
# Each in the folder `at`, always the same, since paths are kept in some files.
run() {
    case $command in
    train) set -- train --from-scratch --tune full --model 32,2,2,2 --size 8 --channels 1 --data ../letters \
        --flip none --batch 4 --steps 3 --seed 1 --out run $common ;;
    sample) set -- sample --base ../base.safetensors --sampler ddim --steps 2 --classes '#0,#1' --batch 2 --out out $common ;;
    encode) set -- encode "$source/tests/cases/in/data" cache --vae "$source/tests/cases/in/ckpt/vae-ok" --size 16 $common ;;
    bench) set -- bench 'train 32,1,2,4 size=16 b2 classes=10' --repetitions 1 --json $common ;;
    tune) set -- tune 'sample 32,1,2,4 size=16 b8' --candidates 1 --clblast 1 --json $common ;;
    selftest) set -- selftest --tiny --report report $common ;;
    demo) set -- demo --train-steps 2 --per-class 1 --steps 2 --out demo.png $common ;;
    devices) set -- devices --all --json ;;
    esac
    (cd at && exec timeout -k 5 300 env LD_PRELOAD="$faults" FDIT_OPENCL_FAULT="$fault" FDIT_OPENCL_COUNT="$count" \
        FINEDIFFUSION_OPENCL_GEMM="$gemm" "$program" "$@") >stdout 2>stderr </dev/null
}

# What a result is known by; what has numbers in it that are times or errors is compared without them.
sums() {
    case $command in
    train) cksum at/run/delta.safetensors ;;
    sample) find at/out -name '*.png' -exec cksum {} + | sort ;;
    encode) find at/cache -name '*.fdc' -exec cksum {} + | sort ;;
    demo) cksum at/demo.png ;;
    selftest) cut -d ' ' -f 1,2 at/report | sort | uniq -c ;;
    bench | tune | devices) tr -d '0-9.+e-' <stdout ;;
    esac 2>&1
}

try() {
    checks=$((checks + 1))
    rm -rf at cache && mkdir at && cp -r warm cache
    run
    got=$?
    case $got in
    0)
        sums >sums
        if cmp -s sums "sums.$command"; then
            :
        elif [ $command = devices ]; then # says so of the device
            refused=$((refused + 1))
            grep -Eq "\"reason\": .*(${fault%%:*}|[a-z_]*\.cl|no OpenCL device answers|buffer)" stdout ||
                fail "no reason that names the call" "$(diff sums "sums.$command")"
        else
            fail "the result differs" "$(diff sums "sums.$command")"
        fi
        ;;
    1)
        refused=$((refused + 1))
        [ "$(wc -l <stderr)" -eq 1 ] || fail "not one line" "$(cat stderr)"
        [ $command != selftest ] || cat stdout at/report >>stderr 2>/dev/null # the check that failed
        case $fault in # a program's file and what the compiler says, a driver or its device, not the call
        clBuildProgram*) words='its compiler refuses [a-z_]*\.cl' ;;
        clGetPlatform* | clGetDevice*) words='OpenCL|driver|device' ;;
        clCreateProgram* | clCreateKernel* | clSetKernelArg* | clGetKernelWorkGroupInfo*)
            words="${fault%%:*}|[a-z_]*\.cl" ;;
        *) words=${fault%%:*} ;;
        esac
        grep -Eq "$words" stderr || fail "the message does not name the call" "$(cat stderr)"
        case $command in
        train) [ ! -e at/run/delta.safetensors ] || fail "a result was written" ;;
        demo) [ ! -e at/demo.png ] || fail "a result was written" ;;
        sample | encode) # what is there serves the next try
            then=$fault fault=
            run && sums >sums && cmp -s sums "sums.$command" ||
                fail "and again after $then" "$(cat stderr)" "$(diff sums "sums.$command")"
            ;;
        esac
        ;;
    *) fail "exit $got" "$(head -n 5 stderr)" ;;
    esac
}

. "$source/tests/faults/demo_data.sh"
demo_data || { echo "FAIL: the demo's files cannot be made"; exit 1; }
cp data/base.safetensors base.safetensors

commands='train sample encode bench tune selftest demo devices'
for command in $commands; do # compiles, and looks at the drivers
    rm -rf at && mkdir at
    run || { fail "without a fault" "$(cat stderr)"; exit 1; }
done
cp -r cache warm
turn=0
for command in $commands; do
    turn=$((turn + 1)) row=$turn
    rm -rf at cache && mkdir at && cp -r warm cache
    fault='' count=$work/calls.$command
    run || { fail "without a fault" "$(cat stderr)"; continue; }
    sums >"sums.$command"
    count=
    while read -r name calls; do
        wanted=no
        for pattern in ${FDIT_FAULTS:-'*'}; do
            case $command/$name in $pattern) wanted=yes ;; esac
        done
        [ $wanted = yes ] || continue
        row=$((row + 1))
        [ -n "$each$( [ $command = train ] && echo all )" ] || [ $((row % 3)) = 0 ] || continue
        tries=${each:-1}
        if [ "$tries" = 0 ] || [ "$tries" -gt "$calls" ]; then tries=$calls; fi
        i=0
        while [ $i -lt "$tries" ]; do
            fault=$name:$((calls * (2 * i + 1) / (2 * tries) + 1))
            i=$((i + 1))
            try
        done
    done <"calls.$command"
done

# What is not one failed call: train, without and with all sub-buffers denied, and a shortage of memory.
command=train
again() { # FAULT: a training run under it
    fault=$1
    checks=$((checks + 1))
    rm -rf at cache && mkdir at && cp -r warm cache
    run
}
case ${FDIT_FAULTS:-train/} in
*train/*)
    # Which buffer, how large, and what to do.
    again clCreateBuffer:12
    grep -Eq "could not allocate '[^']+' \([0-9.]+ [KM]iB\); [0-9.]+ [KM]iB are already in use.*--plan" stderr ||
        fail "the shortage does not name the buffer" "$(cat stderr)"
    # Where sub-buffers are denied CLBlast gets offsets, and its numbers are the same.
    gemm=clblast
    if again ''; then
        sums >sums.clblast
        again 'clCreateSubBuffer:*' || fail "CLBlast" "$(cat stderr)"
        sums >sums
        cmp -s sums sums.clblast || fail "without sub-buffers CLBlast's result differs"
    else
        grep -q 'built without CLBlast' stderr || fail "CLBlast" "$(cat stderr)"
    fi
    ;;
esac

# Nearly every kind of call is met, and not forgiven.
[ -n "${FDIT_FAULTS-}" ] || [ $refused -gt 45 ] || fail "only $refused of $checks faults were met"
echo "$checks checks, $failures failures, $refused faults met"
[ $failures -eq 0 ]
