#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `serve` as a user starts it: the address, the functions under /api/ by curl, and its end.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

base=$source/data/base.safetensors
"$program" serve --base "$base" --port 0 --help >help 2>&1 || fail 'serve --help'
if ! "$program" serve --base none.safetensors --port 0 2>&1 | grep -q none.safetensors; then
    checks=$((checks + 1))
    refused 'libmicrohttpd' serve --base "$base"
    echo 'serve is left out: the program was built without libmicrohttpd'
    finish
fi
refused '--base' serve
refused '--host' serve --base "$base" --listen 0.0.0.0
refused 'not~an~address' serve --base "$base" --listen localhost
refused '65535' serve --base "$base" --port 65536
for few in 0 1; do refused '--picture-memory,can~take' serve --base "$base" --port 0 --picture-memory $few; done
if ! command -v curl >/dev/null; then
    echo 'the rest is left out: curl is not there'
    finish
fi

# begin ARGUMENT...: a server in the background; $address ends with a slash
begin() {
    rm -f told
    "$program" serve --port 0 "$@" >told 2>stderr &
    child=$!
    waited=0
    until grep -q '#' told 2>/dev/null; do
        kill -0 $child 2>/dev/null || { fail "serve $* ended" "$(cat stderr)"; finish; }
        waited=$((waited + 1))
        [ $waited -lt 600 ] || { fail "serve $* does not begin" "$(cat stderr)"; finish; }
        sleep 0.1
    done
    address=$(sed 's/#.*//' told) token=$(sed 's/.*#//' told)
}
# end: by SIGTERM, which is not a failure
end() {
    checks=$((checks + 1))
    kill -TERM $child
    wait $child
    code=$?
    child=
    [ $code = 0 ] || fail "ended by SIGTERM it says $code" "$(cat stderr)"
}
# api PATH [ARGUMENT]...: the answer is in answer, its status in $status
api() {
    path=$1
    shift
    status=$(curl -s --max-time 300 -o answer -w '%{http_code}' -H "Authorization: Bearer $token" "$@" "${address}api/$path")
}

begin --base "$base"
# a port that is taken is said before the weights are looked for
port=$(echo "$address" | sed 's/.*:\([0-9]*\).*/\1/')
refused 'another~--port' serve --base none.safetensors --port "$port"
api info
equal 'info' "$status" 200
says answer '"classes":52'
api 'tree?node=-1&first=1&count=2'
equal 'a part of the tree' "$(cat answer)" '{"node":-1,"name":"","children":52,"classes":52,"above":[],"numbers":{},"some":[0,4,8,13,17,21,26,30,34,39,43,47],"select":"all","total":52,"first":1,"nodes":[{"node":1,"name":"B"},{"node":2,"name":"C"}]}'
api 'search?q=%231'
says answer '"total":1,.*"node":1,"name":"B"'
api 'tree?node=52'
equal 'a node that is not there' "$status" 404
api 'tree?node=../../etc/passwd'
equal 'a node that is not a number' "$status" 400
api 'tree?node=%zz'
equal 'an escape that is none' "$status" 400
says answer 'node is not UTF-8'
api 'tree?count=1001'
equal 'too many nodes' "$status" 400
api search
equal 'nothing to look for' "$status" 400
says answer '?q='
api nothing
equal 'a function that is not there' "$status" 404
api info -X POST -H 'Content-Type: application/json' -d '{}'
equal 'a function asked for in another way' "$status" 405

# All files of the page, and none from elsewhere: what index.html and the modules name is there.
curl -s "$address" >page
same 'the page' page "$source/src/serve/page/index.html"
for file in "$source"/src/serve/page/*; do
    name=$(basename "$file")
    [ "$name" != index.html ] || continue
    curl -s "$address$name" >file
    same "$name" file "$file"
    checks=$((checks + 1))
    if grep -nE "(https?:)?//[a-z]|@import|innerHTML|eval\(" "$file" | grep -vE '^[0-9]+: *//|w3.org/2000/svg'; then
        fail "$name names another host, or makes code of text"
    fi
done
right=$token token=wrong
api info
equal 'another token' "$status" 401
token=$right

# ------------------------------------------------------------------ drawing
# draw JSON: $order is its number
draw() {
    api draw -H 'Content-Type: application/json' -d "$1"
    equal "draw $1" "$status" 200
    order=$(sed 's/.*"order":\([0-9]*\).*/\1/' answer)
}
# state NUMBER: of an order
state() {
    api "order?order=$1"
    sed 's/.*"order":[0-9]*,"state":"\([a-z]*\)".*/\1/' answer
}
# await NUMBER STATE
await() {
    checks=$((checks + 1)) waited=0
    until [ "$(state "$1")" = "$2" ]; do
        waited=$((waited + 1))
        [ $waited -lt 3000 ] || { fail "order $1 does not become $2" "$(cat answer)"; return; }
        sleep 0.1
    done
}
# refuses WORDS JSON
refuses() {
    api draw -H 'Content-Type: application/json' -d "$2"
    equal "draw $2" "$status" 400
    each_word "$1" answer "draw $2"
}
# as_sample NUMBER FOLDER PICTURE...: pictures of an order are the files of `sample`, in the order of the manifest
as_sample() {
    number=$1 folder=$2
    shift 2
    for p; do
        api "picture?order=$number&picture=$p"
        file=$(sed -n "$((p + 1))s/.*\"file\":\"\([^\"]*\)\".*/\1/p" "$folder/manifest.jsonl")
        same "picture $p of order $number" answer "$folder/$file"
    done
}
refuses 'not~read' '{"classes":"@/etc/passwd"}'
refuses 'another~model' '{"classes":"A","guide":"delta:/etc/passwd"}'
refuses 'not~an~option' '{"classes":"A","out":"/tmp/pictures"}'
refuses '2600,256' '{"classes":"all","per-class":50}'
refuses 'line~1' '{"classes":"A"'
refuses 'object' '[]'
refuses 'classes,missing' '{}'
refuses 'Zz' '{"classes":"Zz"}'
refuses 'delta' '{"classes":"A","delta":1}'
refuses 'steps' '{"classes":"A","steps":0.5}'
refuses 'guidance' '{"classes":"A","guidance":"much"}'

# Of two orders of the same options a batch is filled, one of others takes its turn; all have the files of `sample`.
how='"sampler":"ddim","steps":4,"guidance":2.5'
draw "{\"classes\":\"#5,#7\",\"per-class\":2,\"seed\":3,$how}"
first=$order
draw "{\"classes\":\"A\",\"per-class\":3,\"seed\":9,$how}"
second=$order
draw '{"classes":"b","seed":1,"sampler":"dpm++","steps":"5","no-clip-x0":true}'
third=$order
sampler='--sampler ddim --steps 4 --guidance 2.5'
good sample --base "$base" --classes '#5,#7' --per-class 2 --seed 3 $sampler --out one --grid grid.png
good sample --base "$base" --classes A --per-class 3 --seed 9 $sampler --out two
good sample --base "$base" --classes b --seed 1 --sampler dpm++ --steps 5 --no-clip-x0 --out three
await "$first" done
as_sample "$first" one 0 1 2 3
await "$second" done
as_sample "$second" two 0 1 2
await "$third" done
as_sample "$third" three 0
api "sheet?order=$first"
same 'the contact sheet' answer grid.png
api "sheet?order=$first&page=1"
equal 'a page that is not there' "$status" 404
# the command that it gives draws the same
api "order?order=$first"
sed 's/.*"command":"finediffusion \([^"]*\)".*/\1/' answer >command
checks=$((checks + 1))
(eval "\"\$program\" $(cat command)" >stdout 2>stderr) || fail "its command: $(cat command)" "$(cat stderr)"
as_sample "$first" pictures 0 1 2 3
api "picture?order=$first&picture=4"
equal 'a picture that is not there' "$status" 404
for function in order sheet 'picture?picture=0&' 'preview?picture=0&'; do
    case $function in *'?'*) ;; *) function="$function?" ;; esac
    api "${function}order=99"
    equal "${function}order=99" "$status" 404
done
api cancel -H 'Content-Type: application/json' -d '{"order":99}'
equal 'cancel an order that is not there' "$status" 404

# Progress is told, a picture is seen while it is drawn, a client that goes away disturbs nobody, and what nobody wants
# any more is not drawn to its end. 1000 steps of 64 pictures take longer than what happens meanwhile.
curl -sN --max-time 600 -H "Authorization: Bearer $token" "${address}api/events" >events &
listener=$!
draw '{"classes":"all","per-class":4,"steps":1000}'
waited=0
until grep -q "^data: {\"order\":$order,\"state\":\"draws\".*\"step\":[1-9]" events; do
    waited=$((waited + 1))
    [ $waited -lt 1200 ] || { fail 'no event tells of a step' "$(cat events)"; break; }
    sleep 0.1
done
checks=$((checks + 1))
kill $listener
wait $listener 2>/dev/null
status=204 waited=0
while [ "$status" = 204 ] && [ $waited -lt 100 ]; do
    api "preview?order=$order&picture=0"
    waited=$((waited + 1))
done
equal 'a preview' "$status" 200
checks=$((checks + 1))
[ "$(head -c 4 answer | tail -c 3)" = PNG ] || fail 'a preview is not a PNG file'
api cancel -H 'Content-Type: application/json' -d "{\"order\":$order}"
equal 'cancel' "$(state "$order")" cancelled
draw "{\"classes\":\"#5,#7\",\"per-class\":2,\"seed\":3,$how}"
await "$order" done
as_sample "$order" one 0 1 2 3

# The manual's commands work as they stand, one after the other, but for the port and the number of the order, and for the
# events, which have no end.
checks=$((checks + 1))
sed -n 's/^    //p' "$source/doc/SERVE.md" |
    awk '/[\\|]$/ { sub(/\\$/, ""); line = line $0; next } { print line $0; line = "" }' | grep -E '^(curl|until curl)' |
    grep -v '/api/events' | sed "s#http://127.0.0.1:8080/#$address#" >commands
[ "$(grep -c . commands)" -ge 7 ] || fail 'doc/SERVE.md has few commands' "$(cat commands)"
while IFS= read -r line; do
    checks=$((checks + 1))
    line=$(echo "$line" | sed "s/order=1/order=$order/")
    timeout 600 sh -c "TOKEN=$token; curl() { command curl -s -S -f \"\$@\"; }; $line" >said 2>&1 </dev/null ||
        fail "of doc/SERVE.md: $line" "$(cat said)"
    ! grep -q '"state":"waits"' said || order=$(sed 's/.*"order":\([0-9]*\).*/\1/' said)
done <commands
has 'the contact sheet of doc/SERVE.md' sheet.png IHDR
has 'the picture of doc/SERVE.md' 0.png IHDR

# The queue has an end.
full=no
for k in $(seq 70); do
    api draw -H 'Content-Type: application/json' -d '{"classes":"all","per-class":4,"steps":1000}'
    [ "$status" != 429 ] || full=yes
done
equal 'the queue is full' "$full" yes
end # in the middle of a drawing

# The plan is what the process takes: a server whose pictures fill what it keeps, of noise, which PNG makes no smaller.
# Those that were drawn first are forgotten then.
good train --data "$source/data/letters-test.tar.gz" --from-scratch --tune full --model 32,1,2,4 --size 64 --channels 3 \
    --batch 2 --steps 1 --preview-every 0 --quiet --out noise
good serve --base noise/delta.safetensors --plan --json --picture-memory 2100K
host_bytes() { sed 's/.*"host_bytes":\([0-9]*\).*/\1/' stdout; }
planned=$(sed 's/.*"process_bytes":\([0-9]*\).*/\1/' stdout) host=$(host_bytes)
checks=$((checks + 1))
[ "$host" -ge 2150400 ] || fail 'the plan lacks the pictures' "$(cat stdout)"
# as much memory for pictures more, and what the sheet of an order of a hundred takes
good serve --base noise/delta.safetensors --plan --json --picture-memory 21K
checks=$((checks + 1))
[ $((host - $(host_bytes))) -gt $((2100 * 1024 - 21 * 1024 + 2 * 100 * 64 * 64 * 3)) ] ||
    fail 'the plan lacks the contact sheet' "$(cat stdout)"
# with a data set also what reading its pictures takes; and a sheet of `sample` is in its plan
mkdir one-class
gzip -dc "$source/data/letters-test.tar.gz" | (cd one-class && tar xf - A/mono) || exit 99
good serve --base noise/delta.safetensors --data one-class --plan --json --picture-memory 2100K
checks=$((checks + 1))
[ "$(host_bytes)" -gt $((host + 100000)) ] || fail 'the plan lacks the reading of real pictures' "$(cat stdout)"
good sample --base noise/delta.safetensors --classes '#0' --per-class 160 --batch 1 --out more --plan --json
host=$(host_bytes)
good sample --base noise/delta.safetensors --classes '#0' --per-class 160 --batch 1 --grid more.png --plan --json
checks=$((checks + 1))
[ "$(host_bytes)" -gt $((host + 2 * 16 * 64 * 64 * 3)) ] || fail 'the plan of sample lacks the contact sheet' "$(cat stdout)"
host=$(host_bytes)
# and the reading of real pictures for it
good sample --base noise/delta.safetensors --classes '#0' --per-class 160 --batch 1 --grid more.png --grid-real one-class \
    --plan --json
checks=$((checks + 1))
[ "$(host_bytes)" -gt $((host + 64 * 64 * 3 + 20000)) ] || fail 'the plan of sample lacks real pictures' "$(cat stdout)"
mkdir temporary
usual=${TMPDIR-/tmp} TMPDIR=$work/temporary
export TMPDIR
begin --base noise/delta.safetensors --picture-memory 2100K
TMPDIR=$usual
how='"sampler":"ddim","steps":2'
api draw -H 'Content-Type: application/json' -d '{"classes":"#0","per-class":250}'
each_word picture-memory answer 'too many bytes'
equal 'too many bytes' "$status" 429
for k in $(seq 6); do
    draw "{\"classes\":\"#0\",\"seed\":$k,\"per-class\":100,$how}"
    await "$order" done
done
api orders
checks=$((checks + 1))
grep -q '"order":6,' answer && ! grep -q '"order":1,' answer || fail 'what is kept' "$(cat answer)"
# Contact sheets, which several clients ask for at the same time, are made one after the other, and are one and the same.
sheets=
for k in $(seq 8); do
    curl -s -f --max-time 300 -o "sheet-$k.png" -H "Authorization: Bearer $token" "${address}api/sheet?order=6" &
    sheets="$sheets $!"
done
checks=$((checks + 1))
wait $sheets || fail 'a sheet is refused'
for k in $(seq 8); do same "sheet $k" "sheet-$k.png" sheet-1.png; done
has 'a sheet' sheet-1.png IHDR
checks=$((checks + 1))
rmdir temporary || fail 'something of a sheet is left' "$(ls temporary)"
peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$child/status 2>/dev/null)
end
if [ -n "${FDIT_SANITIZE-}" ]; then
    echo 'the memory of the server is left out: a sanitizer takes memory of its own'
elif [ -n "$peak" ]; then
    checks=$((checks + 1))
    most=$((planned / 20 > 12000000 ? planned / 20 : 12000000))
    [ $((peak * 1024)) -lt $((planned + most)) ] && [ $((peak * 1024)) -gt $((planned - most)) ] ||
        fail "$peak KiB measured, $planned bytes planned"
fi

# Where less is kept than the pictures of a full batch, an order that fits is kept all the same; a stream of events waits
# for news afterwards instead of asking on.
begin --base "$base" --picture-memory 100K
curl -sN --max-time 600 -H "Authorization: Bearer $token" "${address}api/events" >events &
listener=$!
for k in $(seq 12); do
    draw "{\"classes\":\"#5\",\"per-class\":8,\"seed\":$k,\"sampler\":\"ddim\",\"steps\":2}"
    await "$order" done
done
api "picture?order=$order&picture=7"
equal 'a picture of the last order' "$status" 200
api 'order?order=1'
equal 'an order that made room' "$status" 404
ticks() { cut -d ' ' -f 14,15 "/proc/$child/stat" 2>/dev/null | awk '{ print $1 + $2 }'; }
before=$(ticks)
if [ -n "$before" ]; then
    sleep 3
    checks=$((checks + 1))
    [ $(($(ticks) - before)) -lt 60 ] || fail "a server that has nothing to do takes $(($(ticks) - before)) ticks in 3 seconds"
fi
kill $listener
wait $listener 2>/dev/null
for wrong in '"clip-x0":0' '"no-clip-x0":0' '"clip-x0":"no"' '"clip-x0":1.5'; do
    api draw -H 'Content-Type: application/json' -d "{\"classes\":\"#5\",$wrong}"
    equal "$wrong" "$status" 400
    each_word true answer "$wrong"
done
end

# While a batch is drawn, what was cancelled holds no place; and what ended first is forgotten first, whatever its number.
begin --base "$base"
draw '{"classes":"all","per-class":4,"steps":1000}'
await "$order" draws
long=$order
for k in $(seq 400); do
    [ "$k" = 1 ] || echo next
    printf 'url = "%sapi/draw"\nheader = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$address" "$token"
    printf 'data = "{\\"classes\\":\\"A\\"}"\noutput = more\nwrite-out = "%%{http_code}\\n"\nnext\n'
    printf 'url = "%sapi/cancel"\nheader = "Authorization: Bearer %s"\nheader = "Content-Type: application/json"\n' "$address" "$token"
    printf 'data = "{\\"order\\":%d}"\noutput = more\nwrite-out = "%%{http_code}\\n"\n' $((long + k))
done >requests
curl -s --max-time 600 -K requests >codes
equal 'orders that are drawn and cancelled' "$(sort codes | uniq -c | tr -s ' \n' ' ')" ' 800 200 '
equal 'the batch goes on' "$(state "$long")" draws
api cancel -H 'Content-Type: application/json' -d "{\"order\":$long}"
draw '{"classes":"A","sampler":"ddim","steps":2}'
await "$order" done
equal 'what ended late is kept' "$(state "$long")" cancelled
api "order?order=$((long + 1))"
equal 'what ended early is not' "$status" 404
end

# More classes than a contact sheet has rows: the order says how many sheets there are, and each can be had.
gzip -dc "$source/data/letters-test.tar.gz" | tar xf - A/mono || exit 99
for k in $(seq 101); do
    mkdir -p "many/$(printf 'c%03d' "$k")"
    cp "$(find A/mono -type f | head -n 1)" "many/$(printf 'c%03d' "$k")/"
done
good train --data many --from-scratch --tune full --label-drop empty --model 16,1,1,2 --size 8 --channels 1 --batch 4 --steps 1 \
    --preview-every 0 --quiet --out many-run
good sample --base many-run/delta.safetensors --sampler ddim --steps 2 --grid many.png
begin --base many-run/delta.safetensors
draw '{"classes":"all","sampler":"ddim","steps":2}'
await "$order" done
says answer '"sheets":2'
for page in 0 1; do
    api "sheet?order=$order&page=$page"
    same "sheet $page of 101 classes" answer "many-$((page + 1)).png"
done
api "sheet?order=$order&page=2"
equal 'a sheet more' "$status" 404
end

# A base on latents: pictures in the making are seen by a linear map once one was decoded, and those that are done stay
# the autoencoder's.
vae=$source/tests/fixtures/vae
mkdir shapes
gzip -dc "$source/data/letters-test.tar.gz" | (cd shapes && tar xf - A/mono B/mono) || exit 99
good encode shapes latents --vae "$vae" --size 32 --workers 1 --quiet
good train --data latents --from-scratch --tune full --model 16,2,2,2 --size 4 --channels 4 --batch 4 --steps 1 \
    --preview-every 0 --quiet --out hidden
refused '--vae' serve --base hidden/delta.safetensors --port 0
begin --base hidden/delta.safetensors --vae "$vae"
draw '{"classes":"#0","per-class":2,"sampler":"ddim","steps":3}'
await "$order" done
good sample --base hidden/delta.safetensors --vae "$vae" --classes '#0' --per-class 2 --sampler ddim --steps 3 --out seen
as_sample "$order" seen 0 1
draw '{"classes":"all","per-class":32,"steps":1000}'
for k in 1 2; do
    status=204 waited=0
    while [ "$status" = 204 ] && [ $waited -lt 100 ]; do
        api "preview?order=$order&picture=0"
        waited=$((waited + 1))
    done
    equal "preview $k of latents" "$status" 200
    has "preview $k of latents" answer IHDR
done
end

# A step that takes a minute does not hold the end up: the reference device has one thread and a batch of 64.
begin --base "$base" --device ref --batch 64
draw '{"classes":"all","per-class":4,"steps":1000}'
await "$order" draws
end
says stderr 'a step is not over yet; ending without it'

# Two devices draw one order, each its part of a batch, with the bits that it gives alone.
begin --base "$base" --device ref,cpu --batch 1
draw '{"classes":"A,B","seed":3,"sampler":"ddim","steps":2}'
await "$order" done
good sample --base "$base" --classes 'A,B' --seed 3 --sampler ddim --steps 2 --device ref,cpu --batch 1 --out together
as_sample "$order" together 0 1
end

# ------------------------------------------------------------------ two deltas, real pictures, runs, numbers
# number KEY FILE: of its last line that has one
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$2" | tail -n 1; }
mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="--data data --batch 4 --seed 7 --quiet --lr 1e-2 --ema 0.5 --steps 3"
good train $run --preview-every 0 --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --out base
weights="--base base/delta.safetensors"
good train $run $weights --val 0.5 --preview-every 2 --out fine
good train $run $weights --preview-every 0 --tune difffit-linear --out scales
# memory stands beside the loss, and in TensorBoard's file
equal 'lines with memory' "$(grep -c '"loss":.*"resident_bytes":[0-9]*,"peak_bytes":[0-9]*' fine/log.jsonl)" 3
resident=$(number resident_bytes fine/log.jsonl) peak=$(number peak_bytes fine/log.jsonl)
checks=$((checks + 1))
[ "$resident" -gt 1000000 ] && [ "$resident" -le "$peak" ] || fail "memory: $resident now, $peak at the most"
has 'memory in the event file' "$(echo fine/events*)" peak_bytes
printf 'class\tprecision\tremark\nA/mono\t0.25\tgood\nB/mono\t0.75\tbad\nC/none\t9\t\n' >numbers.tsv
printf 'name\tprecision\nA/mono\t0.25\n' >nameless.tsv
refused 'nameless.tsv,class' serve $weights --port 0 --by-class nameless.tsv
refused 'no-run' serve $weights --port 0 --run no-run
refused 'no-data' serve $weights --port 0 --data no-data
cp -R "$source/tests/fixtures/earlier/run" earlier # a log of an earlier version, without memory
chmod -R u+w earlier
begin $weights --delta fine/delta.safetensors --delta scales/delta.safetensors --data data --run fine --run earlier \
    --by-class numbers.tsv
how='"per-class":2,"sampler":"ddim","steps":3'
for delta in 0 1; do
    draw "{\"classes\":\"all\",$how,\"delta\":$delta}"
    eval "order$delta=$order"
done
for delta in 0 1; do
    [ $delta = 0 ] && name=fine number=$order0 || name=scales number=$order1
    good sample $weights --delta $name/delta.safetensors --per-class 2 --sampler ddim --steps 3 --out "drawn-$name"
    await "$number" done
    as_sample "$number" "drawn-$name" 0 1 2 3 4 5 6 7
done
api 'tree?node=1'
says answer '"real":[1-9]'
says answer '"precision":0.25'
says answer '"fine: val_loss":'
says answer '"select":"#1"'
checks=$((checks + 1))
grep -q 'remark' answer && fail 'a column without numbers is shown'
api 'tree?node=-1'
says answer '"precision":0.5'
api 'real?node=0&picture=0'
equal 'a real picture' "$status" 200
has 'a real picture' answer IHDR
for path in 'real?node=0&picture=999999' 'real?node=99999' 'log?run=2' 'run-preview?run=0&step=77'; do
    api "$path"
    equal "$path" "$status" 404
done
api runs
says answer '"run":"fine","previews":\[2'
api 'run-preview?run=0&step=2'
same 'a preview' answer fine/previews/step-2.png
api 'log?run=0&from=0'
same 'the log' answer fine/log.jsonl
api 'log?run=1&from=0'
same 'the log of an earlier version' answer earlier/log.jsonl
lines=$(head -n 2 fine/log.jsonl | wc -c)
printf '{"step":' >>fine/log.jsonl # a line that is being written
api "log?run=0&from=$lines"
tail -n +3 fine/log.jsonl | grep -v '^{"step":$' >rest
same 'the rest of the log' answer rest
end
finish
