# SPDX-License-Identifier: Apache-2.0
# A pipe in a file's place whose writer does not come: whoever waits for it can stop; when one comes it is read.
needs mkfifo
# The program that was begun last waits, and ends by SIGTERM within ten seconds.
waits_and_stops() {
    program=$!
    sleep 1
    holds kill -0 $program
    kill -TERM $program
    i=0
    while kill -0 $program 2>/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
    holds test $i -lt 100
    kill -9 $program 2>/dev/null
    wait $program
    holds test $? -eq 143
}
cp -R "$IN/data" d
mkfifo pipe
train="--from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 2 --steps 1 --device cpu --quiet --data d"
"$FD" train $train --taxonomy pipe --out r 2>err &
waits_and_stops
holds grep -q 'waiting for pipe, a pipe' err
"$FD" inspect d --classes >table 2>/dev/null
(sleep 1; cat table >pipe) &
ends 0 "$FD" train $train --taxonomy pipe --out r
# and who writes into one that nobody reads
mkfifo unread
"$FD" convert "$FDIT_SRCDIR/data/base.safetensors" unread 2>err &
waits_and_stops
holds grep -q 'waiting for a reader of .*unread, a pipe' err
(sleep 1; cat unread >through) &
reader=$!
ends 0 "$FD" convert "$FDIT_SRCDIR/data/base.safetensors" unread --type f32
wait $reader
holds test -s through
