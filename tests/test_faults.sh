#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A driver that fails: every call of a kind, one after the other, in a training run, a bench and a sampling run
# (tests/faults/opencl_faults.c). The program ends with 1 and one line that names the call or the program, or has the result
# that it has without the fault; never a crash, never a file that looks whole.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
faults=$PWD/tests/faults/opencl_faults.so
[ -e "$faults" ] || { echo "built without OpenCL"; exit 77; }
nm -D "$program" 2>/dev/null | grep -q __asan_init && { echo "a sanitizer wants to be first"; exit 77; }
LC_ALL=C OMP_WAIT_POLICY=passive FINEDIFFUSION_CACHE=
export LC_ALL OMP_WAIT_POLICY FINEDIFFUSION_CACHE
unset FINEDIFFUSION_DEVICE FINEDIFFUSION_OPENCL_GEMM
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
"$program" devices --all 2>/dev/null | grep -q '^opencl:' || { echo "no OpenCL device"; exit 77; }
checks=0 failures=0 refused=0

fail() {
    failures=$((failures + 1))
    echo "FAIL: $1"
    shift
    for part; do echo "    $part"; done
}

train() {
    "$@" "$program" train --device opencl --from-scratch --tune full --model 32,2,2,2 --size 8 --channels 1 \
        --data data --flip none --batch 4 --steps 3 --seed 1 --out "$run" --quiet
}

# fault FAULT: a training run under it
fault() {
    checks=$((checks + 1))
    run=run.$checks
    train env LD_PRELOAD="$faults" FDIT_CL_FAULT="$1" >stdout 2>stderr
    got=$?
    case $got in
    0)
        cmp -s "$run/delta.safetensors" good/delta.safetensors || fail "$1: the result differs"
        ;;
    1)
        refused=$((refused + 1))
        [ "$(wc -l <stderr)" -eq 1 ] || fail "$1: not one line" "$(cat stderr)"
        case $1 in # a program's file and what the compiler says, not the call
        clBuildProgram*) words='its compiler refuses [a-z_]*\.cl' ;;
        *) words=${1%%:*} ;;
        esac
        grep -q "$words" stderr || fail "$1: the message does not name the call" "$(cat stderr)"
        [ ! -e "$run/delta.safetensors" ] || fail "$1: a result was written"
        ;;
    *) fail "$1: exit $got" "$(cat stderr)" ;;
    esac
    rm -rf "$run"
}

mkdir -p data && tar -xzf "$source/data/letters-test.tar.gz" -C data || exit 99
run=good
train env >stdout 2>stderr || { cat stderr; echo "FAIL: without a fault"; exit 1; }

for call in 1 2 3 5 8 13 21; do fault clCreateBuffer:$call; done
for call in 1 2 3 5 8 13; do fault clBuildProgram:$call; done
for call in 1 2 10 40 100 300; do fault clEnqueueNDRangeKernel:$call; done
for call in 1 2 5; do fault clFinish:$call; fault clEnqueueReadBuffer:$call; done
[ $refused -gt 12 ] || fail "only $refused of $checks faults were met"

# Which buffer, how large, and what to do.
run=run.memory
train env LD_PRELOAD="$faults" FDIT_CL_FAULT=clCreateBuffer:12 >stdout 2>stderr
grep -Eq "'[^']+' \([0-9.]+ [KM]iB\) could not be made beside the [0-9.]+ [KM]iB in use.*--plan" stderr ||
    fail "the shortage does not name the buffer" "$(cat stderr)"

# Where sub-buffers are denied CLBlast gets offsets, and its numbers are the same.
checks=$((checks + 1))
if "$program" bench --device opencl 'linear 64x64x64' --repetitions 1 >/dev/null 2>&1; then
    for denied in '' 'clCreateSubBuffer:*'; do
        run=clblast.${#denied}
        export FINEDIFFUSION_OPENCL_GEMM=clblast
        train env LD_PRELOAD="$faults" FDIT_CL_FAULT="$denied" >stdout 2>stderr || {
            grep -q 'built without CLBlast' stderr && { run=; break; }
            fail "CLBlast with '$denied'" "$(cat stderr)"
        }
    done
    [ -z "$run" ] || cmp -s clblast.0/delta.safetensors "$run/delta.safetensors" ||
        fail "without sub-buffers CLBlast's result differs"
fi

echo "$checks checks, $failures failures, $refused faults met"
[ $failures -eq 0 ]
