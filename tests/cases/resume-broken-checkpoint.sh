# SPDX-License-Identifier: Apache-2.0
# A newest checkpoint that is not whole is passed over for the one before it, with a word about it; when none
# is left, that is said, and nothing begins at step 0 unasked.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 20 --keep 0 --out whole
again() {
    rm -rf run
    cp -R whole run
    rm run/delta.safetensors
    newest=run/checkpoints/step-20.safetensors
}
goes_on() {
    ends 0 small_run --data d --steps 20 --keep 0 --out run --resume
    says "warning: $newest: .*; going back to the checkpoint before it, of step 15"
    silent 'get it again'
    holds cmp whole/delta.safetensors run/delta.safetensors
    holds cmp whole/checkpoints/step-20.safetensors run/checkpoints/step-20.safetensors
    holds test "$(grep -c '"loss"' run/log.jsonl)" -eq 20
}
again && truncate -s 9000 $newest && goes_on
again && truncate -s 5 $newest && goes_on
again && : >$newest && goes_on
# a folder in place of a file, full or empty, the newest or one before: no checkpoint of that step could be written
for put in 20 15; do
    again && rm "run/checkpoints/step-$put.safetensors" && mkdir "run/checkpoints/step-$put.safetensors"
    rm -rf before && cp -R run before
    ends 2 small_run --data d --steps 20 --keep 0 --out run --resume
    one_line
    says "train: --resume: run/checkpoints/step-$put.safetensors is a folder, .*; move it away"
    holds diff -r before run
    touch "run/checkpoints/step-$put.safetensors/x"
    ends 2 small_run --data d --steps 20 --keep 0 --out run --resume
done
# a pipe there, which nobody reads or writes
again && rm $newest && mkfifo $newest
ends 2 small_run --data d --steps 20 --keep 0 --out run --resume
one_line
says "train: --resume: $newest is a pipe or a device, .*; move it away"
# nothing of the checkpoints can be listed: that is not a run without any
if [ "$(id -u)" != 0 ]; then
    again && chmod 0 run/checkpoints
    ends 1 small_run --data d --steps 20 --keep 0 --out run --resume
    says 'run/checkpoints: cannot list'
    chmod 755 run/checkpoints
fi
again && head -c "$(wc -c <$newest)" /dev/zero >x && cp x $newest && goes_on
again && echo '<html>not found</html>' >$newest && goes_on
# one number is another
again && printf '\077' | dd of=$newest bs=1 seek=$(($(wc -c <$newest) - 4001)) conv=notrunc 2>/dev/null
ends 0 small_run --data d --steps 20 --keep 0 --out run --resume
says "warning: $newest: .*; going back to the checkpoint before it, of step 15"
holds cmp whole/delta.safetensors run/delta.safetensors
# of another step, or of another run
again && cp run/checkpoints/step-10.safetensors $newest && goes_on
ends 0 small_run --data d --steps 20 --model 32,2,2,4 --out deeper
again && cp deeper/checkpoints/step-20.safetensors $newest && goes_on
again && sed 's/"step":"20"/"step":"-1"/; s/"position":"80"/"position":"800"/' $newest >x && truncate -s "$(wc -c <$newest)" x &&
    cp x $newest && goes_on
# names with numbers that no run has are not checkpoints, or broken ones
again
for name in 9223372036854775807 99999999999999999999 -1 007 '3x'; do
    cp $newest "run/checkpoints/step-$name.safetensors"
done
ends 0 small_run --data d --steps 22 --keep 0 --out run --resume
says 'warning: run/checkpoints/step-9223372036854775807.safetensors: .*; going back to the checkpoint before it, of step 20'
holds test "$(sed -n '$s/.*"step":\([0-9]*\).*/\1/p' run/log.jsonl)" -eq 22
# several in a row, then none
again && : >$newest && : >run/checkpoints/step-15.safetensors
ends 0 small_run --data d --steps 20 --keep 0 --out run --resume
says 'going back to .* step 15' 'going back to .* step 10'
holds cmp whole/delta.safetensors run/delta.safetensors
again
for file in run/checkpoints/*; do : >"$file"; done
rm -rf before && cp -R run before
ends 1 small_run --data d --steps 20 --out run --resume
says 'train: --resume: none of the 4 checkpoints of run can be used .*step-20'
holds diff -r before run
again && rm run/checkpoints/*
rm -rf before && cp -R run before
ends 2 small_run --data d --steps 20 --out run --resume
says 'train: --resume: run has written checkpoints, but none is in run/checkpoints' && one_line
holds diff -r before run
again && rm -r run/checkpoints
ends 2 small_run --data d --steps 20 --out run --resume
says 'none is in run/checkpoints'
holds test "$(grep -c '"loss"' run/log.jsonl)" -eq 20
# with --keep 1 the broken one does not push out the one that is whole
again && : >$newest
ends 0 small_run --data d --steps 20 --keep 1 --out run --resume
holds test "$(ls run/checkpoints)" = step-20.safetensors
holds cmp whole/delta.safetensors run/delta.safetensors
