# SPDX-License-Identifier: Apache-2.0
# Other programs that take the processors are told of, once, at the end; on a processor of its own nothing is.
needs python3
cat >pinned.py <<'EOF'
# LOOPS COMMAND...: the command on one processor, beside so many busy loops; into `share` its share of the time, how
# often it was interrupted, and its seconds of computing in thousandths.
import os, resource, subprocess, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(int(sys.argv[1]))]
try:
    time.sleep(0.3 if loops else 0)
    began = time.monotonic()
    rest = subprocess.Popen(sys.argv[2:])
    _, status, used = os.wait4(rest.pid, 0)
    computed = used.ru_utime + used.ru_stime
    share = 100 * computed / (time.monotonic() - began)
finally:
    for loop in loops:
        loop.kill()
open("share", "w").write("%d %d %d\n" % (share, used.ru_nivcsw, 1000 * computed))
sys.exit(os.waitstatus_to_exitcode(status))
EOF
note='CPU time was much less than wall time: [0-9.]+ of the [0-9.]+ seconds that 1 thread could have had; other'
train() {
    loops=$1
    shift
    python3 pinned.py "$loops" "$FD" train --from-scratch --tune full --model 64,2,2,4 --size 16 --channels 3 --batch 4 \
        --data "$IN/data/owls" --label-drop empty --seed 1 --threads 1 --device cpu "$@"
}
once() { [ "$(grep -c 'CPU time' err)" = 1 ]; }
ends 0 train 0 --steps 300 --out alone
[ "$(cut -d' ' -f1 share)" -lt 60 ] || silent 'CPU time' # the machine may be busy
# The note wants two seconds, whatever the processor does in them.
more=$((1500 / ($(cut -d' ' -f3 share) + 1) + 1))
ends 0 train 3 --steps $((300 * more)) --out busy
[ "$(cut -d' ' -f2 share)" -gt 0 ] || leave 'the system does not count who takes processors'
says "$note programs took the processors: run this when the machine is quiet"
holds once
ends 0 train 3 --steps $((300 * more)) --out quiet --quiet
silent 'CPU time'
sample() {
    loops=$1
    shift
    python3 pinned.py "$loops" "$FD" sample --base busy/delta.safetensors --per-class $((20 * more)) \
        --sampler ddim --steps 100 --threads 1 --device cpu "$@"
}
ends 0 sample 3 --out pictures
says "$note"
holds once
