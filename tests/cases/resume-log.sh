# SPDX-License-Identifier: Apache-2.0
# The log of a run has no hole, and its seconds go on.
cp -R "$IN/data" d
ends 0 small_run --data d --val 0.2 --steps 10 --out whole
numbers() { sed 's/,"images_per_second.*//' "$1/log.jsonl"; }
again() {
    rm -rf run
    cp -R whole run
    rm run/delta.safetensors
}
refused() { # refused STEP: the first that is missing
    cp -R run before
    ends 1 small_run --data d --val 0.2 --steps 12 --out run --resume
    says "train: run/log.jsonl: the line of step $1 is missing, .* step 10; put the whole log back, or take it away" &&
        one_line
    holds diff -r before run
    rm -rf before
}
again && head -n 5 whole/log.jsonl >run/log.jsonl && refused 5
again && : >run/log.jsonl && refused 1
again && sed '/"step":7,/d' whole/log.jsonl >run/log.jsonl && refused 7
again && sed '/"step":1,/d' whole/log.jsonl >run/log.jsonl && refused 1
again && sed 's/^{"step":8,.*/garbage/' whole/log.jsonl >run/log.jsonl && refused 8
# taken away: a new one begins, and that is known from then on
again && rm run/log.jsonl
ends 0 small_run --data d --val 0.2 --steps 12 --out run --resume
says 'warning: run/log.jsonl no longer exists: a new one begins at step 11'
ends 0 small_run --data d --val 0.2 --steps 14 --out run --resume
silent 'missing' 'not there'
holds test "$(grep -c '"loss"' run/log.jsonl)" -eq 4
# taken away once, and the checkpoint of then lost since: the one before it, and a log from there
again && rm run/log.jsonl
ends 0 small_run --data d --val 0.2 --steps 11 --out run --resume
rm run/checkpoints/step-11.safetensors run/checkpoints/step-10.safetensors
ends 0 small_run --data d --val 0.2 --steps 12 --out run --resume
ends 0 small_run --data d --val 0.2 --steps 14 --out run --resume
silent 'missing' 'not there' 'log-from'
holds test "$(sed -n '/"loss"/{s/.*"step":\([0-9]*\),.*/\1/p;q;}' run/log.jsonl)" -eq 6
holds grep -q '"log-from":6,' run/config.json
# lines behind the checkpoint, half a line: written again
again && printf '{"step":11,"loss":1}\n{"step":12,"lo' >>run/log.jsonl
ends 0 small_run --data d --val 0.2 --steps 10 --out run --resume
numbers whole >a
numbers run >b
holds cmp a b
# seconds never go back
again
ends 0 small_run --data d --val 0.2 --steps 20 --out run --resume
sed -n 's/.*"seconds":\([0-9.]*\).*/\1/p' run/log.jsonl >seconds
holds sort -n -c seconds
holds test "$(wc -l <seconds)" -eq 20
# how many pictures a validation looked at stands beside its value
holds grep -q '"val_pictures":3}' run/log.jsonl
ends 0 small_run --data d --val 0.2 --val-pictures 2 --steps 2 --out two
holds grep -q '"val_pictures":2}' two/log.jsonl
ends 2 small_run --data d --val 0.2 --val-pictures 3 --steps 4 --out two --resume
says '--val-pictures was 2 when the run began and is 3 now'
