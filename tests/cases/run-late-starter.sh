# SPDX-License-Identifier: Apache-2.0
# Two starts with one --out: the second finds the first's lock or its run, whenever it looks; it never writes.
cp -R "$IN/data" d
"$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu \
    --quiet --data d --steps 300000 --checkpoint-every 1000000 --out run 2>first &
child=$!
i=0
while [ ! -e run/config.json ] && [ $i -lt 15000 ]; do sleep 0.02; i=$((i + 1)); done
ends 1 small_run --data d --steps 2 --seed 9 --out run
says 'run: another process is writing there' && one_line
ends 1 small_run --data d --steps 2 --resume --out run
says 'run: another process is writing there'
kill -TERM $child
wait $child
holds test $? -eq 143
cp run/config.json before
ends 2 small_run --data d --steps 2 --seed 9 --out run
says 'run is not empty; continue that run with --resume'
holds cmp before run/config.json
