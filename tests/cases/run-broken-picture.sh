# SPDX-License-Identifier: Apache-2.0
# A broken picture, found in training or in validation: it ends a run with what was done kept and a way on that
# works; --skip-bad holds everywhere, and what was left out is counted.
cp -R "$IN/data" d
first="d/gulls/a/$(ls d/gulls/a | head -n 1)"
cp "$first" good.png
ends 0 small_run --data d --steps 3 --out sound # the pictures are fine
# found out only after the first epochs: the last of them is broken when it is read anew
train() { small_run --workers 0 --cache-memory 0 --checkpoint-every 1000000 "$@"; }
echo broken >"$first"
ends 0 train --data d --steps 12 --out skipped --skip-bad
says 'warning: skipped: d/gulls/a/'
ends 1 train --data d --steps 12 --out run
says '^finediffusion: train: d/gulls/a/.*; or leave out such pictures with --skip-bad' && one_line
if [ -e run ]; then # not in the first batch: with the steps before it
    says 'step [0-9]* is kept: go on with --resume --skip-bad, or with --resume --data-changed after'
    step=$(sed -n 's/.*step \([0-9]*\) is kept.*/\1/p' err)
    holds test -s "run/checkpoints/step-$step.safetensors"
    holds test "$(grep -c '"loss"' run/log.jsonl)" -eq "$step"
    cp -R run again
    ends 0 "$FD" train --resume run --skip-bad
    says '1 broken picture was left out' '15 pictures of 4 classes'
    # the same as with --skip-bad from the beginning
    holds cmp run/delta.safetensors skipped/delta.safetensors
    cp good.png "$first"
    ends 2 "$FD" train --resume again --quiet
    says 'other pictures than when the run began.*--data-changed'
    ends 0 "$FD" train --resume again --quiet --data-changed
else
    fail "the broken picture was in the first batch: nothing was tested"
fi
# in validation: a set of its own, and a share
for file in v/gulls/a v/gulls/b v/owls/a v/owls/b; do mkdir -p $file && cp d/${file#v/}/* $file; done
cp good.png "$first"
echo broken >v/owls/a/0-first.png
for skip in '' --skip-bad; do
    code=1
    [ -z "$skip" ] || code=0
    ends $code "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
        --device cpu --data d --val v --steps 6 --checkpoint-every 2 --out "val$skip" $skip
    if [ -n "$skip" ]; then
        says 'skipped: v/owls/a/0-first.png' 'validation mse .* of 16 pictures' '1 broken picture was left out' \
            '16 pictures of 4 classes'
        holds test "$(grep -c 'skipped' err)" -eq 1
        holds grep -q '"val_pictures":16}' val--skip-bad/log.jsonl
    else
        says 'train: v/owls/a/0-first.png: .*; or leave out such pictures with --skip-bad'
        absent val
    fi
done
for file in d/*/*/*; do cp "$file" keep.png; echo broken >"$file"; break; done
ends 0 small_run --data d --val 0.99 --steps 2 --batch 1 --out share --skip-bad
cp keep.png "$file"
rm -rf v
for class in gulls/a gulls/b owls/a owls/b; do mkdir -p v/$class && echo broken >v/$class/x.png; done
ends 1 small_run --data d --val v --steps 2 --out none --skip-bad
says 'none of the 4 validation pictures can be decoded'
absent none
