#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds for 64-bit ARM and runs the tests in an emulator: tools/arm-check.sh [--build DIR] [--install] [TEST]...
#
#     TEST         as tests/test_gemm; default: those of the kernels, the model and the files (some 20 minutes
#                  on one core); "all" takes hours
#     --build DIR  build folder (default ./build-arm)
#     --install    install the cross compiler, the libraries for arm64 and the emulator (Debian; as root)
#
# What it cannot show is speed. Last line: "N passed, N failed, N skipped". Exit status 77: no cross compiler
# or no emulator here.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build-arm
tests=()
install=no
while [ $# -gt 0 ]; do
    case $1 in
    --build) build=${2:?--build needs a folder}; shift ;;
    --install) install=yes ;;
    -h | --help) sed -n '3,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "arm-check.sh: $1: unknown; see --help" >&2; exit 2 ;;
    *) tests+=("$1") ;;
    esac
    shift
done
host=aarch64-linux-gnu
if [ $install = yes ]; then
    dpkg --add-architecture arm64
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc-$host libc6-dev-arm64-cross \
        qemu-user {zlib1g-dev,libpng-dev,libjansson-dev,libjpeg62-turbo-dev,libwebp-dev,check}:arm64 \
        {libsubunit-dev,libgomp1}:arm64
fi
if ! command -v $host-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
    echo "arm-check.sh: needs $host-gcc, qemu-aarch64 and libraries for arm64: --install gets them on Debian"
    echo "0 passed, 0 failed, 1 skipped"
    exit 77
fi
[ -x "$top/configure" ] || "$top/autogen.sh" >/dev/null
mkdir -p "$build"
cd "$build"
[ -e Makefile ] || PKG_CONFIG=pkg-config PKG_CONFIG_LIBDIR=/usr/lib/$host/pkgconfig:/usr/share/pkgconfig \
    "$top/configure" --host=$host --build="$("$top/build-aux/config.guess")" --disable-shared --enable-werror \
    --without-opencl >configure.log
make -j"$(nproc)" check TESTS= >build.log 2>&1 || { tail -n 30 build.log; exit 1; }

# The kernel starts the emulator by itself where it has been told to, which shell tests need.
if ! ./finediffusion --version >/dev/null 2>&1; then
    format=/proc/sys/fs/binfmt_misc
    [ -e $format/register ] || mount -t binfmt_misc binfmt_misc $format
    head='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$head:$mask:$(command -v qemu-aarch64):F" >$format/register
fi
[ ${#tests[@]} -gt 0 ] ||
    tests=(tests/test_{cpu_ops,gemm,ops,model,gradients,sampler,vae,image,rng,pt,cache,checkpoint,loader}
        tests/test_cli.sh)
[ "${tests[*]}" != all ] || tests=()
rc=0
make -k check ${tests[@]+TESTS="${tests[*]}"} TEST_TIMEOUT="${TEST_TIMEOUT:-3000}" >check.log 2>&1 || rc=$?
grep -E '^(PASS|FAIL|SKIP|ERROR):' check.log || true
count() { grep -cE "^($1):" check.log || true; }
echo "$(count PASS) passed, $(count 'FAIL|ERROR') failed, $(count SKIP) skipped"
exit $rc
