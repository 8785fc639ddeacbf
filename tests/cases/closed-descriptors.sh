# Started with standard input, output and error closed (daemons, some schedulers): what is printed must not land
# in the next file that is opened, and results that nobody takes are a failure.
mkdir -p d/a/x d/b/y
cp "$IN"/letters/*.png d/a/x/ 2>/dev/null || gzip -dc "$FDIT_SRCDIR/data/letters-test.tar.gz" | tar xf - A/mono B/mono
[ -d A ] && { rm -rf d; mkdir d; mv A B d/; }
for i in 1 2; do echo broken >"d/A/mono/zz$i.png"; done
small="train --from-scratch --tune full --model 32,1,2,8 --size 24 --channels 1 --data d --skip-bad --batch 2
    --preview-every 0 --steps 6 --checkpoint-every 2 --device cpu --threads 1"
ends 0 "$FD" $small --out whole --json
ends 1 sh -c '"$@" <&- >&- 2>&-' sh "$FD" $small --out closed --json
holds cmp whole/delta.safetensors closed/delta.safetensors
holds sh -c '[ "$(wc -l <closed/log.jsonl)" = "$(wc -l <whole/log.jsonl)" ]'
holds sh -c '! grep -aql "skipped" closed/log.jsonl closed/events*'
# each of them alone
ends 0 sh -c '"$@" <&-' sh "$FD" $small --out no-input
holds cmp whole/delta.safetensors no-input/delta.safetensors
ends 0 sh -c '"$@" 2>&-' sh "$FD" $small --out no-error
holds cmp whole/delta.safetensors no-error/delta.safetensors
ends 0 sh -c '"$@" >&-' sh "$FD" $small --out no-output # nothing was to be printed
holds cmp whole/delta.safetensors no-output/delta.safetensors
ends 1 sh -c '"$@" >&-' sh "$FD" inspect whole
says 'standard output cannot be written'
ends 1 sh -c '"$@" >&-' sh "$FD" --version
says 'standard output cannot be written'
[ ! -c /dev/full ] || {
    ends 1 sh -c '"$@" >/dev/full' sh "$FD" devices
    one_line
    ends 1 sh -c '"$@" >/dev/full' sh "$FD" help train
    one_line
}
