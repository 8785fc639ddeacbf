#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The suites of ops, model, gradients and sampling on the first OpenCL device, with products by CLBlast and by
# the kernels for GPUs, and the model in 16 bits. Skipped where there is no such device, CLBlast's part where it
# was not built in.
set -u
failed=0 ran=0
[ -x tests/test_ops_opencl ] || { echo "built without OpenCL"; exit 77; }
export FDIT_TEST_DEVICE=opencl
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

suite() {
    "tests/$1" >"$log" 2>&1
    rc=$?
    case $rc in
    0) echo "PASS: $FDIT_TEST_DEVICE, $FINEDIFFUSION_OPENCL_GEMM: $1"; ran=$((ran + 1)) ;;
    77) echo "SKIP: $FDIT_TEST_DEVICE, $FINEDIFFUSION_OPENCL_GEMM: $1" ;;
    *) echo "FAIL: $FDIT_TEST_DEVICE, $FINEDIFFUSION_OPENCL_GEMM: $1"; tail -n 40 "$log"; failed=1 ;;
    esac
}

"$FDIT_PROGRAM" devices --all >"$log" 2>&1
grep -q '^opencl:' "$log" || { echo "no OpenCL device"; exit 77; }

for engine in clblast "block im=8 nv=4 bx=16 by=8 step=16"; do
    export FINEDIFFUSION_OPENCL_GEMM="$engine"
    if [ "$engine" = clblast ]; then
        "$FDIT_PROGRAM" bench --device opencl 'linear 64x64x64' --repetitions 1 >"$log" 2>&1
        if grep -q 'built without CLBlast' "$log"; then
            echo "SKIP: built without CLBlast"
            continue
        fi
        suite test_ops_opencl
    fi
    for name in test_model test_gradients test_sample; do suite $name; done
done
# Products in 16 bits: by multiply-adds of rounded numbers, and by the kernel for matrix units.
for precision in bf16 f16; do
    export FDIT_TEST_DEVICE=opencl+$precision FINEDIFFUSION_OPENCL_GEMM=default
    suite test_model
    suite test_rounding
done
export FDIT_TEST_DEVICE=opencl+bf16 FINEDIFFUSION_OPENCL_GEMM="matrix emulated-mma"
suite test_model
[ $failed = 0 ] || exit 1
[ $ran -gt 0 ] || exit 77
