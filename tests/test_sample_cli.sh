#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# finediffusion sample: bad input ends with one line and nothing half-written; pictures, manifests, archives
# and sheets are where they should be; an interrupted job goes on.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
fixtures=${FDIT_FIXTURES:-$source/tests/fixtures}

tree() { find "$1" -type f -exec cksum {} + | sort; find "$1" ! -type f | sort; }

# bad CODE WORDS OPTION...: sample ends with CODE and one line that has each of the WORDS (commas between; _ is
# a space), and area/ is as it was.
bad() {
    code=$1 rest=$2
    shift 2
    checks=$((checks + 1))
    tree area >before
    "$program" sample "$@" >stdout 2>stderr
    got=$?
    tree area >after
    message=$(cat stderr)
    [ $got = "$code" ] || fail "exit $got instead of $code: sample $*" "$message"
    [ "$(messages stderr)" -eq 1 ] || fail "not one line on stderr: sample $*" "$message"
    [ ! -s stdout ] || fail "something on stdout: sample $*" "$(cat stdout)"
    case $message in "finediffusion: sample: "*) ;; *) fail "who says that? sample $*" "$message" ;; esac
    while [ -n "$rest" ]; do
        word=$(echo "${rest%%,*}" | tr _ ' ')
        case $rest in *,*) rest=${rest#*,} ;; *) rest= ;; esac
        case $message in *"$word"*) ;; *) fail "'$word' is not in the message of: sample $*" "$message" ;; esac
    done
    cmp -s before after || fail "files changed: sample $*" "$(diff before after)"
}
is() { # is WHAT GOT WANTED
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"
}

# ------------------------------------------------------------------ a base and two deltas: area/
mkdir area area/data
gzip -dc "$source/data/letters-test.tar.gz" | (cd area/data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
printf 'class\tletter\tstyle\nA/hand\tA\thand\nA/mono\tA\tmono\nB/hand\tB\thand\nB/mono\tB\tmono\n' \
    >area/taxonomy.tsv
common="--data area/data --taxonomy area/taxonomy.tsv --flip none --preview-every 0 --batch 4 --quiet"
good train --from-scratch --tune full --model 32,1,2,8 --size 24 --channels 1 $common --steps 2 --out area/base
good train --base area/base/delta.safetensors $common --steps 2 --out area/run
good train --base area/base/delta.safetensors $common --steps 2 --label-drop empty --out area/empty
base="--base area/base/delta.safetensors" delta="--delta area/run/delta.safetensors"
both="$base $delta" fast="--sampler ddim --steps 2" out="--out area/new"

# ------------------------------------------------------------------ bad input
bad 2 '--base_is_missing' $out
bad 2 '--out_DIR,--grid,--latents' $both
bad 2 '--classes,no_class_"A/hnad",did_you_mean,"A/hand"' $both $out --classes A/hnad
bad 2 '--classes,C' $both $out --classes letter=C
bad 2 'style,trained_guides:,superclass:letter' $both $out --guide superclass:style
bad 2 'rank,"genus",letter' $both $out --guide superclass:genus
bad 2 '--guide_empty,superclass:letter' $both $out --guide empty
bad 2 'trained_guides:_empty' $base --delta area/empty/delta.safetensors $out --guide superclass
bad 2 '--guide_best,superclass:RANK' $both $out --guide best
bad 2 '--guide_base,--delta' $base $out --guide base
bad 1 'nothing.safetensors' $both $out --guide delta:nothing.safetensors
bad 1 'nothing.safetensors' --base nothing.safetensors $out
bad 1 'nothing.safetensors' $base --delta nothing.safetensors $out
bad 2 'give_it_as_--delta' --base area/run/delta.safetensors $out
bad 1 'area/taxonomy.tsv,is_a_text' $base --delta area/taxonomy.tsv $out
bad 1 'area/run/delta.safetensors' --base "$fixtures/dit.safetensors" $delta $out
bad 2 '--ranks' $both $out --ranks letter
bad 2 '--per-class_0' $both $out --per-class 0
bad 2 '--steps' $both $out --steps 0
bad 2 '--steps' $both $out --steps many
bad 2 'step' $both $out --steps 1
bad 2 '--shard_2/2' $both $out --shard 2/2
bad 2 '--shard_1,I/N' $both $out --shard 1
bad 2 '--batch_-1' $both $out --batch -1
bad 2 'sampler,euler,ddim' $both $out --sampler euler
bad 2 'ddim:2' $both $out --sampler ddim:2
bad 2 '--rng_numpy,torch-cpu' $both $out --rng numpy
bad 2 '--guidance' $both $out --guidance strong
bad 2 'interval' $both $out --guidance-interval 900:100
bad 2 'channels' $both $out --guidance-channels 2
bad 2 '--weights-from' $both $out --weights-from best
bad 2 '--seed' $both $out --seed -3
bad 2 '--classes_and_--counts' $both $out --classes all --counts area/taxonomy.tsv
bad 2 '--counts,area/taxonomy.tsv' $both $out --counts area/taxonomy.tsv
bad 2 '--tar,--out' $both --grid area/g.png --tar
bad 2 'no_folder_area/no' $both --grid area/no/g.png
bad 2 'area_is_a_folder' $both --latents area
bad 2 '--out_area/taxonomy.tsv_is_a_file' $both --out area/taxonomy.tsv
bad 2 '--grid-real,--grid_FILE' $both $out --grid-real area/data
bad 1 'nowhere' $both $out --grid area/g.png --grid-real nowhere $fast
bad 1 'vae.safetensors,No_such_file' $both $out --vae vae.safetensors
if [ -f "$fixtures/dit.safetensors" ]; then
    bad 2 'latents,--latents' --base "$fixtures/dit.safetensors" --guide none $out
    bad 2 'does_not_say_what_can_guide,--guide_empty' --base "$fixtures/dit.safetensors" $out
fi
bad 1 '--batch,limit' $both $out --memory 1k --quiet

# ------------------------------------------------------------------ what comes out
good sample $both $out $fast --per-class 3 --seed 5 --grid area/sheet.png --grid-real area/data --json --quiet
is 'lines of --json' "$(grep -c . stdout)" 13
is 'the last line' "$(tail -n 1 stdout | cut -c 1-57)" '{"done":true,"classes":4,"pictures":12,"sampled":12,"kept'
is 'pictures' "$(find area/new -name '*.png' | wc -l | tr -d ' ')" 12
is 'the manifest' "$(sed -n 5p area/new/manifest.jsonl)" \
    '{"index":4,"class":"A/mono","id":1,"seed":6,"file":"A%2Fmono/A%2Fmono-6.png"}'
for file in $(sed 's/.*"file":"\([^"]*\)".*/\1/' area/new/manifest.jsonl); do
    [ -f "area/new/$file" ] || fail "$file is missing"
done
good inspect area/new --pictures --json
checks=$((checks + 1))
grep -q '"pictures_decoded": 12' stdout || fail "the folder is not a data set of 12 pictures" "$(cat stdout)"
bad 1 'run.json,--guidance_2.0,2.5,--overwrite' $both $out $fast --per-class 3 --seed 5 --guidance 2.5
bad 1 'weights' $base --delta area/run/checkpoints/step-2.safetensors --weights-from raw $out $fast --seed 5 \
    --per-class 3
cp -r area/new area/copy
rm area/copy/A%2Fmono/*-6.png area/copy/manifest.jsonl
good sample $both --out area/copy $fast --per-class 3 --seed 5 --threads 1 --batch 1
is 'what was sampled' "$(grep sampled stderr)" '12 pictures of 4 classes: 1 sampled, 11 kept'
checks=$((checks + 1))
diff -r area/new area/copy >difference || fail "the completed folder differs" "$(cat difference)"

# shards in one folder, and archives
for i in 1 0; do good sample $both --out area/shards $fast --per-class 3 --seed 5 --shard $i/2 --quiet; done
rm area/new/manifest.jsonl
cat area/shards/manifest.?-of-2.jsonl | wc -l >lines
is 'lines of two manifests' "$(tr -d ' ' <lines)" 12
rm area/shards/manifest.?-of-2.jsonl
checks=$((checks + 1))
diff -r area/new area/shards >difference || fail "shards make other pictures" "$(cat difference)"
good sample $both --out area/tar $fast --per-class 3 --seed 5 --tar --quiet
mkdir area/unpacked
(cd area/unpacked && tar xf ../tar/pictures-00000.tar && rm ./*/*.cls ./*/*.json __taxonomy__ && cp ../new/run.json .)
checks=$((checks + 1))
diff -r area/new area/unpacked >difference || fail "archives hold other pictures" "$(cat difference)"
good inspect area/tar/pictures-00000.tar

# results of blocks kept for other steps
cached="--sampler ddim --steps 9 --per-class 2 --quiet"
good sample $both $cached --latents area/plain.safetensors
good sample $both $cached --latents area/one.safetensors --cache-interval 1 --cache-order 2
checks=$((checks + 1))
cmp area/plain.safetensors area/one.safetensors || fail '--cache-interval 1 changes the pictures'
for full in ends taylor fora; do
    good sample $both $cached --latents area/a.safetensors --cache-interval 3 --cache-full $full --batch 3
    good sample $both $cached --latents area/b.safetensors --cache-interval 3 --cache-full $full --batch 1 \
        --threads 1
    checks=$((checks + 2))
    cmp area/a.safetensors area/b.safetensors || fail "--cache-full $full: batch or threads change the pictures"
    cmp -s area/a.safetensors area/plain.safetensors && fail "--cache-full $full: nothing is taken over"
done
bad 2 '--cache-interval_0,1_to_1000' $both $out --cache-interval 0
bad 2 '--cache-order_3,0_to_2' $both $out --cache-interval 2 --cache-order 3
bad 2 '--cache-full,ends|taylor|fora' $both $out --cache-full all
rm area/*.safetensors
good sample $both --out area/cached --sampler ddim --steps 9 --cache-interval 3
is 'what is said of it' "$(grep -o 'blocks computed in .*, guide' stderr)" 'blocks computed in 5 of 9, guide'
rm -r area/cached

# --plan writes nothing
tree area >before
good sample $both --plan --memory 6G
is 'the plan' "$(head -c 11 stdout)" 'memory plan'
tree area >after
cmp -s before after || fail "--plan wrote something"

# ------------------------------------------------------------------ interrupted
# far more pictures than any machine draws before the signal comes
"$program" sample $both --out area/long --sampler ddpm --steps 50 --per-class 25000 --batch 2 --quiet 2>stderr &
pid=$!
while kill -0 $pid 2>kill.err; do
    [ -d area/long/A%2Fhand ] && [ -n "$(ls area/long/A%2Fhand)" ] && break
    sleep 0.1
done
kill -INT $pid
wait $pid
is 'exit code of the interrupted job' $? 130
is 'its message' "$(sed 's/[0-9][0-9]* of/N of/' stderr)" \
    'finediffusion: sample: stopped after N of 100000 pictures; the same command goes on with the others'
[ ! -e area/long/manifest.jsonl ] || fail 'a stopped job has a manifest'
kept=$(find area/long -name '*.png' | wc -l | tr -d ' ')
is 'unfinished files' "$(find area/long -type f ! -name '*.png' ! -name run.json | wc -l | tr -d ' ')" 0
good sample $both --out area/long --sampler ddpm --steps 50 --per-class 3 --batch 2
checks=$((checks + 1))
grep -q ' kept$' stderr && [ "$kept" -gt 0 ] || fail "nothing was kept of $kept pictures" "$(cat stderr)"

finish
