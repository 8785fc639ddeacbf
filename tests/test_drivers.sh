#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Drivers that abort, crash, end the program, hang, print, change what belongs to the program or cannot be loaded
# (tests/faults/driver.c): each costs a
# line in `devices --all`, none of them the job; good ones beside them stay; what is known is remembered, and looked
# at again when asked or when the driver's file has changed.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
driver=$PWD/tests/faults/driver.so
[ -e "$driver" ] || { echo "built without OpenCL"; exit 77; }
LC_ALL=C
export LC_ALL
unset FINEDIFFUSION_DEVICE FINEDIFFUSION_OPENCL_GEMM OCL_ICD_VENDORS OCL_ICD_FILENAMES FINEDIFFUSION_DRIVER_SECONDS
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
mkdir tmp
FINEDIFFUSION_CACHE=$work/cache TMPDIR=$work/tmp
export FINEDIFFUSION_CACHE TMPDIR
checks=0 failures=0
tiny="linear 3x4x5"

fail() {
    failures=$((failures + 1))
    echo "FAIL: $fault: $1"
    shift
    for part; do echo "    $part"; done
}
# ends CODE ARGUMENT...: the program
ends() {
    wanted=$1
    shift
    checks=$((checks + 1))
    "$program" "$@" >out 2>all </dev/null
    got=$?
    # told where a machine is busy
    sed -E '/^bench: [0-9]* of 1 problem /d; /^[a-z]+: (opening the device|looking at the drivers|testing )/d' all >err
    [ "$got" = "$wanted" ] || fail "exit $got instead of $wanted: $*" "$(tail -n 3 err)"
}
says() { # FILE PATTERN
    checks=$((checks + 1))
    grep -qE "$2" "$1" || fail "no '$2' in $1:" "$(cat "$1")"
}
lacks() {
    checks=$((checks + 1))
    ! grep -qE "$2" "$1" || fail "'$2' is in $1:" "$(cat "$1")"
}
one_line() {
    checks=$((checks + 1))
    [ "$(wc -l <err)" -eq 1 ] || fail "not one line" "$(cat err)"
}
kept() { find cache -name '*.driver' | wc -l; }

# ------------------------------------------------------------------ alone, on top of nothing
mkdir alone
echo "$driver" >alone/bad.icd
OCL_ICD_VENDORS=$work/alone
export OCL_ICD_VENDORS
fault=none
ends 0 devices --all
says out 'cannot be used: it has no platform'
ends 0 devices
says out '1 more cannot be used'

# bad FAULT WORDS: what is said about it, and what works all the same
bad() {
    fault=$1
    FDIT_CL_DRIVER=$1
    export FDIT_CL_DRIVER
    ends 0 devices --all --json
    says out "$2"
    says out '"spec": "cpu"'
    lacks out '"spec": "opencl'
    checks=$((checks + 1))
    [ "$(head -c 1 out)" = '[' ] || fail "something is before the JSON" "$(head -n 3 out)"
    lacks err .
    ends 0 bench "$tiny" --repetitions 1 # on the CPU; what is known is not told again
    lacks err .
    ends 0 bench "$tiny" --repetitions 1 --device cpu
    ends 1 bench "$tiny" --device opencl
    says err "$2"
    says err "device 'opencl'.*bad.icd.*--device cpu works everywhere"
    one_line
    ends 1 bench "$tiny" --device bad.icd
    one_line
    ends 1 bench "$tiny" --device gpu
    says err "no GPU can be used.*bad.icd.*$2"
    one_line
    ends 2 bench "$tiny" --device opencl:0:0
    one_line
    unset FDIT_CL_DRIVER
}
bad load:abort 'it aborts \(signal 6, .*\) when it is loaded'
bad load:exit 'it ends the program \(exit status 7\) when it is loaded'
bad load:exit-well 'it ends the program \(exit status 0\) when it is loaded'
bad platforms:thread 'it aborts .* a moment after it is loaded'
bad load:fork 'it leaves a copy of the program behind'
bad platforms:many 'it has no platform'
bad platforms:segv 'it crashes \(signal 11, .*\) when its platforms are asked for'
bad platforms:child 'it aborts .* when its platforms are asked for'
bad platforms:print 'it has no platform; it says: driver: a word at platforms'
bad end:abort 'it aborts .* when the program ends'
bad end:exit 'it ends the program \(exit status 7\) when the program ends'
bad end:exit-well 'it ends the program \(exit status 0\) when the program ends'
bad end:print 'it has no platform; it says: driver: a word at end'
FINEDIFFUSION_DRIVER_SECONDS=1
export FINEDIFFUSION_DRIVER_SECONDS
bad platforms:hang 'it does not answer within 1 seconds when its platforms are asked for'
bad end:hang 'it does not answer within 1 seconds when the program ends'
bad load:print-on 'it does not answer within 1 seconds when it is loaded; it says: driver: load'
unset FINEDIFFUSION_DRIVER_SECONDS

# Found for the first time: one warning, and the CPU; then it is known; then the file changes.
fault=remembered
rm -rf cache
FDIT_CL_DRIVER=load:segv
export FDIT_CL_DRIVER
ends 0 bench "$tiny" --repetitions 1
says err 'warning: OpenCL driver .*bad.icd.* is left out: it crashes'
one_line
ends 0 bench "$tiny" --repetitions 1
lacks err .
cp "$driver" copy.so
echo "$work/copy.so" >alone/bad.icd
ends 0 bench "$tiny" --repetitions 1
says err 'warning: .*copy.so'
touch -d '2020-01-01' copy.so
ends 0 bench "$tiny" --repetitions 1
says err 'warning: .*copy.so'
ends 0 bench "$tiny" --repetitions 1
lacks err .
unset FDIT_CL_DRIVER
n=$(kept)
ends 0 bench "$tiny" --repetitions 1 --device cpu # looks at nothing
checks=$((checks + 1))
[ "$(kept)" = "$n" ] || fail "--device cpu looks at drivers"

# Without a cache it works as well.
fault='no cache'
FDIT_CL_DRIVER=load:abort FINEDIFFUSION_CACHE='' ends 0 bench "$tiny" --repetitions 1
FDIT_CL_DRIVER=load:abort FINEDIFFUSION_CACHE=/dev/null/none ends 0 bench "$tiny" --repetitions 1

# A stop request while a driver hangs.
fault='stopped'
checks=$((checks + 1))
FDIT_CL_DRIVER=load:hang FINEDIFFUSION_CACHE='' "$program" bench "$tiny" --device opencl >out 2>err &
pid=$!
sleep 1
kill -TERM $pid
wait $pid
got=$?
[ $got = 143 ] || fail "exit $got" "$(cat err)"

# What is not a library.
fault=files
mkdir broken
: >broken/empty.icd
echo /nonexistent/library.so >broken/missing.icd
echo "$source/tests/test_drivers.sh" >broken/text.icd
ln -s nowhere broken/dangling.icd
printf 'a line without an end' >broken/unnamed.icd
OCL_ICD_VENDORS=$work/broken ends 0 devices --all
says out '^empty.icd'
says out 'its file names no library'
says out 'library.so: cannot open shared object'
says out 'invalid ELF header|file too short|not.*ELF'
says out '^dangling.icd'
OCL_ICD_VENDORS=$work/broken ends 0 bench "$tiny" --repetitions 1
OCL_ICD_VENDORS=$work/nowhere ends 0 devices --all --json

# ------------------------------------------------------------------ over and beside a good one
unset OCL_ICD_VENDORS
fault='the real one'
ends 0 devices --all
real=
for icd in /etc/OpenCL/vendors/*pocl*.icd; do
    [ -e "$icd" ] && read -r real <"$icd"
done
if [ -n "$real" ] && grep -q '^opencl:' out; then
    mkdir both
    echo "$real" >both/good.icd
    echo "$driver" >both/bad.icd
    OCL_ICD_VENDORS=$work/both
    export OCL_ICD_VENDORS
    for what in load:abort platforms:segv; do
        fault="beside a good one: $what"
        FDIT_CL_DRIVER=$what
        export FDIT_CL_DRIVER
        ends 0 devices --all
        says out '^opencl:0:0 '
        says out '^bad.icd '
        ends 0 bench "$tiny" --repetitions 1 --device opencl:0:0
        ends 0 bench "$tiny" --repetitions 1 --device 'Portable Computing'
        lacks err .
        unset FDIT_CL_DRIVER
    done
    OCL_ICD_VENDORS=$work/alone FDIT_CL_REAL=$real
    export FDIT_CL_REAL
    fault='over a real one'
    ends 0 devices --all
    says out '^opencl:0:0 '
    lacks out 'bad.icd'
    # refused FAULT WORDS: lists, and does not compute
    refused() {
        fault=$1
        FDIT_CL_DRIVER=$1
        export FDIT_CL_DRIVER
        ends 0 devices --all
        says out '^opencl:0:0 '
        says out "cannot be used: $2"
        ends 0 bench "$tiny" --repetitions 1
        ends 1 bench "$tiny" --device opencl
        says err "opencl:0:0 .*is not used: $2"
        one_line
        ends 1 selftest --tiny --device opencl:0:0
        one_line
        unset FDIT_CL_DRIVER
    }
    refused build:abort 'it aborts .* when it compiles and computes the self-test'
    refused build:exit 'it ends the program'
    refused build:thread 'it aborts .* a moment after it is loaded'
    refused run:close 'it changes standard input of the program that computes with it'
    refused run:change 'it changes the current folder of the program that computes with it'
    refused run:segv 'it crashes'
    FINEDIFFUSION_DRIVER_SECONDS=6
    export FINEDIFFUSION_DRIVER_SECONDS
    refused run:hang 'it does not answer within 6 seconds'
    says err .
    unset FINEDIFFUSION_DRIVER_SECONDS
    for where in load devices build; do
        fault="$where:print"
        FDIT_CL_DRIVER=$where:print
        export FDIT_CL_DRIVER
        rm -rf cache
        ends 0 devices --all --json
        says out "\"prints\": \"driver: a word at $where\""
        lacks out '^driver'
        ends 0 bench "$tiny" --repetitions 1 --device opencl --json
        lacks out '^driver'
        unset FDIT_CL_DRIVER
    done
    # What a driver changes of the program when it is loaded, asked or compiles is put back: the job does not notice.
    mkdir here
    cd here || exit 99
    again() { # RUN: on the driver, ended by nothing
        ends 0 train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --steps 3 \
            --data "$source/tests/cases/in/data" --out "$1" --device opencl:0:0 --json
        sed 's/"images_per_second.*//; /^{"done"/d' out >"$1.out"
    }
    again whole
    for fault in load:change devices:change build:change platforms:close build:close devices:alarm load:big; do
        FDIT_CL_DRIVER=$fault
        export FDIT_CL_DRIVER
        again other
        unset FDIT_CL_DRIVER
        checks=$((checks + 3))
        cmp -s whole/delta.safetensors other/delta.safetensors || fail "another result"
        cmp -s whole.out other.out || fail "other words on standard output" "$(cat other.out)"
        [ "$(ls -l other | cut -c 1-10)" = "$(ls -l whole | cut -c 1-10)" ] || fail "other permissions" "$(ls -l other)"
        rm -rf other
    done
    cd .. || exit 99
    fault=counts
    FDIT_CL_DRIVER=devices:many ends 0 devices --all
    says out '^opencl:0:0 '
    lacks out '^opencl:0:1 '
    fault=counts
    FDIT_CL_DRIVER=platforms:many ends 0 devices --all
    says out 'bad.icd'
    lacks out '^opencl:0:1 '
    # One that crashes later than its trial ends a job once; the next one says so, and goes on without it.
    job() {
        ends "$1" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --steps 30 --quiet \
            --data "$source/tests/cases/in/data" --out "run.$2" $3
    }
    FDIT_CL_LIE=type=4 FDIT_CL_DRIVER=late:segv FDIT_LATE=100000 # a GPU, so that it is taken unasked
    export FDIT_CL_LIE FDIT_CL_DRIVER FDIT_LATE
    for what in segv:139:11 abort:134:6; do
        fault=late:$what
        signal=${what##*:} code=${what%:*} what=${what%%:*}
        FDIT_CL_DRIVER=late:$what
        rm -rf cache run.*
        job 0 a ''
        FDIT_LATE=400
        job "${code#*:}" b ''
        job 0 c ''
        says err "opencl:0:0 .* is not used: it ended an earlier job by signal $signal; .*devices --all. tries it again"
        one_line
        job 1 d '--device opencl:0:0'
        says err "is not used: it ended an earlier job by signal $signal"
        one_line
        job 0 e '--device cpu'
        lacks err .
        FDIT_LATE=100000
        ends 0 devices --all # looks again
        job 0 f '--device opencl:0:0'
        lacks err .
    done
    # another file of the same driver is another driver
    unset FDIT_CL_LIE FDIT_CL_DRIVER FDIT_LATE
    # What it says of itself is not believed. claims LIE WORDS: refused with them; none: it computes all the same
    claims() {
        fault=$1
        FDIT_CL_LIE=$1
        export FDIT_CL_LIE
        ends 0 devices --all --json
        says out '"spec": "opencl:0:0"'
        lacks out '_bytes": -'
        checks=$((checks + 1))
        iconv -f UTF-8 -t UTF-8 out >/dev/null 2>&1 || fail "the JSON is not UTF-8"
        ends 0 devices --all
        lacks out '[^ -~]|.{400}'
        if [ -n "$2" ]; then
            says out "cannot be used: $2"
            ends 1 bench "$tiny" --device opencl:0:0
            says err "$2"
            one_line
        else
            ends 0 bench 'linear 70x80x90' --repetitions 1 --device opencl:0:0
            lacks out '[^ -~]'
        fi
        unset FDIT_CL_LIE
    }
    most=18446744073709551615
    claims units=0 ''
    claims units=4294967295 ''
    claims items=0 'work-groups of 256 are needed'
    claims items=$most ''
    claims buffer=0 'the driver says that no buffer can be made'
    claims buffer=$most ''
    claims memory=0 'the driver says that the device has no memory'
    claims memory=$most 'the driver says that the device has more than 256 TiB'
    claims local=0 '32 KiB of local memory are needed'
    claims local=$most ''
    claims align=0 ''
    claims vector=0 ''
    claims vector=4294967295 ''
    for text in '' 'OpenCL' 'OpenCL ' 'OpenCL x.y' '3.0' @4096 @raw @size @open @nothing; do
        claims "version=$text" 'the driver does not say which version'
    done
    claims 'version=OpenCL 1.1 old' 'OpenCL 1.2 is needed'
    for text in '' @4096 @raw @size @open @nothing; do
        claims "name=$text" ''
        claims "driver=$text" ''
        claims "platform=$text" ''
    done
    # A processor's driver is not loaded where only a GPU would be taken.
    fault='not loaded'
    ends 0 bench "$tiny" --repetitions 1
    FDIT_CL_DRIVER=load:print ends 0 devices
    FDIT_CL_DRIVER=load:print ends 0 bench "$tiny" --repetitions 1
    lacks err 'driver: a word'
    unset OCL_ICD_VENDORS
    # PoCL aborts where there is no /sys.
    if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
        fault='without /sys'
        checks=$((checks + 1))
        unshare -m sh -c 'mount -t tmpfs none /sys && "$0" bench "$1" --repetitions 1 && "$0" devices --all' \
            "$program" "$tiny" >out 2>err || fail "exit $?" "$(cat err)"
        says out '^cpu '
        ends 0 bench "$tiny" --repetitions 1 --device opencl # here all is as it was
    fi
else
    echo "no PoCL: drivers that work were not tried"
fi

fault=end
checks=$((checks + 1))
[ -z "$(ls tmp)" ] || fail "something stays in the temporary folder" "$(ls tmp)"
echo "100%: Checks: $checks, Failures: $failures, Errors: 0"
[ $failures = 0 ]
