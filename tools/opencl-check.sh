#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The device suites on OpenCL drivers that need no GPU: tools/opencl-check.sh [--build DIR] [NAME]...
#
#     NAME   pocl, intel, rusticl (the whole suites), pocl,intel (two devices at once) or oclgrind (tiny
#            shapes: races, barriers, bounds, 256 items, 32 KiB); default pocl oclgrind
#            units or UNIT+PRECISION (mma+f32, dpas8+int8): ops and models on PoCL, the products and the
#            attention of bf16 and f16 on emulated matrix units: of each vendor one, in all precisions (hours)
#
# Drivers are set up by tools/opencl-runtime.sh. One line for each suite, the log only where it failed;
# the last line is "N passed, N failed, N skipped". A driver that cannot be had here is skipped, but for
# pocl and oclgrind when FDIT_REQUIRE_DEVICES is set.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
names=()
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=${2:?--build needs a folder}; shift ;;
    -h | --help) sed -n '3,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "opencl-check.sh: $1: unknown; see --help" >&2; exit 2 ;;
    *) names+=("$1") ;;
    esac
    shift
done
[ ${#names[@]} -gt 0 ] || names=(pocl oclgrind)

runtime=$top/tools/opencl-runtime.sh
export FDIT_FIXTURES=${FDIT_FIXTURES:-$top/tests/fixtures} FDIT_SRCDIR=$top FDIT_PROGRAM=$build/finediffusion
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
export FINEDIFFUSION_CACHE= # what is checked is the source
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

# The op suite and the models of UNIT+PRECISION.
on_unit() {
    local device=opencl+${1#*+}
    export FINEDIFFUSION_OPENCL_GEMM="matrix emulated-${1%%+*}"
    for suite in test_ops test_model; do
        echo "$FINEDIFFUSION_OPENCL_GEMM, ${1#*+}:"
        TEST_TIMEOUT=${TEST_TIMEOUT:-14400} one pocl $suite "${device%+f32}"
    done
    unset FINEDIFFUSION_OPENCL_GEMM
}

# one NAME SUITE [DEVICE]
one() {
    local rc=0 begin=$SECONDS
    FDIT_TEST_DEVICE=${3-} timeout -k 5 "${TEST_TIMEOUT:-600}" "$runtime" run "$1" "$build/tests/$2" >"$log" 2>&1 || rc=$?
    if [ $rc = 0 ]; then
        passed=$((passed + 1)); echo "PASS: $1 $2 ($((SECONDS - begin)) s)"
    else
        failed=$((failed + 1)); echo "FAIL: $1 $2 (exit $rc)"; tail -n 60 "$log"
    fi
}

for name in "${names[@]}"; do
    rc=0
    for part in ${name//,/ }; do
        [[ $part != units && $part != *+* ]] || part=pocl
        [ $rc != 0 ] || "$runtime" setup "$part" >"$log" 2>&1 || rc=$?
    done
    if [ $rc = 77 ] && { [ -z "${FDIT_REQUIRE_DEVICES-}" ] || [[ ! $name =~ ^(pocl|oclgrind)$ ]]; }; then
        skipped=$((skipped + 1)); echo "SKIP: $name: $(tail -n 1 "$log")"
        continue
    elif [ $rc != 0 ]; then
        failed=$((failed + 1)); echo "FAIL: $name: $(tail -n 1 "$log")"
        continue
    fi
    case $name in
    oclgrind) # the kernels for processors, which it takes itself for, and those for GPUs
        one oclgrind test_selftest opencl
        export FINEDIFFUSION_OPENCL_GEMM="block im=8 nv=4 bx=16 by=8 step=16"
        one oclgrind test_selftest opencl
        unset FINEDIFFUSION_OPENCL_GEMM ;;
    units) for unit in mma+f32 mfma+bf16 wmma12+f16 dpas16+bf16x3 mma+int8; do on_unit $unit; done ;;
    *+*) on_unit "$name" ;;
    *,*) one "$name" test_replicas ;;
    *)
        one "$name" test_ops_opencl
        for suite in test_model test_sample test_vae test_selftest; do one "$name" $suite opencl; done ;;
    esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
