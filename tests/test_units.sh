#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Matrix units from trial to choice, on PoCL with an emulated one (FINEDIFFUSION_TEST_UNITS): a good one is named
# and used, its verdict remembered; one that is missing, crashes, hangs or computes wrongly, in its trial or in a
# job later, costs a line in `devices --all` and multiply-adds do the work. The faults are those of
# tests/faults/driver.c, over PoCL.
driver=$PWD/tests/faults/driver.so
. "${FDIT_SRCDIR:?}/tests/lib.sh"
real=
for icd in /etc/OpenCL/vendors/*pocl*.icd; do
    [ -e "$icd" ] && read -r real <"$icd"
done
[ -e "$driver" ] || { echo "built without OpenCL"; exit 77; }
[ -n "$real" ] || { echo "no PoCL"; exit 77; }
mkdir over
echo "$driver" >over/bad.icd
FINEDIFFUSION_CACHE=$work/cache OCL_ICD_VENDORS=$work/over FDIT_CL_REAL=$real
export FINEDIFFUSION_CACHE OCL_ICD_VENDORS FDIT_CL_REAL
unset FINEDIFFUSION_DEVICE FINEDIFFUSION_OPENCL_GEMM OCL_ICD_FILENAMES
FINEDIFFUSION_DRIVER_SECONDS=900 # on a machine that does much else
export FINEDIFFUSION_DRIVER_SECONDS
one="linear 37x48x52"
# job CODE PRECISION [ARGUMENT]...: one product, its JSON in out
job() {
    wanted=$1 precision=$2
    shift 2
    checks=$((checks + 1))
    "$program" bench "$one" --repetitions 1 --device opencl --precision "$precision" --json "$@" >out 2>err
    got=$?
    [ "$got" = "$wanted" ] || fail "exit $got instead of $wanted" "$(tail -n 3 err)"
}
by() { says out "\"engine\": \"$1"; }
devices() {
    checks=$((checks + 1))
    "$program" devices "$@" >out 2>err || fail "devices: exit $?" "$(cat err)"
}
units() { grep -l '^unit ' cache/opencl/*.driver 2>/dev/null | wc -l; }

# Nothing that PoCL says of itself makes a unit a candidate.
job 0 bf16
by 'multiply-adds of rounded numbers"'
job 0 int8
by 'whole numbers by multiply-adds"'
FINEDIFFUSION_TEST_UNITS=emulated-mma
export FINEDIFFUSION_TEST_UNITS

# int8 has a trial of its own, and the rest of it is bf16's.
one="linear 37x64x72"
job 0 int8 --verbose
by 'matrix unit emulated-mma, .*, attention as in bf16"'
says err 'forward 37x64x72 by matrix emulated-mma'
says err 'matrix unit emulated-mma, int8: .* GFLOP/s, .* by multiply-adds, NMSE'
one="linear 37x48x52"
rm -rf cache

# f32 in parts of bf16, where its error is no larger than that of multiply-adds, which two parts are not; and bf16x3,
# whose two parts are enough.
job 0 f32 --verbose
by 'matrix unit emulated-mma, in 6 products of parts of bf16, .*, attention by multiply-adds"'
says err 'matrix unit emulated-mma, f32: .* GFLOP/s, .* by multiply-adds, NMSE .*, .* by multiply-adds'
says err 'forward 37x48x52 by matrix emulated-mma'
job 0 bf16x3
by 'matrix unit emulated-mma, in 3 products of parts of bf16, .*, attention by multiply-adds"'
equal "trials in f32 and bf16x3, of products alone" "$(units)" 2
FINEDIFFUSION_TEST_UNITS='emulated-mma parts=2'
job 0 f32 --verbose
by 'multiply-adds"'
says err 'matrix unit emulated-mma parts=2, f32: forward 64x64x1152: NMSE .*, further from double than multiply-adds, '
FINEDIFFUSION_TEST_UNITS=emulated-mma
rm -rf cache

# A good one.
job 0 bf16 --verbose
by 'matrix unit emulated-mma, '
says err 'matrix unit emulated-mma, bf16: .* GFLOP/s, .* by multiply-adds, NMSE'
says err 'attention on matrix unit emulated-mma, bf16: .* GFLOP/s, .* by multiply-adds, NMSE'
says err 'products in bf16 by matrix unit emulated-mma'
says err 'forward 37x48x52 by matrix emulated-mma'
equal "trials, of products and of attention" "$(units)" 2
cp cache/opencl/*.driver .
job 0 bf16
by 'matrix unit emulated-mma, '
equal "a trial is remembered" "$(cat cache/opencl/*.driver | cksum)" "$(cat ./*.driver | cksum)"
FINEDIFFUSION_OPENCL_GEMM=default job 0 bf16
by 'multiply-adds of rounded numbers"'
"$program" bench "$one" --repetitions 1 --device opencl --precision bf16 >out 2>err
says out 'precision bf16 by matrix unit emulated-mma, '

# Without the instruction that it needs: the driver's compiler says no.
FINEDIFFUSION_TEST_UNITS=mma
job 0 bf16
by 'multiply-adds of rounded numbers"'
devices --all
says out 'products in f32 by multiply-adds; bf16 by multiply-adds of rounded numbers'
says out 'matrix unit mma, bf16: forward 37x45x50: .*its compiler refuses linear_matrix.cl'
devices --all --json
says out '"refused_engines": '
says out '"bf16": "multiply-adds of rounded numbers"'
devices
checks=$((checks + 1))
! grep -q 'matrix unit mma' out || fail "devices without --all names what failed"
FINEDIFFUSION_TEST_UNITS=emulated-mma

# fault NAME WORDS: in the trial
fault() {
    FDIT_CL_DRIVER=$1
    export FDIT_CL_DRIVER
    job 0 bf16 --verbose
    by 'multiply-adds of rounded numbers"'
    says err "matrix unit emulated-mma, bf16: $2"
    job 0 bf16 --verbose # as it is remembered
    says err "matrix unit emulated-mma, bf16: $2"
    unset FDIT_CL_DRIVER
}
rm -f cache/opencl/*.bin # a program that is known is not built
fault unit-build:wrong 'forward 37x45x50: wrong by NMSE [0-9.]*; [0-9]* of 1665 numbers, the first in row 0, column [0-9]*: .* instead of '
rm -f cache/opencl/*.bin
fault unit-build:abort 'it aborts (signal 6, .*) when its products are compared'
fault unit-run:segv 'it crashes (signal 11, .*) when its products are compared'
fault unit-run:exit 'it ends the program (exit status 7) when its products are compared'
FDIT_CL_DRIVER=unit-run:hang
export FDIT_CL_DRIVER
FINEDIFFUSION_TEST_UNITS= job 0 f32 # the device itself has all the time that it needs
FINEDIFFUSION_DRIVER_SECONDS=4 fault unit-run:hang 'it does not answer within 4 seconds'

# Attention has a trial of its own, and what fails there leaves the products to the unit. Its attention is refused by
# what it computes, and by a crash; good, it is used.
heads() {
    FDIT_CL_DRIVER=$1
    export FDIT_CL_DRIVER
    rm -f cache/opencl/*.bin
    job 0 bf16 --verbose
    by 'matrix unit emulated-mma, .*, attention by multiply-adds'
    says err "attention on matrix unit emulated-mma, bf16: $2"
    unset FDIT_CL_DRIVER
}
heads heads-build:wrong 'attention 1x77x3x72: out: error .* allowed; element '
heads heads-run:segv 'it crashes (signal 11, .*) when its attention is compared'
one="attention b1 n37 h2 d24"
job 0 bf16 --verbose
by 'matrix unit emulated-mma, .*, attention [0-9.]*"'
says err 'attention, 37 tokens, 2 heads of 24 by matrix emulated-mma'
one="linear 37x48x52"

# Good in its trial, and a crash in a job: the next one does without, until it is tried again.
FDIT_CL_DRIVER=late:segv FDIT_LATE=100000
export FDIT_CL_DRIVER FDIT_LATE
job 0 bf16
by 'matrix unit emulated-mma, '
FDIT_LATE=1 job 139 bf16
job 0 bf16 --verbose
by 'multiply-adds of rounded numbers"'
says err 'matrix unit emulated-mma, bf16: it ended an earlier job by signal 11'
devices --all
says out 'bf16 by matrix unit emulated-mma, '
job 0 bf16
by 'matrix unit emulated-mma, '
unset FDIT_CL_DRIVER FDIT_LATE

# In f32 tune measures beside the unit, and what it finds faster than that, as any tile is here, takes its place.
good tune 'sample DiT-S/8 b2' --device opencl --candidates 1 --clblast 0
says stdout 'forward 64x384x384 .* GFLOP/s .* registers '
one="linear 128x384x384"
job 0 f32 --verbose
says err 'forward 128x384x384 by registers .*(tuned)'

# In 16 bits it measures tiles of the unit, in those bits, and f32 keeps what it had.
job 0 bf16 --verbose
says err 'forward 128x384x384 by matrix emulated-mma [^(]*$'
good tune 'sample DiT-S/8 b1' --device opencl --precision bf16 --candidates 1 --clblast 0
says stdout '^products in bf16$'
says stdout 'forward 32x384x384 .* GFLOP/s .* matrix emulated-mma '
job 0 bf16 --verbose
says err 'forward 128x384x384 by matrix emulated-mma .*(tuned)'
job 0 f32 --verbose
says err 'forward 128x384x384 by registers .*(tuned)'

# The tile that the file has is used, but for a unit that is not the one that passed, or none.
for file in cache/opencl/*.tuned; do
    sed -i 's/^\(forward weight bf16 384 384 in bf16 matrix emulated-mma\) .*/\1 tm=64 tn=32 waves=2 group=64 step=32/' "$file"
done
job 0 bf16 --verbose
says err 'forward 128x384x384 by matrix emulated-mma tm=64 tn=32 waves=2 group=64 step=32 (tuned)'
FINEDIFFUSION_TEST_UNITS= job 0 bf16 --verbose
says err 'forward 128x384x384 by registers [^(]*$'
one="linear 37x48x52"

# What a report says, of units that work and of one that does not.
FINEDIFFUSION_TEST_UNITS=emulated-mma,mma
good selftest --device opencl:0:0 --precision bf16 --tiny --report report.txt
says report.txt '^extensions: '
says report.txt '^matrix unit emulated-mma, f32: works: '
says report.txt '^matrix unit emulated-mma, bf16: works: '
says report.txt '^matrix unit emulated-mma, f16: works: '
says report.txt '^matrix unit emulated-mma, int8: works: '
says report.txt '^attention on matrix unit emulated-mma, bf16: works: '
says report.txt '^attention on matrix unit emulated-mma, f16: works: '
says report.txt '^matrix unit mma, bf16: not used: .*whole log: '
says report.txt '^matrix unit mma, f16: not used: '
finish
