# SPDX-License-Identifier: Apache-2.0
# What the cases share; read by tests/test_cases.sh before each of them.
#
#   ends CODE COMMAND...      runs the command, its output in the files out and err; fails unless it ends with CODE
#   says PATTERN...           each pattern (grep -E) is in err of the last command
#   prints PATTERN...         each pattern is in its out
#   silent PATTERN...         none of the patterns is in out or err
#   one_line                  err is a single line `finediffusion: COMMAND: ...`
#   holds COMMAND...          a condition: the command ends with 0
#   absent PATH...            none of the paths exists
#   needs TOOL...             leaves the case where a tool is missing; needs_root, needs_opencl likewise
#   needs_pictures KIND       ... where the program was built without this kind of picture, JPEG or WebP
#   small_run OPTION...       `train` from scratch of a very small model (16 x 16 pictures) on the CPU
#   small_sample OPTION...    `sample` in two steps on the CPU

fail() {
    failures=$((failures + 1))
    echo "FAIL: $case_name: $1"
    shift
    for part; do echo "    $part"; done
}
ends() {
    wanted=$1
    shift
    checks=$((checks + 1))
    last="$*"
    "$@" >out 2>err </dev/null
    got=$?
    [ "$got" = "$wanted" ] || fail "exit $got instead of $wanted: $last" "$(tail -n 5 err)"
}
says() {
    for pattern; do
        checks=$((checks + 1))
        grep -qE -- "$pattern" err || fail "'$pattern' is not on stderr of: $last" "$(tail -n 5 err)"
    done
}
prints() {
    for pattern; do
        checks=$((checks + 1))
        grep -qE -- "$pattern" out || fail "'$pattern' is not on stdout of: $last" "$(tail -n 20 out)" "$(tail -n 5 err)"
    done
}
silent() {
    for pattern; do
        checks=$((checks + 1))
        ! grep -E -- "$pattern" out err >hits || fail "'$pattern' is in the output of: $last" "$(cat hits)"
    done
}
one_line() {
    checks=$((checks + 1))
    { [ "$(wc -l <err)" -eq 1 ] && grep -q '^finediffusion: ' err; } || fail "not one message: $last" "$(cat err)"
}
holds() {
    checks=$((checks + 1))
    "$@" >hits 2>&1 || fail "does not hold: $*" "$(tail -n 5 hits)"
}
absent() {
    for path; do
        checks=$((checks + 1))
        { [ ! -e "$path" ] && [ ! -L "$path" ]; } || fail "is there: $path" "after: ${last-}"
    done
}
leave() {
    echo "left out: $case_name: $*"
    exit 77
}
needs() {
    for tool; do
        command -v "$tool" >/dev/null 2>&1 || leave "needs $tool"
    done
}
needs_root() { [ "$(id -u)" = 0 ] || leave "needs root"; }
needs_pictures() { "$FD" --version | grep -q "^pictures .*$1" || leave "built without $1"; }
needs_opencl() { "$FD" devices --all 2>/dev/null | grep -q '^opencl:' || leave "no OpenCL device"; }
small_run() {
    "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
        --device cpu --quiet --checkpoint-every 5 "$@"
}
small_sample() { "$FD" sample --sampler ddim --steps 2 --device cpu --threads 1 --quiet "$@"; }
