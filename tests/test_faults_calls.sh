#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Allocations and system calls that fail (tests/faults/calls.c): for every command the calls of a good run are counted,
# then one fails in each of further runs. Such a run ends with 0 and the outputs of the good
# run, or with 1 and one line; no output is wrong, none is half there; and the same command afterwards (train with
# --resume) gives the outputs of the good run.
#
# FDIT_FAULTS_EACH=N tries N calls of a kind and command, evenly spread (0: all of them). Without it, one of each kind
# for the commands that make files, and for the others of every third kind.
# FDIT_FAULTS='convert/malloc encode/*' tries those.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
faults=$PWD/tests/faults/calls.so
[ -s "$faults" ] && env LD_PRELOAD="$faults" true 2>/dev/null || { echo "calls cannot be made to fail here"; exit 77; }
nm -D "$program" 2>/dev/null | grep -q __asan_init && { echo "a sanitizer wants to be first"; exit 77; }
LC_ALL=C FINEDIFFUSION_CACHE=
export LC_ALL FINEDIFFUSION_CACHE
unset FINEDIFFUSION_DEVICE
each=${FDIT_FAULTS_EACH-}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
usual_drivers=${OCL_ICD_VENDORS-}
FINEDIFFUSION_DATA=$work/data
export FINEDIFFUSION_DATA
mkdir none
no_drivers=$work/none own= # drivers take whatever they get
checks=0 failures=0 refused=0
in=$source/tests/cases/in

fail() {
    failures=$((failures + 1))
    echo "FAIL: $command, $kind $at of $calls${what:+ ($what)}: $1"
    shift
    for part; do echo "    $part"; done
}

common='--device cpu --threads 1 --quiet'
# Each works in the folder $out, always the same, since paths are kept in some files; $again: as it is given after a failure.
run() {
    case $command in
    train) set -- train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --data "$in/data" --batch 4 \
        --steps 2 --checkpoint-every 1 --workers 0 --preview-every 0 --out run $common ${again:+--resume} ;;
    sample) set -- sample --base ../base.safetensors --sampler ddim --steps 2 --classes '#0,#1' --out "pictures" $common ;;
    tar) set -- sample --base ../base.safetensors --sampler ddim --steps 2 --classes '#0,#1' --tar --out "shards" $common ;;
    latents) set -- sample --base ../base.safetensors --sampler ddim --steps 2 --classes '#0' --out "pictures" \
        --latents "x.safetensors" $common ;;
    encode) set -- encode "$in/data" "cache" --size 16 $common ;;
    convert) set -- convert ../base.safetensors "x.safetensors" --type f16 ;;
    torch) set -- convert ../base.safetensors "x.pt" ;;
    zip) set -- convert "$in/ckpt/ok.pt" "x.safetensors" --model 32,1,2,4 ;;
    gzip) set -- inspect "$source/data/letters-test.tar.gz" --json ;;
    inspect) set -- inspect ../base.safetensors --json ;;
    pictures) set -- inspect "$in/data" --json ;;
    unnamed) set -- inspect ../unnamed --json ;; # files are opened to see what they are
    devices) set -- devices --json ;;
    bench) set -- bench 'linear 8x8x8' 'train 32,1,2,4 size=8 b1 classes=4' --repetitions 1 --json $common ;;
    compare) set -- bench --compare ../one.json ../two.json --chart chart.svg --quiet ;;
    selftest) set -- selftest --tiny --report report $common ;;
    demo) set -- demo --train-steps 2 --per-class 1 --steps 2 --out demo.png $common ;;
    tune) set -- tune 'sample 32,1,2,4 size=16 b8' --candidates 1 --clblast 0 --device opencl --quiet ;;
    esac
    vendors=$no_drivers own= cache=
    [ $command = tune ] && vendors=$usual_drivers own=1 cache=$work/cache && rm -rf cache && cp -r warm cache
    (
        OCL_ICD_VENDORS=$vendors FINEDIFFUSION_CACHE=$cache
        export OCL_ICD_VENDORS FINEDIFFUSION_CACHE
        [ -n "$vendors" ] || unset OCL_ICD_VENDORS
        cd "$out" && exec timeout -k 5 120 env LD_PRELOAD="$preload" FDIT_FAULT="$fault" FDIT_FAULT_COUNT="$count" \
            FDIT_FAULT_OWN="$own" "$program" "$@"
    ) >"$out/stdout" 2>stderr </dev/null
    got=$?
    case $command in # numbers that are times, or errors that are smaller than that they count
    bench | tune | demo) tr -d '0-9. +e-' <"$out/stdout" >words && mv words "$out/stdout" ;;
    selftest) [ ! -e "$out/report" ] || { cut -d ' ' -f 1,2 "$out/report" | sort | uniq -c >words && mv words "$out/report"; } ;;
    esac
    return $got
}

# What the message blames: memory for an allocation, the system's word for a call; never the contents of a good file.
blames() {
    case $kind:$what in
    malloc:*) words='memory' ;;
    *:short) return ;; # goes on, or says that a file is shorter than it was
    *:EMFILE) words='Too many open files' ;;
    *:EIO) words='Input/output error' ;;
    *:ENOSPC) words='No space left on device' ;;
    *:EACCES) words='Permission denied' ;;
    *:EROFS) words='Read-only file system' ;;
    *:EDQUOT) words='[Qq]uota exceeded' ;;
    *:ENOMEM) words='memory' ;;
    *:EAGAIN) words='Resource temporarily unavailable|thread' ;;
    esac
    grep -Eq "$words" stderr || fail "the message does not say '$words'" "$(cat stderr)"
    ! grep -Eiq 'damaged|corrupt|UTF-8|is not a |[^e] is no ' stderr || fail "the message blames a file" "$(cat stderr)"
}

# same A B: what counts of two folders
same() {
    # what has times in it, or what a run that goes on may lack or have besides, is not a result
    diff -rq --exclude='log.jsonl' --exclude='events.*' --exclude='stderr' --exclude='.lock' --exclude='lock' --exclude='encode.lock' \
        ${again:+--exclude=stdout --exclude=checkpoints} "$1" "$2" >difference 2>&1
}

try() {
    checks=$((checks + 1))
    fault=$kind:$at:$what preload=$faults count='' again=
    rm -rf at && mkdir at
    run
    got=$?
    case $got in
    0) same good at || fail "exit 0, and another result" "$(cat difference)" ;;
    1)
        refused=$((refused + 1))
        [ "$(wc -l <stderr)" -eq 1 ] || fail "not one line" "$(head -n 5 stderr)"
        blames
        ;;
    2) fail "called a mistake of the user" "$(cat stderr)" ;;
    *) fail "exit $got" "$(cat stderr)" ;;
    esac
    [ $got = 0 ] && return
    fault= preload= again=
    [ $command = tune ] && preload=$faults
    [ $command = train ] && [ -e at/run/config.json ] && again=1
    [ $command = train ] && [ -e at/run/checkpoints/step-2.safetensors ] && [ -e at/run/delta.safetensors ] && return
    run || fail "and again: exit $?" "$(cat stderr)"
    again=1
    same good at || fail "and again: another result" "$(cat difference)"
}

preload='' fault='' count='' again='' out=at command=train kind='' at=0 calls=0 what=''
mkdir at && run || { cat stderr; echo "FAIL: without a fault"; exit 1; }
cp at/run/delta.safetensors base.safetensors
. "$source/tests/faults/demo_data.sh"
demo_data || { echo "FAIL: the demo's files cannot be made"; exit 1; }
mkdir -p unnamed/a
find "$in/data" -name '*.png' -exec cp {} unnamed/a \; || exit 1
for file in unnamed/a/*.png; do
    mv "$file" "${file%.png}"
done
ln -s a/. unnamed/linked
for file in one two; do
    OCL_ICD_VENDORS=$no_drivers "$program" bench 'linear 8x8x8' --repetitions 1 --json $common >$file.json || exit 1
done

commands='train sample tar latents encode convert torch zip gzip inspect pictures unnamed devices bench compare selftest demo'
mkdir warm
if FINEDIFFUSION_CACHE=$work/warm "$program" devices --all 2>/dev/null | grep -q '^opencl:'; then
    commands="$commands tune"
    command=tune preload=$faults # the drivers' children have it, too: a verdict depends on it
    run && mv cache warmer && rm -rf warm && mv warmer warm || { cat stderr; echo "FAIL: without a fault"; exit 1; }
fi
turn=0
for command in $commands; do
    turn=$((turn + 1)) row=$turn
    fault='' preload='' count='' again=
    [ $command = tune ] && preload=$faults
    rm -rf good at && mkdir at
    run || { fail "without a fault" "$(cat stderr)"; continue; }
    mv at good
    for kind_and_what in malloc malloc:libpng malloc:libjansson open:EMFILE read:EIO read:short pread:EIO write:ENOSPC write:short pwrite:EIO fsync:EIO \
        rename:EACCES linkat:EACCES unlink:EROFS mkdir:EDQUOT ftruncate:EIO close:EIO mmap:ENOMEM flock:EIO opendir:EMFILE fdopendir:EMFILE \
        readdir:EIO fopen:EMFILE openat:EMFILE stat:EIO realpath:EIO getcwd:EACCES mkostemp:ENOSPC mkdtemp:ENOSPC \
        unlinkat:EROFS rmdir:EROFS thread:EAGAIN; do
        kind=${kind_and_what%%:*}
        what=${kind_and_what#"$kind"}
        what=${what#:}
        wanted=no
        for pattern in ${FDIT_FAULTS:-'*'}; do
            case $command/$kind in $pattern) wanted=yes ;; esac
        done
        [ $wanted = yes ] || continue
        row=$((row + 1))
        case $each$command in
        train | sample | tar | latents | encode | convert | torch | zip | gzip | inspect | pictures | unnamed | [0-9]*) ;;
        *) [ $((row % 3)) = 0 ] || continue ;;
        esac
        fault=$kind:0:$what preload=$faults count=$work/calls again=
        rm -rf at calls && mkdir at
        run || { fail "while calls are counted" "$(cat stderr)"; continue; }
        calls=$(cat calls)
        tries=${each:-1}
        [ "$tries" = 0 ] && tries=$calls
        # more of memory, of which there are thousands; an odd start, so that not always the same are met
        [ $kind = malloc ] && case $command in demo | tune) ;; *) tries=$((tries * 4)) ;; esac
        [ "$tries" -gt "$calls" ] && tries=$calls
        i=0
        while [ $i -lt "$tries" ]; do
            at=$((calls * (2 * i + 1) / (2 * tries) + 1))
            i=$((i + 1))
            try
        done
    done
done
echo "$checks checks, $failures failures, $refused refused"
[ $failures = 0 ]
