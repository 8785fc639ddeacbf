#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Choosing a device by name, the list of devices, the self-test: unknown and ambiguous names list what there
# is, a driver that computes wrongly is refused by name, no OpenCL at all is said clearly.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
unset FINEDIFFUSION_DEVICE FDIT_TEST_DEVICE

# bad CODE WORDS COMMAND...: as in test_cli.sh; ~ is a space
bad() {
    code=$1 words=$2
    shift 2
    checks=$((checks + 1))
    "$program" "$@" >stdout 2>stderr
    got=$?
    [ $got = "$code" ] || fail "exit $got instead of $code: $*" "$(cat stderr)"
    [ "$(messages stderr)" -eq 1 ] || fail "not one line: $*" "$(cat stderr)"
    each_word "$words" stderr "$*"
}

tiny="linear 3x4x5"
# ------------------------------------------------------------------ names
bad 2 "'abacus'~does~not~exist,cpu~(,ref~(" bench "$tiny" --device abacus
bad 2 "'e'~means,name~one~of,ref~(reference~loops" bench "$tiny" --device e
bad 2 "a~name~is~missing" sample --base x --out y --device cpu,
bad 2 "a~name~is~missing" sample --base x --out y --device ,cpu
bad 2 "is~named~twice" sample --base x --out y --device cpu,CPU
bad 2 "one~device~at~a~time" bench "$tiny" --device cpu,ref
good bench "$tiny" --device "Reference Loops" --repetitions 1
says stdout 'reference loops'
FINEDIFFUSION_DEVICE=ref; export FINEDIFFUSION_DEVICE
good bench "$tiny" --repetitions 1
says stdout 'reference loops'
good bench "$tiny" --repetitions 1 --device cpu
FINEDIFFUSION_DEVICE=abacus
bad 2 "FINEDIFFUSION_DEVICE=abacus:~device~'abacus'~does~not~exist" bench "$tiny"
good devices
says stderr "FINEDIFFUSION_DEVICE=abacus: device 'abacus' does not exist"
checks=$((checks + 1))
grep -q '(default)' stdout && fail "a default although there is none" "$(cat stdout)"
FINEDIFFUSION_DEVICE=ref,cpu
good devices --all
checks=$((checks + 1))
[ "$(grep -c '(default)' stdout)" = 2 ] || fail "two devices are the default" "$(cat stdout)"
FINEDIFFUSION_DEVICE=reference
good devices --all
says stdout '^ref .*(default)'
FINEDIFFUSION_DEVICE=cpu,
bad 2 "FINEDIFFUSION_DEVICE=cpu,a~name~is~missing" sample --base x --out y
unset FINEDIFFUSION_DEVICE
# as many as it says, and no others
bad 2 "'thread'~means,name~one~of" bench "$tiny" --device thread
checks=$((checks + 1))
said=$(sed -n "s/.*means \([0-9]*\) devices.*/\1/p" stderr)
sed -n 's/.*name one of: //p' stderr | sed -E 's/(^|, )(cpu|ref|opencl:[0-9:]*) \(/\
\2 (/g' | grep . >named # one a line: names of processors have commas and brackets
[ "$(wc -l <named)" -eq "$said" ] && [ "$(grep -c thread named)" -eq "$said" ] ||
    fail "not $said devices" "$(cat stderr)"
good selftest --device cpu --tiny --threads 1
says stdout '1 thread'

# ------------------------------------------------------------------ no OpenCL at all
OCL_ICD_VENDORS=$work/none; export OCL_ICD_VENDORS
mkdir none
good devices --all --json
says stdout '"spec": "cpu"'
checks=$((checks + 1))
grep -q opencl stdout && fail "OpenCL devices without a driver" "$(cat stdout)"
bad 1 "no~GPU~can~be~used,--device~cpu,OpenCL" bench "$tiny" --device gpu
bad 2 "'opencl:0:0'~does~not~exist,OpenCL" bench "$tiny" --device opencl:0:0
good bench "$tiny" --repetitions 1
unset OCL_ICD_VENDORS

# ------------------------------------------------------------------ kernels that are not there
# A wrong name is told as that, by every command before it does anything, and not as a device that is missing.
FINEDIFFUSION_ISA=abacus; export FINEDIFFUSION_ISA
for words in devices 'devices --all' 'devices --json' "bench linear~8x8x8" 'inspect x' 'convert x y' 'selftest --tiny' \
    'train --resume none' 'encode x y --device opencl' 'sample --base x --out y --device ref' 'demo' 'eval x --real y'; do
    bad 2 "FINEDIFFUSION_ISA=abacus:~this~build~has~no~such~kernels;~it~knows~generic" $words
done
good --version
good help devices
FINEDIFFUSION_ISA=generic
good bench "$tiny" --repetitions 1 --device cpu
FINEDIFFUSION_ISA=
good bench "$tiny" --repetitions 1 --device cpu
unset FINEDIFFUSION_ISA
FINEDIFFUSION_GEMM=abacus; export FINEDIFFUSION_GEMM
for words in devices 'inspect x'; do
    bad 2 "FINEDIFFUSION_GEMM=abacus:~this~build~has~no~such~GEMM;~it~knows~own" $words
done
unset FINEDIFFUSION_GEMM
good devices
checks=$((checks + 1))
grep -q '^cpu' stdout || fail "no cpu" "$(cat stdout)"

# ------------------------------------------------------------------ what the process may use
(OMP_NUM_THREADS=3; export OMP_NUM_THREADS; exec "$program" devices) >stdout 2>stderr
says stdout '^ *3 threads (of [0-9]*; OMP_NUM_THREADS)$'
(OMP_NUM_THREADS=2,9 OMP_THREAD_LIMIT=1; export OMP_NUM_THREADS OMP_THREAD_LIMIT
 exec "$program" devices --json) >stdout 2>stderr
says stdout '"threads": 1,'
says stdout '"threads_limited_by": "OMP_THREAD_LIMIT"'
(OMP_NUM_THREADS=100000; export OMP_NUM_THREADS; exec "$program" devices) >stdout 2>stderr
says stdout '^ *1024 threads (of [0-9]*; OMP_NUM_THREADS)$'
(ulimit -v 3000000; OCL_ICD_VENDORS=$work/none; export OCL_ICD_VENDORS
 exec "$program" devices) >stdout 2>stderr
says stdout 'memory 2.9 GiB (of .*; RLIMIT_AS, ulimit -v)'
if [ "$(nproc)" -gt 1 ] && taskset -c 0 true 2>/dev/null; then
    taskset -c 0 "$program" devices >stdout 2>stderr
    says stdout '^ *1 thread (of [0-9]*; affinity mask)$'
    OMP_PROC_BIND=true "$program" devices >stdout 2>stderr # binds the first thread to one processor
    says stdout "^cpu .*, $(nproc) threads"
fi
good selftest --device cpu --tiny --threads 1
says stdout ', 1 thread$'
bad 2 "--threads~100000,1~to~1024" bench "$tiny" --threads 100000
bad 2 "--threads~-1,1~to~1024" bench "$tiny" --threads -1

# Files of a control group laid over the mounts, as a container sees them.
cat >contained <<'END'
mount -t tmpfs none /sys/fs/cgroup 2>/dev/null || exit 77
echo 536870912 >/sys/fs/cgroup/memory.max && echo '150000 100000' >/sys/fs/cgroup/cpu.max || exit 77
OCL_ICD_VENDORS=none exec "$@"
END
if [ "$(nproc)" -ge 2 ] && unshare -m sh contained true 2>/dev/null; then
    unshare -m sh contained "$program" devices >stdout 2>stderr
    says stdout 'memory 512 MiB (of .*; cgroup memory.max, /sys/fs/cgroup/memory.max)'
    unshare -m sh contained "$program" devices --json >stdout 2>stderr
    says stdout '"memory_bytes": 536870912,'
    says stdout '"memory_limited_by": "cgroup memory.max, /sys/fs/cgroup/memory.max"'
    unshare -m sh contained "$program" train --from-scratch --tune full --model DiT-B/2 --size 256 --channels 3 \
        --data "${FDIT_SRCDIR:?}/data/letters-test.tar.gz" --out run --batch 64 --steps 1 --plan >stdout 2>stderr
    says stderr 'allows 512 MiB (cgroup memory.max, /sys/fs/cgroup/memory.max)'
else
    echo "skipped: a control group's files need root and two processors"
fi

# ------------------------------------------------------------------ a device of the machine's
good devices --json
says stdout '"self_test": true'
opencl=$(sed -n 's/^ *"spec": "\(opencl:[0-9]*:[0-9]*\)",*$/\1/p' stdout | head -n 1)
if [ -n "$opencl" ]; then
    says stdout '"capabilities": "local memory [1-9]'
    good bench "$tiny" --repetitions 1 --device "$opencl"
    name=$("$program" devices | sed -n "s/^$opencl  *\(.*\)\$/\1/p" | sed 's/  (default)$//')
    good bench "$tiny" --repetitions 1 --device "$name"
    bad 2 "is~named~twice" sample --base x --out y --device "$opencl,$opencl"
    # A driver that computes wrongly.
    FINEDIFFUSION_TEST_MISCOMPUTE=$opencl; export FINEDIFFUSION_TEST_MISCOMPUTE
    bad 1 "$opencl~(,driver,is~not~used,self-test:~linear,--device~cpu" bench "$tiny" --device "$opencl"
    good devices --all
    says stdout 'cannot be used: .*self-test: linear'
    good devices
    checks=$((checks + 1))
    grep -q "^$opencl" stdout && fail "a wrong device is listed" "$(cat stdout)"
    checks=$((checks + 1))
    "$program" selftest --device "$opencl" --tiny --report report.txt >stdout 2>stderr
    [ $? = 1 ] || fail "selftest of a wrong device ends with another code" "$(cat stderr)"
    says stderr 'checks failed; do not trust its results, and send report.txt'
    says report.txt '^FAIL: computes afterwards: self-test: linear'
    cmp -s stdout report.txt || fail "the report is not what was printed"
    unset FINEDIFFUSION_TEST_MISCOMPUTE
fi

# ------------------------------------------------------------------ several devices
# Pictures are dealt out in order, and each is what its device draws alone.
base=${FDIT_SRCDIR:?}/data/base.safetensors
draw() {
    good sample --base "$base" --classes A,B,C,D --sampler ddim --steps 2 --guide none --clip-x0 --quiet "$@"
}
draw --device cpu --out cpu
draw --device ref --out ref
draw --device cpu,ref --out both
for class in A B C D; do
    checks=$((checks + 1))
    case $class in A | B) from=cpu ;; *) from=ref ;; esac
    cmp -s "both/$class/$class-0.png" "$from/$class/$class-0.png" || fail "$class is not the picture of $from"
done
checks=$((checks + 1))
cmp -s both/manifest.jsonl cpu/manifest.jsonl || fail "the manifests differ"
draw --device cpu,ref --out tar --tar --batch 1
checks=$((checks + 1))
[ "$(tar tf tar/pictures-00000.tar | grep -c png)" = 4 ] || fail "not four pictures" "$(ls -R tar)"
good sample --base "$base" --classes A,B --device cpu,ref --out both2 --plan
says stdout '^reference loops'
good train --base "$base" --data "$FDIT_SRCDIR/data/letters-test.tar.gz" --table-init names --flip none \
    --steps 1 --batch 2 --device cpu,ref --plan
says stdout '^reference loops'
checks=$((checks + 1))
[ "$(grep -c '^optimiser moments' stdout)" = 1 ] || fail "the second device has moments" "$(cat stdout)"

# ------------------------------------------------------------------ selftest
good selftest --device cpu --tiny --report report.txt
says report.txt '^finediffusion .* selftest of cpu$'
says report.txt '^pass: attention_backward: '
says report.txt '^-- [0-9]* passed, 0 failed$'
cmp -s stdout report.txt || fail "the report is not what was printed"
bad 2 "none/no/report.txt" selftest --device cpu --tiny --quiet --report none/no/report.txt
bad 2 "does~not~exist" selftest --device abacus

finish
